"""Rollouts in the application's database, and the flag they move: both change together or not at all.

Every change is one transaction: whose turn it is, what the state is, what was measured since, what the rules make of
it (policy/rollout.py), the state, the events and the flag. So a process that is killed leaves stage, share and history
in agreement, and of many processes one acts. When to look, and what the time is, is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa

from cmo.errors import OracleError
from cmo.policy.flags import CONTROL, MAIN_ROLLOUT, FeatureFlag, FlagStatus
from cmo.policy.gates import Readings
from cmo.policy.rollout import (
    Event,
    EventKind,
    Phase,
    RolloutState,
    Step,
    approve,
    emergency,
    pause,
    resume,
    roll_back,
    started,
    step,
)
from cmo.policy.rollout_documents import gates_from, gates_text, state_from, state_text
from cmo.policy.rollout_plan import RolloutPlan
from cmo.storage.columns import UtcTime
from cmo.storage.database import Database, as_unavailable
from cmo.storage.exposures import last_measurement, seen_since
from cmo.storage.flags import LONGEST_REASON, Authorship, booked, flag_in, last_version, put, said
from cmo.storage.leases import Lease, lease_in, release, take

ENGINE = "lightrag"
"""The engine that rollouts bring to people."""

AUTHOR = "rollout"
"""The author of what a rollout does by itself."""

LEASE = "rollout"
LEASE_SECONDS = 30.0
"""How long others wait for the process that looked last, when it is gone."""

UNDER_WAY = frozenset({Phase.RUNNING, Phase.WAITING, Phase.PAUSED})
"""Phases of a rollout that will still move, so that nothing else may use its flag."""

T = TypeVar("T")

_meta = sa.MetaData()

_rollouts = sa.Table(
    "rollouts",
    _meta,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("flag", sa.String, nullable=False),
    sa.Column("flag_version", sa.Integer, nullable=False),
    sa.Column("phase", sa.String, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("started_at", UtcTime, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
)

_events = sa.Table(
    "rollout_events",
    _meta,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("rollout_id", sa.Integer, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("stage", sa.Integer, nullable=False),
    sa.Column("percentage", sa.Float, nullable=False),
    sa.Column("words", sa.Text, nullable=False),
    sa.Column("author", sa.String, nullable=False),
    sa.Column("gates", sa.Text, nullable=False),
)

_experiments = sa.table("experiments", sa.column("name"), sa.column("state"))

_LATEST = sa.select(_rollouts).order_by(_rollouts.c.id.desc()).limit(1)
_UNREADABLE = "The rollout could not be read from the database: check its file and its permissions."
_UNWRITABLE = "The rollout could not be changed: check the database's file and its permissions."


class Action(StrEnum):
    """What people do to a rollout."""

    APPROVE = "approve"
    PAUSE = "pause"
    RESUME = "resume"
    ROLL_BACK = "roll_back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A rollout as it is kept.

    `flag_version` is the flag's that it wrote last; `overruled` tells that somebody else has changed the flag since.
    """

    id: int
    state: RolloutState
    started_at: datetime
    updated_at: datetime
    flag_version: int
    overruled: bool

    @property
    def is_over(self) -> bool:
        """Whether it will never move the flag again: rolled back, or complete and the flag used for something else."""
        return self.state.phase is Phase.ROLLED_BACK or (self.state.phase is Phase.COMPLETED and self.overruled)


