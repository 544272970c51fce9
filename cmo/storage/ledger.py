"""The ledger: a row for each question asked and each call to a model, with what it took and how good it was.

Never a text of either: those that are kept for a while stand beside it (conversations.py), written by the same
transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa

from cmo.policy.budget import MICRODOLLARS, microdollars
from cmo.storage import conversations
from cmo.storage.columns import UtcTime
from cmo.storage.database import Database, as_unavailable
from cmo.storage.exposures import measure
from cmo.values import Answer, Decision, Exposure, Measured, ModelCall, Question, RoutingCheck, Tuning

_metadata = sa.MetaData()

QUESTIONS = sa.Table(
    "questions",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("asked_at", UtcTime, nullable=False),
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
    sa.Column("decision", sa.JSON(none_as_null=True)),
    sa.Column("cached", sa.Boolean, nullable=False),
    sa.Column("written", sa.Boolean, nullable=False),
    sa.Column("question_id", sa.String),
    sa.Column("relevance", sa.Float),
    sa.Column("accuracy", sa.Float),
    sa.Column("consistency", sa.Float),
    sa.Column("composite", sa.Float),
    sa.Column("verdicts", sa.JSON(none_as_null=True)),
    sa.Column("not_assessed", sa.String, nullable=False),
    sa.Column("second_opinion", sa.String, nullable=False),
    sa.Column("custom", sa.JSON(none_as_null=True)),
)
"""One row for each question. Its tokens and its cost are the sums of its calls'.

`question_id` is what the other records and the screen call it; `id` is the row's number, by which calls know it.
"""

CALLS = sa.Table(
    "calls",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("question_id", sa.Integer, sa.ForeignKey("questions.id")),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("user_id", sa.String, nullable=False),
    sa.Column("engine", sa.String, nullable=False),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("stage", sa.String, nullable=False),
    sa.Column("outcome", sa.String, nullable=False),
    sa.Column("tokens_in", sa.Integer, nullable=False),
    sa.Column("tokens_cached", sa.Integer, nullable=False),
    sa.Column("tokens_out", sa.Integer, nullable=False),
    sa.Column("cost_microdollars", sa.BigInteger, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("estimated", sa.Boolean, nullable=False),
    sa.Column("variant", sa.String, nullable=False),
)
"""One row for each call to a model; `question_id` is empty for those that indexing made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One question as it was booked. What is not known of a question without an answer is "" or 0.

    `mode` is how the engine searched, "" for engines with one way. `reason` is why the engine was asked, `decision` the
    whole of it. `cached` answers had been given before; `written` ones are in a model's own words.

    `question_id` is "" for those booked before questions had one. The parts of the quality and `verdicts`, the number
    of sentences by verdict, are None for an answer that was not assessed; `not_assessed` is why, "" when there was
    nothing to assess. `second_opinion` is the engine that was asked as well, "" when nobody was. `custom` are the
    scores of custom assessors, by their names.
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
    decision: Decision | None
    cached: bool
    written: bool
    question_id: str
    relevance: float | None
    accuracy: float | None
    consistency: float | None
    composite: float | None
    verdicts: Mapping[str, int] | None
    not_assessed: str
    second_opinion: str
    custom: Mapping[str, float] | None


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

    def __init__(self, database: Database, *, keep_texts: timedelta | None = None) -> None:
        """`keep_texts` is how long the texts of questions and answers are kept beside it; None for not at all."""
        self._database = database
        self._keep_texts = keep_texts

    async def record(
        self,
        question: Question,
        answer: Answer | None,
        *,
        outcome: str,
        seconds: float,
        calls: Sequence[ModelCall] = (),
        measured: Measured | None = None,
    ) -> None:
        """Book one question and the calls made for it, and keep its texts when it has an answer, in one transaction.

        `outcome` is "answered", "refused", "stopped" or "failed". `measured` is for questions whose engine a flag
        chose.

        Raises:
            StorageUnavailable: it cannot be written.
        """
        row = {
            "question_id": question.id,
            "asked_at": question.asked_at,
            "user_id": question.user_id,
            "thread_id": question.thread_id,
            "seconds": seconds,
            "outcome": outcome,
            **_of_answer(question, answer),
            **_of_quality(answer),
            **(_sums(calls) if calls else {}),
        }
        with as_unavailable("The question could not be booked in the database: check its disk and its permissions."):
            await self._database.book(partial(self._record, row, calls, question, answer, measured))

    async def record_calls(self, calls: Sequence[ModelCall], *, user_id: str, at: datetime, variant: str = "") -> None:
        """Book calls that no person's question was made for, such as those of indexing.

        Raises:
            StorageUnavailable: they cannot be written.
        """
        with as_unavailable("Calls to a model could not be booked: check the database's disk and its permissions."):
            await self._database.book(partial(_insert_calls, calls, None, at, user_id, variant))

    async def recent(self, limit: int) -> tuple[LedgerEntry, ...]:
        """The `limit` questions booked last, the newest first."""
        newest_first = sa.select(QUESTIONS).order_by(QUESTIONS.c.id.desc()).limit(limit)
        async with self._database.read() as connection:
            rows = (await connection.execute(newest_first)).mappings().all()
        return tuple(map(entry, rows))

    async def totals(self) -> LedgerTotals:
        """Sums over all questions, from one state of the ledger."""
        of = QUESTIONS.c
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

    def _record(
        self,
        row: Mapping[str, Any],
        calls: Sequence[ModelCall],
        question: Question,
        answer: Answer | None,
        measured: Measured | None,
        connection: sa.Connection,
    ) -> None:
        number = connection.execute(sa.insert(QUESTIONS).returning(QUESTIONS.c.id), row).scalar_one()
        variant = measured.variant if measured is not None else ""
        _insert_calls(calls, number, question.asked_at, question.user_id, variant, connection)
        if measured is not None:
            measure(connection, question.id, measured, at=question.asked_at + timedelta(seconds=row["seconds"]))
        if self._keep_texts is not None and answer is not None:
            conversations.keep(question, answer, connection)
            oldest = question.asked_at - self._keep_texts
            conversations.delete_before(oldest, connection, at_most=conversations.DELETED_WITH_EACH)


