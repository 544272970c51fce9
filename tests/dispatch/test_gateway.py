"""An engine behind its breaker and the budget: what each learns, however a call ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from cmo.dispatch.bill import Bill
from cmo.dispatch.gateway import Gateway
from cmo.dispatch.spending import Spending
from cmo.errors import BudgetExhausted, CircuitOpen, EngineUnavailable, StorageUnavailable
from cmo.interfaces import Book
from cmo.values import (
    CallOutcome,
    CallStage,
    Draft,
    EngineEvent,
    EngineRequest,
    ModelCall,
    Question,
    TextPiece,
)

DRAFT = Draft(text="Yes.", answered=True, model="m", citations=())
CALL = ModelCall(engine="e", model="m", stage=CallStage.ANSWER, outcome=CallOutcome.OK, cost_usd=0.03)


def request(seconds: float = 5.0) -> EngineRequest:
    question = Question(text="Why?", user_id="ann", thread_id="t", asked_at=datetime(2025, 1, 1, tzinfo=UTC))
    return EngineRequest(question=question, search_text="Why?", seconds=seconds)


@dataclass
class FakeEngine:
    """Books one call, says one word, and ends as it is told to."""

    ceiling: float = 0.05
    draft: Draft = DRAFT
    error: Exception | None = None
    hangs: bool = False
    name: str = "e"
    closed: int = 0

    async def is_available(self) -> bool:
        return True

    async def version(self) -> str:
        return "1"

    def ceiling_usd(self, request: EngineRequest) -> float:
        return self.ceiling

    async def ask(self, request: EngineRequest, book: Book) -> AsyncIterator[EngineEvent]:
        try:
            book(CALL)
            yield TextPiece(text="Yes.")
            if self.hangs:
                await asyncio.Event().wait()
            if self.error is not None:
                raise self.error
            yield self.draft
        finally:
            self.closed += 1


@dataclass
class FakePermit:
    told: list[str]

    def succeeded(self, seconds: float) -> None:
        self.told.append("succeeded")

    def failed(self, seconds: float) -> None:
        self.told.append("failed")

    def abandoned(self) -> None:
        self.told.append("abandoned")


@dataclass
class FakeBreakers:
    open: bool = False
    told: list[str] = field(default_factory=list)

    def admit(self, name: str) -> FakePermit:
        if self.open:
            raise CircuitOpen("It rests.", retry_after_seconds=9)
        return FakePermit(self.told)

    @property
    def first(self) -> str:
        """What a permit's first end was; only that one counts."""
        return self.told[0]


@dataclass
class FakeBudget:
    refuses: Exception | None = None
    loses_settlements: bool = False
    reserved: list[tuple[str, float]] = field(default_factory=list)
    settled: list[float] = field(default_factory=list)

    async def reserve(self, user_id: str, amount_usd: float) -> object:
        if self.refuses is not None:
            raise self.refuses
        self.reserved.append((user_id, amount_usd))
        return len(self.reserved)

    async def settle(self, reservation: object, cost_usd: float) -> None:
        await asyncio.sleep(0)
        if self.loses_settlements:
            raise StorageUnavailable("The disk is full.")
        self.settled.append(cost_usd)


@dataclass
class World:
    engine: FakeEngine = field(default_factory=FakeEngine)
    breakers: FakeBreakers = field(default_factory=FakeBreakers)
    budget: FakeBudget = field(default_factory=FakeBudget)
    bill: Bill = field(default_factory=Bill)

    def ask(self, seconds: float = 5.0) -> Any:
        gateway = Gateway([self.engine], breakers=self.breakers, spending=Spending(self.budget))
        return cast("Any", gateway.ask("e", request(seconds), self.bill))

    async def events(self, seconds: float = 5.0) -> list[EngineEvent]:
        async with aclosing(self.ask(seconds)) as events:
            return [event async for event in events]


