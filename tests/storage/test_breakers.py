from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from cmo.dispatch.breakers import Breakers
from cmo.errors import CircuitOpen, StorageUnavailable
from cmo.policy.breaker import BreakerRules, BreakerState, Gate, Gates, QualityRules
from cmo.storage.breakers import SqlBreakerStore
from cmo.storage.database import Database, migrate

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CLOSED = Gate(state=BreakerState.CLOSED, since=NOON.timestamp())
OPEN = Gate(state=BreakerState.OPEN, since=NOON.timestamp(), retry_at=NOON.timestamp() + 600.5, rests=2)


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.time = NOON

    def now(self) -> datetime:
        return self.time


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'cmo.sqlite3'}"


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    await migrate(url)
    database = Database(url)
    yield database
    await database.close()


@pytest.fixture
def store(database: Database) -> SqlBreakerStore:
    return SqlBreakerStore(database)


async def test_at_first_nothing_is_kept(store: SqlBreakerStore) -> None:
    assert await store.load() == {}


async def test_what_is_kept_is_read_as_it_was(store: SqlBreakerStore) -> None:
    await store.save("lightrag", Gates(calls=OPEN, answers=CLOSED), at=NOON)
    await store.save("perplexity", Gates(calls=CLOSED, answers=OPEN), at=NOON)

    assert await store.load() == {
        "lightrag": Gates(calls=OPEN, answers=CLOSED),
        "perplexity": Gates(calls=CLOSED, answers=OPEN),
    }


async def test_the_last_state_of_an_engine_replaces_those_before(store: SqlBreakerStore) -> None:
    await store.save("lightrag", Gates(calls=OPEN, answers=CLOSED), at=NOON)
    await store.save("lightrag", Gates(calls=CLOSED, answers=OPEN), at=NOON + timedelta(minutes=1))

    assert await store.load() == {"lightrag": Gates(calls=CLOSED, answers=OPEN)}


@pytest.mark.parametrize(
    "state",
    [
        "",
        "{",
        "[]",
        "null",
        '{"calls": {"state": "open"}}',
        '{"calls": {"state": "ajar", "since": 1, "retry_at": 1, "rests": 1}, "answers": null}',
        '{"calls": {"state": "open", "since": 1, "retry_at": Infinity, "rests": 1},'
        ' "answers": {"state": "closed", "since": 1, "retry_at": 0, "rests": 0}}',
        '{"calls": {"state": "open", "since": -1, "retry_at": 1, "rests": 1},'
        ' "answers": {"state": "closed", "since": 1, "retry_at": 0, "rests": 0}}',
    ],
)
async def test_a_row_that_makes_no_sense_is_left_out_and_told(
    store: SqlBreakerStore, database: Database, caplog: pytest.LogCaptureFixture, state: str
) -> None:
    await store.save("perplexity", Gates(calls=OPEN, answers=CLOSED), at=NOON)
    async with database.write() as connection:
        row = {"engine": "lightrag", "state": state, "at": NOON.isoformat()}
        await connection.execute(sa.text("INSERT INTO breakers VALUES (:engine, :state, :at)"), row)

    assert await store.load() == {"perplexity": Gates(calls=OPEN, answers=CLOSED)}
    assert [record.getMessage() for record in caplog.records] == ["breaker_row_malformed"]


async def test_a_database_without_its_tables_is_unavailable_and_says_so(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'empty.sqlite3'}")
    try:
        with pytest.raises(StorageUnavailable, match="could not be read"):
            await SqlBreakerStore(database).load()
        with pytest.raises(StorageUnavailable, match="could not be kept"):
            await SqlBreakerStore(database).save("lightrag", Gates(calls=OPEN, answers=CLOSED), at=NOON)
    finally:
        await database.close()


async def _process(url: str, clock: Clock) -> tuple[Breakers, Database]:
    """The breakers as a process has them after its start."""
    database = Database(url)
    breakers = Breakers(
        ("lightrag", "perplexity"),
        rules=BreakerRules(),
        quality=QualityRules(threshold=0.7),
        store=SqlBreakerStore(database),
        clock=clock,
        jitter=lambda: 0.0,
    )
    await breakers.load()
    return breakers, database


async def test_a_restart_keeps_an_open_breaker_open_and_its_wait_as_long_as_it_was(url: str) -> None:
    await migrate(url)
    clock = Clock()
    breakers, database = await _process(url, clock)
    for _ in range(3):
        breakers.admit("perplexity").failed(1.0)
    for _ in range(10):
        breakers.score("lightrag", 0.1)
    await breakers.close()
    await database.close()

    clock.time += timedelta(seconds=299)
    breakers, database = await _process(url, clock)
    try:
        with pytest.raises(CircuitOpen) as refused:
            breakers.admit("perplexity")
        assert refused.value.retry_after_seconds == pytest.approx(1)
        assert breakers.views()[0].quality.state is BreakerState.OPEN
        clock.time += timedelta(seconds=1)
        assert not breakers.is_open("perplexity")
    finally:
        await breakers.close()
        await database.close()


async def test_a_restart_during_the_probes_admits_all_of_them_again(url: str) -> None:
    await migrate(url)
    clock = Clock()
    breakers, database = await _process(url, clock)
    for _ in range(3):
        breakers.admit("perplexity").failed(1.0)
    clock.time += timedelta(seconds=300)
    for _ in range(2):
        breakers.admit("perplexity")
    await breakers.close()
    await database.close()

    breakers, database = await _process(url, clock)
    try:
        for _ in range(3):
            breakers.admit("perplexity").succeeded(1.0)
        assert breakers.views()[1].state is BreakerState.CLOSED
    finally:
        await breakers.close()
        await database.close()
