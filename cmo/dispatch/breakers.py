"""The circuit breakers of one process: two for each engine, one for its calls and one for its answers.

The rules of a single breaker are in policy/breaker.py. What comes on top here: the last engine that still admits every
call is never opened, changes are logged, and they are kept over a restart. Nothing here knows what an engine is beyond
its name, or how breakers are stored.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from cmo.errors import CircuitOpen, StorageUnavailable
from cmo.interfaces import Clock
from cmo.logs import fields
from cmo.phrases import Phrase
from cmo.policy.breaker import (
    LETTING_PASS,
    RESTING,
    Breaker,
    BreakerRules,
    BreakerState,
    Gates,
    QualityBreaker,
    QualityRules,
)

_log = logging.getLogger(__name__)


class BreakerStore(Protocol):
    """Keeps breakers over a restart."""

    async def load(self) -> Mapping[str, Gates]:
        """The gates kept last, by engine.

        Raises:
            StorageUnavailable: they cannot be read.
        """

    async def save(self, engine: str, gates: Gates, *, at: datetime) -> None:
        """Keep the gates of one engine in place of those kept before.

        Raises:
            StorageUnavailable: they cannot be written.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityView:
    """A quality breaker, for people to see. `mean` is None while nothing can be said; `unscored` are of `answers`."""

    state: BreakerState
    since: datetime
    next_try: datetime | None
    mean: float | None
    answers: int
    unscored: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerView:
    """The breakers of one engine, for people to see.

    While the breaker is open, the numbers are those that opened it, and from `next_try` on a call is admitted again.
    The shares are in percent, None while there are too few calls to tell. `rejected` counts the calls turned away.
    `held` tells that it would open but does not: it only measures, or no other engine admits every call.
    """

    engine: str
    state: BreakerState
    since: datetime
    next_try: datetime | None
    calls: int
    failed: int
    slow: int
    consecutive_failures: int
    failure_percent: float | None
    slow_percent: float | None
    rejected: int
    held: bool
    quality: QualityView


class Permit:
    """Leave to make one call. The first end it is told counts; what comes after it changes nothing."""

    def __init__(self, panel: Breakers, engine: str, call: int, probe: int | None) -> None:
        self._panel = panel
        self._engine = engine
        self._call = call
        self._probe = probe
        self._ended = False

    def succeeded(self, seconds: float) -> None:
        """The call went well and took so long."""
        if self._ends():
            self._panel._succeeded(self._engine, self._call, seconds)

    def failed(self, seconds: float) -> None:
        """The call went wrong after so long, and the engine is to blame."""
        if self._ends():
            self._panel._failed(self._engine, self._call, seconds)
            self._panel._gave_no_answer(self._engine, self._probe)

    def abandoned(self) -> None:
        """The call says nothing about the engine: somebody stopped it, or it was not made after all."""
        if self._ends():
            self._panel._abandoned(self._engine, self._call)
            self._panel._gave_no_answer(self._engine, self._probe)

    def _ends(self) -> bool:
        first, self._ended = not self._ended, True
        return first


