"""What is booked is what the servers charged, streamed or not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from cmo.policy.budget import microdollars
from tests.faults.cells import WEB, Setup, Worlds
from tests.faults.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("setup", [each for each in WEB if each.stream], ids=lambda setup: setup.wire_format)
async def test_twenty_mixed_questions_are_booked_to_the_microdollar(setup: Setup, worlds: Worlds) -> None:
    world = await worlds.of(setup)
    world.model.cache(100)
    before = [len(server.charges) for server in world.servers.values()]
    users = [world.new_user() for _ in range(5)]

    for user, stream in zip(users, (True, False, True, False, True), strict=True):
        await ask_each_kind(world, user, stream=stream)

    charges = [
        charge
        for server, start in zip(world.servers.values(), before, strict=True)
        for charge in server.charges[start:]
    ]
    calls = [call for user in users for call in world.calls(user)]
    assert (len(calls), {call.outcome for call in calls}) == (25, {"ok"})
    assert not any(call.estimated for call in calls)
    assert sum(call.microdollars for call in calls) == sum(microdollars(charge.cost_usd) for charge in charges)
    for kind in ("in", "cached", "out"):
        assert tokens(calls, kind) == tokens(charges, kind) > 0


async def ask_each_kind(world: World, user: str, *, stream: bool) -> None:
    """Four questions at once: to each engine, one that leans on an earlier one, and one without a choice."""
    world.stream(stream)
    questions = [
        world.question(user, choice="lightrag"),
        world.question(user, choice="perplexity"),
        world.question(user, choice="perplexity", history=["What does glucose mean in sepsis?"], text="And lactate?"),
        world.question(user, text="Which fasting plasma glucose is a criterion for diabetes?"),
    ]
    told = await asyncio.gather(*(world.told(question) for question in questions))
    assert all(each.answer and each.answer.written for each in told)


def tokens(of: Sequence[object], kind: str) -> int:
    """All tokens read, read from the cache, or written."""
    return sum(getattr(each, f"tokens_{kind}") for each in of)
