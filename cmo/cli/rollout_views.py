"""How `cmo rollout` shows plans, where a rollout stands, and what happened to it: to people, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.table import Table
from rich.text import Text

from cmo.cli.flag_views import DRY
from cmo.cli.output import out, print_json, printable, say
from cmo.policy.flags import MAIN_ROLLOUT
from cmo.policy.gates import Finding, GateResult, GateVerdict, Role, limit_words
from cmo.policy.rollout import Event, Hold, Phase, RolloutState, gates_of
from cmo.policy.rollout_documents import plan_document
from cmo.policy.rollout_plan import HOUR_SECONDS, RolloutPlan
from cmo.storage.breakers import SqlBreakerStore
from cmo.storage.database import Database
from cmo.storage.leases import Lease
from cmo.storage.rollouts import AUTHOR, ENGINE, LEASE_SECONDS, UNDER_WAY, Rollout, SqlRollouts


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A rollout, what happened to it last, who looked at it last, and the rests of the engine's breaker in a row."""

    rollout: Rollout
    event: Event
    lease: Lease | None
    breaker_rests: int
    now: datetime

    @property
    def gates(self) -> tuple[GateResult, ...]:
        """What the gates say of this stage so far."""
        return gates_of(self.rollout.state, breaker_rests=self.breaker_rests)

    @property
    def is_watched(self) -> bool:
        """Whether a process is looking at it."""
        if self.rollout.is_over or self.lease is None:
            return False
        return abs(self.now - _last_look(self.lease)) < timedelta(seconds=LEASE_SECONDS)


async def standing_in(database: Database) -> Standing | None:
    """Where the latest rollout stands; None when there never was one.

    Raises:
        OracleError: it cannot be read.
    """
    store = SqlRollouts(database)
    found = await store.current()
    if found is None:
        return None
    (event,) = await store.events(found.id, limit=1)
    kept = (await SqlBreakerStore(database).load()).get(ENGINE)
    return Standing(
        rollout=found,
        event=event,
        lease=await store.lease(),
        breaker_rests=kept.calls.rests if kept else 0,
        now=datetime.now(UTC),
    )


# plans


def timetable(plan: RolloutPlan) -> list[dict[str, object]]:
    """When each stage can begin at the earliest, in hours from the start, and after how many answers of the engine."""
    rows: list[dict[str, object]] = []
    seconds, answers = 0.0, 0
    for number, stage in enumerate(plan.stages, start=1):
        rows.append(
            {
                "stage": number,
                "percentage": stage.percentage,
                "earliest_hours": seconds / HOUR_SECONDS,
                "answers_before": answers,
                "approval_before": number > 1 and plan.stages[number - 2].needs_approval,
            }
        )
        seconds += stage.minimum_seconds
        answers += stage.minimum_answers
    return rows


def plan_as_json(plan: RolloutPlan) -> dict[str, Any]:
    """A plan with its timetable; the timetable is passed over where a plan is read."""
    return {**plan_document(plan), "timetable": timetable(plan)}


def print_plan(plan: RolloutPlan) -> None:
    """A plan for people."""
    table = Table(
        "stage", "share", "begins at the earliest", "lasts at least", "approval", box=None, header_style="bold"
    )
    for row, stage in zip(timetable(plan), plan.stages, strict=True):
        is_last = stage is plan.stages[-1]
        table.add_row(
            str(row["stage"]),
            f"{stage.percentage:g} %",
            f"after {row['earliest_hours']:g} h and {row['answers_before']:,} answers",
            "-" if is_last else f"{stage.minimum_seconds / HOUR_SECONDS:g} h and {stage.minimum_answers:,} answers",
            "needed to go on" if stage.needs_approval else "",
        )
    out.print(table)
    for role, what in _ROLES.items():
        limits = [limit_words(criterion) for criterion in plan.criteria if criterion.role is role]
        if limits:
            say(f"{what}: {'; '.join(limits)}.")
    if plan.matched_control:
        say("Until the last stage half of each share is kept from the new engine, for comparison.")
    say("A stage also needs its averages within all limits. Without traffic, or without a reading, it holds.")


