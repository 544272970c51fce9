"""What one question has cost so far."""

from __future__ import annotations

from cmo.values import ModelCall


class Bill:
    """Takes down the model calls made for one question; `book` is handed to whoever makes them."""

    def __init__(self) -> None:
        self._calls: list[ModelCall] = []

    def book(self, call: ModelCall) -> None:
        """Take down one call."""
        self._calls.append(call)

    @property
    def calls(self) -> tuple[ModelCall, ...]:
        """All calls so far, in the order in which they ended."""
        return tuple(self._calls)

    @property
    def cost_usd(self) -> float:
        """What they cost together."""
        return sum(call.cost_usd for call in self._calls)

    @property
    def tokens_in(self) -> int:
        """Tokens the models have read."""
        return sum(call.tokens_in for call in self._calls)

    @property
    def tokens_out(self) -> int:
        """Tokens the models have written."""
        return sum(call.tokens_out for call in self._calls)
