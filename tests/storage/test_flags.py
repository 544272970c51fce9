import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from cmo.errors import FlagChanged, FlagMalformed, OracleError, StorageUnavailable
from cmo.policy.flags import FeatureFlag, FlagStatus, MalformedFlag, Namespace
from cmo.storage.database import Database
from cmo.storage.flags import LONGEST_REASON, Authorship, FlagAction, SqlFlags

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ANN = Authorship(author="ann", reason="to try it", at=NOON)
BOB = Authorship(author="bob", reason="it went well", at=NOON + timedelta(hours=1))
FLAG = FeatureFlag(name="ranking", status=FlagStatus.GRADUAL_ROLLOUT, rollout_percentage=10)
RAISED = replace(FLAG, rollout_percentage=25)


@pytest.fixture
def store(database: Database) -> SqlFlags:
    return SqlFlags(database)


async def test_a_flag_is_kept_with_its_version_and_times(store: SqlFlags) -> None:
    made = await store.create(FLAG, ANN)
    assert made == replace(FLAG, version=1, created_at=NOON, updated_at=NOON)
    assert await store.get("ranking") == made

    changed = await store.update(RAISED, BOB, version=1)
    assert changed == replace(RAISED, version=2, created_at=NOON, updated_at=BOB.at)
    assert await store.get("ranking") == changed


async def test_all_flags_come_in_the_order_of_their_names(store: SqlFlags) -> None:
    for name in ("b", "a"):
        await store.create(replace(FLAG, name=name), ANN)
    assert list((await store.load()).flags) == ["a", "b"]


async def test_a_change_that_has_not_seen_the_last_one_is_refused_and_changes_nothing(store: SqlFlags) -> None:
    await store.create(FLAG, ANN)
    await store.update(RAISED, BOB, version=1)
    for late in (
        store.update(FLAG, ANN, version=1),
        store.delete("ranking", ANN, version=1),
        store.revert("ranking", ANN, to=1, version=1),
    ):
        with pytest.raises(FlagChanged, match="at version 2, not 1"):
            await late
    assert len(await store.history("ranking")) == 2
    assert (await store.load()).flags["ranking"] == await store.get("ranking")


async def test_of_many_changes_at_once_that_saw_the_same_version_one_is_made(store: SqlFlags) -> None:
    await store.create(FLAG, ANN)
    changes = [store.update(replace(FLAG, rollout_percentage=n), BOB, version=1) for n in range(20)]
    results = await asyncio.gather(*changes, return_exceptions=True)
    assert sum(isinstance(result, FeatureFlag) for result in results) == 1
    assert sum(isinstance(result, FlagChanged) for result in results) == 19


async def test_the_history_tells_who_when_why_and_what(store: SqlFlags) -> None:
    await store.create(FLAG, ANN)
    await store.update(RAISED, BOB, version=1)
    await store.delete("ranking", ANN, version=2)

    deleted, raised, created = await store.history("ranking")
    assert [change.action for change in (created, raised, deleted)] == ["create", "update", "delete"]
    assert (raised.by, raised.version) == (BOB, 2)
    assert created.old is None
    assert json.loads(raised.old or "")["rollout_percentage"] == 10
    assert json.loads(raised.new or "")["rollout_percentage"] == 25
    assert (deleted.old, deleted.new) == (raised.new, None)
    assert await store.get("ranking") is None


@pytest.mark.parametrize("statement", ["UPDATE flag_changes SET reason = 'x'", "DELETE FROM flag_changes"])
async def test_the_history_cannot_be_rewritten(store: SqlFlags, database: Database, statement: str) -> None:
    await store.create(FLAG, ANN)
    with pytest.raises(IntegrityError, match="only added to"):
        async with database.write() as connection:
            await connection.execute(sa.text(statement))


async def test_a_flag_goes_back_to_any_version_and_that_is_a_change_too(store: SqlFlags) -> None:
    await store.create(FLAG, ANN)
    await store.update(RAISED, BOB, version=1)
    await store.update(replace(FLAG, status=FlagStatus.ENABLED), BOB, version=2)

    back = await store.revert("ranking", ANN, to=1, version=3)
    assert back == replace(FLAG, version=4, created_at=NOON, updated_at=NOON)
    assert (await store.history("ranking"))[0].action is FlagAction.REVERT


async def test_a_deleted_flag_comes_back_with_the_next_version(store: SqlFlags) -> None:
    await store.create(FLAG, ANN)
    await store.delete("ranking", ANN, version=1)
    assert (await store.revert("ranking", BOB, to=1, version=2)).version == 3
    await store.delete("ranking", ANN, version=3)
    assert (await store.create(RAISED, BOB)).version == 5


async def test_there_is_nothing_to_go_back_to_in_a_deletion_or_a_version_that_never_was(store: SqlFlags) -> None:
    await store.create(FLAG, ANN)
    await store.delete("ranking", ANN, version=1)
    with pytest.raises(OracleError, match="was deleted at version 2"):
        await store.revert("ranking", ANN, to=2, version=2)
    with pytest.raises(OracleError, match="never was at version 7"):
        await store.revert("ranking", ANN, to=7, version=2)
    with pytest.raises(OracleError, match='no flag "other"'):
        await store.revert("other", ANN, to=1, version=1)


