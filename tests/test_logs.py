import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cmo.logs import FILE_BYTES, FILES_KEPT, LogFormat, LogLevel, configure_logging, fields, redact

log = logging.getLogger("cmo.somewhere")


@dataclass(frozen=True)
class Wanted:
    log_level: LogLevel = LogLevel.INFO
    log_lines: LogFormat = LogFormat.PLAIN
    log_file: Path | None = None


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    loggers = [logging.getLogger(), logging.getLogger("cmo")]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    yield
    logging.captureWarnings(False)
    for logger, level, handlers in before:
        for handler in set(logger.handlers) - set(handlers):
            handler.close()
        logger.setLevel(level)
        logger.handlers[:] = handlers


def lines(captured: pytest.CaptureFixture[str]) -> list[str]:
    out, err = captured.readouterr()
    assert out == ""
    return err.splitlines()


def test_a_json_line_is_the_event_with_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Wanted(log_lines=LogFormat.JSON))
    log.info("question_answered", extra=fields(engine="lightrag", seconds=0.8, files=("a", "b"), path=Path("/x")))

    (line,) = lines(capsys)
    told = json.loads(line)
    assert told.pop("time").endswith("+00:00")
    assert told == {
        "level": "INFO",
        "logger": "cmo.somewhere",
        "event": "question_answered",
        "engine": "lightrag",
        "seconds": 0.8,
        "files": ["a", "b"],
        "path": "/x",
    }


def test_a_field_cannot_pretend_to_be_the_event(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Wanted(log_lines=LogFormat.JSON))
    log.info("real", extra=fields(event="false", level="none"))

    told = json.loads(lines(capsys)[0])
    assert (told["event"], told["level"]) == ("real", "INFO")


def test_a_plain_line_is_for_reading(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Wanted())
    log.warning("file_skipped", extra=fields(file="my paper.pdf", pages=3, reason=""))

    (line,) = lines(capsys)
    assert line.endswith('WARNING cmo.somewhere file_skipped file="my paper.pdf" pages=3 reason=""')


@pytest.mark.parametrize("format", LogFormat)
def test_an_error_carries_its_traceback_without_secrets(format: LogFormat, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Wanted(log_lines=format))
    try:
        raise ValueError("api_key=abc123def456")
    except ValueError:
        log.exception("failed")

    text = "\n".join(lines(capsys))
    assert "ValueError" in text
    assert "test_logs.py" in text
    assert "abc123def456" not in text


def test_events_below_the_level_are_silent(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Wanted(log_level=LogLevel.WARNING))
    log.info("quiet")
    assert lines(capsys) == []


@pytest.mark.parametrize("library", ["httpx", "chainlit", "anything.else"])
def test_libraries_are_heard_from_warnings_on(library: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Wanted(log_level=LogLevel.DEBUG))
    logging.getLogger(library).info("chatter")
    logging.getLogger(library).warning("trouble")

    (line,) = lines(capsys)
    assert line.endswith(f"WARNING {library} trouble")


def test_configuring_twice_does_not_double_lines(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Wanted())
    configure_logging(Wanted())
    log.info("once")
    assert len(lines(capsys)) == 1


def test_the_file_gets_the_same_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new folder" / "cmo.log"
    configure_logging(Wanted(log_file=file))
    log.info("späte_größe")
    assert file.read_text(encoding="utf-8").splitlines() == lines(capsys)


def test_the_file_is_rotated_and_old_ones_are_let_go(tmp_path: Path) -> None:
    file = tmp_path / "cmo.log"
    configure_logging(Wanted(log_file=file))
    for _ in range(FILES_KEPT + 3):
        file.write_bytes(b"x" * FILE_BYTES)
        log.info("one_more")
    assert len(list(tmp_path.iterdir())) == FILES_KEPT + 1
    assert file.stat().st_size < FILE_BYTES


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdefghijklmnop",
        "pplx-0123456789abcdef",
        "Authorization: Bearer abcdefgh12345678",
        "PERPLEXITY_API_KEY=abcdefgh12345678",
        '{"password": "abcdefgh12345678"}',
        "postgresql://me:abcdefgh12345678@host/db",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlCg",
    ],
)
def test_what_looks_like_a_secret_is_blacked_out(secret: str) -> None:
    shown = redact(f"before {secret} after")
    assert "[redacted]" in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert not any(part in shown for part in ("abcdefgh", "0123456789abcdef", "eyJ"))


@pytest.mark.parametrize(
    "text",
    [
        "tokens_in=12",
        "doc-0123456789abcdef-p0007-c02",
        "g0001-0123abcd",
        "https://doi.org/10.1000/182",
        "secretion: 5 mmol",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_fields_named_like_secrets_are_blacked_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Wanted())
    log.info("started", extra=fields(openai_api_key="tiny", nested={"url": "redis://u:pw@h"}, tokens_in=3))

    (line,) = lines(capsys)
    assert "tiny" not in line
    assert "u:pw" not in line
    assert "tokens_in=3" in line
