"""Rollouts: the share of people a new engine gets, raised stage by stage as long as it does well.

    RUNNING ──gates pass──> next stage ... ──> COMPLETED
       ├──approval needed──> WAITING ──approve──> RUNNING
       └──pause──> PAUSED ──resume──> RUNNING           from all of them ──a guardrail fails, a person──> ROLLED_BACK

Pure: `step` takes the state, what was observed since, and the time, and gives the next state with what happened.
Restarts and late looks do no harm: a step moves on by one stage at most, times are compared and never waited for, and
observations are numbered, so that none counts twice. Guardrails are judged at each step, also while a rollout is
paused, waits, or is complete. Without traffic nothing moves, in neither direction.

It refuses to know where states are kept, and how people are assigned to a share. `now` is seconds since 1970 in UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from cmo.policy.gates import (
    GateResult,
    GateVerdict,
    Observed,
    Readings,
    Role,
    Track,
    is_broken,
    judged,
    tracked,
)
from cmo.policy.rollout_plan import HOUR_SECONDS, RolloutPlan


class Phase(StrEnum):
    """Where a rollout stands."""

    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    COMPLETED = "completed"
    ROLLED_BACK = "rolled_back"


class EventKind(StrEnum):
    """What happened to a rollout."""

    STARTED = "started"
    ADVANCED = "advanced"
    COMPLETED = "completed"
    HELD = "held"
    WAITING = "waiting"
    APPROVED = "approved"
    PAUSED = "paused"
    RESUMED = "resumed"
    ROLLED_BACK = "rolled_back"
    EMERGENCY = "emergency"
    REFUSED = "refused"


class Hold(StrEnum):
    """Why a stage does not end yet. The first two are in the plan; the others are told when they begin."""

    TIME = "time"
    SAMPLE = "sample"
    NO_TRAFFIC = "no_traffic"
    INCONCLUSIVE = "inconclusive"
    NO_READING = "no_reading"
    SIGNAL = "signal"


QUIET_AGAIN_SECONDS = 24 * HOUR_SECONDS
"""Somebody is told once in so long that there is no traffic: where little is asked, each quiet hour would begin it."""

ORDINARY = frozenset({Hold.TIME, Hold.SAMPLE})
"""Holds that need nobody's attention."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutState:
    """Where a rollout stands: in `stage`, counted from 0, since `since` with so many `answers`.

    `quiet_told_at` is when somebody was last told that there is no traffic, 0 for never.

    `tracks` belong to the plan's criteria, in their order. `seen` is the number of the last observation counted.
    `approved` tells that this stage may end. `paused_at` is None when it is not paused. Time spent paused counts for no
    stage.
    """

    plan: RolloutPlan
    phase: Phase
    since: float
    tracks: tuple[Track, ...]
    stage: int = 0
    answers: int = 0
    seen: int = 0
    last_answer_at: float
    holds: tuple[Hold, ...] = ()
    quiet_told_at: float = 0.0
    approved: bool = False
    paused_at: float | None = None

    @property
    def percentage(self) -> float:
        """The share of people who get the new engine, or may be its matched control, 0 to 100."""
        return 0.0 if self.phase is Phase.ROLLED_BACK else self.plan.stages[self.stage].percentage


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, with what it was decided on. `by` is the person who wanted it, None for the rollout."""

    kind: EventKind
    at: float
    stage: int
    percentage: float
    words: str
    by: str | None = None
    gates: tuple[GateResult, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A state, and what led to it."""

    state: RolloutState
    events: tuple[Event, ...] = ()


def started(plan: RolloutPlan, *, now: float) -> RolloutState:
    """A rollout in its first stage, which is complete at once when that is the last one."""
    return RolloutState(
        plan=plan,
        phase=Phase.RUNNING if plan.last else Phase.COMPLETED,
        since=now,
        tracks=(Track(),) * len(plan.criteria),
        last_answer_at=now,
    )


def step(state: RolloutState, readings: Readings, *, now: float) -> Step:
    """The rollout after a look at it."""
    if state.phase is Phase.ROLLED_BACK:
        return Step(state=state)
    state = _observing(_in_time(state, now), readings, now)
    if _is_broken(state, readings):
        gates = gates_of(state, breaker_rests=readings.breaker_rests)
        broken = _joined(gate for gate in gates if _has_failed(gate))
        return _rolled_back(state, EventKind.ROLLED_BACK, broken, now, gates=gates)
    if state.phase not in _MOVING:
        return Step(state=state)
    not_due = _not_due(state, now)
    if not_due:
        return _held(state, not_due, (), now)
    gates = gates_of(state, breaker_rests=readings.breaker_rests)
    holds = _holds_of(gates)
    if holds:
        return _held(state, holds, gates, now)
    if state.plan.stages[state.stage].needs_approval and not state.approved:
        return _awaiting(state, gates, now)
    return _advanced(state, gates, now)


