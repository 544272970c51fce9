"""Answers given in the shadow, beside those of the people: how good, how alike, how dear. No text of either.

The row of a shadow is also what is set aside for it: it is written before the call with the most that may cost, and
gets the real cost after it. So the sum over a day's rows is what is spent or may be, and survives a restart; people's
budgets, which are kept elsewhere (budget.py), know nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa

from cmo.policy.budget import MICRODOLLARS, microdollars, microdollars_at_most, periods_of
from cmo.policy.shadow import Given, Outcome, Pair, Shadowed
from cmo.storage.columns import UtcTime
from cmo.storage.database import Database, as_unavailable
from cmo.storage.ledger import QUESTIONS

_UNUSABLE = "Answers in the shadow cannot be kept or read: check the database's disk and its permissions."

_metadata = sa.MetaData()

SHADOW_ANSWERS = sa.Table(
    "shadow_answers",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("question_id", sa.String, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("engine", sa.String, nullable=False),
    sa.Column("shadow", sa.String, nullable=False),
    sa.Column("outcome", sa.String, nullable=False),
    sa.Column("answered", sa.Boolean, nullable=False),
    sa.Column("shadow_answered", sa.Boolean),
    sa.Column("quality", sa.Float),
    sa.Column("shadow_quality", sa.Float),
    sa.Column("overlap", sa.Float),
    sa.Column("cost_microdollars", sa.BigInteger, nullable=False),
    sa.Column("shadow_cost_microdollars", sa.BigInteger, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("shadow_seconds", sa.Float, nullable=False),
)
"""One row for each question that was asked, or would have been, in the shadow."""


class SqlShadow:
    """The shadows' answers and their budget, in the application's database. Any number of processes may share one.

    What is spent and set aside in one day (UTC) never exceeds `daily_usd` together, however many processes ask at once,
    as long as no call costs more than was set aside for it: each looks and writes in one transaction that waits for
    its turn. A row whose process died before its end goes on counting in full, because what its call really cost is
    not known.

    Raises (every method):
        StorageUnavailable: the database cannot be read or written. Nothing may be asked then.
    """

    def __init__(self, database: Database, *, daily_usd: float) -> None:
        self._database = database
        self._daily = microdollars(daily_usd)

    async def begin(self, given: Given, shadow: str, *, ceiling_usd: float, at: datetime) -> int | None:
        """The number of a row for a shadow that may cost `ceiling_usd`, which is set aside.

        None when less than that is left of the day's budget: the row then says so and the shadow must not be asked.
        """
        amount = microdollars_at_most(ceiling_usd)
        row = {
            "question_id": given.question_id,
            "at": at,
            "engine": given.engine,
            "shadow": shadow,
            "answered": given.answered,
            "quality": given.quality,
            "cost_microdollars": microdollars(given.cost_usd),
            "seconds": given.seconds,
        }
        with as_unavailable(_UNUSABLE):
            return await self._database.book(partial(self._begin, row, amount, at))

    async def end(self, number: int, shadowed: Shadowed) -> None:
        """Write down what came of a shadow, its real cost in place of what was set aside; the first end counts.

        Raises:
            ValueError: the cost is negative or no number.
        """
        row = {
            "outcome": shadowed.outcome.value,
            "shadow_answered": _ANSWERED.get(shadowed.outcome),
            "shadow_quality": shadowed.quality,
            "overlap": shadowed.overlap,
            "shadow_cost_microdollars": microdollars(shadowed.cost_usd),
            "shadow_seconds": shadowed.seconds,
        }
        with as_unavailable(_UNUSABLE):
            await self._database.book(partial(_end, number, row))

    async def pairs(self, since: datetime) -> tuple[Pair, ...]:
        """All answers with their shadows from `since` on, the oldest first."""
        with as_unavailable(_UNUSABLE):
            return await self._database.look(partial(_pairs, since))

    async def spent_usd(self, at: datetime) -> float:
        """What is spent and set aside in the day (UTC) of `at`."""
        with as_unavailable(_UNUSABLE):
            return await self._database.look(partial(_spent, at)) / MICRODOLLARS

    def _begin(self, row: Mapping[str, Any], amount: int, at: datetime, connection: sa.Connection) -> int | None:
        is_too_dear = amount > 0 and _spent(at, connection) + amount > self._daily
        begun = {
            **row,
            "outcome": (Outcome.TOO_DEAR if is_too_dear else Outcome.UNFINISHED).value,
            "shadow_cost_microdollars": 0 if is_too_dear else amount,
            "shadow_seconds": 0.0,
        }
        written = connection.execute(sa.insert(SHADOW_ANSWERS), begun).inserted_primary_key
        return None if is_too_dear or written is None else int(written[0])


_ANSWERED = {Outcome.ANSWERED: True, Outcome.REFUSED: False}


def _spent(at: datetime, connection: sa.Connection) -> int:
    day, of = periods_of(at)[0], SHADOW_ANSWERS.c
    total = sa.func.coalesce(sa.func.sum(of.shadow_cost_microdollars), 0)
    return int(connection.execute(sa.select(total).where(of.at >= day.starts_at, of.at < day.resets_at)).scalar_one())


def _end(number: int, row: Mapping[str, Any], connection: sa.Connection) -> None:
    of = SHADOW_ANSWERS.c
    is_under_way = (of.id == number) & (of.outcome == Outcome.UNFINISHED.value)
    connection.execute(sa.update(SHADOW_ANSWERS).where(is_under_way).values(row))


def _pairs(since: datetime, connection: sa.Connection) -> tuple[Pair, ...]:
    of = SHADOW_ANSWERS.c
    rows = connection.execute(
        sa.select(SHADOW_ANSWERS, QUESTIONS.c.user_id)
        .outerjoin(QUESTIONS, QUESTIONS.c.question_id == of.question_id)
        .where(of.at >= since)
        .order_by(of.id)
    )
    return tuple(map(_pair, rows))


def _pair(row: sa.Row[Any]) -> Pair:
    return Pair(
        user_id=row.user_id or "",
        given=Given(
            question_id=row.question_id,
            engine=row.engine,
            answered=row.answered,
            quality=row.quality,
            cost_usd=row.cost_microdollars / MICRODOLLARS,
            seconds=row.seconds,
        ),
        shadow=row.shadow,
        shadowed=Shadowed(
            outcome=Outcome(row.outcome),
            quality=row.shadow_quality,
            overlap=row.overlap,
            cost_usd=row.shadow_cost_microdollars / MICRODOLLARS,
            seconds=row.shadow_seconds,
        ),
    )
