"""Experiments in the application's database: what is planned, what runs, and who started and stopped it, when and why.

An experiment acts through the flag of the main rollout, so that starting one and changing the flag are one transaction,
and so are stopping it and putting the flag back. Only one of all experiments and rollouts can be under way. What was
seen in it is in observations.py; what a definition means is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa

from cmo.errors import OracleError
from cmo.policy.flags import MAIN_ROLLOUT, FeatureFlag, MalformedFlag
from cmo.policy.measuring import Observation
from cmo.storage.assignments import forget
from cmo.storage.columns import UtcTime
from cmo.storage.database import Database, as_unavailable
from cmo.storage.flags import Authorship, booked, flag_in, put, put_back, said
from cmo.storage.observations import observed
from cmo.storage.rollouts import is_under_way, running_experiment

T = TypeVar("T")

_meta = sa.MetaData()

_experiments = sa.Table(
    "experiments",
    _meta,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("definition", sa.Text, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("flag", sa.String, nullable=False),
    sa.Column("flag_version", sa.Integer),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("started_at", UtcTime),
    sa.Column("stopped_at", UtcTime),
)

_events = sa.Table(
    "experiment_events",
    _meta,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("action", sa.String, nullable=False),
    sa.Column("author", sa.String, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)

_UNREADABLE = "The experiments could not be read from the database: check its file and its permissions."
_UNWRITABLE = "The experiment could not be changed: check the database's file and its permissions."


class ExperimentState(StrEnum):
    """How far an experiment is."""

    DRAFT = "draft"
    RUNNING = "running"
    STOPPED = "stopped"


class ExperimentAction(StrEnum):
    """What was done with an experiment."""

    CREATE = "create"
    START = "start"
    STOP = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptExperiment:
    """An experiment as it is kept. `definition` is the text that was given.

    `flag_version` is the version of the flag that its start made, with which its exposures begin.
    """

    name: str
    definition: str
    state: ExperimentState
    flag: str
    flag_version: int | None
    created_at: datetime
    started_at: datetime | None
    stopped_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentEvent:
    """Something done with an experiment, by whom, why and when."""

    action: ExperimentAction
    by: Authorship


class SqlExperiments:
    """Experiments in the application's database. With `trial` every change is made and taken back.

    Raises (every method):
        StorageUnavailable: the database cannot be read or written.
    """

    def __init__(self, database: Database, *, trial: bool = False) -> None:
        self._database = database
        self._trial = trial

    async def list(self) -> Sequence[KeptExperiment]:
        """All experiments, the newest first."""
        newest_first = sa.select(_experiments).order_by(_experiments.c.created_at.desc(), _experiments.c.name)
        rows = await self._look(lambda connection: connection.execute(newest_first).all())
        return [_kept(row) for row in rows]

    async def get(self, name: str) -> KeptExperiment:
        """The experiment of that name.

        Raises:
            OracleError: there is none.
        """
        return await self._look(partial(_one, name))

    async def history(self, name: str) -> Sequence[ExperimentEvent]:
        """What was done with the experiment, the newest first.

        Raises:
            OracleError: there is none of that name.
        """
        return await self._look(partial(_history, name))

    async def create(self, name: str, definition: str, by: Authorship) -> KeptExperiment:
        """The experiment as a draft.

        Raises:
            OracleError: there is one of that name.
        """
        return await self._write(partial(_create, name, definition, by))

    async def start(self, name: str, flag: FeatureFlag, by: Authorship) -> KeptExperiment:
        """The experiment as it runs, with its `flag` in place of what the flag was; everybody's variant is drawn anew.

        Raises:
            OracleError: it cannot be started; the message says why.
        """
        return await self._write(partial(_start, name, flag, by))

    async def stop(self, name: str, by: Authorship) -> KeptExperiment:
        """The experiment as it ended, with the flag as it was before the start, whatever was done to it since.

        Raises:
            OracleError: it does not run, or what the flag was may not be kept any more.
        """
        return await self._write(partial(_stop, name, by))

    async def observations(self, name: str, *, now: datetime) -> Sequence[Observation]:
        """What was seen in the experiment until now, in the order of time; see observations.observed.

        Raises:
            OracleError: there is none of that name.
        """
        return await self._look(partial(_observations, name, now))

    async def _look(self, work: Callable[[sa.Connection], T]) -> T:
        with as_unavailable(_UNREADABLE):
            return await self._database.look(work)

    async def _write(self, work: Callable[[sa.Connection], T]) -> T:
        with as_unavailable(_UNWRITABLE):
            return await booked(self._database, work, trial=self._trial)


def _one(name: str, connection: sa.Connection) -> KeptExperiment:
    row = connection.execute(sa.select(_experiments).where(_experiments.c.name == name)).first()
    if row is None:
        raise OracleError(f'There is no experiment "{name}". `cmo experiment list` shows those there are.')
    return _kept(row)


def _history(name: str, connection: sa.Connection) -> Sequence[ExperimentEvent]:
    _one(name, connection)
    newest_first = sa.select(_events).where(_events.c.name == name).order_by(_events.c.id.desc())
    return [_event(row) for row in connection.execute(newest_first)]


def _kept(row: sa.Row[Any]) -> KeptExperiment:
    return KeptExperiment(**{**row._mapping, "state": ExperimentState(row.state)})


def _event(row: sa.Row[Any]) -> ExperimentEvent:
    by = Authorship(author=row.author, reason=row.reason, at=row.at)
    return ExperimentEvent(action=ExperimentAction(row.action), by=by)


def _create(name: str, definition: str, by: Authorship, connection: sa.Connection) -> KeptExperiment:
    if connection.execute(sa.select(_experiments.c.name).where(_experiments.c.name == name)).first() is not None:
        raise OracleError(f'There is an experiment "{name}" already. Give this one another name.')
    row = {"name": name, "definition": definition, "state": ExperimentState.DRAFT.value, "flag": MAIN_ROLLOUT}
    connection.execute(sa.insert(_experiments).values(**row, created_at=by.at))
    return _remembered(connection, name, ExperimentAction.CREATE, by)


def _start(name: str, flag: FeatureFlag, by: Authorship, connection: sa.Connection) -> KeptExperiment:
    experiment = _one(name, connection)
    if experiment.state is not ExperimentState.DRAFT:
        raise OracleError(f'The experiment "{name}" was started before. Create another one for another try.')
    _refuse_beside_another(connection)
    before = flag_in(connection, experiment.flag)
    if isinstance(before, MalformedFlag):
        raise OracleError(f"{before.problem} It could not be put back: correct it, or delete it, and start again.")
    made = put(connection, flag, by)
    forget(connection, experiment.flag)
    _change(connection, name, state=ExperimentState.RUNNING.value, flag_version=made.version, started_at=by.at)
    return _remembered(connection, name, ExperimentAction.START, by)


def _stop(name: str, by: Authorship, connection: sa.Connection) -> KeptExperiment:
    experiment = _one(name, connection)
    if experiment.state is not ExperimentState.RUNNING or experiment.flag_version is None:
        raise OracleError(f'The experiment "{name}" does not run: there is nothing to stop.')
    put_back(connection, experiment.flag, by, before=experiment.flag_version)
    forget(connection, experiment.flag)
    _change(connection, name, state=ExperimentState.STOPPED.value, stopped_at=by.at)
    return _remembered(connection, name, ExperimentAction.STOP, by)


def _observations(name: str, now: datetime, connection: sa.Connection) -> Sequence[Observation]:
    experiment = _one(name, connection)
    if experiment.flag_version is None:
        return ()
    return observed(
        connection, experiment.flag, version=experiment.flag_version, until=experiment.stopped_at or now, now=now
    )


def _refuse_beside_another(connection: sa.Connection) -> None:
    if (running := running_experiment(connection)) is not None:
        raise OracleError(f'The experiment "{running}" runs: stop it first. Both would act through the same flag.')
    if is_under_way(connection):
        raise OracleError(
            "A rollout is under way and acts through the same flag: let it end, or `cmo rollout rollback` it."
        )


def _change(connection: sa.Connection, name: str, **values: object) -> None:
    connection.execute(sa.update(_experiments).where(_experiments.c.name == name).values(**values))


def _remembered(connection: sa.Connection, name: str, action: ExperimentAction, by: Authorship) -> KeptExperiment:
    why = {"author": said("author", by.author), "reason": said("reason", by.reason), "at": by.at}
    connection.execute(sa.insert(_events).values(name=name, action=action.value, **why))
    return _one(name, connection)
