"""Assessors of somebody's own: found among the installed packages once at start, and asked about every answer.

A package offers one by an entry point of the group "cmo.assessors": the address of something that, called without
arguments, gives a `CustomAssessor`. Its code is not ours, so whatever it does costs no more than its own score. What a
score of it means is its author's affair.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from numbers import Real
from typing import Final, TypeAlias

from cmo.logs import fields
from cmo.phrases import Phrase
from cmo.values import CustomScore

GROUP: Final = "cmo.assessors"
MOST_WEIGHT: Final = 10.0
"""Ten times as much as relevance, accuracy and consistency together; more is a percentage or a mistake."""
MOST_NAME_CHARACTERS: Final = 40
_OWN_NAMES: Final = frozenset({"relevance", "accuracy", "consistency", "composite"})

NO_SCORE: Final = "The assessor {name} gave no score, so it does not count."

_Task: TypeAlias = "asyncio.Task[float | None]"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredAssessor:
    """A custom assessor that can be asked. Its name and weight were looked at once, when it was loaded."""

    name: str
    weight: float
    assess: Callable[[str, str, Sequence[str]], Awaitable[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """The custom assessors found, by the order of their entry points, and a sentence about each that stays out."""

    assessors: tuple[RegisteredAssessor, ...] = ()
    problems: tuple[str, ...] = ()


class _UnfitError(Exception):
    """An assessor cannot be asked; the message says why."""


def load_registered() -> Registered:
    """The assessors of all installed packages; imports them, so it may take its time. Never an error."""
    try:
        points = sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value))
    except (TypeError, ValueError, OSError) as error:  # one package with broken metadata is enough
        return _told(Registered(problems=(f"The installed packages cannot be read: {error}",)))
    found: dict[str, RegisteredAssessor] = {}
    problems: list[str] = []
    for point in points:
        try:
            assessor = _loaded(point)
            if assessor.name.casefold() in found:
                raise _UnfitError(f"the name {assessor.name!r} is taken")
        except _UnfitError as error:
            problems.append(f"The assessor {point.name} ({point.value}) is left out: {error}.")
        else:
            found[assessor.name.casefold()] = assessor
    return _told(Registered(assessors=tuple(found.values()), problems=tuple(problems)))


class CustomAssessors:
    """Asks assessors of others about answers."""

    def __init__(self, assessors: Sequence[RegisteredAssessor]) -> None:
        self._assessors = assessors
        self._stopping: set[_Task] = set()

    async def scores(
        self, question: str, answer: str, sources: Sequence[str], *, seconds: float
    ) -> tuple[tuple[CustomScore, ...], tuple[str, ...]]:
        """What each says of an answer within `seconds`, and a sentence about each that said nothing of use.

        They are asked at the same time. One that has not ended by then is stopped and not waited for.
        """
        if not self._assessors:
            return (), ()
        tasks = [asyncio.create_task(_score(each, question, answer, sources)) for each in self._assessors]
        try:
            await asyncio.wait(tasks, timeout=seconds)
            found = [_result(task) for task in tasks]
        finally:
            self._stop(tasks)
        asked = list(zip(self._assessors, found, strict=True))
        scores = [
            CustomScore(name=each.name, score=said, weight=each.weight) for each, said in asked if said is not None
        ]
        notes = [Phrase(NO_SCORE, name=each.name) for each, said in asked if said is None]
        return tuple(scores), tuple(notes)

    def _stop(self, tasks: Iterable[_Task]) -> None:
        """Cancel what still runs; a reference is kept until it ends, which code of others may put off."""
        for task in tasks:
            if not task.done():
                self._stopping.add(task)
                task.add_done_callback(self._stopping.discard)
                task.cancel()


def _told(found: Registered) -> Registered:
    for problem in found.problems:
        _log.error("assessor_left_out", extra=fields(problem=problem))
    return found


def _loaded(point: EntryPoint) -> RegisteredAssessor:
    try:
        assessor = point.load()()
        name, weight, assess = assessor.name, assessor.weight, assessor.assess
    except (Exception, SystemExit) as error:  # code of others: whatever it raises keeps nothing but itself out
        _log.debug("assessor_failed_to_load", exc_info=True)
        raise _UnfitError(f"it cannot be loaded ({type(error).__name__}: {error})") from error
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name.strip()) <= MOST_NAME_CHARACTERS:
        raise _UnfitError(f"its name is no text of 1 to {MOST_NAME_CHARACTERS} printable characters")
    if name.strip().casefold() in _OWN_NAMES:
        raise _UnfitError(f"the name {name!r} is taken")
    number = _number(weight, most=MOST_WEIGHT)
    if number is None:
        raise _UnfitError(f"its weight is no number from 0 to {MOST_WEIGHT:g}")
    if not callable(assess):
        raise _UnfitError("it has no method assess")
    return RegisteredAssessor(name=name.strip(), weight=number, assess=assess)


def _number(value: object, *, most: float) -> float | None:
    """A number from 0 to `most`, None when it is anything else."""
    try:
        number = float(value) if isinstance(value, Real) else math.nan
    except OverflowError:
        return None
    return number if 0 <= number <= most else None


async def _score(assessor: RegisteredAssessor, question: str, answer: str, sources: Sequence[str]) -> float | None:
    reason = "no number from 0 to 1"
    try:
        score = _number(await assessor.assess(question, answer, sources), most=1.0)
    except asyncio.CancelledError:
        _log.warning("assessor_failed", extra=fields(assessor=assessor.name, reason="stopped"))
        raise
    except (Exception, SystemExit) as error:  # code of others, as above
        _log.debug("assessor_raised", exc_info=True)
        score, reason = None, type(error).__name__
    if score is None:
        _log.warning("assessor_failed", extra=fields(assessor=assessor.name, reason=reason))
    return score


def _result(task: _Task) -> float | None:
    """What a task came to; None when it has not ended or was stopped."""
    return task.result() if task.done() and not task.cancelled() else None