_ROLES = {Role.GUARDRAIL: "Rolled back on evidence against", Role.SIGNAL: "Held on evidence against"}


# changes


def tell(rollout: Rollout, *, dry_run: bool, as_json: bool) -> None:
    """Tell what a change has made, or would make, of a rollout."""
    if as_json:
        print_json({"dry_run": dry_run, **_rollout_as_json(rollout)})
    else:
        say(f"{DRY if dry_run else ''}{where(rollout)}")


def where(rollout: Rollout) -> str:
    """A rollout in one sentence."""
    state = rollout.state
    stage = f"stage {state.stage + 1} of {len(state.plan.stages)}, {state.percentage:g} %"
    return f"Rollout {rollout.id} is {_said(state.phase)}: {stage}."


# where it stands


def print_standing(standing: Standing) -> None:
    """Where a rollout stands, for people."""
    rollout, state = standing.rollout, standing.rollout.state
    say(where(rollout))
    say(f"Plan: {state.plan.strategy}. Started: {_shown(rollout.started_at)}.")
    event = standing.event
    say(f"Last: {_said(event.kind)}, {_shown(_time(event.at))}, by {event.by or AUTHOR}. {event.words}")
    if state.phase is not Phase.ROLLED_BACK:
        say(f"The time of this stage counts from {_shown(_time(state.since))}.")
    if state.phase in UNDER_WAY:
        say(f"Answers in this stage: {state.answers:,} of {state.plan.stages[state.stage].minimum_answers:,} needed.")
    if state.phase is not Phase.ROLLED_BACK:
        out.print(_gates_table(standing.gates))
    if state.holds:
        say(f"It does not move on yet: {'; '.join(map(hold_words, state.holds))}.", style="yellow")
    if state.phase in UNDER_WAY:
        say(_next_words(standing))
    for remark in remarks(standing):
        say(remark, style="yellow")
    if state.phase is Phase.COMPLETED and rollout.overruled:
        say("Its flag was changed since, so that it is watched no more.")
    if standing.is_watched and standing.lease is not None:
        say(f"Watched by {standing.lease.owner}, last look {_shown(_last_look(standing.lease))}.")


def _gates_table(gates: Iterable[GateResult]) -> Table:
    table = Table("limit", "reading", "values", "verdict", box=None, header_style="bold")
    for gate in gates:
        table.add_row(
            limit_words(gate.criterion),
            "-" if gate.value is None else gate.reading,
            f"{gate.values:,}" if gate.values else "",
            Text(_verdict(gate), style="" if gate.verdict is GateVerdict.PASS else "yellow"),
        )
    return table


def _verdict(gate: GateResult) -> str:
    if gate.finding is Finding.WITHIN:
        return gate.verdict.value
    return f"{gate.verdict.value} ({gate.finding.replace('_', ' ')})"


def hold_words(hold: Hold) -> str:
    """What holds a rollout."""
    return _HOLDS[hold]


_HOLDS = {
    Hold.TIME: "its time is not over",
    Hold.SAMPLE: "there are too few answers",
    Hold.NO_TRAFFIC: "there is no traffic",
    Hold.INCONCLUSIVE: "a gate is inconclusive",
    Hold.NO_READING: "a gate has no reading",
    Hold.SIGNAL: "a signal has failed",
}


def _next_words(standing: Standing) -> str:
    state = standing.rollout.state
    share = f"Next: {state.plan.stages[state.stage + 1].percentage:g} %"
    if state.phase is Phase.WAITING:
        return f"{share}, when somebody approves it: `cmo rollout approve`."
    if state.phase is Phase.PAUSED:
        return f"{share}, not before it is resumed: `cmo rollout resume`."
    conditions = [f"at the earliest {_shown(_earliest(state))}"]
    if missing := _answers_missing(state):
        conditions.append(f"after {missing:,} more answers")
    if _needs_approval(state):
        conditions.append("with approval")
    return f"{share}, {', '.join(conditions)}, if all gates pass."


