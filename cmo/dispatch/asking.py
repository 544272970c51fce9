"""Gets an answer: from the engine that was decided on, else from its fallbacks, else from an earlier answer.

Answers are kept and given again; the same question asked by many at once is asked of the engine once. It refuses to
know how engines work (gateway.py) and why one was chosen (router.py).
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol, cast

from cmo.dispatch.bill import Bill
from cmo.dispatch.single_flight import SingleFlight
from cmo.errors import BudgetExhausted, EngineUnavailable, OracleError
from cmo.interfaces import Toggles
from cmo.logs import fields
from cmo.phrases import Phrase, joined
from cmo.policy.routing import Reason, titled
from cmo.values import Decision, Draft, EngineEvent, EngineRequest, Feature, Progress, TextPiece, TextWithdrawn

ATTEMPT_SHARE = 0.6
"""Share of the time left that an engine may take while there is another one to turn to."""
FRESH_SECONDS = 300.0
"""Answers to questions that ask for recent information are given again for five minutes at most."""
NOBODY = Phrase(
    "No paper is indexed yet, and no other engine can be asked. Put papers into the papers folder and run `cmo index`."
)
BROKEN_OFF = Phrase("The answer under way was broken off; it is asked for anew.")
NO_TIME = Phrase("Understanding the question took so long that there was no time left to ask anybody.")
TO_DO = Phrase("If it happens again, `cmo doctor` says what is wrong.")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An engine that could not answer; `words` tell a person why. It is not `blamed` where money was missing."""

    engine: str
    words: str
    blamed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What came of asking: the engine that answered, its draft, and those that failed before it.

    `cached_seconds` is the draft's age when it was made for an earlier question, else None.
    """

    engine: str
    draft: Draft
    failures: tuple[Failure, ...] = ()
    cached_seconds: float | None = None


class Gateway(Protocol):
    """Asks one engine."""

    def ask(self, name: str, request: EngineRequest, bill: Bill) -> AsyncIterator[EngineEvent]:
        """The engine's events, the Draft last.

        Raises:
            EngineUnavailable: it is resting, too expensive, or failed.
        """


class KeptDraft(Protocol):
    """A draft of an earlier question."""

    @property
    def draft(self) -> Draft:
        """The draft."""

    @property
    def age_seconds(self) -> float:
        """How long ago it was made."""


class Cache(Protocol):
    """Drafts of earlier questions. It never fails: what cannot be looked up is not there."""

    async def get(self, key: str) -> KeptDraft | None:
        """One young enough to be given again."""

    async def get_stale(self, key: str) -> KeptDraft | None:
        """One of whatever age."""

    async def put(self, key: str, draft: Draft, *, seconds: float | None = None) -> None:
        """Keep a draft; `seconds` shortens how long it is young enough."""


class Asking:
    """Asks engines until one answers. Shared by all questions of a process."""

    def __init__(
        self,
        *,
        gateway: Gateway,
        cache: Cache,
        key_of: Callable[[str, EngineRequest], Awaitable[str]],
        toggles: Toggles,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """`key_of` names everything an engine's answer depends on; `timer` gives seconds since whenever."""
        self._gateway = gateway
        self._cache = cache
        self._key_of = key_of
        self._toggles = toggles
        self._timer = timer
        self._flights: SingleFlight[EngineEvent] = SingleFlight(
            withdrawal=TextWithdrawn(reason=BROKEN_OFF), concerns_all=_concerns_all
        )

    async def ask(self, decision: Decision, request: EngineRequest, bill: Bill) -> AsyncIterator[EngineEvent | Asked]:
        """The events of the engine under way; the last one is Asked.

        Text of an engine that fails half-way is withdrawn before the next one begins.

        Raises:
            EngineUnavailable: none of them could answer; the message says what failed and what to do.
        """
        attempts = _Attempts(decision, request, self._timer)
        while (attempt := attempts.next()) is not None:
            try:
                async with aclosing(cast("Any", self._attempt(attempt, bill))) as events:
                    async for event in events:
                        attempts.saw(event)
                        if isinstance(event, Asked):
                            yield dataclasses.replace(event, failures=attempts.failures)
                            return
                        yield event
            except OracleError as error:
                _log.warning("engine_failed", extra=fields(engine=attempt.engine, error=type(error).__name__))
                for event in attempts.failed(error):
                    yield event
        kept = await self._older(attempts.asked)
        if kept is None:
            raise EngineUnavailable(_nobody(decision, attempts.failures))
        yield TextPiece(text=kept.draft.text)
        yield dataclasses.replace(kept, failures=attempts.failures)

    async def _attempt(self, attempt: _Attempt, bill: Bill) -> AsyncIterator[EngineEvent | Asked]:
        key = await self._key_of(attempt.engine, attempt.request)
        kept = await self._cache.get(key) if self._keeps(attempt.request) else None
        if kept is not None:
            yield TextPiece(text=kept.draft.text)
            yield _kept(attempt.engine, kept)
            return
        async with aclosing(cast("Any", self._flights.run(key, lambda: self._make(key, attempt, bill)))) as events:
            async for event in events:
                if isinstance(event, Draft):
                    yield Asked(engine=attempt.engine, draft=event)
                else:
                    yield event

    async def _make(self, key: str, attempt: _Attempt, bill: Bill) -> AsyncIterator[EngineEvent]:
        async with aclosing(cast("Any", self._gateway.ask(attempt.engine, attempt.request, bill))) as events:
            async for event in events:
                if isinstance(event, Draft) and not event.degraded and self._keeps(attempt.request):
                    await self._cache.put(key, event, seconds=FRESH_SECONDS if attempt.request.fresh else None)
                yield event

    def _keeps(self, request: EngineRequest) -> bool:
        """Whether this person's answers are kept and given again."""
        return self._toggles.is_on(Feature.RESPONSE_CACHING, request.question)

    async def _older(self, attempts: Sequence[_Attempt]) -> Asked | None:
        """An answer given before, however old, when nobody can give a new one."""
        for attempt in attempts:
            if not self._keeps(attempt.request):
                continue
            kept = await self._cache.get_stale(await self._key_of(attempt.engine, attempt.request))
            if kept is not None:
                asked = _kept(attempt.engine, kept)
                age = _age(asked.cached_seconds or 0)
                note = Phrase("Nobody could be asked just now, so this is an earlier answer. Its age: {age}.", age=age)
                return dataclasses.replace(
                    asked, draft=dataclasses.replace(asked.draft, notices=(*asked.draft.notices, note))
                )
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """One engine about to be asked."""

    engine: str
    request: EngineRequest


