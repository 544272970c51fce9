"""Circuit breakers: may this engine be asked now, judged by how the calls before went.

    CLOSED ──too many failures──> OPEN ──wait is over──> HALF_OPEN ──the probes went well──> CLOSED
                                   ^──────the probes did not go well─────┘

Three of them: `Breaker` counts failed and slow calls, `QualityBreaker` scores of answers, `BudgetBreaker` waits for the
next period. They are immutable: each step gives the next state. States and counting follow resilience4j
(https://resilience4j.readme.io/docs/circuitbreaker) but for two things. A permit belongs to the state that gave it, so
that late results of calls made before a change are not taken for new ones. And half-open waits for calls as long as it
takes; for probes that never come back it admits others.

Nothing here knows engines, clocks, chance or where states are kept. `now` is seconds since 1970 in UTC, so that a state
means the same after a restart; `jitter` is a number from 0 to 1 that the caller draws.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import fmean
from typing import ClassVar, Protocol


class BreakerState(StrEnum):
    """Where a breaker stands. The last three are set by people and end by people.

    DISABLED lets everything pass and counts nothing; METRICS_ONLY lets everything pass and counts.
    """

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"
    DISABLED = "disabled"
    METRICS_ONLY = "metrics_only"


LETTING_PASS = frozenset({BreakerState.CLOSED, BreakerState.DISABLED, BreakerState.METRICS_ONLY})
"""States in which every call is admitted."""

RESTING = frozenset({BreakerState.OPEN, BreakerState.HALF_OPEN})
"""States that a breaker gets into by itself and out of by itself."""

_COUNTING = frozenset({BreakerState.CLOSED, BreakerState.HALF_OPEN, BreakerState.METRICS_ONLY})

LONGEST_WAIT = 10
"""No rest lasts longer than so many times the first one."""

JITTER = 0.1
"""Each rest is longer by up to this share of itself, so that several processes do not probe in step."""

BUCKETS = 20
"""Parts of a time window; calls leave it one part at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """How a breaker that has opened gets well.

    After `recovery_seconds` it admits `probes` calls, which decide. A rest that follows on failed probes is longer: so
    many times `recovery_seconds` as there were rests in a row (as Envoy ejects hosts: its documentation, "Outlier
    detection"). When probes are not back `probe_wait_seconds` after the last one was admitted, they are given up and
    all are admitted anew; make that longer than any call can take.
    """

    recovery_seconds: float = 300.0
    probes: int = 3
    probe_wait_seconds: float = 120.0

    @property
    def longest_wait_seconds(self) -> float:
        """No rest is longer."""
        return LONGEST_WAIT * self.recovery_seconds

    def wait_seconds(self, rests: int, jitter: float) -> float:
        """How long the rest lasts that is the `rests`-th in a row."""
        return min(rests * self.recovery_seconds * (1 + JITTER * jitter), self.longest_wait_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Who may pass: all of a breaker but what it measures.

    It stands in `state` since `since`. `epoch` counts the changes; a permit is the epoch in which it was given. While
    OPEN, probes are admitted from `retry_at` on. `rests` counts openings since it was last closed by good probes. While
    HALF_OPEN, `taken` permits are out or used up, the last of them given at `taken_at`. `rejected` counts calls.
    """

    state: BreakerState
    since: float
    epoch: int = 0
    retry_at: float = 0.0
    rests: int = 0
    taken: int = 0
    taken_at: float = 0.0
    rejected: int = 0

    def admits(self, recovery: Recovery, *, now: float) -> bool:
        """Whether a call would pass now."""
        return self.state in LETTING_PASS or self._has_permits(recovery) or self._admits_anew(recovery, now)

    def admit(self, recovery: Recovery, *, now: float) -> tuple[Gate, int | None]:
        """The gate after a call asked to pass, and the call's permit, None when it may not."""
        if self.state in LETTING_PASS:
            return self, self.epoch
        if not self.admits(recovery, now=now):
            return replace(self, rejected=self.rejected + 1), None
        gate = self if self._has_permits(recovery) else self.moved(BreakerState.HALF_OPEN, now=now)
        return replace(gate, taken=gate.taken + 1, taken_at=now), gate.epoch

    def release(self, permit: int) -> Gate:
        """The gate after a permit came back unused."""
        if self.state is not BreakerState.HALF_OPEN or permit != self.epoch:
            return self
        return replace(self, taken=self.taken - 1)

    def retry_seconds(self, recovery: Recovery, *, now: float) -> float:
        """How long a rejected call should wait before it is tried again; a guess where it depends on others."""
        if self.state is BreakerState.OPEN:
            return max(0.0, self.retry_at - now)
        if self.state is BreakerState.HALF_OPEN:
            return max(0.0, self.taken_at + recovery.probe_wait_seconds - now)
        return recovery.recovery_seconds

    def opened(self, recovery: Recovery, *, now: float, jitter: float) -> Gate:
        """The gate at the start of its next rest."""
        rests = self.rests + 1
        retry_at = now + recovery.wait_seconds(rests, jitter)
        gate = self.moved(BreakerState.OPEN, now=now)
        return replace(gate, retry_at=retry_at, rests=rests, rejected=self.rejected)

    def moved(self, state: BreakerState, *, now: float) -> Gate:
        """The gate in another state. Permits given before are worth nothing there."""
        return Gate(
            state=state,
            since=now,
            epoch=self.epoch + 1,
            rests=self.rests if state in RESTING else 0,
        )

    def resumed(self, recovery: Recovery, *, now: float) -> Gate:
        """A gate kept by an earlier process. Nobody of that process will bring a permit back."""
        return Gate(
            state=self.state,
            since=min(self.since, now),
            retry_at=min(self.retry_at, now + recovery.longest_wait_seconds),
            rests=self.rests,
        )

    def _has_permits(self, recovery: Recovery) -> bool:
        return self.state is BreakerState.HALF_OPEN and self.taken < recovery.probes

    def _admits_anew(self, recovery: Recovery, now: float) -> bool:
        """Whether the rest is over, or the probes are lost."""
        if self.state is BreakerState.OPEN:
            # A clock that was set back must not prolong a rest.
            return not self.since <= now < self.retry_at
        return self.state is BreakerState.HALF_OPEN and now - self.taken_at >= recovery.probe_wait_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """What is kept of one engine's breakers over a restart: the gates for its `calls` and for its `answers`."""

    calls: Gate
    answers: Gate


@dataclass(frozen=True, slots=True)
class Tally:
    """A number of calls, and how many of them failed or were slow."""

    calls: int = 0
    failed: int = 0
    slow: int = 0

    def plus(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(self.calls + other.calls, self.failed + other.failed, self.slow + other.slow)


class Window(Protocol):
    """The calls that count."""

    @property
    def total(self) -> Tally:
        """All calls in it, as of the last change."""

    @property
    def most(self) -> float:
        """It never holds more calls."""

    def add(self, call: Tally, *, now: float) -> Window:
        """The window with one more call."""

    def at(self, now: float) -> Window:
        """The window without what has left it by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeWindow:
    """The calls of the last `seconds`, in BUCKETS parts, each with its number counted from 1970.

    It forgets a part as a whole, so that calls leave it up to one part of it too early.
    """

    seconds: float
    buckets: tuple[tuple[int, Tally], ...] = ()
    total: Tally = Tally()
    most: ClassVar[float] = float("inf")

    def add(self, call: Tally, *, now: float) -> TimeWindow:
        """The window with one more call."""
        number = self._number(now)
        if self.buckets and self.buckets[-1][0] == number:
            *before, (_, tally) = self.buckets
            total = self.total.plus(call)
        else:
            window = self.at(now)
            before, tally = list(window.buckets), Tally()
            total = window.total.plus(call)
        return TimeWindow(seconds=self.seconds, buckets=(*before, (number, tally.plus(call))), total=total)

    def at(self, now: float) -> TimeWindow:
        """The window without what has left it by then, and without what a clock since set back made future."""
        number = self._number(now)
        buckets = tuple(bucket for bucket in self.buckets if number - BUCKETS < bucket[0] <= number)
        total = Tally()
        for _, tally in buckets:
            total = total.plus(tally)
        return TimeWindow(seconds=self.seconds, buckets=buckets, total=total)

    def _number(self, now: float) -> int:
        return int(now * BUCKETS // self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountWindow:
    """The last `size` calls; one bit tells of each whether it failed, another one whether it was slow."""

    size: int
    calls: int = 0
    failed: int = 0
    slow: int = 0

    @property
    def total(self) -> Tally:
        """All calls in it."""
        return Tally(self.calls, self.failed.bit_count(), self.slow.bit_count())

    @property
    def most(self) -> float:
        """It never holds more calls."""
        return self.size

    def add(self, call: Tally, *, now: float) -> CountWindow:
        """The window with one more call."""
        all_bits = (1 << self.size) - 1
        return CountWindow(
            size=self.size,
            calls=min(self.calls + 1, self.size),
            failed=(self.failed << 1 | call.failed) & all_bits,
            slow=(self.slow << 1 | call.slow) & all_bits,
        )

    def at(self, now: float) -> CountWindow:
        """The same: no call leaves it by itself."""
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRules:
    """When a breaker opens: on so many failures in a row, or on too large a share of failed or slow calls.

    Shares count from `minimum_calls` in the `window` on. Calls are slow that take longer than `slow_call_seconds`. The
    window here is an empty one to start from. `initial` is CLOSED, or METRICS_ONLY for a breaker that only measures.
    """

    consecutive_failures: int | None = 3
    failure_percent: float = 50.0
    slow_percent: float = 80.0
    slow_call_seconds: float = 30.0
    minimum_calls: int = 10
    window: Window = TimeWindow(seconds=600.0)
    recovery: Recovery = Recovery()
    initial: BreakerState = BreakerState.CLOSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a breaker has measured. The shares are in percent, None while there are too few calls to tell."""

    calls: int
    failed: int
    slow: int
    failure_percent: float | None
    slow_percent: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """Opens on failed and slow calls.

    `consecutive` are the failures since the last success. `held` tells that it would open but must not, because it
    only measures or because calls have nowhere else to go.
    """

    rules: BreakerRules
    gate: Gate
    window: Window
    consecutive: int = 0
    held: bool = False

    @staticmethod
    def new(rules: BreakerRules, *, now: float) -> Breaker:
        """A breaker that has seen nothing yet."""
        return Breaker(rules=rules, gate=Gate(state=rules.initial, since=now), window=rules.window)

    @staticmethod
    def resumed(rules: BreakerRules, gate: Gate, *, now: float) -> Breaker:
        """A breaker that goes on where an earlier process left it (`to_keep`). What that one had counted is gone."""
        if gate.state in RESTING and rules.initial is BreakerState.METRICS_ONLY:
            return Breaker.new(rules, now=now)
        if gate.state is BreakerState.CLOSED:
            gate = replace(gate, state=rules.initial)
        gate = gate.resumed(rules.recovery, now=now)
        return Breaker(rules=rules, gate=gate, window=_window(rules, gate.state))

    def admit(self, *, now: float) -> tuple[Breaker, int | None]:
        """The breaker after a call asked to pass, and the call's permit, None when it may not."""
        gate, permit = self.gate.admit(self.rules.recovery, now=now)
        if gate is self.gate:
            return self, permit
        if gate.epoch != self.gate.epoch:
            return Breaker(rules=self.rules, gate=gate, window=_window(self.rules, gate.state)), permit
        return replace(self, gate=gate), permit

    def succeeded(self, permit: int, seconds: float, *, now: float, jitter: float, may_open: bool = True) -> Breaker:
        """The breaker after a call went well. `may_open` tells whether calls have somewhere else to go."""
        if not self._counts(permit):
            return self
        call = Tally(1, 0, int(seconds > self.rules.slow_call_seconds))
        return self._after(call, 0, now=now, jitter=jitter, may_open=may_open)

    def failed(self, permit: int, seconds: float, *, now: float, jitter: float, may_open: bool = True) -> Breaker:
        """The breaker after a call went wrong. `may_open` tells whether calls have somewhere else to go."""
        if not self._counts(permit):
            return self
        call = Tally(1, 1, int(seconds > self.rules.slow_call_seconds))
        return self._after(call, self.consecutive + 1, now=now, jitter=jitter, may_open=may_open)

    def abandoned(self, permit: int) -> Breaker:
        """The breaker after a call that says nothing about the engine: somebody stopped it, or it was not made."""
        gate = self.gate.release(permit)
        return self if gate is self.gate else replace(self, gate=gate)

    def forced(self, state: BreakerState, *, now: float, wait_seconds: float | None = None) -> Breaker:
        """The breaker as a person sets it. CLOSED is METRICS_ONLY for a breaker that only measures.

        OPEN lasts `wait_seconds`, without them as long as any first rest.
        """
        state = self.rules.initial if state is BreakerState.CLOSED else state
        gate = self.gate.moved(state, now=now)
        if state is BreakerState.OPEN:
            wait = self.rules.recovery.recovery_seconds if wait_seconds is None else wait_seconds
            return Breaker(
                rules=self.rules, gate=replace(gate, retry_at=now + wait, rests=1), window=self.window.at(now)
            )
        return Breaker(rules=self.rules, gate=gate, window=_window(self.rules, state))

    def kept_closed(self, *, now: float) -> Breaker:
        """The breaker as it must be while calls have nowhere else to go."""
        return replace(self.forced(BreakerState.CLOSED, now=now), held=True)

    def reading(self, *, now: float) -> Reading:
        """What it has measured; while it is open, what opened it."""
        window = self.window if self.gate.state is BreakerState.OPEN else self.window.at(now)
        total = window.total
        enough = total.calls >= min(self.rules.minimum_calls, window.most)
        return Reading(
            calls=total.calls,
            failed=total.failed,
            slow=total.slow,
            failure_percent=100 * total.failed / total.calls if enough else None,
            slow_percent=100 * total.slow / total.calls if enough else None,
        )

    @property
    def to_keep(self) -> Gate:
        """The gate for a later process, which may have other rules: it only measures because of them, not of these."""
        gate = self.gate
        return replace(gate, state=BreakerState.CLOSED) if gate.state is self.rules.initial else gate

    def _counts(self, permit: int) -> bool:
        return permit == self.gate.epoch and self.gate.state in _COUNTING

    def _after(self, call: Tally, consecutive: int, *, now: float, jitter: float, may_open: bool) -> Breaker:
        window = self.window.add(call, now=now)
        total = window.total
        is_bad = self._is_bad(total, consecutive, window.most)
        if self.gate.state is BreakerState.HALF_OPEN:
            counted = Breaker(rules=self.rules, gate=self.gate, window=window, consecutive=consecutive)
            return counted._judged(total, is_bad, now=now, jitter=jitter, may_open=may_open)
        if is_bad and may_open and self.gate.state is BreakerState.CLOSED:
            gate = self.gate.opened(self.rules.recovery, now=now, jitter=jitter)
            return Breaker(rules=self.rules, gate=gate, window=window, consecutive=consecutive)
        return Breaker(rules=self.rules, gate=self.gate, window=window, consecutive=consecutive, held=is_bad)

    def _judged(self, total: Tally, is_bad: bool, *, now: float, jitter: float, may_open: bool) -> Breaker:
        """A half-open breaker after one more probe: all of them decide."""
        if total.calls < self.rules.recovery.probes:
            return self
        if not is_bad:
            return self.forced(BreakerState.CLOSED, now=now)
        if not may_open:
            return self.kept_closed(now=now)
        return replace(self, gate=self.gate.opened(self.rules.recovery, now=now, jitter=jitter))

    def _is_bad(self, total: Tally, consecutive: int, most: float) -> bool:
        rules = self.rules
        if rules.consecutive_failures is not None and consecutive >= rules.consecutive_failures:
            return True
        if total.calls < min(rules.minimum_calls, most):
            return False
        return (
            100 * total.failed >= rules.failure_percent * total.calls
            or 100 * total.slow >= rules.slow_percent * total.calls
        )


def _window(rules: BreakerRules, state: BreakerState) -> Window:
    """An empty window: probes are counted one by one, whenever they come."""
    return CountWindow(size=rules.recovery.probes) if state is BreakerState.HALF_OPEN else rules.window


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityRules:
    """When a quality breaker opens: the mean score of the last `answers` is under `threshold` (both 0 to 1)."""

    threshold: float
    answers: int = 10
    recovery: Recovery = Recovery()


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityBreaker:
    """Opens on bad answers. `scores` are those of the last answers, None for an answer that could not be scored.

    An answer without a score takes its place in the window like any other. Where half of the answers or more have none,
    nothing can be said: a closed breaker stays closed, a half-open one admits new probes.
    """

    rules: QualityRules
    gate: Gate
    scores: tuple[float | None, ...] = ()

    @staticmethod
    def new(rules: QualityRules, *, now: float) -> QualityBreaker:
        """A breaker that has seen nothing yet."""
        return QualityBreaker(rules=rules, gate=Gate(state=BreakerState.CLOSED, since=now))

    @staticmethod
    def resumed(rules: QualityRules, gate: Gate, *, now: float) -> QualityBreaker:
        """A breaker that goes on where an earlier process left it. The scores of that one are gone."""
        return QualityBreaker(rules=rules, gate=gate.resumed(rules.recovery, now=now))

    def admit(self, *, now: float) -> tuple[QualityBreaker, int | None]:
        """The breaker after a call asked to pass, and the call's permit, None when it should not."""
        gate, permit = self.gate.admit(self.rules.recovery, now=now)
        if gate is self.gate:
            return self, permit
        if gate.epoch != self.gate.epoch:
            return QualityBreaker(rules=self.rules, gate=gate), permit
        return replace(self, gate=gate), permit

    def abandoned(self, permit: int) -> QualityBreaker:
        """The breaker after a call that gave no answer."""
        gate = self.gate.release(permit)
        return self if gate is self.gate else replace(self, gate=gate)

    def scored(self, score: float | None, *, now: float, jitter: float) -> QualityBreaker:
        """The breaker after an answer was scored, or could not be."""
        if self.gate.state not in _COUNTING:
            return self
        probing = self.gate.state is BreakerState.HALF_OPEN
        wanted = self.rules.recovery.probes if probing else self.rules.answers
        counted = replace(self, scores=(*self.scores, score)[-wanted:])
        mean = counted.mean
        if len(counted.scores) < wanted or (mean is None and not probing):
            return counted
        if mean is None:
            return self._moved(BreakerState.HALF_OPEN, now=now)
        if mean < self.rules.threshold:
            return replace(counted, gate=self.gate.opened(self.rules.recovery, now=now, jitter=jitter))
        return self._moved(BreakerState.CLOSED, now=now) if probing else counted

    @property
    def mean(self) -> float | None:
        """The mean score of the last answers; None where half of them or more have no score."""
        scores = [score for score in self.scores if score is not None]
        return fmean(scores) if 2 * len(scores) > len(self.scores) else None

    def _moved(self, state: BreakerState, *, now: float) -> QualityBreaker:
        return QualityBreaker(rules=self.rules, gate=self.gate.moved(state, now=now))
