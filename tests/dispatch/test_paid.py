"""Calls for the index are paid on the loop where the money is, and booked however they end."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from cmo.dispatch.paid import INDEX, PaidChat, PaidEmbedder, Payments
from cmo.dispatch.spending import Spending
from cmo.errors import BudgetExhausted, ModelUnavailable, StorageUnavailable
from cmo.interfaces import Book, Vectors
from cmo.values import CallOutcome, CallStage, ModelCall, Prompt
from tests.dispatch.test_spending import FakeBudget

AT = datetime(2025, 1, 1, tzinfo=UTC)
PROMPT = Prompt(system="s", user="u", max_tokens=9, json=True)


def call(cost_usd: float, outcome: CallOutcome = CallOutcome.OK) -> ModelCall:
    return ModelCall(engine="e", model="m", stage=CallStage.EMBED, outcome=outcome, cost_usd=cost_usd)


class FixedClock:
    def now(self) -> datetime:
        return AT


@dataclass
class FakeLedger:
    """Keeps what is booked, and the thread it was booked from."""

    broken: bool = False
    booked: list[tuple[tuple[ModelCall, ...], str, datetime]] = field(default_factory=list)
    threads: list[str] = field(default_factory=list)

    async def record_calls(self, calls: Sequence[ModelCall], *, user_id: str, at: datetime) -> None:
        self.threads.append(threading.current_thread().name)
        if self.broken:
            raise StorageUnavailable("The disk is full.")
        self.booked.append((tuple(calls), user_id, at))


async def here(work: Coroutine[Any, Any, Any]) -> Any:
    return await work


@dataclass
class World:
    budget: FakeBudget = field(default_factory=FakeBudget)
    ledger: FakeLedger = field(default_factory=FakeLedger)
    at_home: Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]] = here

    def __post_init__(self) -> None:
        self.payments = Payments(Spending(self.budget), self.ledger, FixedClock(), at_home=self.at_home)

    def work(self, cost_usd: float, *, error: Exception | None = None, gate: asyncio.Event | None = None) -> Any:
        """Work that books a call, and another one after the gate if there is one, and fails or gives its cost."""

        async def do() -> float:
            self.payments.book(call(cost_usd))
            if gate is not None:
                await gate.wait()
                self.payments.book(call(cost_usd))
            if error is not None:
                raise error
            return cost_usd

        return do


async def test_work_is_paid_for_by_the_index_and_booked_under_it() -> None:
    world = World()

    assert await world.payments.pay(0.05, world.work(0.01)) == 0.01
    assert world.budget.seen == [("reserved", INDEX, 0.05), ("settled", "reservation 1", 0.01)]
    assert world.ledger.booked == [((call(0.01),), INDEX, AT)]


async def test_work_that_fails_is_settled_and_booked() -> None:
    world = World()

    with pytest.raises(ModelUnavailable):
        await world.payments.pay(0.05, world.work(0.01, error=ModelUnavailable("It is down.")))

    assert world.budget.seen[-1] == ("settled", "reservation 1", 0.01)
    assert world.ledger.booked == [((call(0.01),), INDEX, AT)]


async def test_work_that_is_stopped_is_settled_and_booked() -> None:
    world = World()
    under_way = asyncio.create_task(world.payments.pay(0.05, world.work(0.01, gate=asyncio.Event())))
    await asyncio.sleep(0)

    under_way.cancel()
    with pytest.raises(asyncio.CancelledError):
        await under_way

    assert world.budget.seen[-1] == ("settled", "reservation 1", 0.01)
    assert world.ledger.booked == [((call(0.01),), INDEX, AT)]


async def test_without_money_nothing_is_done_and_nothing_booked() -> None:
    world = World(budget=FakeBudget(refuses=BudgetExhausted("Spent.")))

    with pytest.raises(BudgetExhausted):
        await world.payments.pay(0.05, world.work(0.01))

    assert world.ledger.booked == []


async def test_work_that_makes_no_call_is_not_booked() -> None:
    world = World()

    async def nothing() -> None: ...

    await world.payments.pay(0.05, nothing)

    assert world.ledger.booked == []
    assert world.budget.seen[-1] == ("settled", "reservation 1", 0.0)


async def test_a_ledger_that_cannot_be_written_costs_no_work_and_is_an_error_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(ledger=FakeLedger(broken=True))

    with caplog.at_level(logging.ERROR):
        assert await world.payments.pay(0.05, world.work(0.01)) == 0.01

    assert "ledger_record_failed" in caplog.text


async def test_the_bills_of_work_at_once_do_not_mix() -> None:
    world, gate = World(), asyncio.Event()
    costs = [0.001 * number for number in range(1, 21)]
    under_way = [asyncio.create_task(world.payments.pay(1.0, world.work(cost, gate=gate))) for cost in costs]
    await asyncio.sleep(0)
    gate.set()

    assert await asyncio.gather(*under_way) == costs
    assert [calls for calls, _, _ in world.ledger.booked] == [(call(cost), call(cost)) for cost in costs]
    assert [seen[-1] for seen in world.budget.seen[20:]] == pytest.approx([2 * cost for cost in costs])


async def test_work_within_work_has_a_bill_of_its_own() -> None:
    world = World()

    async def outer() -> None:
        world.payments.book(call(0.01))
        await world.payments.pay(0.05, world.work(0.002))
        world.payments.book(call(0.03))

    await world.payments.pay(1.0, outer)

    assert [calls for calls, _, _ in world.ledger.booked] == [(call(0.002),), (call(0.01), call(0.03))]


# From another event loop


@pytest.fixture
def other_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that runs in a thread called "elsewhere"."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="elsewhere")
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def brings_home() -> Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]]:
    """Runs work on the loop this is called on, as a server's connections do."""
    home = asyncio.get_running_loop()

    async def at_home(work: Coroutine[Any, Any, Any]) -> Any:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, home))

    return at_home


