"""Texts of conversations, as they are kept, read, and forgotten."""

import dataclasses
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from cmo.errors import StorageUnavailable
from cmo.exports import Exchange
from cmo.phrases import Phrase
from cmo.storage.conversations import DELETED_AT_ONCE, FORMAT, SqlConversations
from cmo.storage.database import Database
from cmo.storage.feedback import SqlFeedback
from cmo.storage.ledger import SqlLedger
from cmo.values import (
    Answer,
    Badge,
    CallOutcome,
    CallStage,
    Citation,
    CompoundAccession,
    CustomScore,
    Decision,
    Feedback,
    ModelCall,
    NamedCompound,
    Quality,
    Question,
    RoutingCheck,
    SentenceSupport,
    Thumb,
    Verdict,
)

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DAYS_KEPT = timedelta(days=90)
PAPER = Citation(
    number=1,
    document="a.pdf",
    title="Alanine – \N{GREEK SMALL LETTER ALPHA}",
    page=3,
    quote="Alanine rose.",
    url="/papers/doc-1.pdf#page=3",
    doc_id="doc-1",
    authors=("Ada Núñez",),
    year=2019,
    passage="It was so. Alanine rose.",
    confidence=0.75,
)
FULL = Answer(
    text="L'alanine augmente [1].",
    answered=True,
    language="fr",
    engine="lightrag",
    model="m",
    reason="rollout",
    citations=(PAPER,),
    cost_usd=0.01,
    seconds=0.5,
    notice=Phrase("A {part} could not be searched.", part="part"),
    written=True,
    cached_seconds=1.5,
    decision=Decision(
        engine="lightrag",
        reason="rollout",
        bucket=1.5,
        configuration="0123",
        fallbacks=("perplexity",),
        checks=(RoutingCheck(name="rollout", matched=True, words="In."),),
    ),
    quality=Quality(
        relevance=0.9,
        accuracy=0.5,
        consistency=0.75,
        composite=0.735,
        badge=Badge.ACCEPTABLE,
        sentences=(
            SentenceSupport(
                text="L'alanine augmente [1].",
                verdict=Verdict.SUPPORTED,
                score=0.9,
                quote="Alanine rose.",
                source=1,
                end=23,
                cited=(1,),
                judged=True,
            ),
        ),
        custom=(CustomScore(name="house", score=0.5, weight=0.0),),
        notes=("One source could not be read.",),
    ),
    original="Alanine rises [1].",
    compounds=(
        NamedCompound(
            name="alanine",
            written=("alanine",),
            accessions=(CompoundAccession(database="chebi", accession="CHEBI:16449", url="https://example.org/1"),),
        ),
    ),
)


def question(text: str = "What is alanine?", **others: Any) -> Question:
    return Question(**{"text": text, "user_id": "u1", "thread_id": "t1", "asked_at": NOON, **others})


@pytest.fixture
def conversations(database: Database) -> SqlConversations:
    return SqlConversations(database)


async def record(database: Database, asked: Question, answer: Answer | None = FULL, outcome: str = "answered") -> None:
    await SqlLedger(database, keep_texts=DAYS_KEPT).record(asked, answer, outcome=outcome, seconds=1.0)


