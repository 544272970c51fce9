import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import pytest

from cmo.dispatch.assignments import Assignments
from cmo.dispatch.flags import Flags
from cmo.errors import StorageUnavailable
from cmo.policy.flags import FeatureFlag, FeatureVariant, FlagContext, FlagReason, FlagStatus
from tests.dispatch.test_flags import ALICE, Clock, Source, flags_of

CONTROL, LOCAL, GLOBAL = (FeatureVariant(name=name, weight=50) for name in ("control", "local", "global"))
TEST = FeatureFlag(name="modes", status=FlagStatus.AB_TEST, rollout_percentage=100, variants=(CONTROL, LOCAL))
PEOPLE = [FlagContext(user_id=f"user{number}") for number in range(100)]


class Store:
    """Assignments in memory, that can be out of reach."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}
        self.looks = 0
        self.down = False
        self.locked = False

    async def assigned(self, user_id: str) -> Mapping[str, str]:
        self.looks += 1
        if self.down:
            raise StorageUnavailable("The disk is gone.")
        return {flag: variant for (user, flag), variant in self.kept.items() if user == user_id}

    async def keep(self, flag: str, user_id: str, variant: str, *, instead_of: str, at: datetime) -> str:
        if self.locked:
            await asyncio.Event().wait()
        if self.kept.get((user_id, flag), instead_of) == instead_of:
            self.kept[user_id, flag] = variant
        return self.kept[user_id, flag]


class World:
    """A process with one test, whose flag can be changed."""

    def __init__(self, flag: FeatureFlag = TEST) -> None:
        self.source, self.store = Source(flag), Store()
        self.flags: Flags = flags_of(self.source)
        self.assignments = Assignments(self.flags, self.store, clock=Clock())

    async def put(self, flag: FeatureFlag) -> None:
        self.source.put(flag)
        await self.flags.refresh()

    async def variants(self) -> list[str]:
        found = [await self.assignments.evaluate("modes", person) for person in PEOPLE]
        return [each.variant.name if each.variant else "" for each in found]


@pytest.fixture
async def world() -> World:
    world = World()
    await world.flags.refresh()
    return world


def weighted(*weights: float) -> FeatureFlag:
    arms = zip((CONTROL, LOCAL, GLOBAL), weights, strict=False)
    return replace(TEST, variants=tuple(replace(arm, weight=weight) for arm, weight in arms))


async def test_changed_weights_move_nobody_who_is_in_the_test(world: World) -> None:
    before = await world.variants()
    for changed in (weighted(10, 90), weighted(90, 10), weighted(100, 0), weighted(20, 20, 60)):
        await world.put(changed)
        assert await world.variants() == before
    assert {"control", "local"} == set(before)


async def test_who_comes_later_gets_a_variant_by_the_weights_of_then(world: World) -> None:
    await world.put(weighted(0, 100))
    assert set(await world.variants()) == {"local"}


async def test_who_had_a_variant_that_is_gone_gets_another_and_keeps_that(world: World) -> None:
    before = await world.variants()
    await world.put(replace(TEST, variants=(GLOBAL, LOCAL)))
    after = await world.variants()
    assert after == ["global" if variant == "control" else "local" for variant in before]
    await world.put(replace(TEST, variants=(LOCAL, GLOBAL)))
    assert await world.variants() == after


async def test_whoever_the_test_is_not_for_is_not_in_it_whatever_they_had(world: World) -> None:
    await world.variants()
    await world.put(replace(TEST, rollout_percentage=0))
    assert set(await world.variants()) == {""}
    await world.put(replace(TEST, status=FlagStatus.DISABLED))
    assert (await world.assignments.evaluate("modes", ALICE)).reason is FlagReason.DISABLED


async def test_what_somebody_was_given_by_hand_is_not_kept(world: World) -> None:
    await world.put(replace(TEST, overrides={"alice": "local"}))
    assert (await world.assignments.evaluate("modes", ALICE)).reason is FlagReason.OVERRIDE
    assert world.store.kept == {}


async def test_a_variant_that_another_process_has_given_meanwhile_counts(world: World) -> None:
    before = world.flags.get_variant("modes", ALICE)
    other = LOCAL if before == CONTROL else CONTROL
    keep = world.store.keep

    async def late(*args: str, **given: object) -> str:
        world.store.kept["alice", "modes"] = other.name
        return await keep(*args, **given)  # type: ignore[arg-type]

    world.store.keep = late  # type: ignore[method-assign, assignment]
    assert (await world.assignments.evaluate("modes", ALICE)).variant == other


async def test_while_the_store_is_down_people_get_what_the_flags_say(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    before = await world.variants()
    world.store.down = True
    assert await world.variants() == before
    assert "assignments_unavailable" in {record.getMessage() for record in caplog.records}


async def test_nothing_is_looked_up_for_flags_that_are_no_tests_and_people_who_are_not_known(world: World) -> None:
    assert (await world.assignments.evaluate("modes", FlagContext())).reason is FlagReason.NO_USER_ID
    await world.put(replace(TEST, status=FlagStatus.ENABLED))
    assert (await world.assignments.evaluate("modes", ALICE)).value
    assert (await world.assignments.evaluate("unknown", ALICE)).reason is FlagReason.UNKNOWN
    assert world.store.looks == 0


async def test_a_store_that_cannot_write_just_now_keeps_nobody_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_the_flag = await world.variants()
    monkeypatch.setattr("cmo.dispatch.assignments.KEEP_SECONDS", 0.001)
    world.store.kept.clear()
    world.store.locked = True

    assert await world.variants() == by_the_flag
