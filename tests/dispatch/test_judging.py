"""Open sentences are judged by a model while there is money for it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from cmo.dispatch.bill import Bill
from cmo.dispatch.judging import BudgetedJudge
from cmo.dispatch.spending import Spending
from cmo.errors import BudgetExhausted, StorageUnavailable
from cmo.interfaces import Book
from cmo.values import CallOutcome, CallStage, ModelCall, SentenceSupport, Verdict
from tests.dispatch.test_spending import FakeBudget

CALL = ModelCall(engine="e", model="m", stage=CallStage.JUDGE, outcome=CallOutcome.OK, cost_usd=0.002)
OPEN = SentenceSupport(text="Lactate rose.", verdict=Verdict.RELATED, score=0.4, quote="Lactate went up.", source=1)
VERBATIM = replace(OPEN, verdict=Verdict.SUPPORTED, score=0.98)


@dataclass
class FakeJudge:
    """Finds everything contradicted, for the price of one call; fails or hangs when told to."""

    error: Exception | None = None
    hangs: bool = False
    asked: list[Sequence[str]] = field(default_factory=list)

    async def judged(
        self, sentences: Sequence[SentenceSupport], sources: Sequence[str], book: Book
    ) -> tuple[SentenceSupport, ...]:
        self.asked.append(sources)
        book(CALL)
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return tuple(replace(each, verdict=Verdict.CONTRADICTED) for each in sentences)


@dataclass
class World:
    model: FakeJudge = field(default_factory=FakeJudge)
    budget: FakeBudget = field(default_factory=FakeBudget)
    bill: Bill = field(default_factory=Bill)

    async def judged(self, *sentences: SentenceSupport) -> tuple[SentenceSupport, ...]:
        judge = BudgetedJudge(self.model, ceiling_usd=0.01, spending=Spending(self.budget))
        return await judge.judged(sentences, ["A source."], self.bill.book, user_id="ann")


async def test_open_sentences_are_judged_and_the_judge_is_paid_and_booked() -> None:
    world = World()

    assert [each.verdict for each in await world.judged(OPEN)] == [Verdict.CONTRADICTED]
    assert world.model.asked == [["A source."]]
    assert world.budget.seen == [("reserved", "ann", 0.01), ("settled", "reservation 1", 0.002)]
    assert world.bill.calls == (CALL,)


async def test_nothing_is_set_aside_when_nothing_is_open() -> None:
    world = World()

    assert await world.judged(VERBATIM) == (VERBATIM,)
    assert (world.model.asked, world.budget.seen) == ([], [])


@pytest.mark.parametrize("refusal", [BudgetExhausted("Spent."), StorageUnavailable("The disk is full.")])
async def test_without_money_or_knowledge_of_it_the_verdicts_stay(refusal: Exception) -> None:
    world = World(budget=FakeBudget(refuses=refusal))

    assert await world.judged(OPEN) == (OPEN,)
    assert (world.model.asked, world.bill.calls) == ([], ())


async def test_judging_that_breaks_down_is_booked_and_settled_too() -> None:
    world = World(model=FakeJudge(error=ZeroDivisionError()))

    with pytest.raises(ZeroDivisionError):
        await world.judged(OPEN)

    assert world.bill.calls == (CALL,)
    assert world.budget.seen[-1] == ("settled", "reservation 1", 0.002)


async def test_judging_that_takes_too_long_is_booked_and_settled_too() -> None:
    world = World(model=FakeJudge(hangs=True))

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await world.judged(OPEN)

    assert world.bill.calls == (CALL,)
    assert world.budget.seen[-1] == ("settled", "reservation 1", 0.002)