async def test_what_is_there_is_not_created_and_what_is_not_there_not_changed(store: SqlFlags) -> None:
    with pytest.raises(OracleError, match='no flag "ranking"'):
        await store.update(FLAG, ANN, version=1)
    with pytest.raises(OracleError, match='no flag "ranking"'):
        await store.delete("ranking", ANN, version=1)
    await store.create(FLAG, ANN)
    with pytest.raises(OracleError, match="already"):
        await store.create(FLAG, ANN)


@pytest.mark.parametrize("said", ["", "  ", "x" * (LONGEST_REASON + 1), "\x1b[2J"])
async def test_without_an_author_and_a_reason_nothing_is_changed(store: SqlFlags, said: str) -> None:
    for by, told in ((replace(ANN, reason=said), "The reason"), (replace(ANN, author=said), "The author")):
        with pytest.raises(OracleError, match=told):
            await store.create(FLAG, by)
    assert (await store.load()).flags == {}
    assert await store.history("ranking") == ()


async def test_every_change_makes_another_revision_and_a_look_does_not(store: SqlFlags) -> None:
    revisions = [await store.revision()]
    await store.create(FLAG, ANN)
    revisions.append(await store.revision())
    await store.update(RAISED, BOB, version=1)
    revisions.append((await store.load()).revision)
    await store.delete("ranking", ANN, version=2)
    revisions.append(await store.revision())
    assert len(set(revisions)) == 4
    assert await store.revision() == revisions[-1]


async def test_a_trial_tells_what_would_come_of_a_change_and_changes_nothing(database: Database) -> None:
    store, trial = SqlFlags(database), SqlFlags(database, trial=True)
    assert (await trial.create(FLAG, ANN)).version == 1
    assert await store.history("ranking") == ()

    await store.create(FLAG, ANN)
    revision = await store.revision()
    assert (await trial.update(RAISED, ANN, version=1)).rollout_percentage == 25
    await trial.delete("ranking", ANN, version=1)
    with pytest.raises(FlagChanged):
        await trial.update(RAISED, ANN, version=2)
    assert await store.revision() == revision
    assert await store.get("ranking") == replace(FLAG, version=1, created_at=NOON, updated_at=NOON)


async def test_flags_of_one_namespace_may_not_share_people_while_both_are_on(store: SqlFlags) -> None:
    def part(name: str, start: float, end: float, status: FlagStatus = FlagStatus.ENABLED) -> FeatureFlag:
        return FeatureFlag(name=name, status=status, namespace=Namespace(name="answers", start=start, end=end))

    await store.create(part("one", 0, 50), ANN)
    await store.create(part("two", 50, 100), ANN)
    with pytest.raises(OracleError, match='with the flag "one", which has those from 0 to 50 %'):
        await store.create(part("three", 40, 50), ANN)
    await store.create(part("three", 40, 50, FlagStatus.DISABLED), ANN)
    with pytest.raises(OracleError, match="shares people"):
        await store.update(part("three", 40, 50), ANN, version=1)
    await store.update(part("one", 0, 40), ANN, version=1)
    await store.update(part("three", 40, 50), ANN, version=1)


@pytest.mark.parametrize("document", ["", "{", "[]", '{"status": "ajar"}', '{"rollout_percentage": NaN}', "[" * 60_000])
async def test_a_malformed_flag_is_told_and_leaves_the_others_as_they_are(
    store: SqlFlags, database: Database, document: str
) -> None:
    for name in ("other", "ranking"):
        await store.create(replace(FLAG, name=name), ANN)
    async with database.write() as connection:
        await connection.execute(sa.text("UPDATE flags SET document = :d WHERE name = 'ranking'"), {"d": document})

    flags = (await store.load()).flags
    assert isinstance(flags["other"], FeatureFlag)
    assert isinstance(flags["ranking"], MalformedFlag)
    assert (flags["ranking"].name, flags["ranking"].version) == ("ranking", 1)
    assert (await store.revert("ranking", ANN, to=1, version=1)).rollout_percentage == 10


async def test_what_would_be_malformed_is_not_kept(store: SqlFlags) -> None:
    with pytest.raises(FlagMalformed, match="nothing to compare"):
        await store.create(replace(FLAG, status=FlagStatus.AB_TEST), ANN)
    assert await store.history("ranking") == ()


async def test_a_database_without_its_tables_is_unavailable_and_says_so(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'empty.sqlite3'}")
    store = SqlFlags(database)
    try:
        for reading in (store.revision(), store.load(), store.get("x"), store.history("x")):
            with pytest.raises(StorageUnavailable, match="could not be read"):
                await reading
        with pytest.raises(StorageUnavailable, match="could not be changed"):
            await store.create(FLAG, ANN)
    finally:
        await database.close()