def pause(state: RolloutState, *, by: str, reason: str, now: float) -> Step:
    """The rollout at rest in its stage: it keeps its share, and only guardrails and people move it."""
    if state.phase not in _MOVING:
        return _refused(state, f"It cannot be paused: it is {_said(state.phase)}.", by, now)
    paused = replace(state, phase=Phase.PAUSED, paused_at=now, holds=())
    return _with_event(paused, EventKind.PAUSED, reason, now, by=by)


def resume(state: RolloutState, *, by: str, reason: str, now: float) -> Step:
    """The rollout after a pause, in the same stage, with as much of its time left as when it was paused."""
    if state.paused_at is None:
        return _refused(state, f"It cannot be resumed: it is {_said(state.phase)}.", by, now)
    since = state.since + max(0.0, now - state.paused_at)
    running = replace(state, phase=Phase.RUNNING, paused_at=None, since=since)
    return _with_event(running, EventKind.RESUMED, reason, now, by=by)


def approve(state: RolloutState, *, by: str, reason: str, now: float) -> Step:
    """The rollout with leave to go on. The next step still looks at the gates."""
    if state.phase is not Phase.WAITING:
        return _refused(state, f"There is nothing to approve: it is {_said(state.phase)}.", by, now)
    approved = replace(state, phase=Phase.RUNNING, approved=True)
    return _with_event(approved, EventKind.APPROVED, reason, now, by=by)


def roll_back(state: RolloutState, *, by: str, reason: str, now: float) -> Step:
    """The rollout at 0 % for good; another try is another rollout."""
    if state.phase is Phase.ROLLED_BACK:
        return _refused(state, "It is rolled back already.", by, now)
    return _rolled_back(state, EventKind.ROLLED_BACK, reason, now, by=by)


def emergency(state: RolloutState, *, by: str, reason: str, now: float) -> Step:
    """The rollout at 0 % for good, whatever it was; asking for it twice is not refused."""
    if state.phase is Phase.ROLLED_BACK:
        return Step(state=state)
    return _rolled_back(state, EventKind.EMERGENCY, reason, now, by=by)


def gates_of(state: RolloutState, *, breaker_rests: int | None) -> tuple[GateResult, ...]:
    """What the gates say of this stage so far; see Readings about the breaker's rests."""
    return tuple(
        judged(track, criterion, breaker_rests=breaker_rests)
        for track, criterion in zip(state.tracks, state.plan.criteria, strict=True)
    )


def told_holds(state: RolloutState) -> tuple[Hold, ...]:
    """The holds that somebody should know of."""
    return tuple(hold for hold in state.holds if hold not in ORDINARY)


_MOVING = frozenset({Phase.RUNNING, Phase.WAITING})


def _in_time(state: RolloutState, now: float) -> RolloutState:
    """The state without times to come: where a clock was set back, a stage would last until they have come."""
    if max(state.since, state.last_answer_at, state.quiet_told_at) <= now:
        return state
    return replace(
        state,
        since=min(state.since, now),
        last_answer_at=min(state.last_answer_at, now),
        quiet_told_at=min(state.quiet_told_at, now),
    )


def _observing(state: RolloutState, readings: Readings, now: float) -> RolloutState:
    if not readings.exposed and not readings.control:
        return state
    exposed, control = _unseen(readings.exposed, state.seen), _unseen(readings.control, state.seen)
    if not exposed and not control:
        return state
    answers = sum(each.failed is not None for each in exposed)
    tracks = [
        tracked(track, criterion, exposed, control)
        for track, criterion in zip(state.tracks, state.plan.criteria, strict=True)
    ]
    return replace(
        state,
        tracks=tuple(tracks),
        answers=state.answers + answers,
        seen=max(each[-1].number for each in (exposed, control) if each),
        last_answer_at=now if answers else state.last_answer_at,
    )


def _unseen(observed: Sequence[Observed], seen: int) -> list[Observed]:
    """What has not been counted yet, in the order of the numbers, each once."""
    fresh = {each.number: each for each in observed if each.number > seen}
    return [fresh[number] for number in sorted(fresh)]


def _is_broken(state: RolloutState, readings: Readings) -> bool:
    for track, criterion in zip(state.tracks, state.plan.criteria, strict=True):
        if is_broken(track, criterion, breaker_rests=readings.breaker_rests):
            return True
    return False


