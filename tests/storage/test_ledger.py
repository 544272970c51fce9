import asyncio
import dataclasses
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, StatementError

from cmo.errors import SettingsError, StorageUnavailable
from cmo.storage.database import Database, migrate
from cmo.storage.ledger import LedgerTotals, SqlLedger
from cmo.values import (
    Answer,
    Badge,
    CallOutcome,
    CallStage,
    CustomScore,
    Decision,
    ModelCall,
    Quality,
    Question,
    RoutingCheck,
    SentenceSupport,
    Verdict,
)

ROOT = Path(__file__).resolve().parents[2]
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CALL = ModelCall(
    engine="perplexity",
    model="perplexity/sonar",
    stage=CallStage.ANSWER,
    outcome=CallOutcome.OK,
    tokens_in=1_000,
    tokens_cached=100,
    tokens_out=200,
    cost_usd=0.00275,
    seconds=1.5,
)

QUALITY = Quality(
    relevance=0.9,
    accuracy=0.5,
    consistency=0.75,
    composite=0.735,
    badge=Badge.ACCEPTABLE,
    sentences=tuple(
        SentenceSupport(text="Alanine rose.", verdict=verdict, score=0.5, quote="")
        for verdict in (Verdict.SUPPORTED, Verdict.NOT_FOUND, Verdict.SUPPORTED)
    ),
)


def url_of(file: Path) -> str:
    return f"sqlite+aiosqlite:///{file}"


def question(*, asked_at: datetime = NOON, text: str = "What is alanine?", thread_id: str = "t1") -> Question:
    return Question(text=text, user_id="u1", thread_id=thread_id, asked_at=asked_at, language="de")


