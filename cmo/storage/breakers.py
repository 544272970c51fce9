"""Where circuit breakers stand, one row for each engine. What they have counted is not kept."""

from __future__ import annotations

import logging
from datetime import datetime

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt, ValidationError
from sqlalchemy.exc import OperationalError

from cmo.errors import StorageUnavailable
from cmo.logs import fields
from cmo.policy.breaker import BreakerState, Gate, Gates
from cmo.storage.columns import UtcTime
from cmo.storage.database import Database

_log = logging.getLogger(__name__)

_breakers = sa.Table(
    "breakers",
    sa.MetaData(),
    sa.Column("engine", sa.String, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
)


class _KeptGate(BaseModel):
    """A gate in JSON, times in seconds since 1970. Permits are not kept: nobody would bring them back."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    state: BreakerState
    since: NonNegativeFloat
    retry_at: NonNegativeFloat
    rests: NonNegativeInt

    @staticmethod
    def of(gate: Gate) -> _KeptGate:
        return _KeptGate(state=gate.state, since=gate.since, retry_at=gate.retry_at, rests=gate.rests)

    def gate(self) -> Gate:
        return Gate(state=self.state, since=self.since, retry_at=self.retry_at, rests=self.rests)


class _KeptGates(BaseModel):
    """What the column `state` holds."""

    model_config = ConfigDict(frozen=True)

    calls: _KeptGate
    answers: _KeptGate


class SqlBreakerStore:
    """Breakers in the application's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> dict[str, Gates]:
        """The gates kept last, by engine. A row that makes no sense is left out, and so counts as closed.

        Raises:
            StorageUnavailable: they cannot be read.
        """
        try:
            async with self._database.read() as connection:
                rows = (await connection.execute(sa.select(_breakers.c.engine, _breakers.c.state))).all()
        except OperationalError as error:
            raise StorageUnavailable(
                "The circuit breakers could not be read from the database: check its disk and its permissions."
            ) from error
        kept = {engine: _gates(engine, state) for engine, state in rows}
        return {engine: gates for engine, gates in kept.items() if gates is not None}

    async def save(self, engine: str, gates: Gates, *, at: datetime) -> None:
        """Keep the gates of one engine in place of those kept before.

        Raises:
            StorageUnavailable: they cannot be written.
        """
        kept = _KeptGates(calls=_KeptGate.of(gates.calls), answers=_KeptGate.of(gates.answers))
        row = {"engine": engine, "state": kept.model_dump_json(), "updated_at": at}
        try:
            async with self._database.write() as connection:
                await connection.execute(sa.delete(_breakers).where(_breakers.c.engine == engine))
                await connection.execute(sa.insert(_breakers).values(row))
        except OperationalError as error:
            raise StorageUnavailable(
                "A circuit breaker could not be kept in the database: check its disk and its permissions."
            ) from error


def _gates(engine: str, state: str) -> Gates | None:
    try:
        kept = _KeptGates.model_validate_json(state)
    except ValidationError as error:
        _log.warning("breaker_row_malformed", extra=fields(engine=engine, errors=error.error_count()))
        return None
    return Gates(calls=kept.calls.gate(), answers=kept.answers.gate())
