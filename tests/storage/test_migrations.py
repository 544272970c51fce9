"""Databases of earlier versions, with rows in them, brought up to date."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from cmo.exports import Exchange
from cmo.storage import database as databases
from cmo.storage.conversations import SqlConversations
from cmo.storage.database import Database, migrate
from cmo.storage.feedback import SqlFeedback
from cmo.storage.ledger import LedgerEntry, SqlLedger
from cmo.values import Answer, Decision, Feedback, Question, RoutingCheck, Thumb

MIGRATIONS = Path(databases.__file__).with_name("migrations")
QUESTION = (
    "INSERT INTO questions (id, asked_at, user_id, thread_id, engine, model, mode, tokens_in, tokens_out, "
    "cost_microdollars, seconds, outcome, answered, language, generation, reason) VALUES "
    "({id}, '2026-03-01 12:00:00.000000', 'u{id}', 't1', 'lightrag', 'embedded', '', 7, 8, 9, 0.5, 'answered', 1, "
    "'en', 'g1', 'only_engine')"
)
DECISION = (
    '{"engine": "lightrag", "reason": "only_engine", "bucket": 38.9, "configuration": "0123", "rule": "", '
    '"free": false, "fallbacks": [], "checks": [{"name": "only_engine", "matched": true, "words": "It is the only."}]}'
)
DECIDED = Decision(
    engine="lightrag",
    reason="only_engine",
    bucket=38.9,
    configuration="0123",
    checks=(RoutingCheck(name="only_engine", matched=True, words="It is the only."),),
)
CALL = (
    "INSERT INTO calls (question_id, at, user_id, engine, model, stage, outcome, tokens_in, tokens_cached, tokens_out, "
    "cost_microdollars, seconds, estimated, variant) VALUES (1, '2026-03-01 12:00:00.000000', 'u1', 'lightrag', 'm', "
    "'answer', 'ok', 7, 0, 8, 9, 0.5, 0, '')"
)

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ANSWER = Answer(
    text="Alanine is an amino acid [1].",
    answered=True,
    language="en",
    engine="lightrag",
    model="embedded",
    reason="only_engine",
    citations=(),
    cost_usd=0.0,
    seconds=0.5,
)


def made_by(version: str, file: Path, *statements: str) -> str:
    """The URL of a database as that version made it, after these statements."""
    engine = sa.create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        command.upgrade(config, version)
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()
    return f"sqlite+aiosqlite:///{file}"


async def entries_of(url: str) -> tuple[LedgerEntry, ...]:
    database = Database(url)
    try:
        return await SqlLedger(database).recent(10)
    finally:
        await database.close()


async def test_questions_booked_before_costs_were_are_kept(tmp_path: Path) -> None:
    url = made_by("0001", tmp_path / "cmo.sqlite3", QUESTION.format(id=1))
    await migrate(url)

    (entry,) = await entries_of(url)
    assert (entry.user_id, entry.decision, entry.cached, entry.written) == ("u1", None, False, False)


async def test_questions_booked_before_quality_was_are_kept_with_everything_they_had(tmp_path: Path) -> None:
    decided = f"UPDATE questions SET decision = '{DECISION}', cached = 1 WHERE id = 2"
    url = made_by("0003", tmp_path / "cmo.sqlite3", QUESTION.format(id=1), QUESTION.format(id=2), CALL, decided)
    await migrate(url)

    second, first = await entries_of(url)
    assert (first.user_id, first.tokens_in, first.cost_usd, first.decision) == ("u1", 7, 0.000009, None)
    assert (second.user_id, second.cached, second.decision) == ("u2", True, DECIDED)
    assert (first.question_id, first.composite, first.verdicts, first.not_assessed) == ("", None, None, "")


async def test_a_database_of_before_takes_texts_and_feedback_and_counts_its_old_answers(tmp_path: Path) -> None:
    url = made_by("0003", tmp_path / "cmo.sqlite3", QUESTION.format(id=1), QUESTION.format(id=2), CALL)
    await migrate(url)

    database = Database(url)
    asked = Question(text="What is alanine?", user_id="u1", thread_id="t1", asked_at=NOON)
    await SqlLedger(database, keep_texts=timedelta(days=1)).record(asked, ANSWER, outcome="answered", seconds=1.0)
    thumb = Feedback(question_id=asked.id, user_id="u1", thumb=Thumb.UP, comment="", at=NOON)
    await SqlFeedback(database).give(thumb)
    kept = await SqlConversations(database).exchanges("t1")
    (sums,) = await SqlFeedback(database).satisfaction(NOON)
    await database.close()

    assert kept == (Exchange(question="What is alanine?", answer=ANSWER),)
    assert (sums.answers, sums.not_assessed, sums.mean_quality, sums.ups) == (3, 0, None, 1)