def answer(*, cost_usd: float = 0.0, answered: bool = True) -> Answer:
    return Answer(
        text="Alanine is an amino acid [1].",
        answered=answered,
        language="en",
        engine="lightrag",
        model="embedded",
        reason="only_engine",
        citations=(),
        cost_usd=cost_usd,
        seconds=0.5,
        generation="g0001-0123abcd",
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "storage" / "50% of it" / "cmo.sqlite3"


@pytest.fixture
async def database(file: Path) -> AsyncIterator[Database]:
    await migrate(url_of(file))
    database = Database(url_of(file))
    yield database
    await database.close()


@pytest.fixture
def ledger(database: Database) -> SqlLedger:
    return SqlLedger(database)


async def test_an_answered_question_is_booked_with_what_it_took(ledger: SqlLedger) -> None:
    await ledger.record(question(), answer(cost_usd=0.001234), outcome="answered", seconds=0.7)

    (entry,) = await ledger.recent(10)
    assert (entry.asked_at, entry.user_id, entry.thread_id) == (NOON, "u1", "t1")
    assert (entry.engine, entry.model, entry.reason) == ("lightrag", "embedded", "only_engine")
    assert (entry.cost_usd, entry.seconds) == (0.001234, 0.7)
    assert (entry.outcome, entry.answered, entry.language) == ("answered", True, "en")
    assert entry.generation == "g0001-0123abcd"


async def test_a_question_without_an_answer_is_booked_in_its_own_language(ledger: SqlLedger) -> None:
    await ledger.record(question(), None, outcome="stopped", seconds=0.1)

    (entry,) = await ledger.recent(10)
    assert (entry.outcome, entry.answered, entry.language, entry.engine) == ("stopped", False, "de", "")


async def test_neither_the_question_nor_the_answer_is_in_the_file(
    ledger: SqlLedger, database: Database, file: Path
) -> None:
    await ledger.record(question(text="a very private matter"), answer(), outcome="answered", seconds=0.7)
    await database.close()

    stored = b"".join(part.read_bytes() for part in file.parent.iterdir())
    assert b"lightrag" in stored
    assert b"private" not in stored
    assert b"amino acid" not in stored


def rows_of(file: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(statement).fetchall()


async def test_a_written_answer_is_booked_with_its_mode_and_whether_it_had_been_given_before(
    ledger: SqlLedger,
) -> None:
    again = dataclasses.replace(answer(), written=True, mode="mix", cached_seconds=0.0)
    await ledger.record(question(), again, outcome="answered", seconds=0.7)
    await ledger.record(question(), answer(), outcome="answered", seconds=0.7)

    plain, written = await ledger.recent(10)
    assert (written.mode, written.written, written.cached) == ("mix", True, True)
    assert (plain.mode, plain.written, plain.cached) == ("", False, False)


async def test_the_decision_is_kept_with_every_rule_it_passed(ledger: SqlLedger) -> None:
    decision = Decision(
        engine="perplexity",
        reason="rule:news",
        rule="news",
        bucket=38.9368344422,
        configuration="0123abcd",
        fallbacks=("lightrag",),
        checks=(
            RoutingCheck(name="emergency_stop", matched=False, words="It is off."),
            RoutingCheck(name="news", matched=True, words="The question asks for what is new."),
        ),
    )
    await ledger.record(question(), dataclasses.replace(answer(), decision=decision), outcome="answered", seconds=0.7)
    await ledger.record(question(), None, outcome="failed", seconds=0.7)

    failed, answered = await ledger.recent(10)
    assert (failed.decision, answered.decision) == (None, decision)


async def test_an_assessed_answer_is_booked_with_its_quality(ledger: SqlLedger) -> None:
    asked = question()
    poor = dataclasses.replace(answer(), quality=QUALITY, second_opinion="perplexity")
    await ledger.record(asked, poor, outcome="answered", seconds=0.7)

    (entry,) = await ledger.recent(10)
    assert entry.question_id == asked.id
    assert (entry.relevance, entry.accuracy, entry.consistency, entry.composite) == (0.9, 0.5, 0.75, 0.735)
    assert entry.verdicts == {"supported": 2, "not_found": 1}
    assert (entry.not_assessed, entry.second_opinion, entry.custom) == ("", "perplexity", None)


async def test_scores_of_custom_assessors_are_booked_by_their_names(ledger: SqlLedger) -> None:
    custom = (CustomScore(name="tone", score=0.4, weight=0.0),)
    scored = dataclasses.replace(answer(), quality=dataclasses.replace(QUALITY, custom=custom))
    await ledger.record(question(), scored, outcome="answered", seconds=0.7)

    (entry,) = await ledger.recent(10)
    assert entry.custom == {"tone": 0.4}


async def test_an_answer_that_was_not_assessed_is_booked_with_the_reason_and_no_quality(ledger: SqlLedger) -> None:
    unknown = dataclasses.replace(answer(), not_assessed="It took too long.")
    await ledger.record(question(), unknown, outcome="answered", seconds=0.7)
    await ledger.record(question(), None, outcome="stopped", seconds=0.7)

    stopped, unassessed = await ledger.recent(10)
    assert (unassessed.composite, unassessed.verdicts, unassessed.not_assessed) == (None, None, "It took too long.")
    assert (stopped.composite, stopped.verdicts, stopped.not_assessed, stopped.second_opinion) == (None, None, "", "")


async def test_one_question_is_booked_once(ledger: SqlLedger) -> None:
    asked = question()
    await ledger.record(asked, answer(), outcome="answered", seconds=0.7)

    with pytest.raises(IntegrityError):
        await ledger.record(asked, answer(), outcome="answered", seconds=0.7)


async def test_a_question_costs_what_its_calls_cost_also_those_that_failed(ledger: SqlLedger, file: Path) -> None:
    rewrite = dataclasses.replace(CALL, stage=CallStage.REWRITE, engine="lightrag", model="m", cost_usd=0.0001)
    failed = dataclasses.replace(CALL, outcome=CallOutcome.FAILED, cost_usd=0.0005, estimated=True)
    await ledger.record(
        question(), answer(cost_usd=0.00335), outcome="answered", seconds=0.7, calls=(rewrite, failed, CALL)
    )

    (entry,) = await ledger.recent(10)
    assert (entry.cost_usd, entry.tokens_in, entry.tokens_out) == (0.00335, 3_000, 600)
    assert rows_of(file, "SELECT question_id, stage, outcome, cost_microdollars, estimated FROM calls") == [
        (1, "rewrite", "ok", 100, 0),
        (1, "answer", "failed", 500, 1),
        (1, "answer", "ok", 2_750, 0),
    ]


@pytest.mark.parametrize("outcome", ["failed", "stopped"])
async def test_a_question_without_an_answer_is_booked_with_what_it_had_cost_by_then(
    ledger: SqlLedger, outcome: str
) -> None:
    await ledger.record(question(), None, outcome=outcome, seconds=0.7, calls=(CALL, CALL))

    (entry,) = await ledger.recent(10)
    assert (entry.cost_usd, entry.tokens_in, entry.tokens_out) == (0.0055, 2_000, 400)


async def test_calls_are_booked_with_who_made_them_when_and_what_they_took(ledger: SqlLedger, file: Path) -> None:
    await ledger.record(question(), answer(), outcome="answered", seconds=0.7, calls=(CALL,))

    columns = "at, user_id, engine, model, tokens_in, tokens_cached, tokens_out, seconds, variant"
    assert rows_of(file, f"SELECT {columns} FROM calls") == [
        ("2026-03-01 12:00:00.000000", "u1", "perplexity", "perplexity/sonar", 1_000, 100, 200, 1.5, "")
    ]


async def test_calls_of_indexing_belong_to_no_question(ledger: SqlLedger, file: Path) -> None:
    embed = dataclasses.replace(CALL, stage=CallStage.EMBED)
    await ledger.record_calls([embed, embed], user_id="index", at=NOON)
    await ledger.record_calls([], user_id="index", at=NOON)

    assert rows_of(file, "SELECT question_id, user_id, stage FROM calls") == [(None, "index", "embed")] * 2
    assert (await ledger.totals()).questions == 0


async def test_a_question_whose_calls_cannot_be_booked_is_not_booked_either(ledger: SqlLedger) -> None:
    negative = dataclasses.replace(CALL, seconds=-1.0)
    with pytest.raises(IntegrityError):
        await ledger.record(question(), answer(), outcome="answered", seconds=0.7, calls=(CALL, negative))

    assert (await ledger.totals()).questions == 0


async def test_the_newest_questions_come_first_and_no_more_than_asked_for(ledger: SqlLedger) -> None:
    for number in range(5):
        await ledger.record(question(thread_id=f"t{number}"), answer(), outcome="answered", seconds=0.1)

    assert [entry.thread_id for entry in await ledger.recent(2)] == ["t4", "t3"]


async def test_totals_sum_money_exactly(ledger: SqlLedger) -> None:
    for _ in range(30):
        await ledger.record(question(), answer(cost_usd=0.1), outcome="answered", seconds=1.0)
    await ledger.record(question(), answer(answered=False), outcome="refused", seconds=1.0)
    await ledger.record(question(), None, outcome="failed", seconds=1.0)

    assert await ledger.totals() == LedgerTotals(
        questions=32,
        outcomes={"answered": 30, "refused": 1, "failed": 1},
        tokens_in=0,
        tokens_out=0,
        cost_usd=3.0,
        seconds=32.0,
    )


async def test_totals_of_an_empty_ledger_are_zero(ledger: SqlLedger) -> None:
    assert await ledger.totals() == LedgerTotals(
        questions=0, outcomes={}, tokens_in=0, tokens_out=0, cost_usd=0.0, seconds=0
    )


async def test_times_are_kept_in_utc(ledger: SqlLedger) -> None:
    local = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    await ledger.record(question(asked_at=local), answer(), outcome="answered", seconds=0.1)

    (entry,) = await ledger.recent(1)
    assert entry.asked_at == NOON
    assert entry.asked_at.utcoffset() == timedelta(0)


async def test_a_time_without_a_zone_is_refused(ledger: SqlLedger) -> None:
    with pytest.raises(StatementError):
        await ledger.record(question(asked_at=NOON.replace(tzinfo=None)), answer(), outcome="answered", seconds=0.1)


async def test_a_database_without_its_tables_is_unavailable_and_says_so(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'empty.sqlite3'}")
    try:
        with pytest.raises(StorageUnavailable, match="could not be booked"):
            await SqlLedger(database).record(question(), answer(), outcome="answered", seconds=0.1)
        with pytest.raises(StorageUnavailable, match="could not be booked"):
            await SqlLedger(database).record_calls([CALL], user_id="index", at=NOON)
    finally:
        await database.close()


async def test_a_file_that_is_no_database_is_unavailable_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "broken.sqlite3"
    file.write_bytes(b"This is not a database. " * 100)
    with pytest.raises(StorageUnavailable, match=r"broken\.sqlite3 cannot be used"):
        await migrate(url_of(file))
    database = Database(url_of(file))
    try:
        with pytest.raises(StorageUnavailable, match="could not be booked"):
            await SqlLedger(database).record(question(), None, outcome="failed", seconds=0.1)
    finally:
        await database.close()


async def test_an_unknown_outcome_is_refused(ledger: SqlLedger) -> None:
    with pytest.raises(IntegrityError):
        await ledger.record(question(), answer(), outcome="wonderful", seconds=0.1)


async def test_a_failed_transaction_leaves_nothing_behind(ledger: SqlLedger, database: Database) -> None:
    with pytest.raises(RuntimeError, match="stopped half-way"):
        await _delete_and_fail(database)
    await ledger.record(question(), answer(), outcome="answered", seconds=0.1)

    assert (await ledger.totals()).questions == 1


async def _delete_and_fail(database: Database) -> None:
    async with database.write() as connection:
        await connection.execute(sa.text("DROP TABLE questions"))
        raise RuntimeError("stopped half-way")


async def test_eight_concurrent_writers_lose_nothing(ledger: SqlLedger) -> None:
    async def write(writer: int) -> None:
        for _ in range(25):
            await ledger.record(question(thread_id=f"t{writer}"), answer(), outcome="answered", seconds=0.1)

    await asyncio.gather(*(write(writer) for writer in range(8)))

    assert (await ledger.totals()).questions == 200


WRITE_25 = """
import asyncio, sys
from datetime import UTC, datetime
from cmo.storage.database import Database, migrate
from cmo.storage.ledger import SqlLedger
from cmo.values import Question

async def main(url):
    await migrate(url)
    database = Database(url)
    for _ in range(25):
        question = Question(text="?", user_id="u", thread_id="t", asked_at=datetime.now(UTC))
        await SqlLedger(database).record(question, None, outcome="failed", seconds=0.1)
    await database.close()

asyncio.run(main(sys.argv[1]))
"""


async def test_processes_that_start_at_once_migrate_once_and_lose_nothing(file: Path) -> None:
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", WRITE_25, url_of(file), cwd=ROOT) for _ in range(3)
    ]
    codes = await asyncio.gather(*(process.wait() for process in processes))

    assert codes == [0, 0, 0]
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM questions").fetchone() == (75,)


async def test_migrating_twice_keeps_what_is_there(ledger: SqlLedger, file: Path) -> None:
    await ledger.record(question(), answer(), outcome="answered", seconds=0.1)
    await asyncio.gather(migrate(url_of(file)), migrate(url_of(file)))

    assert (await ledger.totals()).questions == 1


async def test_the_database_is_set_up_for_readers_beside_a_writer_and_to_forget(database: Database) -> None:
    async with database.read() as connection:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "secure_delete")
        pragmas = [(await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one() for name in names]
    assert pragmas == ["wal", 1, 1, 30_000, 1]


async def test_a_database_that_answers_can_be_pinged(database: Database) -> None:
    await database.ping()


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "postgresql+asyncpg://me:hunter22@host/db",
        "sqlite:///x.db",
        "sqlite+aiosqlite://",
        "sqlite+aiosqlite:///:memory:",
    ],
)
async def test_another_database_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL") as refused:
        await migrate(url)
    assert "hunter22" not in str(refused.value)
