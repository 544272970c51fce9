"""The emergency stop: a file that takes engines out of service in every process that looks at it.

A file and not a row, because it has to work while the database does not. It lies in the storage folder, so it survives
a restart; looking takes some microseconds, so nothing has to be told and the next question already obeys. What was
done, by whom and why, goes into a second file that is only ever added to.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cmo.errors import StorageUnavailable
from cmo.logs import fields

FILE: Final = "EMERGENCY_STOP"
HISTORY: Final = "emergency-history.jsonl"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmergencyStop:
    """Engines that are not asked, since when, by whom and why. `readable` is False for a file nobody can make sense of.

    Such a file stops everything: whoever wrote it wanted something stopped.
    """

    engines: tuple[str, ...]
    author: str
    reason: str
    at: datetime | None
    readable: bool = True


class EmergencyFile:
    """The emergency stop of one storage folder. Every question may look; changes are made by one admin at a time."""

    def __init__(self, folder: Path, *, engines: Collection[str]) -> None:
        """`engines` are all there are."""
        self._file = folder / FILE
        self._history = folder / HISTORY
        self._engines = tuple(engines)
        self._seen: tuple[int, int, int] | None = None
        self._stop: EmergencyStop | None = None

    def stopped(self) -> frozenset[str]:
        """The engines that must not be asked."""
        stop = self.current()
        return frozenset(stop.engines) if stop else frozenset()

    def current(self) -> EmergencyStop | None:
        """The stop in force, None for none. Reads the file only when it has changed."""
        try:
            state = os.stat(self._file)
        except FileNotFoundError:
            self._seen = self._stop = None
            return None
        except OSError as error:
            return self._unreadable(str(error.strerror))
        mark = (state.st_mtime_ns, state.st_size, state.st_ino)
        if mark != self._seen:
            self._stop, self._seen = self._read(), mark
        return self._stop

    def stop(self, engines: Collection[str], *, author: str, reason: str, at: datetime) -> EmergencyStop:
        """Take these engines out of service, beside those that are already.

        Raises:
            StorageUnavailable: the file cannot be written, or only its history; the message says which.
        """
        stopped = self.stopped() | set(engines)
        names = tuple(name for name in self._engines if name in stopped)
        made = EmergencyStop(engines=names, author=author, reason=reason, at=at)
        beside = self._file.with_name(f"{FILE}.{os.getpid()}.new")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps(_document(made), ensure_ascii=False), encoding="utf-8")
            os.replace(beside, self._file)
        except OSError as error:
            raise StorageUnavailable(self._trouble(error)) from error
        self._note("stop", made)
        return made

    def lift(self, *, author: str, reason: str, at: datetime) -> EmergencyStop | None:
        """Put everything back into service; what was stopped, None when nothing was.

        Raises:
            StorageUnavailable: the file cannot be taken away, or that cannot be written down, and nothing is lifted.
        """
        lifted = self.current()
        if lifted is None:
            return None
        self._note("lift", EmergencyStop(engines=lifted.engines, author=author, reason=reason, at=at))
        try:
            self._file.unlink(missing_ok=True)
        except OSError as error:
            raise StorageUnavailable(self._trouble(error)) from error
        return lifted

    def _read(self) -> EmergencyStop:
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
            known = tuple(name for name in self._engines if name in found["engines"])
            if not known:
                return self._unreadable("it names no engine")
            return EmergencyStop(
                engines=known,
                author=str(found["author"]),
                reason=str(found["reason"]),
                at=datetime.fromisoformat(found["at"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            return self._unreadable(type(error).__name__)

    def _unreadable(self, why: str) -> EmergencyStop:
        _log.error("emergency_stop_unreadable", extra=fields(file=str(self._file), why=why))
        return EmergencyStop(engines=self._engines, author="", reason="", at=None, readable=False)

    def _note(self, action: str, stop: EmergencyStop) -> None:
        _log.warning(f"emergency_{action}", extra=fields(engines=",".join(stop.engines), author=stop.author))
        try:
            with self._history.open("a", encoding="utf-8") as history:
                history.write(json.dumps({"action": action, **_document(stop)}, ensure_ascii=False) + "\n")
        except OSError as error:
            stopped = ", ".join(stop.engines)
            raise StorageUnavailable(
                f"{self._history} cannot be written: {error.strerror}. Stopped all the same: {stopped}."
            ) from error

    def _trouble(self, error: OSError) -> str:
        return f"{self._file} cannot be written: {error.strerror}."


def _document(stop: EmergencyStop) -> dict[str, Any]:
    document = asdict(stop)
    del document["readable"]
    return {**document, "at": stop.at.isoformat() if stop.at else None}