class Breakers:
    """The panel of breakers. Built once, used by all questions of a process, from one event loop.

    Everything but `load`, `flush` and `close` works in memory. What is to be kept is saved in the background; when that
    fails, it is saved with the next change.
    """

    def __init__(
        self,
        engines: Iterable[str],
        *,
        rules: BreakerRules,
        quality: QualityRules,
        store: BreakerStore | None,
        clock: Clock,
        jitter: Callable[[], float],
    ) -> None:
        """`engines` are the names of those that are configured. `jitter` draws a number from 0 to 1."""
        self._clock = clock
        self._jitter = jitter
        self._store = store
        now = self._now()
        self._calls = {name: Breaker.new(rules, now=now) for name in engines}
        self._answers = {name: QualityBreaker.new(quality, now=now) for name in self._calls}
        self._unsaved: set[str] = set()
        self._saving: asyncio.Task[None] | None = None

    async def load(self) -> None:
        """Goes on where the process before left the breakers. Where that cannot be read, all are closed."""
        if self._store is None:
            return
        try:
            kept = await self._store.load()
        except StorageUnavailable:
            _log.exception("breakers_load_failed")
            return
        now = self._now()
        for name in self._calls.keys() & kept.keys():
            self._calls[name] = Breaker.resumed(self._calls[name].rules, kept[name].calls, now=now)
            self._answers[name] = QualityBreaker.resumed(self._answers[name].rules, kept[name].answers, now=now)
        self._keep_one_closed(now)

    def is_open(self, name: str) -> bool:
        """Whether a call to this engine would be turned away now."""
        breaker = self._calls[name]
        return not breaker.gate.admits(breaker.rules.recovery, now=self._now())

    def is_quality_low(self, name: str) -> bool:
        """Whether this engine should be passed over for its answers. Never when there is no better one to turn to."""
        now = self._now()
        return not self._answers_well(name, now) and any(
            self._answers_well(other, now) and not self.is_open(other) for other in self._calls if other != name
        )

    def rests(self, name: str) -> int:
        """How often in a row this engine's breaker has opened, 0 while calls pass."""
        return self._calls[name].gate.rests

    def admit(self, name: str) -> Permit:
        """Leave to ask an engine once. Low quality does not keep anybody from asking; it is told by `is_quality_low`.

        Raises:
            CircuitOpen: the engine is resting, or its probes are under way.
        """
        now = self._now()
        breaker, call = self._calls[name].admit(now=now)
        self._put(name, breaker)
        if call is None:
            raise _refusal(breaker, now)
        answers, probe = self._answers[name].admit(now=now)
        self._put_answers(name, answers)
        return Permit(self, name, call, probe)

    def score(self, name: str, composite: float | None) -> None:
        """Takes down how good an answer of this engine was, 0 to 1, or None where it could not be scored.

        To be told of every answer: while probes are under way, one without a score delays the judgement.
        """
        self._put_answers(name, self._answers[name].scored(composite, now=self._now(), jitter=self._jitter()))

    def force(self, name: str, state: BreakerState) -> None:
        """Sets an engine's breaker by hand. CLOSED hands it back to its rules, with nothing counted yet.

        FORCED_OPEN stays until it is set to something else, even for the last engine.
        """
        now = self._now()
        self._put(name, self._calls[name].forced(state, now=now))
        self._keep_one_closed(now)

    def views(self) -> tuple[BreakerView, ...]:
        """The breakers of all engines as they stand, for people to see."""
        now = self._now()
        return tuple(_view(name, breaker, self._answers[name], now) for name, breaker in self._calls.items())

    async def flush(self) -> None:
        """Returns when every change so far is saved, or could not be."""
        if self._saving is not None:
            await asyncio.wait({self._saving})

    async def close(self) -> None:
        """Saves what is not saved yet."""
        if self._unsaved:
            self._save_soon()
        await self.flush()

    def _succeeded(self, name: str, call: int, seconds: float) -> None:
        may_open = self._has_another_closed(name)
        breaker = self._calls[name].succeeded(call, seconds, now=self._now(), jitter=self._jitter(), may_open=may_open)
        self._put(name, breaker)

    def _failed(self, name: str, call: int, seconds: float) -> None:
        may_open = self._has_another_closed(name)
        breaker = self._calls[name].failed(call, seconds, now=self._now(), jitter=self._jitter(), may_open=may_open)
        self._put(name, breaker)

    def _abandoned(self, name: str, call: int) -> None:
        self._put(name, self._calls[name].abandoned(call))

    def _gave_no_answer(self, name: str, probe: int | None) -> None:
        if probe is not None:
            self._put_answers(name, self._answers[name].abandoned(probe))

    def _answers_well(self, name: str, now: float) -> bool:
        quality = self._answers[name]
        return quality.gate.admits(quality.rules.recovery, now=now)

    def _has_another_closed(self, name: str) -> bool:
        return any(other != name and breaker.gate.state in LETTING_PASS for other, breaker in self._calls.items())

    def _keep_one_closed(self, now: float) -> None:
        """Closes the engine whose rest ends first when none admits every call, unless people closed them all off."""
        if any(breaker.gate.state in LETTING_PASS for breaker in self._calls.values()):
            return
        resting = [name for name, breaker in self._calls.items() if breaker.gate.state in RESTING]
        if resting:
            name = min(resting, key=lambda name: self._calls[name].gate.retry_at)
            self._put(name, self._calls[name].kept_closed(now=now))

    def _put(self, name: str, breaker: Breaker) -> None:
        before, self._calls[name] = self._calls[name], breaker
        if breaker.gate.epoch != before.gate.epoch:
            reading = breaker.reading(now=breaker.gate.since)
            _log_change(
                name,
                breaker.gate.state,
                of="calls",
                consecutive_failures=breaker.consecutive,
                failure_percent=reading.failure_percent,
                slow_percent=reading.slow_percent,
            )
            self._keep(name)
        if breaker.held and not before.held:
            _log.warning("breaker_held", extra=fields(engine=name, consecutive_failures=breaker.consecutive))

    def _put_answers(self, name: str, quality: QualityBreaker) -> None:
        before, self._answers[name] = self._answers[name], quality
        if quality.gate.epoch != before.gate.epoch:
            _log_change(name, quality.gate.state, of="answers", mean=quality.mean)
            self._keep(name)

    def _keep(self, name: str) -> None:
        if self._store is not None:
            self._unsaved.add(name)
            self._save_soon()

    def _save_soon(self) -> None:
        if self._saving is None or self._saving.done():
            self._saving = asyncio.create_task(self._save())

    async def _save(self) -> None:
        """Saves one engine after the other, so that an older state never overwrites a newer one."""
        assert self._store is not None
        failed: set[str] = set()
        while self._unsaved:
            name = self._unsaved.pop()
            gates = Gates(calls=self._calls[name].to_keep, answers=self._answers[name].gate)
            try:
                await self._store.save(name, gates, at=self._clock.now())
            except StorageUnavailable:
                _log.exception("breaker_save_failed", extra=fields(engine=name))
                failed.add(name)
        self._unsaved |= failed

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _log_change(engine: str, state: BreakerState, **facts: object) -> None:
    level = logging.WARNING if state is BreakerState.OPEN else logging.INFO
    _log.log(level, "breaker_changed", extra=fields(engine=engine, state=state, **facts))


