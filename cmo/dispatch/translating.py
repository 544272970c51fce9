"""Translations by a model as long as there is money for them."""

from __future__ import annotations

from typing import Protocol

from cmo.dispatch.bill import Bill
from cmo.dispatch.spending import Spending
from cmo.errors import BudgetExhausted
from cmo.interfaces import Book
from cmo.translation.services import Declined, Order, TranslationService


class PaidService(TranslationService, Protocol):
    """A service that costs money."""

    def ceiling_usd(self, order: Order) -> float:
        """The most that an order can cost.

        Raises:
            Declined: it cannot take this order.
        """


class BudgetedService:
    """Sets aside what an order can cost before it is placed. A `TranslationService`."""

    def __init__(self, service: PaidService, *, spending: Spending) -> None:
        self._service = service
        self._spending = spending

    @property
    def name(self) -> str:
        """The service's."""
        return self._service.name

    async def translate(self, order: Order, book: Book) -> tuple[str, ...]:
        """The translation of each text, in order.

        Raises:
            Declined: the service cannot take this order, or it could cost more than may still be spent.
            TranslationUnavailable: the service does not answer, or nothing that can be used.
        """
        bill = Bill()
        try:
            async with self._spending.allowed(order.user_id, self._service.ceiling_usd(order), bill):
                return await self._service.translate(order, bill.book)
        except BudgetExhausted as error:
            raise Declined(*error.args) from error
        finally:
            for call in bill.calls:
                book(call)
