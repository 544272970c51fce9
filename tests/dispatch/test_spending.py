"""Money is set aside before work, and settled after it, however it ends."""

import asyncio
import logging
from dataclasses import dataclass, field

import pytest

from cmo.dispatch.bill import Bill
from cmo.dispatch.spending import NO_RECORD, Spending
from cmo.errors import BudgetExhausted, ModelUnavailable, StorageUnavailable
from cmo.values import CallOutcome, CallStage, ModelCall


def call(cost_usd: float) -> ModelCall:
    return ModelCall(engine="e", model="m", stage=CallStage.ANSWER, outcome=CallOutcome.OK, cost_usd=cost_usd)


@dataclass
class FakeBudget:
    """Takes down what happens to it, in order; settling waits for `gate`."""

    refuses: Exception | None = None
    loses_settlements: bool = False
    gate: asyncio.Event | None = None
    settling: asyncio.Event = field(default_factory=asyncio.Event)
    seen: list[tuple[object, ...]] = field(default_factory=list)

    async def reserve(self, user_id: str, amount_usd: float) -> str:
        if self.refuses is not None:
            raise self.refuses
        self.seen.append(("reserved", user_id, amount_usd))
        return f"reservation {len(self.seen)}"

    async def settle(self, reservation: object, cost_usd: float) -> None:
        self.settling.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.loses_settlements:
            raise StorageUnavailable("The disk is full.")
        self.seen.append(("settled", reservation, round(cost_usd, 6)))


async def test_the_most_it_can_cost_is_set_aside_and_what_it_did_cost_settled() -> None:
    budget, bill = FakeBudget(), Bill()

    async with Spending(budget).allowed("ann", 0.05, bill):
        budget.seen.append(("working",))
        bill.book(call(0.01))
        bill.book(call(0.02))

    assert budget.seen == [("reserved", "ann", 0.05), ("working",), ("settled", "reservation 1", 0.03)]


async def test_what_was_on_the_bill_before_is_not_settled_again() -> None:
    budget, bill = FakeBudget(), Bill()
    bill.book(call(0.5))

    async with Spending(budget).allowed("ann", 0.05, bill):
        bill.book(call(0.01))

    assert budget.seen[-1] == ("settled", "reservation 1", 0.01)


async def test_work_that_made_no_call_gives_everything_back() -> None:
    budget = FakeBudget()

    async with Spending(budget).allowed("ann", 0.05, Bill()):
        pass

    assert budget.seen[-1] == ("settled", "reservation 1", 0.0)


async def test_work_that_fails_settles_what_it_cost() -> None:
    budget, bill = FakeBudget(), Bill()

    async def work() -> None:
        async with Spending(budget).allowed("ann", 0.05, bill):
            bill.book(call(0.02))
            raise ModelUnavailable("It broke.")

    with pytest.raises(ModelUnavailable):
        await work()

    assert budget.seen[-1] == ("settled", "reservation 1", 0.02)


async def test_work_that_is_stopped_is_settled_even_when_the_stop_comes_again_meanwhile() -> None:
    budget, bill = FakeBudget(gate=asyncio.Event()), Bill()

    async def work() -> None:
        async with Spending(budget).allowed("ann", 0.05, bill):
            bill.book(call(0.02))
            await asyncio.Event().wait()

    under_way = asyncio.create_task(work())
    await asyncio.sleep(0)
    under_way.cancel()
    await budget.settling.wait()
    under_way.cancel()
    with pytest.raises(asyncio.CancelledError):
        await under_way
    assert budget.gate is not None
    budget.gate.set()
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})

    assert budget.seen[-1] == ("settled", "reservation 1", 0.02)


async def test_without_money_no_work_begins() -> None:
    budget = FakeBudget(refuses=BudgetExhausted("The budget of today is spent."))

    with pytest.raises(BudgetExhausted, match="of today"):
        async with Spending(budget).allowed("ann", 0.05, Bill()):
            raise AssertionError("it began")


async def test_when_nobody_can_tell_what_was_spent_no_work_begins_and_the_person_is_told_why() -> None:
    budget = FakeBudget(refuses=StorageUnavailable("secret path"))

    with pytest.raises(BudgetExhausted) as refusal:
        async with Spending(budget).allowed("ann", 0.05, Bill()):
            raise AssertionError("it began")

    assert str(refusal.value) == NO_RECORD


async def test_what_costs_nothing_asks_for_no_money() -> None:
    budget = FakeBudget(refuses=BudgetExhausted("Spent."))

    async with Spending(budget).allowed("ann", 0.0, Bill()):
        pass

    assert budget.seen == []


async def test_a_settlement_that_is_lost_harms_nobody_and_is_an_error_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        async with Spending(FakeBudget(loses_settlements=True)).allowed("ann", 0.05, Bill()):
            pass

    assert "budget_settle_failed" in caplog.text