def _next_as_json(state: RolloutState) -> dict[str, Any]:
    return {
        "percentage": state.plan.stages[state.stage + 1].percentage,
        "not_before": None if state.phase is Phase.PAUSED else _earliest(state).isoformat(),
        "answers_missing": _answers_missing(state),
        "needs_approval": _needs_approval(state),
    }


def _answers_missing(state: RolloutState) -> int:
    return max(0, state.plan.stages[state.stage].minimum_answers - state.answers)


def _needs_approval(state: RolloutState) -> bool:
    return state.plan.stages[state.stage].needs_approval and not state.approved


def _earliest(state: RolloutState) -> datetime:
    return _time(state.since) + timedelta(seconds=state.plan.stages[state.stage].minimum_seconds)


def remarks(standing: Standing) -> list[str]:
    """What somebody should look at; nothing when it is over."""
    if standing.rollout.is_over:
        return []
    found = []
    if standing.rollout.overruled:
        found.append(f"Somebody has changed its flag: `cmo flags history {MAIN_ROLLOUT}` tells who and why.")
    if not standing.is_watched:
        found.append("No process is looking at it, so that it neither moves nor rolls back: is the server running?")
    return found


def standing_as_json(standing: Standing) -> dict[str, Any]:
    """Where a rollout stands, for programs."""
    rollout, state, lease = standing.rollout, standing.rollout.state, standing.lease
    return {
        **_rollout_as_json(rollout),
        "answers": state.answers,
        "answers_needed": state.plan.stages[state.stage].minimum_answers,
        "gates": [*map(_gate_as_json, standing.gates)],
        "last_event": event_as_json(standing.event),
        "holds": [hold.value for hold in state.holds],
        "next": _next_as_json(state) if state.phase in UNDER_WAY else None,
        "overruled": rollout.overruled,
        "watched_by": lease.owner if lease is not None and standing.is_watched else None,
        "last_look": _last_look(lease).isoformat() if lease is not None else None,
    }


def _rollout_as_json(rollout: Rollout) -> dict[str, Any]:
    state = rollout.state
    return {
        "id": rollout.id,
        "phase": state.phase.value,
        "stage": state.stage + 1,
        "stages": len(state.plan.stages),
        "percentage": state.percentage,
        "started_at": rollout.started_at.isoformat(),
        "since": _time(state.since).isoformat(),
        **plan_document(state.plan),
    }


def _gate_as_json(gate: GateResult) -> dict[str, Any]:
    return {
        "measure": gate.criterion.measure.value,
        "role": gate.criterion.role.value,
        "limit": gate.criterion.limit,
        "value": gate.value,
        "control": gate.control,
        "values": gate.values,
        "evidence": gate.evidence,
        "finding": gate.finding.value,
        "verdict": gate.verdict.value,
    }


# what happened


def events_table(events: Iterable[Event]) -> Table:
    """Events, each with what it was decided on."""
    table = Table("when", "what", "stage", "share", "who", "why", box=None, header_style="bold")
    for event in events:
        readings = ", ".join(f"{gate.reading} ({_verdict(gate)})" for gate in event.gates)
        table.add_row(
            f"{_time(event.at):%Y-%m-%d %H:%M:%S}",
            _said(event.kind),
            str(event.stage + 1),
            f"{event.percentage:g} %",
            Text(printable(event.by or AUTHOR)),
            Text(printable(f"{event.words}\n{readings}" if readings else event.words)),
        )
    return table


def event_as_json(event: Event) -> dict[str, Any]:
    """An event whole."""
    return {
        "at": _time(event.at).isoformat(),
        "kind": event.kind.value,
        "stage": event.stage + 1,
        "percentage": event.percentage,
        "author": event.by or AUTHOR,
        "words": event.words,
        "gates": [*map(_gate_as_json, event.gates)],
    }


def _last_look(lease: Lease) -> datetime:
    return lease.until - timedelta(seconds=LEASE_SECONDS)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _shown(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def _said(name: str) -> str:
    return name.replace("_", " ")
