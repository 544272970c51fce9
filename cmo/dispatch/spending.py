"""Money set aside before work that costs something, and settled after it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

from cmo.dispatch.bill import Bill
from cmo.errors import BudgetExhausted, StorageUnavailable
from cmo.logs import fields
from cmo.phrases import Phrase

NO_RECORD = Phrase("What has been spent cannot be looked up at the moment, so nothing that costs money is asked.")

_log = logging.getLogger(__name__)


class Budget(Protocol):
    """What may still be spent."""

    async def reserve(self, user_id: str, amount_usd: float) -> Any:
        """Set an amount aside.

        Raises:
            BudgetExhausted: it could be more than may still be spent.
            StorageUnavailable: nobody can tell.
        """

    async def settle(self, reservation: Any, cost_usd: float) -> None:
        """Book what it really came to, and give back the rest."""


class Spending:
    """Lets work begin that there is money for. Shared by all questions of a process."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    @asynccontextmanager
    async def allowed(self, user_id: str, ceiling_usd: float, bill: Bill) -> AsyncIterator[None]:
        """Work that may cost up to `ceiling_usd`; what the bill came to meanwhile is settled after it.

        Raises:
            BudgetExhausted: that could be more than may still be spent, or nobody can tell what was spent.
        """
        if ceiling_usd <= 0:
            yield
            return
        before = bill.cost_usd
        try:
            reservation = await self._budget.reserve(user_id, ceiling_usd)
        except StorageUnavailable as error:
            raise BudgetExhausted(NO_RECORD) from error
        try:
            yield
        finally:
            await asyncio.shield(self._settle(reservation, bill.cost_usd - before))

    async def _settle(self, reservation: Any, cost_usd: float) -> None:
        """Settle; a failure costs nobody their answer, but somebody should look. The reservation expires by itself."""
        try:
            await self._budget.settle(reservation, cost_usd)
        except StorageUnavailable:
            _log.exception("budget_settle_failed", extra=fields(cost_usd=cost_usd))