class SqlRollouts:
    """Rollouts in the application's database, of which one at a time is under way.

    With `trial` every change is made and taken back, so that it tells what would come of it.

    Raises (every method):
        StorageUnavailable: the database cannot be read or written.
    """

    def __init__(self, database: Database, *, trial: bool = False) -> None:
        self._database = database
        self._trial = trial

    async def start(self, plan: RolloutPlan, by: Authorship) -> Rollout:
        """A rollout in its first stage, which is in force. What was measured before does not count for it.

        Raises:
            OracleError: another one is under way, or an experiment, or the flag cannot be taken; says which and why.
        """
        return await self._write(partial(_start, plan, by))

    async def act(self, action: Action, by: Authorship) -> Rollout:
        """The latest rollout after what a person wanted.

        Raises:
            OracleError: there is none, or it cannot be done to it now; the message says why.
        """
        return await self._write(partial(_act, action, by))

    async def tick(
        self, owner: str, *, now: datetime, breaker_rests: int | None, stopped: Authorship | None = None
    ) -> tuple[Event, ...]:
        """What a look at the rollout led to. Nothing when there is none to look at, or it is another owner's turn.

        `breaker_rests` is how often in a row the engine's breaker has rested, None when nobody knows. `stopped` is the
        emergency stop of the engine, if there is one.

        Raises:
            OracleError: the rollout, or its flag, is not what it should be.
        """
        if not await self._look(_has_to_be_looked_at):
            return ()
        return await self._write(partial(_tick, owner, now, breaker_rests, stopped))

    async def release(self, owner: str) -> None:
        """Others may look at once, without waiting for this owner."""
        await self._write(lambda connection: release(connection, LEASE, owner))

    async def current(self) -> Rollout | None:
        """The latest rollout, under way or over."""
        found = await self.history(limit=1)
        return found[0] if found else None

    async def history(self, *, limit: int) -> tuple[Rollout, ...]:
        """Rollouts, the newest first."""
        newest_first = sa.select(_rollouts).order_by(_rollouts.c.id.desc()).limit(limit)
        return await self._look(
            lambda connection: tuple(_rollout(row, connection) for row in connection.execute(newest_first).all())
        )

    async def events(self, rollout_id: int, *, limit: int) -> tuple[Event, ...]:
        """What happened to a rollout, the newest first."""
        newest_first = (
            sa.select(_events).where(_events.c.rollout_id == rollout_id).order_by(_events.c.id.desc()).limit(limit)
        )
        rows = await self._look(lambda connection: connection.execute(newest_first).all())
        return tuple(map(_event, rows))

    async def lease(self) -> Lease | None:
        """Who looked last, and until when nobody else does; it may be over."""
        return await self._look(lambda connection: lease_in(connection, LEASE))

    async def _look(self, work: Callable[[sa.Connection], T]) -> T:
        with as_unavailable(_UNREADABLE):
            return await self._database.look(work)

    async def _write(self, work: Callable[[sa.Connection], T]) -> T:
        with as_unavailable(_UNWRITABLE):
            return await booked(self._database, work, trial=self._trial)


def is_under_way(connection: sa.Connection) -> bool:
    """Whether a rollout has its flag to itself, in a transaction of somebody else's.

    One that cannot be read has not: nothing moves or ends it any more, so that it would be in the way for ever.
    """
    row = connection.execute(_LATEST).first()
    if row is None:
        return False
    with suppress(ValueError):
        return state_from(row.state).phase in UNDER_WAY
    return False


def running_experiment(connection: sa.Connection) -> str | None:
    """The name of the experiment that has the rollout's flag to itself, in a transaction of somebody else's."""
    running = sa.select(_experiments.c.name).where(_experiments.c.state == "running")
    return connection.execute(running).scalar()


def _start(plan: RolloutPlan, by: Authorship, connection: sa.Connection) -> Rollout:
    _refuse_second(connection)
    reason, author = said("reason", by.reason), said("author", by.author)
    state = replace(started(plan, now=by.at.timestamp()), seen=last_measurement(connection))
    row = {"flag": MAIN_ROLLOUT, "started_at": by.at, **_columns(state, by.at, _put_share(connection, state, by))}
    number = connection.execute(sa.insert(_rollouts).values(row).returning(_rollouts.c.id)).scalar_one()
    event = Event(
        kind=EventKind.STARTED,
        at=by.at.timestamp(),
        stage=state.stage,
        percentage=state.percentage,
        words=reason,
        by=author,
    )
    _remember(connection, number, (event,))
    return _latest(connection)