def _has_failed(gate: GateResult) -> bool:
    return gate.verdict is GateVerdict.FAIL and gate.criterion.role is Role.GUARDRAIL


def _not_due(state: RolloutState, now: float) -> tuple[Hold, ...]:
    """Why it is too early to look at the gates. A stage that is due still waits for traffic when that has stopped."""
    stage = state.plan.stages[state.stage]
    holds = []
    if now - state.since < stage.minimum_seconds:
        holds.append(Hold.TIME)
    if state.answers < stage.minimum_answers:
        holds.append(Hold.SAMPLE)
    is_waiting = state.phase is Phase.WAITING  # for a person, who may come in a quiet hour
    if not is_waiting and now - state.last_answer_at >= state.plan.quiet_seconds:
        holds.append(Hold.NO_TRAFFIC)
    return tuple(holds)


def _holds_of(gates: Sequence[GateResult]) -> tuple[Hold, ...]:
    verdicts = {gate.verdict for gate in gates}
    return tuple(hold for hold, verdict in _HELD_BY.items() if verdict in verdicts)


_HELD_BY = {
    Hold.INCONCLUSIVE: GateVerdict.INCONCLUSIVE,
    Hold.NO_READING: GateVerdict.ERROR,
    Hold.SIGNAL: GateVerdict.FAIL,
}


def _held(state: RolloutState, holds: tuple[Hold, ...], gates: tuple[GateResult, ...], now: float) -> Step:
    begun = [hold for hold in holds if hold not in ORDINARY and hold not in state.holds]
    if Hold.NO_TRAFFIC in begun:
        if now - state.quiet_told_at < QUIET_AGAIN_SECONDS:
            begun.remove(Hold.NO_TRAFFIC)
        else:
            state = replace(state, quiet_told_at=now)
    if holds != state.holds or state.phase is not Phase.RUNNING:
        state = replace(state, phase=Phase.RUNNING, holds=holds)
    if not begun:
        return Step(state=state)
    words = " ".join(_hold_words(state, hold, gates) for hold in begun)
    return _with_event(state, EventKind.HELD, words, now, gates=gates)


def _hold_words(state: RolloutState, hold: Hold, gates: Sequence[GateResult]) -> str:
    if hold is Hold.NO_TRAFFIC:
        return f"No answers for {state.plan.quiet_seconds / HOUR_SECONDS:g} h: nothing can be told."
    return _joined(gate for gate in gates if gate.verdict is _HELD_BY[hold])


def _awaiting(state: RolloutState, gates: tuple[GateResult, ...], now: float) -> Step:
    if state.phase is Phase.WAITING:
        return Step(state=state)
    waiting = replace(state, phase=Phase.WAITING, holds=())
    words = f"Ready for {state.plan.stages[state.stage + 1].percentage:g} %; somebody has to approve it."
    return _with_event(waiting, EventKind.WAITING, words, now, gates=gates)


def _advanced(state: RolloutState, gates: tuple[GateResult, ...], now: float) -> Step:
    stage = state.stage + 1
    is_last = stage == state.plan.last
    moved = replace(
        state,
        phase=Phase.COMPLETED if is_last else Phase.RUNNING,
        stage=stage,
        since=now,
        answers=0,
        tracks=tuple(track.in_next_stage() for track in state.tracks),
        holds=(),
        approved=False,
    )
    kind = EventKind.COMPLETED if is_last else EventKind.ADVANCED
    return _with_event(moved, kind, f"From {state.percentage:g} % to {moved.percentage:g} %.", now, gates=gates)


def _rolled_back(
    state: RolloutState,
    kind: EventKind,
    words: str,
    now: float,
    *,
    by: str | None = None,
    gates: tuple[GateResult, ...] = (),
) -> Step:
    ended = replace(state, phase=Phase.ROLLED_BACK, holds=(), approved=False, paused_at=None)
    return _with_event(ended, kind, words, now, by=by, gates=gates)


def _said(phase: Phase) -> str:
    return phase.replace("_", " ")


def _refused(state: RolloutState, words: str, by: str, now: float) -> Step:
    return _with_event(state, EventKind.REFUSED, words, now, by=by)


def _with_event(
    state: RolloutState,
    kind: EventKind,
    words: str,
    now: float,
    *,
    by: str | None = None,
    gates: tuple[GateResult, ...] = (),
) -> Step:
    event = Event(kind=kind, at=now, stage=state.stage, percentage=state.percentage, words=words, by=by, gates=gates)
    return Step(state=state, events=(event,))


def _joined(gates: Iterable[GateResult]) -> str:
    return " ".join(gate.words for gate in gates)
