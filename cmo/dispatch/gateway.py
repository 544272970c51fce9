"""An engine behind its circuit breaker and the budget: the one way in which engines are asked.

It refuses to know which engine is right for a question (router.py) and what follows when one fails (pipeline.py).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any, Protocol, cast

from cmo.dispatch.bill import Bill
from cmo.dispatch.spending import Spending
from cmo.errors import BudgetExhausted, EngineUnavailable
from cmo.interfaces import Engine
from cmo.phrases import Phrase
from cmo.values import Draft, EngineEvent, EngineRequest


class Permit(Protocol):
    """Leave to make one call; told once how it ended."""

    def succeeded(self, seconds: float) -> None:
        """It went well."""

    def failed(self, seconds: float) -> None:
        """It went wrong, and the engine is to blame."""

    def abandoned(self) -> None:
        """Nobody waited for its end: neither good nor bad."""


class Breakers(Protocol):
    """The circuit breakers of all engines."""

    def admit(self, name: str) -> Permit:
        """Leave to ask an engine.

        Raises:
            CircuitOpen: it is resting.
        """


class Gateway:
    """Asks engines. Shared by all questions of a process."""

    def __init__(
        self,
        engines: Sequence[Engine],
        *,
        breakers: Breakers,
        spending: Spending,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`timer` gives seconds since whenever."""
        self._engines = {engine.name: engine for engine in engines}
        self._breakers = breakers
        self._spending = spending
        self._timer = timer

    async def ask(self, name: str, request: EngineRequest, bill: Bill) -> AsyncIterator[EngineEvent]:
        """The engine's events; closing the iterator early ends its work.

        However it ends, the breaker learns how it went, and what it really cost is settled.

        Raises:
            CircuitOpen: the engine is resting.
            BudgetExhausted: the question could cost more than may still be spent.
            EngineUnavailable: it failed, or took longer than `request.seconds`.
        """
        engine = self._engines[name]
        permit = self._breakers.admit(name)
        watch = _Watch(request.seconds, self._timer)
        try:
            async with self._spending.allowed(request.question.user_id, engine.ceiling_usd(request), bill):
                events = cast("Any", engine.ask(request, bill.book))
                async with aclosing(events):
                    async for event in watch.over(events):
                        if isinstance(event, Draft):
                            _tell(permit, event, watch.seconds)
                        yield event
        except BudgetExhausted:
            permit.abandoned()
            raise
        except TimeoutError as error:
            permit.failed(watch.seconds)
            raise EngineUnavailable(Phrase("No answer came within {n:.0f} s.", n=request.seconds)) from error
        except Exception:
            permit.failed(watch.seconds)
            raise
        except BaseException:  # the person pressed Stop, or the iterator was closed
            permit.abandoned()
            raise


def _tell(permit: Permit, draft: Draft, seconds: float) -> None:
    """A lesser part that stood in helps the person, but the engine is not well."""
    if draft.degraded:
        permit.failed(seconds)
    else:
        permit.succeeded(seconds)


class _Watch:
    """Measures what an engine takes, without the time its listener takes, and ends it when it takes too long."""

    def __init__(self, limit_seconds: float, timer: Callable[[], float]) -> None:
        self._limit = limit_seconds
        self._timer = timer
        self.seconds = 0.0

    async def over(self, events: AsyncIterator[EngineEvent]) -> AsyncIterator[EngineEvent]:
        # A time limit around the whole loop would go off in the listener's code, which runs between two events.
        while True:
            started = self._timer()
            try:
                async with asyncio.timeout(self._limit - self.seconds):
                    event = await anext(events)
            except StopAsyncIteration:
                return
            finally:
                self.seconds += self._timer() - started
            yield event
