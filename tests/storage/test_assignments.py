import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from cmo.errors import StorageUnavailable
from cmo.policy.flags import FeatureFlag
from cmo.storage.assignments import SqlAssignments
from cmo.storage.database import Database
from cmo.storage.flags import Authorship, SqlFlags

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def store(database: Database) -> SqlAssignments:
    return SqlAssignments(database)


async def keep(store: SqlAssignments, variant: str, flag: str = "modes", instead_of: str = "") -> str:
    return await store.keep(flag, "alice", variant, instead_of=instead_of, at=NOON)


async def test_each_person_has_one_variant_in_each_test(store: SqlAssignments) -> None:
    assert await keep(store, "local") == "local"
    assert await keep(store, "fast", flag="ranking") == "fast"
    assert await store.assigned("alice") == {"modes": "local", "ranking": "fast"}
    assert await store.assigned("bob") == {}


async def test_the_first_variant_stays_unless_it_is_the_one_to_be_replaced(store: SqlAssignments) -> None:
    await keep(store, "local")
    assert await keep(store, "global") == "local"
    assert await keep(store, "global", instead_of="hybrid") == "local"
    assert await keep(store, "global", instead_of="local") == "global"
    assert await store.assigned("alice") == {"modes": "global"}


async def test_of_many_at_once_all_get_the_same(store: SqlAssignments) -> None:
    assert len(set(await asyncio.gather(*(keep(store, f"v{number}") for number in range(20))))) == 1


async def test_an_assignment_by_another_rule_counts_as_none(store: SqlAssignments, database: Database) -> None:
    await keep(store, "local")
    async with database.write() as connection:
        await connection.execute(sa.text("UPDATE flag_assignments SET hash_version = hash_version - 1"))
    assert await store.assigned("alice") == {}
    assert await keep(store, "global") == "global"


async def test_with_a_flag_goes_who_had_which_variant_of_it(store: SqlAssignments, database: Database) -> None:
    flags, by = SqlFlags(database), Authorship(author="ann", reason="it is over", at=NOON)
    await flags.create(FeatureFlag(name="modes"), by)
    await keep(store, "local")
    await keep(store, "fast", flag="ranking")
    await flags.delete("modes", by, version=1)
    assert await store.assigned("alice") == {"ranking": "fast"}


async def test_a_database_without_its_tables_is_unavailable_and_says_so(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'empty.sqlite3'}")
    store = SqlAssignments(database)
    try:
        with pytest.raises(StorageUnavailable, match="could not be read"):
            await store.assigned("alice")
        with pytest.raises(StorageUnavailable, match="could not be kept"):
            await keep(store, "local")
    finally:
        await database.close()
