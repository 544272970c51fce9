"""What looks at the rollout: what it passes on, what it tells, and that nothing ends it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cmo.dispatch.flags import Flags
from cmo.dispatch.rollouts import RolloutTicker
from cmo.errors import StorageUnavailable
from cmo.policy.flags import MAIN_ROLLOUT, FlagContext
from cmo.policy.rollout import Event, EventKind
from cmo.policy.rollout_plan import linear
from cmo.storage.database import Database, migrate
from cmo.storage.emergency import EmergencyStop
from cmo.storage.flags import Authorship, SqlFlags
from cmo.storage.rollouts import ENGINE, SqlRollouts

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STOP = EmergencyStop(engines=("lightrag", "perplexity"), author="eve", reason="wrong doses", at=NOON)


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.time = NOON

    def now(self) -> datetime:
        return self.time


class Store:
    """Tells what it is told to; notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, datetime, int | None, Authorship | None]] = []
        self.events: tuple[Event, ...] = ()
        self.error: Exception | None = None
        self.released: list[str] = []
        self.looked = asyncio.Event()

    async def tick(
        self, owner: str, *, now: datetime, breaker_rests: int | None, stopped: Authorship | None = None
    ) -> tuple[Event, ...]:
        self.asked.append((owner, now, breaker_rests, stopped))
        self.looked.set()
        if self.error is not None:
            raise self.error
        return self.events

    async def release(self, owner: str) -> None:
        if self.error is not None:
            raise self.error
        self.released.append(owner)


class Source(SqlFlags):
    """No flags; counts how often anybody asks for changes."""

    def __init__(self) -> None:
        self.looks = 0

    async def revision(self) -> str:
        self.looks += 1
        return ""


def flags_of(source: SqlFlags) -> Flags:
    return Flags(source, salt="salt", clock=Clock(), chance=lambda: 0.5)


def ticker_of(
    store: Store | SqlRollouts, flags: Flags | None = None, *, stop: EmergencyStop | None = None
) -> RolloutTicker:
    return RolloutTicker(
        store,
        flags or flags_of(Source()),
        owner="me",
        clock=Clock(),
        breaker_rests=lambda: 1,
        stop=lambda: stop,
        tick_seconds=0.001,
    )


def event(kind: EventKind) -> Event:
    return Event(kind=kind, at=NOON.timestamp(), stage=0, percentage=5.0, words="Something happened.")


async def looks(store: Store, times: int) -> None:
    """Returns after so many more looks."""
    async with asyncio.timeout(10):
        for _ in range(times):
            store.looked.clear()
            await store.looked.wait()


async def test_a_look_has_the_time_the_breaker_and_the_emergency_stop() -> None:
    store = Store()
    await ticker_of(store).tick()
    await ticker_of(store, stop=STOP).tick()
    stopped = Authorship(author="eve", reason="Emergency stop. wrong doses", at=NOON)
    assert store.asked == [("me", NOON, 1, None), ("me", NOON, 1, stopped)]


@pytest.mark.parametrize(
    ("stop", "author"),
    [
        (EmergencyStop(engines=("perplexity",), author="eve", reason="", at=NOON), None),
        (EmergencyStop(engines=(ENGINE,), author="", reason="", at=None, readable=False), "unknown"),
    ],
)
async def test_only_a_stop_of_its_engine_counts_also_one_nobody_can_read(
    stop: EmergencyStop, author: str | None
) -> None:
    store = Store()
    await ticker_of(store, stop=stop).tick()
    (asked,) = store.asked
    assert (asked[3].author if asked[3] else None) == author


async def test_what_somebody_should_know_of_is_a_warning_with_its_facts(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    store.events = tuple(map(event, EventKind))
    with caplog.at_level(logging.INFO, logger="cmo"):
        await ticker_of(store).tick()
    warned = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert {record.message for record in caplog.records} == {"rollout_event"}
    assert len(caplog.records) == len(EventKind)
    facts = [record.__dict__["cmo_fields"] for record in warned]
    assert {each["kind"] for each in facts} == {
        "held",
        "waiting",
        "paused",
        "rolled_back",
        "emergency",
        "completed",
    }
    assert facts[0] == {"kind": "completed", "stage": 1, "percentage": 5.0, "words": "Something happened."}


async def test_flags_are_looked_at_again_only_after_something_happened() -> None:
    store, source = Store(), Source()
    ticker = ticker_of(store, flags_of(source))
    await ticker.tick()
    assert source.looks == 0
    store.events = (event(EventKind.ADVANCED),)
    await ticker.tick()
    assert source.looks == 1


@pytest.mark.parametrize(("error", "level"), [(StorageUnavailable("away"), "WARNING"), (KeyError("a bug"), "ERROR")])
async def test_nothing_that_goes_wrong_with_one_look_keeps_it_from_the_next(
    error: Exception, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store()
    store.error = error
    ticker = ticker_of(store)
    ticker.open()
    await looks(store, 3)
    assert {(record.message, record.levelname) for record in caplog.records} == {("rollout_tick_failed", level)}
    assert all(record.exc_info for record in caplog.records)
    store.error = None
    await looks(store, 3)
    await ticker.close()
    assert store.released == ["me"]


async def test_closed_it_looks_no_more_and_a_database_that_is_away_does_not_keep_it() -> None:
    store = Store()
    ticker = ticker_of(store)
    ticker.open()
    await looks(store, 1)
    store.error = StorageUnavailable("away")
    await ticker.close()
    seen = len(store.asked)
    await asyncio.sleep(0.02)
    assert len(store.asked) == seen


async def test_one_that_was_never_opened_gives_nothing_back() -> None:
    store = Store()
    await ticker_of(store).close()
    assert store.released == []


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite+aiosqlite:///{tmp_path / 'cmo.sqlite3'}"
    await migrate(url)
    database = Database(url)
    yield database
    await database.close()


async def test_an_emergency_stop_takes_the_share_away_here_at_once_and_lifting_it_does_not_give_it_back(
    database: Database,
) -> None:
    store = SqlRollouts(database)
    by = Authorship(author="ann", reason="to try it", at=NOON - timedelta(hours=1))
    await store.start(linear(start=99, hours=1, answers=10), by)
    flags = flags_of(SqlFlags(database))
    await flags.refresh()
    person = FlagContext(user_id="user123")
    assert flags.is_feature_enabled(MAIN_ROLLOUT, person)

    await ticker_of(store, flags, stop=STOP).tick()
    assert not flags.is_feature_enabled(MAIN_ROLLOUT, person)
    await ticker_of(store, flags, stop=None).tick()
    assert not flags.is_feature_enabled(MAIN_ROLLOUT, person)
    last, *_ = await store.events(1, limit=1)
    assert (last.kind, last.by) == (EventKind.EMERGENCY, "eve")
