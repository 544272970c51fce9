"""What several tests of translation need: an order, a question, and a service that does as it is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cmo.interfaces import Book
from cmo.translation.services import Order
from cmo.values import ModelCall, Question

ORDER = Order(texts=("good",), source="en", target="fr", seconds=5.0, user_id="ann")


def no_calls(call: ModelCall) -> None:
    raise AssertionError(f"nothing was to be paid: {call}")


def question(language: str, text: str = "?") -> Question:
    return Question(
        text=text, user_id="ann", thread_id="t", asked_at=datetime(2026, 1, 1, tzinfo=UTC), language=language
    )


@dataclass
class FakeService:
    """Replaces words of each text, or does what `change` does with all of them."""

    words: Mapping[str, str] = field(default_factory=dict)
    change: Callable[[tuple[str, ...]], tuple[str, ...]] | None = None
    error: Exception | None = None
    orders: list[Order] = field(default_factory=list)

    @property
    def name(self) -> str:
        return "Fake"

    async def translate(self, order: Order, book: Book) -> tuple[str, ...]:
        self.orders.append(order)
        if self.error is not None:
            raise self.error
        if self.change is not None:
            return self.change(order.texts)
        return tuple(self._replaced(text) for text in order.texts)

    def _replaced(self, text: str) -> str:
        for word, other in self.words.items():
            text = text.replace(word, other)
        return text
