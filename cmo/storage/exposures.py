"""Who was led where by a flag, written down before anybody is asked, and what came of it, written down afterwards.

Both are needed: people of whom only answers were written down would be missing from the arm that loses answers. A
measurement is a row of its own, because numbers of rows grow in the order in which things were measured, and whoever
has seen those up to a number has missed none. What is made of them is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa

from cmo.policy.budget import MICRODOLLARS, microdollars
from cmo.policy.gates import Observed
from cmo.storage.columns import UtcTime
from cmo.storage.database import Database, as_unavailable
from cmo.values import Exposure, Measured, Question

MOST_AT_ONCE = 5_000
"""Rows that one look takes in at most; what is left is for the next."""

_metadata = sa.MetaData()

EXPOSURES = sa.Table(
    "exposures",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("question_id", sa.String, nullable=False),
    sa.Column("user_id", sa.String, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("flag", sa.String, nullable=False),
    sa.Column("flag_version", sa.Integer, nullable=False),
    sa.Column("variant", sa.String, nullable=False),
    sa.Column("engine", sa.String, nullable=False),
)
"""One row for each question whose engine a flag chose."""

MEASUREMENTS = sa.Table(
    "measurements",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("question_id", sa.String, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("failed", sa.Boolean),
    sa.Column("seconds", sa.Float),
    sa.Column("quality", sa.Float),
    sa.Column("satisfied", sa.Boolean),
    sa.Column("cost_microdollars", sa.BigInteger),
)
"""One row for each answer to such a question, and one for each thumb that was given for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Something observed of an answer, and where the flag had led: to which engine, in which variant ("" for none)."""

    engine: str
    variant: str
    observed: Observed


class SqlExposures:
    """Exposures in the application's database.

    Raises (every method):
        StorageUnavailable: the database cannot be written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def expose(self, question: Question, exposure: Exposure) -> None:
        """Write down that a flag has chosen the engine for this question."""
        row = {
            "question_id": question.id,
            "user_id": question.user_id,
            "at": question.asked_at,
            "flag": exposure.flag,
            "flag_version": exposure.version,
            "variant": exposure.variant,
            "engine": exposure.engine,
        }
        with as_unavailable("An exposure could not be kept: check the database's disk and its permissions."):
            await self._database.book(partial(_expose, row))


def _expose(row: Mapping[str, Any], connection: sa.Connection) -> None:
    connection.execute(sa.insert(EXPOSURES), row)


def measure(connection: sa.Connection, question_id: str, measured: Measured, *, at: datetime) -> None:
    """Write down what came of a question, in the transaction that books it."""
    row = {
        "question_id": question_id,
        "at": at,
        "failed": measured.failed,
        "seconds": measured.seconds,
        "quality": measured.quality,
        "cost_microdollars": None if measured.cost_usd is None else microdollars(measured.cost_usd),
    }
    connection.execute(sa.insert(MEASUREMENTS), row)


def measure_thumb(connection: sa.Connection, question_id: str, *, satisfied: bool, at: datetime) -> None:
    """Write down a thumb for the answer to a question whose engine a flag chose, unless it was the last one, too."""
    of = MEASUREMENTS.c
    was_exposed = sa.select(EXPOSURES.c.id).where(EXPOSURES.c.question_id == question_id)
    thumbs = sa.select(of.satisfied).where(of.question_id == question_id, of.satisfied.is_not(None))
    last = connection.execute(thumbs.order_by(of.id.desc())).scalar()
    if last is not satisfied and connection.execute(was_exposed).first() is not None:
        row = {"question_id": question_id, "at": at, "satisfied": satisfied}
        connection.execute(sa.insert(MEASUREMENTS), row)


def last_measurement(connection: sa.Connection) -> int:
    """The number of the measurement made last; 0 when there is none."""
    return int(connection.execute(sa.select(sa.func.coalesce(sa.func.max(MEASUREMENTS.c.id), 0))).scalar_one())


def seen_since(connection: sa.Connection, number: int, *, flag: str, since: datetime) -> tuple[Seen, ...]:
    """What was measured after measurement `number` of questions whose engine the flag chose from `since` on.

    At most MOST_AT_ONCE, in the order of their numbers.
    """
    of, exposed = MEASUREMENTS.c, EXPOSURES.c
    rows = connection.execute(
        sa.select(MEASUREMENTS, exposed.engine, exposed.variant)
        .join(EXPOSURES, exposed.question_id == of.question_id)
        .where(of.id > number, exposed.flag == flag, exposed.at >= since)
        .order_by(of.id)
        .limit(MOST_AT_ONCE)
    )
    return tuple(Seen(engine=row.engine, variant=row.variant, observed=_observed(row)) for row in rows)


def _observed(row: sa.Row[Any]) -> Observed:
    cost = row.cost_microdollars
    return Observed(
        number=row.id,
        failed=row.failed,
        seconds=row.seconds,
        quality=row.quality,
        satisfied=row.satisfied,
        cost_usd=None if cost is None else cost / MICRODOLLARS,
    )
