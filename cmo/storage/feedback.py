"""Feedback: a thumb and a comment for each answer, from the person who asked.

Seen beside the answer's row of the ledger: how it was decided, what it cost, how good it was. It refuses feedback on
what nobody was answered, and on other people's answers.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import sqlalchemy as sa

from cmo.errors import OracleError
from cmo.phrases import Phrase
from cmo.policy.satisfaction import Satisfaction
from cmo.storage.columns import UtcTime
from cmo.storage.database import Database, as_unavailable
from cmo.storage.exposures import measure_thumb
from cmo.storage.ledger import QUESTIONS, LedgerEntry, entry
from cmo.values import Feedback, Thumb

LONGEST_COMMENT = 2_000
"""Characters of a comment at most."""

_feedback = sa.Table(
    "feedback",
    sa.MetaData(),
    sa.Column("question_id", sa.String, primary_key=True),
    sa.Column("user_id", sa.String, nullable=False),
    sa.Column("thumb", sa.String, nullable=False),
    sa.Column("comment", sa.Text, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
)

_UNREADABLE = "The feedback could not be read from the database: check its file and its permissions."

_WITH_ANSWER = ("answered", "refused")


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenFeedback:
    """What a person said, and the booking of the question they asked."""

    feedback: Feedback
    booked: LedgerEntry


class SqlFeedback:
    """Feedback in the application's database; it is an interfaces.FeedbackBook.

    Raises (every method):
        StorageUnavailable: it cannot be read or written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def give(self, feedback: Feedback) -> None:
        """Keep what a person says of an answer, in place of what they said before; without a thumb it is taken back.

        Raises:
            OracleError: this person got no such answer, or the comment is too long; the message can be shown.
        """
        comment = _readable(feedback.comment)
        if len(comment) > LONGEST_COMMENT:
            raise OracleError(
                Phrase(
                    "The comment is too long: {length} characters, where {longest} are allowed.",
                    length=f"{len(comment):,}",
                    longest=f"{LONGEST_COMMENT:,}",
                )
            )
        with as_unavailable(Phrase("Your feedback could not be kept. Please try again later.")):
            was_answered = await self._database.book(partial(_give, feedback, comment))
        if not was_answered:
            raise OracleError(Phrase("There is no record of this answer, so your feedback could not be kept."))

    async def latest(self, limit: int) -> tuple[GivenFeedback, ...]:
        """The `limit` thumbs given last, the newest first."""
        newest_first = (
            sa.select(QUESTIONS, *(column.label(f"feedback_{column.name}") for column in _feedback.c))
            .join(QUESTIONS, QUESTIONS.c.question_id == _feedback.c.question_id)
            .order_by(_feedback.c.at.desc(), QUESTIONS.c.id.desc())
            .limit(limit)
        )
        with as_unavailable(_UNREADABLE):
            rows = await self._database.look(lambda connection: connection.execute(newest_first).mappings().all())
        return tuple(map(_given, rows))

    async def satisfaction(self, since: datetime) -> tuple[Satisfaction, ...]:
        """How the answers to questions asked from `since` on were received, engine by engine in the order of names."""
        with as_unavailable(_UNREADABLE):
            return tuple(await self._database.look(partial(_sums, since)))


def _readable(comment: str) -> str:
    """The comment without control characters and half characters, which would steer terminals or break files."""
    lines = comment.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
    return "".join(sign for sign in lines if sign == "\n" or unicodedata.category(sign) not in ("Cc", "Cs")).strip()


def _give(feedback: Feedback, comment: str, connection: sa.Connection) -> bool:
    """Whether there is such an answer."""
    of = QUESTIONS.c
    if not feedback.question_id.isascii():
        return False  # half a character, out of a browser, could not even be looked for
    theirs = (of.question_id == feedback.question_id, of.user_id == feedback.user_id, of.outcome.in_(_WITH_ANSWER))
    if connection.execute(sa.select(of.id).where(*theirs)).first() is None:
        return False
    said_before = sa.select(_feedback.c.thumb).where(_feedback.c.question_id == feedback.question_id)
    before = connection.execute(said_before).scalar()
    connection.execute(sa.delete(_feedback).where(_feedback.c.question_id == feedback.question_id))
    if feedback.thumb is not None:
        row = {
            "question_id": feedback.question_id,
            "user_id": feedback.user_id,
            "thumb": feedback.thumb.value,
            "comment": comment,
            "at": feedback.at,
        }
        connection.execute(sa.insert(_feedback), row)
        if feedback.thumb != before:
            is_up = feedback.thumb is Thumb.UP
            measure_thumb(connection, feedback.question_id, satisfied=is_up, at=feedback.at)
    return True


def _given(row: sa.RowMapping) -> GivenFeedback:
    said = {column.name: row[f"feedback_{column.name}"] for column in _feedback.c}
    return GivenFeedback(feedback=Feedback(**{**said, "thumb": Thumb(said["thumb"])}), booked=entry(row))


def _sums(since: datetime, connection: sa.Connection) -> list[Satisfaction]:
    of = QUESTIONS.c
    count = sa.func.count
    by_engine = (
        sa.select(
            of.engine,
            count().label("answers"),
            count(of.composite).label("assessed"),
            count().filter(of.not_assessed != "").label("not_assessed"),
            sa.func.avg(of.composite).label("mean_quality"),
            count().filter(_feedback.c.thumb == Thumb.UP.value).label("ups"),
            count().filter(_feedback.c.thumb == Thumb.DOWN.value).label("downs"),
        )
        .outerjoin(_feedback, _feedback.c.question_id == of.question_id)
        .where(of.asked_at >= since, of.outcome.in_(_WITH_ANSWER))
        .group_by(of.engine)
        .order_by(of.engine)
    )
    return [Satisfaction(**row) for row in connection.execute(by_engine).mappings()]