def change(file: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(statement, values)
        connection.commit()


async def texts(conversations: SqlConversations, thread_id: str = "t1") -> list[str]:
    return [exchange.question for exchange in await conversations.exchanges(thread_id)]


async def test_an_answer_is_read_back_as_it_was(database: Database, conversations: SqlConversations) -> None:
    asked = question()
    await record(database, asked)

    assert await conversations.exchanges("t1") == (Exchange(question="What is alanine?", answer=FULL),)
    assert await conversations.exchange(asked.id) == Exchange(question="What is alanine?", answer=FULL)
    assert (await conversations.exchanges("t2"), await conversations.exchange("other")) == ((), None)


async def test_without_a_time_to_keep_them_no_text_is_in_the_database(database: Database, file: Path) -> None:
    await SqlLedger(database).record(question("a private matter"), FULL, outcome="answered", seconds=1.0)
    await database.close()

    stored = b"".join(part.read_bytes() for part in file.parent.iterdir())
    assert (b"lightrag" in stored, b"private" in stored, b"augmente" in stored) == (True, False, False)


@pytest.mark.parametrize("outcome", ["failed", "stopped"])
async def test_a_question_without_an_answer_leaves_no_text(
    database: Database, conversations: SqlConversations, outcome: str
) -> None:
    await record(database, question(), None, outcome)

    assert await conversations.threads(10) == ()


async def test_that_the_papers_do_not_answer_is_an_answer(database: Database, conversations: SqlConversations) -> None:
    await record(database, question(), dataclasses.replace(FULL, answered=False), "refused")

    assert await texts(conversations) == ["What is alanine?"]


async def test_texts_are_kept_only_with_their_booking(database: Database, conversations: SqlConversations) -> None:
    negative = ModelCall(engine="e", model="m", stage=CallStage.ANSWER, outcome=CallOutcome.OK, seconds=-1.0)
    ledger = SqlLedger(database, keep_texts=DAYS_KEPT)
    with pytest.raises(IntegrityError):
        await ledger.record(question(), FULL, outcome="answered", seconds=1.0, calls=[negative])

    assert await conversations.threads(10) == ()


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (question("half \ud800"), FULL),
        (question(), dataclasses.replace(FULL, text="half \ud800 [1].")),
    ],
    ids=["question", "answer"],
)
async def test_a_question_is_booked_even_when_its_texts_are_no_proper_unicode(
    database: Database, conversations: SqlConversations, asked: Question, answer: Answer
) -> None:
    await record(database, asked, answer)

    assert (await SqlLedger(database).totals()).questions == 1
    assert await conversations.threads(10) == ()


async def test_a_conversation_is_read_oldest_first_whatever_was_booked_first(
    database: Database, conversations: SqlConversations
) -> None:
    await record(database, question("second", asked_at=NOON + timedelta(minutes=1)))
    await record(database, question("first"))
    await record(database, question("of another", thread_id="t2"))

    assert await texts(conversations) == ["first", "second"]


async def test_conversations_are_listed_with_who_asked_what_how_often_and_when(
    database: Database, conversations: SqlConversations
) -> None:
    later = NOON + timedelta(hours=1)
    await record(database, question("long " * 40))
    await record(database, question("short", thread_id="t2", user_id="u2", asked_at=NOON + timedelta(minutes=1)))
    await record(database, question("again", asked_at=later))

    first, second = await conversations.threads(10)
    assert (first.thread_id, first.user_id, first.exchanges) == ("t1", "u1", 2)
    assert (first.beginning, first.begun, first.ended) == ("long " * 16, NOON, later)
    assert (second.thread_id, second.user_id, second.beginning, second.exchanges) == ("t2", "u2", "short", 1)
    assert await conversations.threads(1) == (first,)


async def test_conversations_are_found_by_how_their_ids_begin_to_the_letter(
    database: Database, conversations: SqlConversations
) -> None:
    for thread_id in ("ab-1", "ab-2", "AB-3", "a_-4"):
        await record(database, question(thread_id=thread_id))

    for beginning, found in {"ab": {"ab-1", "ab-2"}, "a_": {"a_-4"}, "%": set(), "ab-1": {"ab-1"}}.items():
        assert {thread.thread_id for thread in await conversations.threads(10, beginning=beginning)} == found


async def test_a_forgotten_conversation_leaves_its_bookings_and_no_text(
    database: Database, conversations: SqlConversations, file: Path
) -> None:
    asked = question("a private matter")
    await record(database, asked)
    await record(database, question("of another", thread_id="t2"))
    said = Feedback(question_id=asked.id, user_id="u1", thumb=Thumb.DOWN, comment="my own words", at=NOON)
    await SqlFeedback(database).give(said)

    assert await conversations.forget("t1") == 1

    assert (await texts(conversations), await texts(conversations, "t2")) == ([], ["of another"])
    assert (await SqlLedger(database).totals()).questions == 2
    (given,) = await SqlFeedback(database).latest(10)
    assert (given.feedback.thumb, given.feedback.comment) == (Thumb.DOWN, "")
    await database.close()
    stored = b"".join(part.read_bytes() for part in file.parent.iterdir())
    assert (b"of another" in stored, b"private" in stored, b"own words" in stored) == (True, False, False)