def _refuse_second(connection: sa.Connection) -> None:
    if is_under_way(connection):
        raise OracleError("A rollout is under way. `cmo rollout status` shows it; roll it back to start another.")
    if (name := running_experiment(connection)) is not None:
        raise OracleError(f'The experiment "{name}" is running, and has the flag of the rollout. Stop it first.')


def _act(action: Action, by: Authorship, connection: sa.Connection) -> Rollout:
    rollout = _latest(connection)
    if rollout.state.phase is Phase.COMPLETED and rollout.overruled:
        raise OracleError(
            f"The rollout was completed, and its flag is used otherwise since. `cmo flags set {MAIN_ROLLOUT}` moves it."
        )
    reason, author = said("reason", by.reason), said("author", by.author)
    made = _ACTS[action](rollout.state, by=author, reason=reason, now=by.at.timestamp())
    refused = next((event.words for event in made.events if event.kind is EventKind.REFUSED), None)
    if refused is not None:
        raise OracleError(f"The rollout stays as it is. {refused}")
    _keep(connection, rollout, made, at=by.at)
    return _latest(connection)


_ACTS: Mapping[Action, Callable[..., Step]] = {
    Action.APPROVE: approve,
    Action.PAUSE: pause,
    Action.RESUME: resume,
    Action.ROLL_BACK: roll_back,
}


def _has_to_be_looked_at(connection: sa.Connection) -> bool:
    """Spares processes without a rollout their turn to write."""
    row = connection.execute(_LATEST).first()
    return row is not None and row.phase != Phase.ROLLED_BACK


def _tick(
    owner: str, now: datetime, breaker_rests: int | None, stopped: Authorship | None, connection: sa.Connection
) -> tuple[Event, ...]:
    rollout = _latest(connection)
    if rollout.is_over or not take(connection, LEASE, owner, now, LEASE_SECONDS):
        return ()
    if stopped is not None:
        author, reason = _fitting(stopped.author), _fitting(stopped.reason)
        made = emergency(rollout.state, by=author, reason=reason, now=now.timestamp())
    elif rollout.overruled and rollout.state.phase is not Phase.PAUSED:
        made = _overruled(rollout.state, now.timestamp())
    else:
        made = _looked(connection, rollout, breaker_rests, now.timestamp())
    _keep(connection, rollout, made, at=now)
    return made.events


def _overruled(state: RolloutState, now: float) -> Step:
    """The rollout after somebody else has changed its flag: what a person wants, goes."""
    words = (
        f'Somebody has changed the flag "{MAIN_ROLLOUT}", and it stays so. '
        f"Resumed, the rollout puts back its {state.percentage:g} %."
    )
    paused = pause(state, by=AUTHOR, reason=words, now=now)
    return replace(paused, events=tuple(replace(event, by=None) for event in paused.events))


def _looked(connection: sa.Connection, rollout: Rollout, breaker_rests: int | None, now: float) -> Step:
    state = rollout.state
    # To a clock that has been set back since the start, everybody has asked before it.
    since = rollout.started_at if rollout.started_at.timestamp() <= now else datetime.fromtimestamp(0, UTC)
    seen = seen_since(connection, state.seen, flag=MAIN_ROLLOUT, since=since)
    exposed = tuple(each.observed for each in seen if each.engine == ENGINE)
    control = tuple(each.observed for each in seen if each.variant == CONTROL) if state.plan.matched_control else ()
    made = step(state, Readings(exposed=exposed, control=control, breaker_rests=breaker_rests), now=now)
    if not seen:
        return made
    # Also past those of nobody's concern, of which there may be more than one look takes in.
    return replace(made, state=replace(made.state, seen=max(made.state.seen, seen[-1].observed.number)))


