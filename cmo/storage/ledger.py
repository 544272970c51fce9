"""The ledger: one row for each question asked, with what it took. Never its text, nor the answer's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from cmo.errors import StorageUnavailable
from cmo.storage.database import Database
from cmo.values import Answer, Question

MICRODOLLARS = 1_000_000
"""Money is stored in whole millionths of a dollar, so that sums are exact."""


class _UtcTime(sa.TypeDecorator[datetime]):
    """An aware time, stored in UTC; SQLite itself knows no time zones."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a time zone cannot be recorded")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


_questions = sa.Table(
    "questions",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("asked_at", _UtcTime, nullable=False),
    sa.Column("user_id", sa.String, nullable=False),
    sa.Column("thread_id", sa.String, nullable=False),
    sa.Column("engine", sa.String, nullable=False),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("mode", sa.String, nullable=False),
    sa.Column("tokens_in", sa.Integer, nullable=False),
    sa.Column("tokens_out", sa.Integer, nullable=False),
    sa.Column("cost_microdollars", sa.BigInteger, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("outcome", sa.String, nullable=False),
    sa.Column("answered", sa.Boolean, nullable=False),
    sa.Column("language", sa.String, nullable=False),
    sa.Column("generation", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One question as it was booked. What is not known of a question without an answer is "" or 0.

    `mode` is how the engine searched, "" for engines with one way. `reason` is why the engine was asked.
    """

    asked_at: datetime
    user_id: str
    thread_id: str
    engine: str
    model: str
    mode: str
    tokens_in: int
    tokens_out: int
    cost_usd: float
    seconds: float
    outcome: str
    answered: bool
    language: str
    generation: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerTotals:
    """Sums over the whole ledger. `outcomes` counts the questions by outcome; `seconds` is the sum of all durations."""

    questions: int
    outcomes: dict[str, int]
    tokens_in: int
    tokens_out: int
    cost_usd: float
    seconds: float


class SqlLedger:
    """The ledger in the application's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, question: Question, answer: Answer | None, *, outcome: str, seconds: float) -> None:
        """Book one question. `outcome` is "answered", "refused", "stopped" or "failed".

        Raises:
            StorageUnavailable: it cannot be written.
        """
        row = {
            "asked_at": question.asked_at,
            "user_id": question.user_id,
            "thread_id": question.thread_id,
            "mode": "",
            "tokens_in": 0,
            "tokens_out": 0,
            "seconds": seconds,
            "outcome": outcome,
            **_of_answer(question, answer),
        }
        try:
            async with self._database.write() as connection:
                await connection.execute(sa.insert(_questions).values(row))
        except OperationalError as error:
            raise StorageUnavailable(
                "The question could not be booked in the database: check its disk and its permissions."
            ) from error

    async def recent(self, limit: int) -> tuple[LedgerEntry, ...]:
        """The `limit` questions booked last, the newest first."""
        newest_first = sa.select(_questions).order_by(_questions.c.id.desc()).limit(limit)
        async with self._database.read() as connection:
            rows = (await connection.execute(newest_first)).mappings().all()
        return tuple(_entry(row) for row in rows)

    async def totals(self) -> LedgerTotals:
        """Sums over all questions, from one state of the ledger."""
        of = _questions.c
        by_outcome = sa.select(
            of.outcome,
            sa.func.count().label("questions"),
            *(sa.func.sum(column).label(column.name) for column in _SUMMED),
        ).group_by(of.outcome)
        async with self._database.read() as connection:
            rows = (await connection.execute(by_outcome)).mappings().all()
        return LedgerTotals(
            questions=sum(row["questions"] for row in rows),
            outcomes={row["outcome"]: row["questions"] for row in rows},
            tokens_in=sum(row["tokens_in"] for row in rows),
            tokens_out=sum(row["tokens_out"] for row in rows),
            cost_usd=sum(row["cost_microdollars"] for row in rows) / MICRODOLLARS,
            seconds=sum(row["seconds"] for row in rows),
        )


_SUMMED = (_questions.c.tokens_in, _questions.c.tokens_out, _questions.c.cost_microdollars, _questions.c.seconds)


def _of_answer(question: Question, answer: Answer | None) -> dict[str, object]:
    return {
        "engine": answer.engine if answer else "",
        "model": answer.model if answer else "",
        "cost_microdollars": round(answer.cost_usd * MICRODOLLARS) if answer else 0,
        "answered": answer.answered if answer else False,
        "language": answer.language if answer else question.language,
        "generation": answer.generation if answer else "",
        "reason": answer.reason if answer else "",
    }


def _entry(row: sa.RowMapping) -> LedgerEntry:
    known = {key: value for key, value in row.items() if key not in ("id", "cost_microdollars")}
    return LedgerEntry(**known, cost_usd=row["cost_microdollars"] / MICRODOLLARS)
