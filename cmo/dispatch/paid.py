"""Calls to paid models that belong to no question: those that make and search the index.

Each is paid like a question's calls: money is set aside before it, and it is booked after it, under INDEX.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Protocol, TypeVar

from cmo.dispatch.bill import Bill
from cmo.dispatch.spending import Spending
from cmo.errors import StorageUnavailable
from cmo.interfaces import Book, ChatModel, Clock, Embedder, Vectors
from cmo.values import CallStage, ModelCall, Prompt

T = TypeVar("T")

INDEX = "index"
"""Who pays for the index, in ledger and budgets."""

_log = logging.getLogger(__name__)


class CallLedger(Protocol):
    """The record of calls."""

    async def record_calls(self, calls: Sequence[ModelCall], *, user_id: str, at: datetime) -> None:
        """Book calls that belong to no question.

        Raises:
            StorageUnavailable: they cannot be booked.
        """


class PricedEmbedder(Embedder, Protocol):
    """An embedder that costs money."""

    def ceiling_usd(self, texts: Sequence[str]) -> float:
        """The most that embedding these texts can cost."""


class Payments:
    """Pays and books work, on the event loop where ledger and budget live, whatever loop it is asked for on."""

    def __init__(
        self,
        spending: Spending,
        ledger: CallLedger,
        clock: Clock,
        *,
        at_home: Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]],
    ) -> None:
        self._spending = spending
        self._ledger = ledger
        self._clock = clock
        self._at_home = at_home
        self._bill: ContextVar[Bill] = ContextVar("bill")

    def book(self, call: ModelCall) -> None:
        """Take down a call of the work under way."""
        self._bill.get().book(call)

    async def pay(self, ceiling_usd: float, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of work that costs at most `ceiling_usd`.

        Raises:
            BudgetExhausted: that could be more than may still be spent.
        """
        result: T = await self._at_home(self._paid(ceiling_usd, work))
        return result

    async def _paid(self, ceiling_usd: float, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        bill = Bill()
        token = self._bill.set(bill)
        try:
            async with self._spending.allowed(INDEX, ceiling_usd, bill):
                return await work()
        finally:
            self._bill.reset(token)
            await self._record(bill)

    async def _record(self, bill: Bill) -> None:
        if not bill.calls:
            return
        try:
            await self._ledger.record_calls(bill.calls, user_id=INDEX, at=self._clock.now())
        except StorageUnavailable:
            _log.exception("ledger_record_failed")


class PaidChat:
    """A ChatModel whose `complete` is paid for; it books into `payments` itself."""

    def __init__(self, chat: ChatModel, payments: Payments) -> None:
        self._chat = chat
        self._payments = payments

    @property
    def name(self) -> str:
        """The model's name as shown and recorded."""
        return self._chat.name

    def ceiling_usd(self, prompt: Prompt) -> float:
        """The most that a call with this prompt can cost."""
        return self._chat.ceiling_usd(prompt)

    def stream(self, prompt: Prompt, *, stage: CallStage, book: Book) -> AsyncIterator[str]:
        """Not paid for here: nothing of the index is streamed."""
        raise NotImplementedError

    async def complete(self, prompt: Prompt, *, stage: CallStage, book: Book) -> str:
        """The whole text at once.

        Raises:
            ModelUnavailable: the model failed.
            BudgetExhausted: nothing more may be spent.
        """
        return await self._payments.pay(
            self._chat.ceiling_usd(prompt), lambda: self._chat.complete(prompt, stage=stage, book=book)
        )


class PaidEmbedder:
    """An Embedder that is paid for."""

    def __init__(self, embedder: PricedEmbedder, payments: Payments) -> None:
        self._embedder = embedder
        self._payments = payments

    @property
    def fingerprint(self) -> str:
        """Name and version of the model."""
        return self._embedder.fingerprint

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._embedder.dimension

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape (len(texts), dimension).

        Raises:
            ModelUnavailable: the server does not answer as it should.
            BudgetExhausted: nothing more may be spent.
        """
        return await self._payments.pay(self._embedder.ceiling_usd(texts), lambda: self._embedder.embed(texts))
