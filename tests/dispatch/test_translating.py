"""Translations by a model are paid for, or not made."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from cmo.dispatch.bill import Bill
from cmo.dispatch.spending import Spending
from cmo.dispatch.translating import BudgetedService
from cmo.errors import BudgetExhausted, TranslationUnavailable
from cmo.interfaces import Book
from cmo.translation.services import Declined, Order
from cmo.values import CallOutcome, CallStage, ModelCall
from tests.dispatch.test_spending import FakeBudget
from tests.translation.fakes import ORDER

CALL = ModelCall(engine="e", model="m", stage=CallStage.TRANSLATE, outcome=CallOutcome.OK, cost_usd=0.002)


@dataclass
class PaidFake:
    """Translates everything as "bien" for the price of one call."""

    error: Exception | None = None
    asked: list[Order] = field(default_factory=list)
    name: str = "Paid"

    def ceiling_usd(self, order: Order) -> float:
        return 0.01 * len(order.texts)

    async def translate(self, order: Order, book: Book) -> tuple[str, ...]:
        self.asked.append(order)
        book(CALL)
        if self.error is not None:
            raise self.error
        return tuple("bien" for _ in order.texts)


async def test_a_translation_is_set_aside_for_settled_and_booked() -> None:
    budget, bill = FakeBudget(), Bill()
    service = BudgetedService(PaidFake(), spending=Spending(budget))

    assert await service.translate(ORDER, bill.book) == ("bien",)
    assert budget.seen == [("reserved", "ann", 0.01), ("settled", "reservation 1", 0.002)]
    assert bill.calls == (CALL,)
    assert service.name == "Paid"


async def test_without_money_the_order_is_declined_and_the_service_not_asked() -> None:
    paid = PaidFake()
    service = BudgetedService(paid, spending=Spending(FakeBudget(refuses=BudgetExhausted("Spent."))))

    with pytest.raises(Declined, match="Spent"):
        await service.translate(ORDER, Bill().book)
    assert paid.asked == []


async def test_a_translation_that_fails_is_paid_for_and_booked_too() -> None:
    budget, bill = FakeBudget(), Bill()
    service = BudgetedService(PaidFake(TranslationUnavailable("gone")), spending=Spending(budget))

    with pytest.raises(TranslationUnavailable, match="gone"):
        await service.translate(ORDER, bill.book)
    assert budget.seen[-1] == ("settled", "reservation 1", 0.002)
    assert bill.calls == (CALL,)
