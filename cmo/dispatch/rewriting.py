"""Follow-up questions completed by a model as long as there is money for it."""

from __future__ import annotations

from collections.abc import Callable

from cmo.dispatch.bill import Bill
from cmo.dispatch.spending import Spending
from cmo.errors import BudgetExhausted
from cmo.interfaces import Book, QuestionRewriter
from cmo.values import Question


class BudgetedRewriter:
    """Has one rewriter complete a question that costs at most `ceiling_usd`; `otherwise` costs nothing."""

    def __init__(
        self,
        model: QuestionRewriter,
        *,
        otherwise: QuestionRewriter,
        needs_model: Callable[[Question], bool],
        ceiling_usd: float,
        spending: Spending,
    ) -> None:
        """Only for questions that `needs_model` picks is anything set aside."""
        self._model = model
        self._otherwise = otherwise
        self._needs_model = needs_model
        self._ceiling_usd = ceiling_usd
        self._spending = spending

    async def standalone(self, question: Question, book: Book) -> str:
        """The question's text, completed from the turns before it."""
        if not self._needs_model(question):
            return question.text
        bill = Bill()
        try:
            async with self._spending.allowed(question.user_id, self._ceiling_usd, bill):
                return await self._model.standalone(question, bill.book)
        except BudgetExhausted:
            return await self._otherwise.standalone(question, book)
        finally:
            for call in bill.calls:
                book(call)
