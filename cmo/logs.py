"""What is logged and how: one line per event, as JSON or for reading, with secrets blacked out.

A log message is the name of an event, its facts are fields:

    log.info("question_answered", extra=fields(engine="lightrag", seconds=0.8))

Nothing is set up on import; `configure_logging` is called once by whoever starts the process. Question texts, answers
and keys are never logged above DEBUG: that is the caller's duty, the blacking out is only the net below.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

FILE_BYTES = 10_000_000
"""A log file is rotated when it reaches this size."""

FILES_KEPT = 5
"""Rotated log files kept beside the current one."""

REDACTED = "[redacted]"

_SECRET_NAME = r"(?:api[_-]?key|auth[_-]?secret|access[_-]?token|secret|password|passwd|authorization)"
_SECRETS = (
    (re.compile(r"\b(?:sk|pplx|hf|ghp|xox[abp])[-_][A-Za-z0-9_-]{12,}"), REDACTED),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), REDACTED),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), rf"\1 {REDACTED}"),
    (re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"), REDACTED),
    (
        re.compile(rf"(?i)({_SECRET_NAME}[\"']?\s*[=:]\s*[\"']?)(?!\[redacted\]|bearer |basic )[^\s\"',;}}]+"),
        rf"\1{REDACTED}",
    ),
)
_SECRET_FIELD = re.compile(rf"(?i)(?:^|_){_SECRET_NAME}$")

_FIELDS = "cmo_fields"

_LIBRARIES = (
    "alembic",
    "chainlit",
    "httpcore",
    "httpcore2",
    "httpx",
    "httpx2",
    "lightrag",
    "nano-vectordb",
    "openai",
    "sqlalchemy",
    "urllib3",
    "uvicorn.access",
)


class LogLevel(StrEnum):
    """From which severity on events of this project are logged."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class LogFormat(StrEnum):
    """How a log line looks: one JSON object, or text for reading."""

    JSON = "json"
    PLAIN = "plain"


class LogSettings(Protocol):
    """What is to be logged; the application's settings are one."""

    @property
    def log_level(self) -> LogLevel:
        """From which severity on events of this project are logged."""

    @property
    def log_lines(self) -> LogFormat:
        """How a line looks."""

    @property
    def log_file(self) -> Path | None:
        """A file that gets the log as well as standard error."""


def configure_logging(settings: LogSettings) -> None:
    """Sends the events of this project, and the warnings of libraries, to standard error and to the log file.

    Calling it again replaces what the call before set up. Handlers that libraries put on the root logger are removed,
    so that each line appears once and standard output stays free for results. The file is rotated at FILE_BYTES; when
    several processes share one file, lines written during a rotation can end up in the rotated file.

    Raises:
        OSError: the folder of the log file cannot be made.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if settings.log_file is not None:
        handlers.append(_file_handler(settings.log_file))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        handler.setFormatter(JsonFormatter() if settings.log_lines is LogFormat.JSON else PlainFormatter())
        root.addHandler(handler)
    root.setLevel(logging.WARNING)
    _calm_libraries()
    logging.getLogger("cmo").setLevel(settings.log_level.value)
    logging.captureWarnings(True)


def fields(**facts: object) -> dict[str, dict[str, object]]:
    """The facts of an event, for the `extra` argument of a logging call."""
    return {_FIELDS: facts}


def redact(text: str) -> str:
    """The text with everything that looks like a key, token or password replaced by REDACTED."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, event, the fields, and the traceback as "error"."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        line: dict[str, object] = dict(_facts(record))
        line.update(
            time=_time(record),
            level=record.levelname,
            logger=record.name,
            event=redact(record.getMessage()),
        )
        if record.exc_info:
            line["error"] = redact(self.formatException(record.exc_info))
        order = ("time", "level", "logger", "event")
        return json.dumps({key: line[key] for key in order} | line, ensure_ascii=False, default=str)


class PlainFormatter(logging.Formatter):
    """Time (UTC), level, logger, event and key=value fields on one line; the traceback below."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text for reading."""
        parts = [_time(record), f"{record.levelname:<7}", record.name, redact(record.getMessage())]
        parts += [f"{key}={_quoted(value)}" for key, value in _facts(record).items()]
        line = " ".join(parts)
        return f"{line}\n{redact(self.formatException(record.exc_info))}" if record.exc_info else line


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _facts(record: logging.LogRecord) -> dict[str, object]:
    facts = getattr(record, _FIELDS, {})
    return {key: REDACTED if _SECRET_FIELD.search(key) else _clean(value) for key, value in facts.items()}


def _clean(value: Any) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case Mapping():
            return {str(key): _clean(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_clean(item) for item in value]
        case _:
            return redact(str(value))


def _quoted(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return json.dumps(text, ensure_ascii=False) if isinstance(value, str) and re.search(r'[\s="]|^$', text) else text


def _file_handler(file: Path) -> logging.Handler:
    file.parent.mkdir(parents=True, exist_ok=True)
    return logging.handlers.RotatingFileHandler(
        file, maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8", delay=True
    )


def _calm_libraries() -> None:
    """Has libraries log through the root logger, from its level on, whatever they set up for themselves."""
    for name in _LIBRARIES:
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.handlers.clear()
        logger.propagate = True