_SUMMED = (QUESTIONS.c.tokens_in, QUESTIONS.c.tokens_out, QUESTIONS.c.cost_microdollars, QUESTIONS.c.seconds)


def _insert_calls(
    calls: Sequence[ModelCall],
    question_id: int | None,
    at: datetime,
    user_id: str,
    variant: str,
    connection: sa.Connection,
) -> None:
    if calls:
        of_all = {"question_id": question_id, "at": at, "user_id": user_id, "variant": variant}
        rows = [{**of_all, **_of_call(call)} for call in calls]
        connection.execute(sa.insert(CALLS), rows)


def _of_call(call: ModelCall) -> dict[str, object]:
    return {
        "engine": call.engine,
        "model": call.model,
        "stage": call.stage.value,
        "outcome": call.outcome.value,
        "tokens_in": call.tokens_in,
        "tokens_cached": call.tokens_cached,
        "tokens_out": call.tokens_out,
        "cost_microdollars": microdollars(call.cost_usd),
        "seconds": call.seconds,
        "estimated": call.estimated,
    }


def _of_answer(question: Question, answer: Answer | None) -> dict[str, object]:
    return {
        "engine": answer.engine if answer else "",
        "model": answer.model if answer else "",
        "mode": answer.mode if answer else "",
        "tokens_in": answer.tokens_in if answer else 0,
        "tokens_out": answer.tokens_out if answer else 0,
        "cost_microdollars": microdollars(answer.cost_usd) if answer else 0,
        "answered": answer.answered if answer else False,
        "language": answer.language if answer else question.language,
        "generation": answer.generation if answer else "",
        "reason": answer.reason if answer else "",
        "decision": asdict(answer.decision) if answer and answer.decision else None,
        "cached": answer is not None and answer.cached_seconds is not None,
        "written": answer.written if answer else False,
    }


def _of_quality(answer: Answer | None) -> dict[str, object]:
    quality = answer.quality if answer else None
    return {
        "relevance": quality.relevance if quality else None,
        "accuracy": quality.accuracy if quality else None,
        "consistency": quality.consistency if quality else None,
        "composite": quality.composite if quality else None,
        "verdicts": Counter(sentence.verdict.value for sentence in quality.sentences) if quality else None,
        "not_assessed": answer.not_assessed if answer else "",
        "second_opinion": answer.second_opinion if answer else "",
        "custom": {each.name: each.score for each in quality.custom} if quality and quality.custom else None,
    }


def _sums(calls: Sequence[ModelCall]) -> dict[str, object]:
    """What the calls took together. Each is rounded to microdollars by itself, so that question and calls agree."""
    return {
        "tokens_in": sum(call.tokens_in for call in calls),
        "tokens_out": sum(call.tokens_out for call in calls),
        "cost_microdollars": sum(microdollars(call.cost_usd) for call in calls),
    }


def entry(row: sa.RowMapping) -> LedgerEntry:
    """A row of QUESTIONS as it was booked."""
    known = {column.name: row[column.name] for column in QUESTIONS.c if column.name not in ("id", "cost_microdollars")}
    decision = None if row["decision"] is None else _decision(row["decision"])
    changed = {"decision": decision, "question_id": row["question_id"] or ""}
    return LedgerEntry(**{**known, **changed}, cost_usd=row["cost_microdollars"] / MICRODOLLARS)


def _decision(stored: Mapping[str, Any]) -> Decision:
    exposure = stored.get("exposure")
    known: dict[str, Any] = {
        **stored,
        "fallbacks": tuple(stored["fallbacks"]),
        "checks": tuple(RoutingCheck(**check) for check in stored["checks"]),
        "exposure": Exposure(**exposure) if exposure else None,
        "tuning": Tuning(**stored.get("tuning", {})),
    }
    return Decision(**known)