def _refusal(breaker: Breaker, now: float) -> CircuitOpen:
    seconds = breaker.gate.retry_seconds(breaker.rules.recovery, now=now)
    if breaker.gate.state is BreakerState.FORCED_OPEN:
        return CircuitOpen(Phrase("It has been switched off for now."), retry_after_seconds=seconds)
    minutes = max(1, round(seconds / 60))
    words = Phrase("It is resting after failures; it is tried again in {n} min.", n=minutes)
    return CircuitOpen(words, retry_after_seconds=seconds)


def _view(name: str, breaker: Breaker, quality: QualityBreaker, now: float) -> BreakerView:
    gate, reading = breaker.gate, breaker.reading(now=now)
    return BreakerView(
        engine=name,
        state=gate.state,
        since=_time(gate.since),
        next_try=_time(gate.retry_at) if gate.state is BreakerState.OPEN else None,
        calls=reading.calls,
        failed=reading.failed,
        slow=reading.slow,
        consecutive_failures=breaker.consecutive,
        failure_percent=reading.failure_percent,
        slow_percent=reading.slow_percent,
        rejected=gate.rejected,
        held=breaker.held,
        quality=_quality_view(quality),
    )


def _quality_view(quality: QualityBreaker) -> QualityView:
    gate = quality.gate
    return QualityView(
        state=gate.state,
        since=_time(gate.since),
        next_try=_time(gate.retry_at) if gate.state is BreakerState.OPEN else None,
        mean=quality.mean,
        answers=len(quality.scores),
        unscored=quality.scores.count(None),
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
