"""One owner at a time, whoever is late."""

from datetime import UTC, datetime, timedelta
from functools import partial

from cmo.storage.database import Database
from cmo.storage.leases import Lease, lease_in, release, take

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECONDS = 30.0


async def takes(database: Database, owner: str, seconds: float) -> bool:
    """Whether the owner gets it, so long after noon."""
    now = NOON + timedelta(seconds=seconds)
    return await database.book(lambda connection: take(connection, "work", owner, now, SECONDS))


async def test_whoever_has_it_keeps_it_and_others_get_it_when_it_is_over(database: Database) -> None:
    assert await takes(database, "ann", 0)
    assert not await takes(database, "bob", 29)
    assert await takes(database, "ann", 29)
    assert not await takes(database, "bob", 58)
    assert await takes(database, "bob", 59)


async def test_a_stalled_owner_finds_out_when_it_acts(database: Database) -> None:
    assert await takes(database, "ann", 0)
    assert await takes(database, "bob", 31)
    assert not await takes(database, "ann", 1)
    assert not await takes(database, "cyd", -1800)
    assert await database.look(partial(lease_in, name="work")) == Lease(
        name="work", owner="bob", until=NOON + timedelta(seconds=61)
    )


async def test_it_can_be_given_back_but_not_by_somebody_else(database: Database) -> None:
    assert await takes(database, "ann", 0)
    await database.book(lambda connection: release(connection, "work", "bob"))
    assert not await takes(database, "bob", 1)
    await database.book(lambda connection: release(connection, "work", "ann"))
    assert await database.look(partial(lease_in, name="work")) is None
    assert await takes(database, "bob", 1)


async def test_a_lease_of_a_clock_that_was_set_back_keeps_nobody_waiting(database: Database) -> None:
    assert await takes(database, "ann", 2 * 3600)
    assert await takes(database, "bob", 0)


async def test_leases_of_other_names_are_others(database: Database) -> None:
    assert await takes(database, "ann", 0)
    assert await database.book(lambda connection: take(connection, "other work", "bob", NOON, SECONDS))
