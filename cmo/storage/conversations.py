"""Conversations: the texts of questions and answers, kept for a while so that they can be exported.

The ledger (ledger.py) writes a row here in the transaction that books the question; a question that got no answer
leaves no text. Nothing here knows formats of files (cmo/exports), nor how long texts are to be kept.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticSerializationError

from cmo.errors import StorageUnavailable
from cmo.exports import Exchange
from cmo.logs import fields
from cmo.storage.columns import UtcTime
from cmo.storage.database import Database, as_unavailable
from cmo.values import Answer, Question

FORMAT = 1
"""Version of the JSON of answers. It changes when a field of before means something else or goes away.

Fields that come with defaults change nothing: older texts take the defaults, and an older program passes over them.
"""

BEGINNING_CHARACTERS = 80
"""So much of a conversation's first question is shown in a list."""

DELETED_WITH_EACH = 10
"""So many texts that are too old are deleted, at most, with each that is added: no question waits for a clean-up."""

DELETED_AT_ONCE = 500
"""The same in a clean-up of its own, which lets others write after so many."""

_UNREADABLE = "The conversations could not be read from the database: check its file and its permissions."
_UNCHANGED = "The conversations could not be changed in the database: check its disk and its permissions."

_log = logging.getLogger(__name__)

_exchanges = sa.Table(
    "exchanges",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("question_id", sa.String, nullable=False),
    sa.Column("thread_id", sa.String, nullable=False),
    sa.Column("user_id", sa.String, nullable=False),
    sa.Column("asked_at", UtcTime, nullable=False),
    sa.Column("question", sa.Text, nullable=False),
    sa.Column("format", sa.Integer, nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
)

_comments = sa.table("feedback", sa.column("question_id", sa.String), sa.column("comment", sa.Text))
"""What feedback.py keeps, as far as it is forgotten with a conversation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """A conversation in a list. `beginning` is how its first question begins; `ended` is when the last was asked."""

    thread_id: str
    user_id: str
    beginning: str
    exchanges: int
    begun: datetime
    ended: datetime


class _KeptAnswer(BaseModel):
    """What the column `answer` holds."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    answer: Answer


class SqlConversations:
    """The texts in the application's database.

    Raises (every method):
        StorageUnavailable: they cannot be read or deleted, or were written by a later version of the program.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def threads(self, limit: int, *, beginning: str = "") -> tuple[Thread, ...]:
        """The `limit` conversations that went on last, the newest first, of those whose ids begin so."""
        with as_unavailable(_UNREADABLE):
            return tuple(await self._database.look(partial(_threads, limit, beginning)))

    async def exchanges(self, thread_id: str) -> tuple[Exchange, ...]:
        """A conversation, oldest first; nothing when it is not there."""
        return await self._read(_exchanges.c.thread_id == thread_id)

    async def exchange(self, question_id: str) -> Exchange | None:
        """One question and its answer."""
        return next(iter(await self._read(_exchanges.c.question_id == question_id)), None)

    async def forget(self, thread_id: str) -> int:
        """Delete the texts of a conversation, with the comments on its answers; how many exchanges it had."""
        with as_unavailable(_UNCHANGED):
            return await self._database.book(partial(_forget, thread_id))

    async def forget_before(self, when: datetime) -> int:
        """Delete the texts of all questions asked before; how many there were."""
        deleted = 0
        with as_unavailable(_UNCHANGED):
            while some := await self._database.book(partial(delete_before, when, at_most=DELETED_AT_ONCE)):
                deleted += some
        return deleted

    async def _read(self, wanted: sa.ColumnElement[bool]) -> tuple[Exchange, ...]:
        of = _exchanges.c
        oldest_first = sa.select(of.question, of.format, of.answer).where(wanted).order_by(of.asked_at, of.id)
        with as_unavailable(_UNREADABLE):
            rows = await self._database.look(lambda connection: connection.execute(oldest_first).all())
        return tuple(Exchange(question=row.question, answer=_answer(row.format, row.answer)) for row in rows)


def keep(question: Question, answer: Answer, connection: sa.Connection) -> None:
    """Add the texts of a question that has been booked. Texts that are no proper Unicode are left out."""
    try:
        question.text.encode()
        # Without warnings, which would quote the answer.
        as_json = _KeptAnswer.model_construct(answer=answer).model_dump_json(warnings=False)
    except (UnicodeEncodeError, PydanticSerializationError) as error:
        _log.info("exchange_cannot_be_kept", extra=fields(error=type(error).__name__))
        return
    row = {
        "question_id": question.id,
        "thread_id": question.thread_id,
        "user_id": question.user_id,
        "asked_at": question.asked_at,
        "question": question.text,
        "format": FORMAT,
        "answer": as_json,
    }
    connection.execute(sa.insert(_exchanges), row)


def delete_before(when: datetime, connection: sa.Connection, *, at_most: int) -> int:
    """Delete texts of questions asked before, the oldest first; how many."""
    return connection.execute(_DELETE_OLDEST, {"before": when, "at_most": at_most}).rowcount


# Made once: it takes SQLAlchemy longer to put the statement together than SQLite to find nothing.
_DELETE_OLDEST = sa.delete(_exchanges).where(
    _exchanges.c.id.in_(
        sa.select(_exchanges.c.id)
        .where(_exchanges.c.asked_at < sa.bindparam("before"))
        .order_by(_exchanges.c.asked_at)
        .limit(sa.bindparam("at_most"))
    )
)


def _threads(limit: int, beginning: str, connection: sa.Connection) -> list[Thread]:
    of = _exchanges.c
    numbered = (
        sa.select(
            of.thread_id,
            of.user_id,
            sa.func.substr(of.question, 1, BEGINNING_CHARACTERS).label("beginning"),
            sa.func.count().over(partition_by=of.thread_id).label("exchanges"),
            of.asked_at.label("begun"),
            sa.func.max(of.asked_at).over(partition_by=of.thread_id).label("ended"),
            sa.func.row_number().over(partition_by=of.thread_id, order_by=(of.asked_at, of.id)).label("place"),
        )
        .where(sa.func.substr(of.thread_id, 1, len(beginning)) == beginning)
        .subquery()
    )
    columns = [column for column in numbered.c if column.name != "place"]
    newest_first = sa.select(*columns).where(numbered.c.place == 1).order_by(numbered.c.ended.desc()).limit(limit)
    return [Thread(**row) for row in connection.execute(newest_first).mappings()]


def _forget(thread_id: str, connection: sa.Connection) -> int:
    in_thread = _exchanges.c.thread_id == thread_id
    answers = sa.select(_exchanges.c.question_id).where(in_thread)
    connection.execute(sa.update(_comments).where(_comments.c.question_id.in_(answers)).values(comment=""))
    return connection.execute(sa.delete(_exchanges).where(in_thread)).rowcount


def _answer(version: int, text: str) -> Answer:
    """The answer as it was kept.

    Raises:
        StorageUnavailable: another version of the program wrote it, or it is damaged.
    """
    if version != FORMAT:
        raise StorageUnavailable(
            f"A kept answer is in format {version}, and this version of the program reads format {FORMAT}: "
            "use the version that wrote it."
        )
    try:
        return _KeptAnswer.model_validate_json(text).answer
    except ValidationError:
        # The error itself would quote the text.
        raise StorageUnavailable("A kept answer is damaged and cannot be read.") from None