async def test_an_answer_is_passed_on_counted_as_a_success_and_settled_by_what_it_cost() -> None:
    world = World()

    assert await world.events() == [TextPiece(text="Yes."), DRAFT]
    assert world.breakers.first == "succeeded"
    assert (world.budget.reserved, world.budget.settled) == ([("ann", 0.05)], [pytest.approx(0.03)])


async def test_an_engine_that_fails_is_counted_and_settled_and_its_error_comes_through() -> None:
    world = World(engine=FakeEngine(error=EngineUnavailable("It is down.")))

    with pytest.raises(EngineUnavailable, match="It is down"):
        await world.events()

    assert (world.breakers.first, world.budget.settled) == ("failed", [pytest.approx(0.03)])


async def test_a_draft_in_which_a_lesser_part_stood_in_counts_as_a_failure_of_the_engine() -> None:
    world = World(engine=FakeEngine(draft=Draft(text="", answered=True, model="m", citations=(), degraded=True)))

    await world.events()

    assert world.breakers.first == "failed"


async def test_an_engine_that_takes_too_long_is_ended_counted_and_settled() -> None:
    world = World(engine=FakeEngine(hangs=True))

    with pytest.raises(EngineUnavailable, match="No answer came within"):
        await world.events(seconds=0.05)

    assert (world.breakers.first, world.engine.closed) == ("failed", 1)
    assert world.budget.settled == [pytest.approx(0.03)]


async def test_a_person_who_stops_is_neither_success_nor_failure_and_what_it_cost_is_settled() -> None:
    world = World(engine=FakeEngine(hangs=True))
    events = world.ask()
    await anext(events)
    under_way = asyncio.create_task(anext(events))
    await asyncio.sleep(0)

    under_way.cancel()
    await asyncio.gather(under_way, return_exceptions=True)

    assert (world.breakers.told, world.engine.closed) == (["abandoned"], 1)
    assert world.budget.settled == [pytest.approx(0.03)]


async def test_closing_the_events_early_ends_the_engines_work() -> None:
    world = World()
    events = world.ask()
    await anext(events)

    await events.aclose()

    assert (world.breakers.first, world.engine.closed, len(world.budget.settled)) == ("abandoned", 1, 1)


async def test_closing_the_events_after_the_answer_does_not_undo_the_success() -> None:
    world = World()
    events = world.ask()
    while not isinstance(await anext(events), Draft):
        pass

    await events.aclose()

    assert world.breakers.first == "succeeded"


async def test_an_engine_that_rests_is_not_asked_and_nothing_is_set_aside() -> None:
    world = World(breakers=FakeBreakers(open=True))

    with pytest.raises(CircuitOpen):
        await world.events()

    assert (world.budget.reserved, world.engine.closed, world.bill.calls) == ([], 0, ())


@pytest.mark.parametrize("refusal", [BudgetExhausted("Spent."), StorageUnavailable("No disk.")])
async def test_without_money_or_knowledge_of_it_nothing_that_costs_is_asked(refusal: Exception) -> None:
    world = World(budget=FakeBudget(refuses=refusal))

    with pytest.raises(BudgetExhausted):
        await world.events()

    assert (world.breakers.first, world.bill.calls) == ("abandoned", ())


async def test_what_costs_nothing_needs_no_money_set_aside() -> None:
    world = World(engine=FakeEngine(ceiling=0.0), budget=FakeBudget(refuses=BudgetExhausted("Spent.")))

    assert (await world.events())[-1] == DRAFT


async def test_a_settlement_that_cannot_be_written_costs_nobody_the_answer() -> None:
    assert (await World(budget=FakeBudget(loses_settlements=True)).events())[-1] == DRAFT


async def test_the_listeners_own_slowness_is_not_the_engines() -> None:
    world = World()
    async with aclosing(world.ask(seconds=0.05)) as events:
        async for _ in events:
            await asyncio.sleep(0.06)

    assert world.breakers.first == "succeeded"
