import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from cmo.dispatch.flags import POLL_SECONDS, Flags, feature_flag
from cmo.errors import StorageUnavailable
from cmo.policy.flags import (
    AnyFlag,
    FeatureFlag,
    FeatureVariant,
    FlagContext,
    FlagReason,
    FlagSet,
    FlagStatus,
    MalformedFlag,
)
from cmo.storage.database import Database, migrate
from cmo.storage.flags import Authorship, SqlFlags

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ANN = Authorship(author="ann", reason="to try it", at=NOON)
ALICE = FlagContext(user_id="alice")
ON = FeatureFlag(name="ranking", status=FlagStatus.ENABLED)
OFF = replace(ON, status=FlagStatus.DISABLED)
BROKEN = MalformedFlag(name="ranking", problem="it is no JSON")


class Clock:
    def now(self) -> datetime:
        return NOON


class Source:
    """Flags that can be replaced, and become unreadable."""

    def __init__(self, *flags: AnyFlag) -> None:
        self.looks = self.loads = 0
        self.error: Exception | None = None
        self.put(*flags)

    def put(self, *flags: AnyFlag) -> None:
        self.found = FlagSet(revision=f"{flags}", flags={flag.name: flag for flag in flags})

    async def revision(self) -> str:
        self.looks += 1
        if self.error is not None:
            raise self.error
        return self.found.revision

    async def load(self) -> FlagSet:
        self.loads += 1
        return self.found


def flags_of(source: Source | SqlFlags, poll_seconds: float = POLL_SECONDS) -> Flags:
    return Flags(source, salt="s", clock=Clock(), chance=lambda: 0.5, poll_seconds=poll_seconds)


async def until(reached: Callable[[], bool], seconds: float = 5.0) -> None:
    """Returns when it is so; the time limit is the promise that is tested."""
    async with asyncio.timeout(seconds):
        while not reached():  # noqa: ASYNC110 (what is waited for knows nothing of events)
            await asyncio.sleep(0.005)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def opened(stack: AsyncExitStack, source: Source | SqlFlags, poll_seconds: float = 0.01) -> Flags:
    flags = flags_of(source, poll_seconds)
    stack.push_async_callback(flags.close)
    await flags.open()
    return flags


async def test_asking_reads_nothing() -> None:
    source = Source(ON)
    flags = flags_of(source)
    await flags.refresh()
    for _ in range(100):
        assert flags.is_feature_enabled("ranking", ALICE)
    assert (source.looks, source.loads) == (1, 1)


async def test_flags_are_loaded_again_only_when_they_have_changed() -> None:
    source = Source(ON)
    flags = flags_of(source)
    for _ in range(3):
        await flags.refresh()
    assert (source.looks, source.loads) == (3, 1)


async def test_before_anything_is_read_the_default_counts() -> None:
    flags = flags_of(Source(OFF))
    assert flags.is_feature_enabled("ranking", default=True)
    await flags.refresh()
    assert not flags.is_feature_enabled("ranking", default=True)


async def test_a_change_made_here_is_in_force_at_once() -> None:
    source = Source(ON)
    flags = flags_of(source)
    await flags.refresh()

    async def switch_off() -> str:
        source.put(OFF)
        return "done"

    assert await flags.change(switch_off()) == "done"
    assert not flags.is_feature_enabled("ranking")


async def test_a_change_made_elsewhere_is_seen_by_itself(stack: AsyncExitStack) -> None:
    source = Source(ON)
    flags = await opened(stack, source)
    source.put(OFF)
    await until(lambda: not flags.is_feature_enabled("ranking"))


