"""Which generation took over from which, by whom and why, and every change of the one that serves.

    <storage>/
      generation-history.jsonl          a line for each takeover and each check, only ever added to
      .switch                           held for the instant in which one generation takes over from another

Two may want to change the pointer at once: a person, and an indexing run that ends. Each says which generation it saw
serving, and one whose view is out of date changes nothing. Whoever writes an index holds the writer lock for hours;
this lock is another one, so that a switch never waits for a run.

Nothing here looks into an index.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from cmo.errors import LibraryError
from cmo.library import generations
from cmo.library.generations import GenerationInfo
from cmo.library.health import Health
from cmo.logs import fields

HISTORY: Final = "generation-history.jsonl"
LOCK_FILE: Final = ".switch"
INDEXING: Final = "indexing"
"""The author of what an indexing run does."""

_log = logging.getLogger(__name__)


class Action(StrEnum):
    """What happened to a generation."""

    INDEX = "index"
    SWITCH = "switch"
    BACK = "back"
    CHECK = "check"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of the history.

    `before` is the generation that served until then, "" for none. `failed` are the checks that were not passed; with
    `forced` none were made.
    """

    action: Action
    generation: str
    before: str
    author: str
    reason: str
    at: datetime
    failed: tuple[str, ...] = ()
    forced: bool = False

    @classmethod
    def of_check(cls, health: Health, *, author: str, at: datetime) -> Event:
        """What a check found out."""
        return cls(
            action=Action.CHECK,
            generation=health.generation,
            before="",
            author=author,
            reason=" ".join(check.words for check in health.failed),
            at=at,
            failed=tuple(check.name for check in health.failed),
        )


class Succession:
    """The takeovers of one storage folder. Any process may ask and act at any time."""

    def __init__(self, storage: Path) -> None:
        """Nothing is read or made before it is asked for."""
        self._storage = storage
        self._history = storage / HISTORY

    def events(self) -> tuple[Event, ...]:
        """Everything that happened, oldest first. A line that nobody can make sense of is left out, and logged.

        Raises:
            LibraryError: the history is there and cannot be read.
        """
        try:
            lines = self._history.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise LibraryError(f"{self._history} cannot be read ({error.strerror}): check its permissions.") from error
        return tuple(event for line in lines if line and (event := _event(line)) is not None)

    def previous(self) -> str | None:
        """The name of the generation that served before the one that does; None when nobody knows."""
        serving = generations.current(self._storage)
        if serving is None:
            return None
        takeovers = [event for event in self.events() if _is_takeover(event) and event.generation == serving.name]
        return (takeovers[-1].before or None) if takeovers else None

    def left(self, name: str) -> Event | None:
        """How a person switched away from a generation; None when nobody did, or somebody has switched to it since."""
        found = None
        for event in filter(_is_takeover, self.events()):
            if name in (event.generation, event.before):
                found = event if event.before == name and event.action is not Action.INDEX else None
        return found

    def last_check(self, name: str) -> Event | None:
        """The last time a generation was checked."""
        checks = [event for event in self.events() if event.action is Action.CHECK and event.generation == name]
        return checks[-1] if checks else None

    def note(self, event: Event) -> None:
        """Add a line to the history, on the disk when this returns.

        Raises:
            LibraryError: it cannot be written.
        """
        try:
            with self._history.open("a+b") as file:
                # A power cut may have left half a line, which must not spoil this one.
                torn = file.tell() > 0 and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n"
                file.write(b"\n" * torn + _line(event).encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise LibraryError(
                f"{self._history} cannot be written ({error.strerror}): check space and permissions."
            ) from error

    def take_over(self, info: GenerationInfo, event: Event) -> bool:
        """Let `info` serve in place of `event.before`; False when another one serves by now, and nothing was changed.

        Raises:
            LibraryError: `info` is not there any more, or the change cannot be written.
        """
        with self._turn():
            serving = generations.current(self._storage)
            if serving is not None and serving.name != event.before:
                return False
            if not info.database.is_file():
                raise LibraryError(f"{info.folder} is not there any more: `cmo generations list` shows what is.")
            # The history first: after a crash between the two it tells of a change too many, which does no harm. One
            # too few would let the next run undo what a person did.
            self.note(event)
            generations.serve(self._storage, info)
        _log.info(
            "generation_takes_over",
            extra=fields(generation=info.name, before=event.before, action=event.action.value, author=event.author),
        )
        return True

    def clear_away(self, keep: Callable[[], set[str]]) -> tuple[str, ...]:
        """Delete all generations but those that `keep` names while no switch can happen; returns the names deleted."""
        with self._turn():
            return generations.prune(self._storage, keep=keep())

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """The only one who changes the pointer. Others wait, for milliseconds; the lock dies with its process."""
        try:
            descriptor = os.open(self._storage / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise LibraryError(
                f"The index folder {self._storage} cannot be written ({error.strerror}): check its permissions."
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _is_takeover(event: Event) -> bool:
    return event.action is not Action.CHECK


def _line(event: Event) -> str:
    return json.dumps(asdict(event) | {"at": event.at.isoformat()}, ensure_ascii=False) + "\n"


def _event(line: str) -> Event | None:
    try:
        found = json.loads(line)
        return Event(
            action=Action(found["action"]),
            generation=str(found["generation"]),
            before=str(found["before"]),
            author=str(found["author"]),
            reason=str(found["reason"]),
            at=datetime.fromisoformat(found["at"]),
            failed=tuple(map(str, found["failed"])),
            forced=bool(found["forced"]),
        )
    except (ValueError, KeyError, TypeError):
        _log.warning("generation_history_line_unreadable")
        return None