def _keep(connection: sa.Connection, rollout: Rollout, made: Step, *, at: datetime) -> None:
    """Writes down where the rollout stands, what led there, and its share into the flag when that has to change."""
    if made.state == rollout.state:
        return
    version = rollout.flag_version
    has_moved = _share(made.state) != _share(rollout.state)
    is_put_back = rollout.overruled and any(event.kind is EventKind.RESUMED for event in made.events)
    if has_moved or is_put_back:
        event = made.events[-1]
        by = Authorship(author=event.by or AUTHOR, reason=_fitting(event.words), at=at)
        version = _put_share(connection, made.state, by)
    connection.execute(
        sa.update(_rollouts).where(_rollouts.c.id == rollout.id).values(_columns(made.state, at, version))
    )
    _remember(connection, rollout.id, made.events)


def _share(state: RolloutState) -> tuple[FlagStatus, float]:
    """What the flag says in this state. Half of a matched share is kept from the engine, as a canary's control.

    Rolled back it is off: at 0 % people with overrides, and cohorts with shares of their own, would keep the engine.
    """
    if state.phase is Phase.ROLLED_BACK:
        return FlagStatus.DISABLED, state.percentage
    is_compared = state.plan.matched_control and state.stage < state.plan.last
    return (FlagStatus.CANARY if is_compared else FlagStatus.GRADUAL_ROLLOUT), state.percentage


def _put_share(connection: sa.Connection, state: RolloutState, by: Authorship) -> int:
    """The version of the flag with the rollout's share: without what would get in its way, else as people made it."""
    found = flag_in(connection, MAIN_ROLLOUT)
    flag = found if isinstance(found, FeatureFlag) else FeatureFlag(name=MAIN_ROLLOUT)
    status, percentage = _share(state)
    if isinstance(found, FeatureFlag) and found.status is status is FlagStatus.DISABLED:
        return last_version(connection, MAIN_ROLLOUT)  # off already
    switched = {user: given for user, given in flag.overrides.items() if isinstance(given, bool)}
    wanted = replace(
        flag, status=status, rollout_percentage=percentage, variants=(), overrides=switched, expires_at=None
    )
    return put(connection, wanted, by).version


def _columns(state: RolloutState, at: datetime, flag_version: int) -> dict[str, Any]:
    return {
        "phase": state.phase.value,
        "state": state_text(state),
        "updated_at": at,
        "flag_version": flag_version,
    }


def _remember(connection: sa.Connection, rollout_id: int, events: Sequence[Event]) -> None:
    for event in events:
        row = {
            "rollout_id": rollout_id,
            "at": datetime.fromtimestamp(event.at, UTC),
            "kind": event.kind.value,
            "stage": event.stage,
            "percentage": event.percentage,
            "words": event.words,
            "author": event.by or AUTHOR,
            "gates": gates_text(event.gates),
        }
        connection.execute(sa.insert(_events).values(row))


def _latest(connection: sa.Connection) -> Rollout:
    row = connection.execute(_LATEST).first()
    if row is None:
        raise OracleError("There is no rollout. `cmo rollout start` starts one.")
    return _rollout(row, connection)


def _rollout(row: sa.Row[Any], connection: sa.Connection) -> Rollout:
    try:
        state = state_from(row.state)
    except ValueError as error:
        raise OracleError(
            f"Rollout {row.id} was kept by another version of this program, and nothing moves it or rolls it back. "
            f"{error} `cmo rollout start` starts another; `cmo flags set {MAIN_ROLLOUT}` changes its share."
        ) from error
    return Rollout(
        id=row.id,
        state=state,
        started_at=row.started_at,
        updated_at=row.updated_at,
        flag_version=row.flag_version,
        overruled=last_version(connection, row.flag) != row.flag_version,
    )


def _event(row: sa.Row[Any]) -> Event:
    return Event(
        kind=EventKind(row.kind),
        at=row.at.timestamp(),
        stage=row.stage,
        percentage=row.percentage,
        words=row.words,
        by=None if row.author == AUTHOR else row.author,
        gates=gates_from(row.gates),
    )


def _fitting(text: str) -> str:
    """The text as a flag's history takes it: a rollback must not fail because of what somebody wrote."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(shown.split())[:LONGEST_REASON].strip() or "?"
