"""What people say of answers, and what it sums up to."""

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cmo.errors import OracleError, StorageUnavailable
from cmo.storage.database import Database
from cmo.storage.feedback import LONGEST_COMMENT, SqlFeedback
from cmo.storage.ledger import SqlLedger
from cmo.values import Answer, Badge, Decision, Feedback, Quality, Question, Thumb

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DECISION = Decision(engine="lightrag", reason="rollout", bucket=1.5, configuration="0123")
ANSWER = Answer(
    text="Alanine rises [1].",
    answered=True,
    language="en",
    engine="lightrag",
    model="m",
    reason="rollout",
    citations=(),
    cost_usd=0.01,
    seconds=0.5,
    decision=DECISION,
)


def of_quality(composite: float, answer: Answer = ANSWER) -> Answer:
    quality = Quality(
        relevance=0.9, accuracy=0.5, consistency=0.75, composite=composite, badge=Badge.GOOD, sentences=()
    )
    return dataclasses.replace(answer, quality=quality)


@pytest.fixture
def feedback(database: Database) -> SqlFeedback:
    return SqlFeedback(database)


async def record(
    database: Database, answer: Answer | None = ANSWER, *, outcome: str = "answered", at: datetime = NOON
) -> str:
    """The id of a question of u1."""
    question = Question(text="What is alanine?", user_id="u1", thread_id="t1", asked_at=at)
    await SqlLedger(database).record(question, answer, outcome=outcome, seconds=1.0)
    return question.id


def said(question_id: str, thumb: Thumb | None = Thumb.UP, comment: str = "", **others: Any) -> Feedback:
    given = {"question_id": question_id, "user_id": "u1", "thumb": thumb, "comment": comment, "at": NOON}
    return Feedback(**{**given, **others})


async def kept(feedback: SqlFeedback) -> list[tuple[Thumb | None, str]]:
    return [(given.feedback.thumb, given.feedback.comment) for given in await feedback.latest(10)]


async def test_feedback_stands_beside_decision_quality_and_cost(database: Database, feedback: SqlFeedback) -> None:
    question_id = await record(database, of_quality(0.85))
    given = said(question_id, Thumb.DOWN, "Not the point.", at=NOON + timedelta(minutes=1))
    await feedback.give(given)

    (found,) = await feedback.latest(10)
    assert found.feedback == given
    assert found.booked.question_id == question_id
    assert (found.booked.decision, found.booked.composite, found.booked.cost_usd) == (DECISION, 0.85, 0.01)


async def test_people_change_their_minds_and_take_it_back(database: Database, feedback: SqlFeedback) -> None:
    question_id = await record(database)
    await feedback.give(said(question_id, Thumb.UP, "Good."))
    await feedback.give(said(question_id, Thumb.DOWN, "No, bad."))
    assert await kept(feedback) == [(Thumb.DOWN, "No, bad.")]

    await feedback.give(said(question_id, None))
    await feedback.give(said(question_id, None))
    assert await kept(feedback) == []


async def test_only_the_person_who_asked_can_say_something(database: Database, feedback: SqlFeedback) -> None:
    question_id = await record(database)
    await feedback.give(said(question_id))

    for stranger in (Thumb.DOWN, None):
        with pytest.raises(OracleError, match="no record of this answer"):
            await feedback.give(said(question_id, stranger, user_id="u2"))
    assert await kept(feedback) == [(Thumb.UP, "")]


@pytest.mark.parametrize("outcome", ["failed", "stopped"])
async def test_nothing_can_be_said_of_what_was_not_answered(
    database: Database, feedback: SqlFeedback, outcome: str
) -> None:
    question_id = await record(database, None, outcome=outcome)

    for unknown in (question_id, "other", "", "\ud800"):
        with pytest.raises(OracleError, match="no record of this answer"):
            await feedback.give(said(unknown))


async def test_a_comment_may_be_so_long(database: Database, feedback: SqlFeedback) -> None:
    question_id = await record(database)
    await feedback.give(said(question_id, comment=" " + "é" * LONGEST_COMMENT))

    with pytest.raises(OracleError, match=r"2,001 characters, where 2,000 are allowed"):
        await feedback.give(said(question_id, comment="é" * (LONGEST_COMMENT + 1)))
    assert await kept(feedback) == [(Thumb.UP, "é" * LONGEST_COMMENT)]


async def test_control_characters_are_taken_out_of_comments(database: Database, feedback: SqlFeedback) -> None:
    question_id = await record(database)
    await feedback.give(said(question_id, comment="\x1b[2Jone\r\ntwo\tthree\x00\ud800\x85 "))

    assert await kept(feedback) == [(Thumb.UP, "[2Jone\ntwo three")]


async def test_the_latest_comes_first_and_no_more_than_asked_for(database: Database, feedback: SqlFeedback) -> None:
    for minute in range(3):
        await feedback.give(said(await record(database), comment=str(minute), at=NOON + timedelta(minutes=minute)))

    assert [given.feedback.comment for given in await feedback.latest(2)] == ["2", "1"]


async def test_satisfaction_is_summed_for_each_engine(database: Database, feedback: SqlFeedback) -> None:
    web = dataclasses.replace(ANSWER, engine="perplexity")
    papers = [await record(database, of_quality(composite)) for composite in (0.5, 0.75, 1.0)]
    await record(database, dataclasses.replace(ANSWER, not_assessed="It took too long."))
    await record(database, dataclasses.replace(ANSWER, answered=False), outcome="refused")
    await record(database, None, outcome="failed")
    for question_id, thumb in zip(papers, (Thumb.UP, Thumb.DOWN, Thumb.UP), strict=True):
        await feedback.give(said(question_id, thumb))
    await record(database, web)

    of_papers, of_web = await feedback.satisfaction(NOON)
    assert (of_papers.engine, of_papers.answers, of_papers.assessed, of_papers.not_assessed) == ("lightrag", 5, 3, 1)
    assert (of_papers.mean_quality, of_papers.ups, of_papers.downs) == (0.75, 2, 1)
    assert (of_web.engine, of_web.answers, of_web.mean_quality, of_web.share) == ("perplexity", 1, None, None)


async def test_answers_of_before_do_not_count(database: Database, feedback: SqlFeedback) -> None:
    await feedback.give(said(await record(database, at=NOON - timedelta(seconds=1))))

    assert await feedback.satisfaction(NOON) == ()


async def test_a_database_without_its_tables_says_what_could_not_be_done(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'empty.sqlite3'}")
    try:
        with pytest.raises(StorageUnavailable, match="could not be kept"):
            await SqlFeedback(database).give(said("q"))
        with pytest.raises(StorageUnavailable, match="could not be read"):
            await SqlFeedback(database).latest(10)
        with pytest.raises(StorageUnavailable, match="could not be read"):
            await SqlFeedback(database).satisfaction(NOON)
    finally:
        await database.close()
