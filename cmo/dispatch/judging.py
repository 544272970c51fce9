"""Open sentences judged by a model as long as there is money for it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from cmo.dispatch.bill import Bill
from cmo.dispatch.spending import Spending
from cmo.errors import BudgetExhausted
from cmo.interfaces import Book
from cmo.logs import fields
from cmo.quality.judging import is_open
from cmo.values import SentenceSupport

_log = logging.getLogger(__name__)


class ModelJudge(Protocol):
    """Judges the open sentences of an answer."""

    async def judged(
        self, sentences: Sequence[SentenceSupport], sources: Sequence[str], book: Book
    ) -> tuple[SentenceSupport, ...]:
        """The sentences, the open ones with the model's verdict where it can be believed."""


class BudgetedJudge:
    """Has a judge look at an answer, which costs at most `ceiling_usd`; without money for it verdicts stay."""

    def __init__(self, judge: ModelJudge, *, ceiling_usd: float, spending: Spending) -> None:
        self._judge = judge
        self._ceiling_usd = ceiling_usd
        self._spending = spending

    async def judged(
        self, sentences: Sequence[SentenceSupport], sources: Sequence[str], book: Book, *, user_id: str
    ) -> tuple[SentenceSupport, ...]:
        """The sentences of an answer to this person; nothing is set aside when none of them is open."""
        if not any(map(is_open, sentences)):
            return tuple(sentences)
        bill = Bill()
        try:
            async with self._spending.allowed(user_id, self._ceiling_usd, bill):
                return await self._judge.judged(sentences, sources, bill.book)
        except BudgetExhausted as error:
            _log.info("judge_not_asked", extra=fields(reason=str(error)))
            return tuple(sentences)
        finally:
            for call in bill.calls:
                book(call)
