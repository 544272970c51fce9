"""Fifty people ask at once, for more money than there is: it is never overspent, whatever fails or is stopped."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from cmo.policy.budget import MICRODOLLARS, Scope
from cmo.values import TextPiece
from tests.faults.world import QUESTION, Told, World, open_world
from tests.servers import Fault

QUESTIONS = 50
BUDGET_USD = 0.08
"""Enough for three under way, each of which could cost $0.026; without it they would spend twice as much."""
LONG_ANSWER = " ".join(["Lactate rises in sepsis [5]."] * 280)
"""About 1,400 tokens, nearly as many as may be written: each answer costs $0.006."""
STARTS_WITHIN_SECONDS = 1.0
STOPS_WITHIN_SECONDS = 1.0
STOPS = 0.2
"""Share of the people who stop."""
SAME = 0.2
"""Share of the people who ask the same question as others."""
FAULTY = 0.3
"""Share of the calls that go wrong."""
FAULTS = (
    *(Fault.SERVER_ERROR, Fault.CUT_MIDWAY, Fault.RATE_LIMIT, Fault.FAILED_MIDWAY, Fault.CUT_BEFORE_BYTE),
    *(Fault.UNAVAILABLE, Fault.MALFORMED_JSON),
)


@pytest.mark.parametrize("seed", range(3))
async def test_fifty_at_once_never_spend_more_than_there_is(seed: int, library: Path, tmp_path: Path) -> None:
    await fifty_at_once(random.Random(seed), library, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3, 23))
async def test_nor_do_they_in_twenty_further_runs(seed: int, library: Path, tmp_path: Path) -> None:
    await fifty_at_once(random.Random(seed), library, tmp_path)


async def fifty_at_once(chance: random.Random, library: Path, folder: Path) -> None:
    async with open_world(
        library, folder / "cmo.sqlite3", daily_budget_usd=BUDGET_USD, forced_engine="perplexity", seconds=20.0
    ) as world:
        world.web.answer(LONG_ANSWER)
        world.web.then(*(planned(chance) for _ in range(QUESTIONS)))
        people = [Person.drawn(number, chance) for number in range(QUESTIONS)]
        told = await asyncio.gather(*(ask(world, person) for person in people))

        assert world.web.requests
        charged = world.web.cost_usd + world.model.cost_usd
        booked = sum(call.microdollars for call in world.calls()) / MICRODOLLARS
        assert charged <= booked + 1e-4
        assert booked <= BUDGET_USD
        (today,) = [one for one in await world.application.budget.status() if one.period.scope is Scope.DAY]
        assert today.reserved == 0
        assert today.spent_usd == pytest.approx(booked, abs=1e-4)
        outcomes = await world.application.ledger.totals()
        assert outcomes.questions == QUESTIONS

    got = Counter(map(kind, told))
    assert got["sentences"] > 0
    assert got["stopped"] > 0


def planned(chance: random.Random) -> Fault:
    return chance.choice(FAULTS) if chance.random() < FAULTY else Fault.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who asks after a while, and may stop a while after that, or at the first word if that comes before."""

    text: str
    starts_seconds: float
    stops_seconds: float | None

    @classmethod
    def drawn(cls, number: int, chance: random.Random) -> Person:
        is_same = chance.random() < SAME
        return cls(
            text=QUESTION if is_same else f"{QUESTION} Think of patient {number}.",
            starts_seconds=chance.random() * STARTS_WITHIN_SECONDS,
            stops_seconds=chance.random() * STOPS_WITHIN_SECONDS if chance.random() < STOPS else None,
        )


async def ask(world: World, person: Person) -> Told | None:
    """What they got, None if they stopped before they had it."""
    await asyncio.sleep(person.starts_seconds)
    question = world.question(world.new_user(), text=person.text)
    if person.stops_seconds is None:
        return await world.told(question)
    shown = asyncio.Event()
    asking = asyncio.create_task(
        world.told(question, lambda event: shown.set() if isinstance(event, TextPiece) else None)
    )
    waiting = asyncio.create_task(shown.wait())
    await asyncio.wait({asking, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=person.stops_seconds)
    waiting.cancel()
    asking.cancel()
    await asyncio.wait({asking})
    return None if asking.cancelled() else asking.result()


def kind(told: Told | None) -> str:
    """What a person got, in a word."""
    if told is None:
        return "stopped"
    if told.answer is None:
        assert told.error
        return "notice"
    if not told.answer.written:
        return "sentences"
    return "web" if told.answer.engine == "perplexity" else "written"