class _Attempts:
    """Which engine comes next, how much time it has, and what became of those before it."""

    def __init__(self, decision: Decision, request: EngineRequest, timer: Callable[[], float]) -> None:
        self._request = request
        self._timer = timer
        self._deadline = timer() + request.seconds
        self._waiting = [(name, decision.free) for name in (decision.engine, *decision.fallbacks) if name]
        self._showed_text = False
        self.asked: list[_Attempt] = []
        self.failures: tuple[Failure, ...] = ()

    def next(self) -> _Attempt | None:
        left = self._deadline - self._timer()
        if not self._waiting or left <= 0:
            return None
        name, free = self._waiting.pop(0)
        seconds = left * ATTEMPT_SHARE if self._waiting else left
        attempt = _Attempt(engine=name, request=dataclasses.replace(self._request, seconds=seconds, free=free))
        self.asked.append(attempt)
        return attempt

    def saw(self, event: EngineEvent | Asked) -> None:
        if isinstance(event, TextPiece):
            self._showed_text = True
        elif isinstance(event, TextWithdrawn):
            self._showed_text = False

    def failed(self, error: OracleError) -> list[EngineEvent]:
        """What the person should see of it. An engine over budget is asked once more for what it has for free."""
        last = self.asked[-1]
        if isinstance(error, BudgetExhausted) and not last.request.free:
            self._waiting.insert(0, (last.engine, True))
        blamed = not isinstance(error, BudgetExhausted)
        failure = Failure(engine=last.engine, words=_words(last.engine, error), blamed=blamed)
        if failure.words not in {known.words for known in self.failures}:
            self.failures = (*self.failures, failure)
        events: list[EngineEvent] = [Progress(text=failure.words)]
        if self._showed_text:
            self._showed_text = False
            events.insert(0, TextWithdrawn(reason=failure.words))
        return events


def _kept(engine: str, kept: KeptDraft) -> Asked:
    return Asked(engine=engine, draft=kept.draft, cached_seconds=kept.age_seconds)


def _concerns_all(error: BaseException) -> bool:
    """An engine that is down is down for everybody; a spent budget may be one person's own."""
    return isinstance(error, OracleError) and not isinstance(error, BudgetExhausted)


def _words(engine: str, error: OracleError) -> str:
    if isinstance(error, BudgetExhausted):
        return error.words
    return Phrase("{engine}: {error}", engine=titled(engine), error=error.words)


def _nobody(decision: Decision, failures: Sequence[Failure]) -> str:
    """Why nobody answered, and what to do."""
    if failures:
        return joined([*(failure.words for failure in failures), TO_DO])
    if decision.engine is not None:
        return joined((NO_TIME, TO_DO))
    return NOBODY if decision.reason == Reason.NO_ENGINE else decision.checks[-1].words


def _age(seconds: float) -> str:
    if seconds >= 86_400:
        return Phrase("{n:.0f} d", n=seconds / 86_400)
    if seconds >= 3_600:
        return Phrase("{n:.0f} h", n=seconds / 3_600)
    if seconds >= 60:
        return Phrase("{n:.0f} min", n=seconds / 60)
    return Phrase("{n:.0f} s", n=seconds)