async def test_two_processes_see_each_others_changes_within_five_seconds(stack: AsyncExitStack, tmp_path: Path) -> None:
    """With the intervals of production: what is measured is the promise."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'cmo.sqlite3'}"
    await migrate(url)
    stores = []
    for _ in range(2):
        database = Database(url)
        stack.push_async_callback(database.close)
        stores.append(SqlFlags(database))
    one, other = [await opened(stack, store, POLL_SECONDS) for store in stores]

    await one.change(stores[0].create(ON, ANN))
    assert one.is_feature_enabled("ranking")
    await until(lambda: other.is_feature_enabled("ranking"))
    await other.change(stores[1].update(OFF, ANN, version=1))
    assert not other.is_feature_enabled("ranking")
    await until(lambda: not one.is_feature_enabled("ranking"))


async def test_while_the_source_is_down_the_last_flags_serve_and_afterwards_the_present_ones(
    stack: AsyncExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    source = Source(ON)
    flags = await opened(stack, source)
    source.put(OFF)
    source.error = StorageUnavailable("The disk is gone.")
    await until(lambda: flags.counts.failed_reads >= 3)
    assert flags.is_feature_enabled("ranking")
    assert "flags_read_failed" in {record.getMessage() for record in caplog.records}

    source.error = None
    await until(lambda: not flags.is_feature_enabled("ranking"))


async def test_a_database_that_cannot_be_read_leaves_the_flags_as_they_were(
    stack: AsyncExitStack, tmp_path: Path
) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'cmo.sqlite3'}"
    await migrate(url)
    database = Database(url)
    stack.push_async_callback(database.close)
    flags = await opened(stack, SqlFlags(database))
    await flags.change(SqlFlags(database).create(ON, ANN))
    async with database.write() as connection:
        await connection.execute(sa.text("DROP TABLE flag_changes"))
    await until(lambda: flags.counts.failed_reads >= 1)
    assert flags.is_feature_enabled("ranking")


async def test_a_bug_in_a_source_does_not_end_the_looking(stack: AsyncExitStack) -> None:
    source = Source(ON)
    flags = await opened(stack, source)
    source.error = ZeroDivisionError()
    looks = source.looks
    await until(lambda: source.looks > looks + 2)
    source.error = None
    source.put(OFF)
    await until(lambda: not flags.is_feature_enabled("ranking"))


async def test_a_slow_look_never_puts_older_flags_in_the_place_of_newer_ones() -> None:
    source = Source(ON)
    flags = flags_of(source)
    looked, go_on = asyncio.Event(), asyncio.Event()
    load = source.load

    async def slow() -> FlagSet:
        found = await load()
        looked.set()
        await go_on.wait()
        return found

    source.load = slow  # type: ignore[method-assign]
    early = asyncio.create_task(flags.refresh())
    await looked.wait()
    source.put(OFF)
    late = asyncio.create_task(flags.refresh())
    go_on.set()
    await asyncio.gather(early, late)
    assert not flags.is_feature_enabled("ranking")


async def test_malformed_flags_are_off_counted_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    source = Source(BROKEN, replace(ON, name="other"))
    flags = flags_of(source)
    await flags.refresh()
    source.put(BROKEN, replace(OFF, name="other"))
    await flags.refresh()
    assert flags.evaluate("ranking", ALICE, default=True).reason is FlagReason.MALFORMED
    assert not flags.is_feature_enabled("ranking", ALICE, default=True)
    assert (flags.counts.flags, flags.counts.malformed) == (2, 1)
    assert [record.getMessage() for record in caplog.records].count("flag_malformed") == 1


async def test_evaluations_are_counted_by_flag_and_reason_those_of_unknown_flags_together() -> None:
    flags = flags_of(Source(ON))
    await flags.refresh()
    for name in ("ranking", "ranking", "a", "b"):
        flags.is_feature_enabled(name)
    assert flags.counts.evaluations == {("ranking", FlagReason.ENABLED): 2, ("", FlagReason.UNKNOWN): 2}


async def test_ten_thousand_evaluations_leave_nothing_behind() -> None:
    flags = flags_of(Source(ON))
    await flags.refresh()
    people = [FlagContext(user_id=f"user{number}") for number in range(100)]

    def ask() -> None:
        for number in range(10_000):
            flags.evaluate("ranking" if number % 2 else f"unknown{number}", people[number % 100])

    ask()
    tracemalloc.start()
    ask()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 10_000


async def test_a_variant_is_for_those_who_get_the_feature() -> None:
    arms = (FeatureVariant(name="control", weight=0), FeatureVariant(name="new", weight=1))
    test = FeatureFlag(name="ranking", status=FlagStatus.AB_TEST, rollout_percentage=100, variants=arms)
    flags = flags_of(Source(test, replace(test, name="nobody", rollout_percentage=0)))
    await flags.refresh()
    assert flags.get_variant("ranking", ALICE) == arms[1]
    assert flags.get_variant("ranking") is None
    assert flags.get_variant("nobody", ALICE) is None
    assert flags.get_variant("unknown", ALICE) is None


class Search:
    def __init__(self, flags: Flags) -> None:
        self.flags = flags

    @feature_flag("ranking")
    async def ranked(self, query: str, context: FlagContext | None = None) -> str:
        return f"ranked {query}"


async def test_a_method_behind_a_flag_runs_only_for_those_who_have_it() -> None:
    source = Source(replace(OFF, status=FlagStatus.GRADUAL_ROLLOUT, overrides={"alice": True}))
    flags = flags_of(source)
    await flags.refresh()
    search = Search(flags)
    assert await search.ranked("glucose", context=ALICE) == "ranked glucose"
    assert await search.ranked("glucose", ALICE) == "ranked glucose"
    assert await search.ranked("glucose", context=FlagContext(user_id="bob")) is None
    assert await search.ranked("glucose") is None


async def test_a_function_behind_a_flag_names_the_flags_and_passes_errors_on() -> None:
    flags = flags_of(Source(ON))
    await flags.refresh()

    async def broken(context: FlagContext) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await feature_flag("ranking", flags=flags)(broken)(ALICE)
    assert await feature_flag("unknown", flags=flags)(broken)(ALICE) is None
    with pytest.raises(ZeroDivisionError):
        await feature_flag("unknown", flags=flags, default=True)(broken)(ALICE)


def test_a_function_that_is_not_told_for_whom_cannot_be_behind_a_flag() -> None:
    async def blind() -> None: ...

    decorate: Callable[[Callable[[], Awaitable[None]]], object] = feature_flag("ranking")
    with pytest.raises(TypeError, match='needs an argument "context"'):
        decorate(blind)
