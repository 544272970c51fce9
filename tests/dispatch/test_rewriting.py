"""Follow-up questions are completed by a model while there is money for it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from cmo.dispatch.bill import Bill
from cmo.dispatch.rewriting import BudgetedRewriter
from cmo.dispatch.spending import Spending
from cmo.errors import BudgetExhausted, StorageUnavailable
from cmo.interfaces import Book
from cmo.values import CallOutcome, CallStage, ModelCall, Question
from tests.dispatch.test_spending import FakeBudget

CALL = ModelCall(engine="e", model="m", stage=CallStage.REWRITE, outcome=CallOutcome.OK, cost_usd=0.002)
QUESTION = Question(
    text="And in urine?", user_id="ann", thread_id="t", asked_at=datetime(2025, 1, 1, tzinfo=UTC), history=("Glucose?",)
)


@dataclass
class FakeRewriter:
    """Completes every question by its own words, for the price of its calls."""

    says: str
    calls: tuple[ModelCall, ...] = ()
    error: Exception | None = None
    asked: list[Question] = field(default_factory=list)

    async def standalone(self, question: Question, book: Book) -> str:
        self.asked.append(question)
        for call in self.calls:
            book(call)
        if self.error is not None:
            raise self.error
        return self.says


@dataclass
class World:
    model: FakeRewriter = field(default_factory=lambda: FakeRewriter("How high is glucose in urine?", (CALL,)))
    otherwise: FakeRewriter = field(default_factory=lambda: FakeRewriter("And in urine? glucose"))
    budget: FakeBudget = field(default_factory=FakeBudget)
    bill: Bill = field(default_factory=Bill)
    needs_model: Callable[[Question], bool] = lambda question: bool(question.history)

    async def standalone(self, question: Question = QUESTION) -> str:
        rewriter = BudgetedRewriter(
            self.model,
            otherwise=self.otherwise,
            needs_model=self.needs_model,
            ceiling_usd=0.01,
            spending=Spending(self.budget),
        )
        return await rewriter.standalone(question, self.bill.book)


async def test_the_model_completes_a_question_and_is_paid_and_booked() -> None:
    world = World()

    assert await world.standalone() == "How high is glucose in urine?"
    assert world.budget.seen == [("reserved", "ann", 0.01), ("settled", "reservation 1", 0.002)]
    assert world.bill.calls == (CALL,)
    assert world.otherwise.asked == []


async def test_a_question_that_needs_no_model_is_left_as_it_is_and_nothing_is_set_aside() -> None:
    world = World(needs_model=lambda _: False)

    assert await world.standalone() == "And in urine?"
    assert (world.model.asked, world.otherwise.asked, world.budget.seen) == ([], [], [])


@pytest.mark.parametrize("refusal", [BudgetExhausted("Spent."), StorageUnavailable("The disk is full.")])
async def test_without_money_or_knowledge_of_it_the_question_is_completed_for_nothing(refusal: Exception) -> None:
    world = World(budget=FakeBudget(refuses=refusal))

    assert await world.standalone() == "And in urine? glucose"
    assert (world.model.asked, world.bill.calls) == ([], ())


async def test_a_rewriting_that_breaks_down_is_booked_and_settled_too() -> None:
    world = World()
    world.model.error = ZeroDivisionError()

    with pytest.raises(ZeroDivisionError):
        await world.standalone()

    assert world.bill.calls == (CALL,)
    assert world.budget.seen[-1] == ("settled", "reservation 1", 0.002)


async def test_what_the_question_cost_before_is_not_settled_with_the_rewriting() -> None:
    world = World()
    world.bill.book(CALL)

    await world.standalone()

    assert world.budget.seen[-1] == ("settled", "reservation 1", 0.002)
    assert world.bill.calls == (CALL, CALL)