async def test_work_of_another_loop_is_done_and_booked_at_home(other_loop: asyncio.AbstractEventLoop) -> None:
    world = World(at_home=brings_home())
    seen: list[str] = []

    async def work() -> str:
        seen.append(threading.current_thread().name)
        world.payments.book(call(0.01))
        return "done"

    asked = asyncio.run_coroutine_threadsafe(world.payments.pay(0.05, work), other_loop)

    assert await asyncio.wrap_future(asked) == "done"
    assert [*seen, *world.ledger.threads] == [threading.current_thread().name] * 2
    assert world.ledger.booked == [((call(0.01),), INDEX, AT)]


async def test_work_at_once_from_two_loops_does_not_mix(other_loop: asyncio.AbstractEventLoop) -> None:
    world, gate = World(at_home=brings_home()), asyncio.Event()
    there = [
        asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(world.payments.pay(1.0, world.work(0.01, gate=gate)), other_loop)
        )
        for _ in range(5)
    ]
    own = [asyncio.create_task(world.payments.pay(1.0, world.work(0.02, gate=gate))) for _ in range(5)]
    gate.set()

    assert await asyncio.gather(*there, *own) == [0.01] * 5 + [0.02] * 5
    assert sorted(calls[0].cost_usd for calls, _, _ in world.ledger.booked) == [0.01] * 5 + [0.02] * 5
    assert {len(set(calls)) for calls, _, _ in world.ledger.booked} == {1}
    assert {len(calls) for calls, _, _ in world.ledger.booked} == {2}


async def test_stopping_from_another_loop_ends_the_work_at_home(other_loop: asyncio.AbstractEventLoop) -> None:
    world, begun, ended = World(at_home=brings_home()), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        world.payments.book(call(0.01))
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    asked = asyncio.run_coroutine_threadsafe(world.payments.pay(0.05, work), other_loop)
    await begun.wait()
    asked.cancel()
    async with asyncio.timeout(5):
        await ended.wait()
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)

    assert world.budget.seen[-1] == ("settled", "reservation 1", 0.01)
    assert world.ledger.booked == [((call(0.01),), INDEX, AT)]


# The models


@dataclass
class FakeChat:
    name: str = "chat-1"
    error: Exception | None = None

    def ceiling_usd(self, prompt: Prompt) -> float:
        return prompt.max_tokens / 100

    async def complete(self, prompt: Prompt, *, stage: CallStage, book: Book) -> str:
        book(call(0.02))
        if self.error is not None:
            raise self.error
        return f"{stage.value}: {prompt.user}"

    def stream(self, prompt: Prompt, *, stage: CallStage, book: Book) -> AsyncIterator[str]:
        raise AssertionError("nothing is streamed")


@dataclass
class FakeEmbedder:
    book: Book
    fingerprint: str = "server-model"
    dimension: int = 2

    def ceiling_usd(self, texts: Sequence[str]) -> float:
        return len(texts) / 100

    async def embed(self, texts: Sequence[str]) -> Vectors:
        self.book(call(0.001))
        return np.ones((len(texts), self.dimension), dtype=np.float32)


async def test_a_chat_pays_the_ceiling_of_its_prompt() -> None:
    world = World()
    chat = PaidChat(FakeChat(), world.payments)

    said = await chat.complete(PROMPT, stage=CallStage.EXTRACT, book=world.payments.book)

    assert (said, chat.name, chat.ceiling_usd(PROMPT)) == ("extract: u", "chat-1", 0.09)
    assert world.budget.seen == [("reserved", INDEX, 0.09), ("settled", "reservation 1", 0.02)]
    assert [calls for calls, _, _ in world.ledger.booked] == [(call(0.02),)]


async def test_a_chat_that_fails_says_so_in_its_own_words() -> None:
    world = World()
    chat = PaidChat(FakeChat(error=ModelUnavailable("The server is busy.")), world.payments)

    with pytest.raises(ModelUnavailable, match="The server is busy"):
        await chat.complete(PROMPT, stage=CallStage.EXTRACT, book=world.payments.book)

    assert [calls for calls, _, _ in world.ledger.booked] == [(call(0.02),)]


async def test_an_embedder_pays_for_its_texts_and_is_otherwise_the_same() -> None:
    world = World()
    embedder = PaidEmbedder(FakeEmbedder(world.payments.book), world.payments)

    vectors = await embedder.embed(["a", "b", "c"])

    assert (vectors.shape, embedder.fingerprint, embedder.dimension) == ((3, 2), "server-model", 2)
    assert world.budget.seen == [("reserved", INDEX, 0.03), ("settled", "reservation 1", 0.001)]