async def test_a_conversation_that_is_not_there_is_forgotten_already(conversations: SqlConversations) -> None:
    assert await conversations.forget("t1") == 0


async def test_texts_of_questions_asked_before_are_forgotten_however_many(
    database: Database, conversations: SqlConversations, file: Path
) -> None:
    await record(database, question("at noon"))
    await record(database, question("old", asked_at=NOON - timedelta(seconds=1)))
    change(
        file,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
        "INSERT INTO questions (question_id, asked_at, user_id, thread_id, engine, model, mode, tokens_in, tokens_out, "
        "cost_microdollars, seconds, outcome, answered, language, generation, reason) SELECT 'q' || i, asked_at, 'u1', "
        "'t1', '', '', '', 0, 0, 0, 0, 'answered', 1, '', '', '' FROM n, questions WHERE id = 2",
        DELETED_AT_ONCE,
    )
    change(
        file,
        "INSERT INTO exchanges (question_id, thread_id, user_id, asked_at, question, format, answer) "
        "SELECT question_id, 't1', 'u1', asked_at, 'old', 1, '{}' FROM questions WHERE question_id LIKE 'q%'",
    )

    assert await conversations.forget_before(NOON) == DELETED_AT_ONCE + 1
    assert await texts(conversations) == ["at noon"]


async def test_texts_that_are_too_old_go_when_others_come(database: Database, conversations: SqlConversations) -> None:
    await record(database, question("old", thread_id="old"))
    await record(database, question("in time", thread_id="old", asked_at=NOON + timedelta(seconds=1)))
    await record(database, question("new", asked_at=NOON + DAYS_KEPT + timedelta(seconds=1)))

    assert await texts(conversations, "old") == ["in time"]


async def test_an_answer_kept_by_a_later_version_is_refused_with_what_to_do(
    database: Database, conversations: SqlConversations, file: Path
) -> None:
    await record(database, question())
    change(file, "UPDATE exchanges SET format = ?", FORMAT + 1)

    with pytest.raises(StorageUnavailable, match=f"format {FORMAT + 1}.*use the version that wrote it"):
        await conversations.exchanges("t1")


async def test_fields_that_came_later_are_passed_over_and_those_not_there_yet_have_their_defaults(
    database: Database, conversations: SqlConversations, file: Path
) -> None:
    await record(database, question())
    with closing(sqlite3.connect(file)) as connection:
        (text,) = connection.execute("SELECT answer FROM exchanges").fetchone()
    kept = json.loads(text)
    kept["answer"]["mood"] = "good"
    kept["answer"]["quality"]["sentences"][0]["mood"] = "good"
    del kept["answer"]["compounds"]
    change(file, "UPDATE exchanges SET answer = ?", json.dumps(kept))

    (exchange,) = await conversations.exchanges("t1")
    assert exchange.answer == dataclasses.replace(FULL, compounds=())


@pytest.mark.parametrize("text", ["", "{}", '{"answer": {"text": "my own words"}}', "my own words"])
async def test_a_damaged_answer_is_refused_without_quoting_it(
    database: Database, conversations: SqlConversations, file: Path, text: str
) -> None:
    await record(database, question())
    change(file, "UPDATE exchanges SET answer = ?", text)

    with pytest.raises(StorageUnavailable, match="damaged") as refused:
        await conversations.exchanges("t1")
    assert refused.value.__cause__ is None


async def test_a_database_without_its_tables_says_what_could_not_be_done(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'empty.sqlite3'}")
    conversations = SqlConversations(database)
    try:
        with pytest.raises(StorageUnavailable, match="could not be read"):
            await conversations.threads(10)
        with pytest.raises(StorageUnavailable, match="could not be read"):
            await conversations.exchanges("t1")
        with pytest.raises(StorageUnavailable, match="could not be changed"):
            await conversations.forget("t1")
        with pytest.raises(StorageUnavailable, match="could not be changed"):
            await conversations.forget_before(NOON)
    finally:
        await database.close()
