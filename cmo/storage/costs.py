"""Sums over the ledger: what was spent, by day, engine, model, user or stage.

Costs are those of the calls to models, questions and answers those of the questions; the two meet in the key they are
broken down by. This module refuses to know what follows from the sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from cmo.policy.costs import CostGroup, CostRow
from cmo.storage.database import Database, as_unavailable
from cmo.storage.ledger import CALLS, QUESTIONS
from cmo.values import CallOutcome

_TOTAL = "total"
_UNREADABLE = "The costs could not be read from the database: check its file and its permissions."

_KEYS: Mapping[CostGroup, tuple[sa.ColumnElement[str], sa.ColumnElement[str] | None]] = MappingProxyType(
    {
        CostGroup.DAY: (
            sa.func.date(CALLS.c.at, type_=sa.String),
            sa.func.date(QUESTIONS.c.asked_at, type_=sa.String),
        ),
        CostGroup.ENGINE: (CALLS.c.engine, QUESTIONS.c.engine),
        CostGroup.MODEL: (CALLS.c.model, QUESTIONS.c.model),
        CostGroup.USER: (CALLS.c.user_id, QUESTIONS.c.user_id),
        CostGroup.STAGE: (CALLS.c.stage, None),
    }
)
"""What each breakdown goes by, in calls and in questions; a stage is something that only calls have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostSpan:
    """What is summed: the days from `since` to `until` in UTC, both included, of one user or of all."""

    since: date
    until: date
    user_id: str | None = None


class SqlCosts:
    """The sums, read from the application's database.

    Raises (every method):
        StorageUnavailable: it cannot be read.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def rows(self, by: CostGroup, span: CostSpan) -> tuple[CostRow, ...]:
        """The breakdown: days in their order, anything else by cost, the dearest first."""
        of_calls, of_questions = _KEYS[by]
        with as_unavailable(_UNREADABLE):
            async with self._database.read() as connection:
                sums = await _sums(connection, span, of_calls, of_questions)
        order = _by_key if by is CostGroup.DAY else _by_cost
        return tuple(sorted((CostRow(key=key, **values) for key, values in sums.items()), key=order))

    async def total(self, span: CostSpan) -> CostRow:
        """All of it in one row, its key being "total"."""
        everything = sa.literal(_TOTAL)
        with as_unavailable(_UNREADABLE):
            async with self._database.read() as connection:
                sums = await _sums(connection, span, everything, everything)
        return CostRow(key=_TOTAL, **sums.get(_TOTAL, {}))


async def _sums(
    connection: AsyncConnection,
    span: CostSpan,
    of_calls: sa.ColumnElement[str],
    of_questions: sa.ColumnElement[str] | None,
) -> dict[str, dict[str, int]]:
    """The columns of each row by its key; those of a table that has nothing of that key are missing."""
    found: dict[str, dict[str, int]] = {}
    statements = [sa.select(of_calls.label("key"), *_CALL_SUMS).where(*_within(span, CALLS.c.at, CALLS.c.user_id))]
    if of_questions is not None:
        within = _within(span, QUESTIONS.c.asked_at, QUESTIONS.c.user_id)
        statements.append(sa.select(of_questions.label("key"), *_QUESTION_SUMS).where(*within))
    for statement in statements:
        for row in (await connection.execute(statement.group_by("key"))).mappings():
            found.setdefault(row["key"], {}).update(_numbers(row))
    return found


def _numbers(row: sa.RowMapping) -> dict[str, int]:
    return {name: value or 0 for name, value in row.items() if name != "key"}


def _within(span: CostSpan, moment: sa.ColumnElement[Any], user_id: sa.ColumnElement[str]) -> Iterable[Any]:
    yield moment >= datetime.combine(span.since, time(), UTC)
    yield moment < datetime.combine(span.until, time(), UTC) + timedelta(days=1)
    if span.user_id is not None:
        yield user_id == span.user_id


def _sum_of(column: sa.ColumnElement[Any], name: str, *where: sa.ColumnElement[bool]) -> sa.ColumnElement[Any]:
    total = sa.func.sum(column)
    return (total.filter(*where) if where else total).label(name)


_CALL_SUMS = (
    sa.func.count().label("calls"),
    _sum_of(CALLS.c.tokens_in, "tokens_in"),
    _sum_of(CALLS.c.tokens_cached, "tokens_cached"),
    _sum_of(CALLS.c.tokens_out, "tokens_out"),
    _sum_of(CALLS.c.cost_microdollars, "cost"),
    _sum_of(CALLS.c.cost_microdollars, "asking", CALLS.c.question_id.is_not(None)),
    _sum_of(CALLS.c.cost_microdollars, "wasted", CALLS.c.outcome != CallOutcome.OK.value),
    _sum_of(CALLS.c.cost_microdollars, "estimated", CALLS.c.estimated),
)

_QUESTION_SUMS = (
    sa.func.count().label("questions"),
    sa.func.count().filter(QUESTIONS.c.answered).label("answers"),
    sa.func.count().filter(QUESTIONS.c.answered, QUESTIONS.c.cached).label("cached"),
)


def _by_key(row: CostRow) -> str:
    return row.key


def _by_cost(row: CostRow) -> tuple[int, int, str]:
    return -row.cost, -row.questions, row.key
