"""The other engine answers in the background, after the person has their answer; nobody ever sees what it says.

It is asked past the breakers, the budgets, the kept answers and the shared calls that people's questions go through, so
that nothing it does or fails to do can change what people get. What comes of it is held beside their answer and stored
as figures. How much may be spent on it is kept by its store; what the figures say is told in policy/shadow.py.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Protocol, TypeAlias, TypeVar, cast

from cmo.citations import ANY_MARKER
from cmo.dispatch.bill import Bill
from cmo.dispatch.flags import asker_of
from cmo.dispatch.paid import CallLedger
from cmo.errors import EngineUnavailable, OracleError
from cmo.interfaces import Assessor, Clock, Engine
from cmo.logs import fields
from cmo.models.wording import content_words
from cmo.policy.flags import FlagContext, FlagValue
from cmo.policy.overlap import overlap
from cmo.policy.shadow import SHADOW_MODE, Given, Outcome, Shadowed
from cmo.values import Draft, EngineRequest, Quality

SHADOW: Final = "shadow"
"""Who pays for shadows, in the ledger."""

WAITING: Final = 8
"""Questions that wait for their shadow at most; when there are more, the oldest is dropped."""

WORKERS: Final = 1
"""Shadows at work at once: a machine that people wait for has better things to do."""

CLOSE_SECONDS: Final = 1.0
"""How long closing may take at most."""

GRACE_SECONDS: Final = 0.5
"""How long an engine may take to end when it is told to; one that goes on is left behind."""

T = TypeVar("T")

_Answer: TypeAlias = tuple[Draft, float | None]
"""An engine's answer and how much of it is in the words of another one, None unless both are answers."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """A question that was asked and answered, for asking another engine the same.

    `draft` is what `engine` answered to `request`, made for this question and not kept from an earlier one. Cost and
    seconds are those of the question as a whole. `others` are the engines that may be asked, in order of preference.
    """

    request: EngineRequest
    engine: str
    draft: Draft
    quality: Quality | None
    cost_usd: float
    seconds: float
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """How shadows are scored: by whom, within how many seconds, and what that may cost at most for one of them."""

    assessor: Assessor
    seconds: float
    ceiling_usd: float


class Flags(Protocol):
    """Tells what a flag is worth for a person."""

    def evaluate(self, name: str, context: FlagContext) -> FlagValue:
        """Whether it is on. Reads memory only."""


class ShadowStore(Protocol):
    """Keeps what shadows did, and their budget."""

    async def begin(self, given: Given, shadow: str, *, ceiling_usd: float, at: datetime) -> int | None:
        """Set aside what a shadow may cost; its number, or None when so much is not left and it must not be asked.

        Raises:
            StorageUnavailable: nobody can tell.
        """

    async def end(self, number: int, shadowed: Shadowed) -> None:
        """Write down what came of it, and give back what it did not cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    """A question whose shadow is still to be asked."""

    offered: Offered
    shadow: str


class Shadow:
    """Asks in the shadow. Built once per process, opened and closed; offered questions from one event loop."""

    def __init__(
        self,
        *,
        flags: Flags,
        engines: Sequence[Engine],
        stopped: Callable[[], frozenset[str]],
        store: ShadowStore,
        ledger: CallLedger,
        scoring: Scoring,
        seconds: float,
        clock: Clock,
    ) -> None:
        """`stopped` tells which engines must not be asked; `seconds` is the time an engine has for one answer."""
        self._flags = flags
        self._engines = {engine.name: engine for engine in engines}
        self._stopped = stopped
        self._store = store
        self._ledger = ledger
        self._scoring = scoring
        self._seconds = seconds
        self._clock = clock
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue(WAITING)
        self._dropped = 0
        self._workers: tuple[asyncio.Task[None], ...] = ()
        self._under_way: set[asyncio.Task[Any]] = set()

    @property
    def dropped(self) -> int:
        """How many questions had to make room for later ones since the start."""
        return self._dropped

    async def open(self) -> None:
        """Begins to ask for what is offered from here on."""
        self._workers = tuple(asyncio.create_task(self._work()) for _ in range(WORKERS))

    async def close(self) -> None:
        """Asks nobody any more and ends what is under way; what cannot be ended within CLOSE_SECONDS is left behind."""
        workers, self._workers = self._workers, ()
        for worker in workers:
            worker.cancel()
        if workers:
            _, left = await asyncio.wait(workers, timeout=CLOSE_SECONDS)
            if left:
                _log.warning("shadow_left_behind")

    def offer(self, offered: Offered) -> None:
        """Ask another engine the same, some time, for a sample of questions. Returns at once, and never fails."""
        try:
            self._offer(offered)
        except Exception:  # the person has their answer, and a mistake in here must not take it away
            _log.exception("shadow_offer_failed")

    def _offer(self, offered: Offered) -> None:
        if offered.request.free or not self._is_sampled(offered):
            return
        shadow = self._whom(offered)
        if shadow is None:
            return
        if self._waiting.full():
            self._waiting.get_nowait()
            self._dropped += 1
            _log.info("shadow_dropped", extra=fields(dropped=self._dropped))
        self._waiting.put_nowait(_Waiting(offered=offered, shadow=shadow))

    def _is_sampled(self, offered: Offered) -> bool:
        return self._flags.evaluate(SHADOW_MODE, asker_of(offered.request.question)).value

    def _whom(self, offered: Offered) -> str | None:
        stopped = self._stopped()
        allowed = (name for name in offered.others if name != offered.engine and name in self._engines)
        return next((name for name in allowed if name not in stopped), None)

    async def _work(self) -> None:
        while self._workers:  # an error on the way out can take the place of the cancellation
            waiting = await self._waiting.get()
            try:
                await self._follow(waiting.offered, waiting.shadow)
            except Exception:  # neither a mistake nor a database that is away for a while may end the shadows
                _log.exception("shadow_failed")

    async def _follow(self, offered: Offered, shadow: str) -> None:
        """Ask one shadow, unless it was stopped or is too dear by now, and store what comes of it."""
        if shadow in self._stopped():
            return
        engine, request = self._engines[shadow], replace(offered.request, seconds=self._seconds)
        ceiling, at = _ceiling_usd(engine, request), self._clock.now()
        most = 0.0 if ceiling is None else ceiling + self._scoring.ceiling_usd
        number = await self._begin(_given(offered), shadow, ceiling_usd=most, at=at)
        if number is None:
            return
        if ceiling is None:
            await self._store.end(number, Shadowed(outcome=Outcome.FAILED))
            return
        bill, started, shadowed = Bill(), time.perf_counter(), Shadowed(outcome=Outcome.UNFINISHED)
        asking = self._start(_asked(engine, request, offered.draft, bill))
        try:
            shadowed = await self._shadowed(asking, engine, request, offered, bill)
        finally:
            seconds = time.perf_counter() - started
            cost = bill.cost_usd if asking.done() else most
            await self._store.end(number, replace(shadowed, cost_usd=cost, seconds=seconds))
            if bill.calls:
                await self._ledger.record_calls(bill.calls, user_id=SHADOW, at=at)
        _log.info("shadow_done", extra=fields(engine=offered.engine, shadow=shadow, outcome=shadowed.outcome.value))

    async def _begin(self, given: Given, shadow: str, *, ceiling_usd: float, at: datetime) -> int | None:
        """As the store's; what was set aside for a shadow that nobody waits for any more is given back."""
        beginning = self._start(self._store.begin(given, shadow, ceiling_usd=ceiling_usd, at=at))
        try:
            return await asyncio.shield(beginning)
        except asyncio.CancelledError:
            number = await beginning
            if number is not None:
                await self._store.end(number, Shadowed(outcome=Outcome.UNFINISHED))
            raise

    async def _shadowed(
        self, asking: asyncio.Task[_Answer], engine: Engine, request: EngineRequest, offered: Offered, bill: Bill
    ) -> Shadowed:
        """What an engine answers, held beside the answer that was given. Whatever it does, it is an outcome."""
        if await self._is_late(asking):
            return Shadowed(outcome=Outcome.LATE)
        if asking.cancelled() or (error := asking.exception()) is not None:
            _tell(engine, None if asking.cancelled() else error)
            return Shadowed(outcome=Outcome.FAILED)
        draft, alike = asking.result()
        if not draft.answered:
            return Shadowed(outcome=Outcome.REFUSED)
        quality = await self._quality(request, offered, draft, bill)
        return Shadowed(outcome=Outcome.ANSWERED, quality=quality, overlap=alike)

    async def _is_late(self, asking: asyncio.Task[_Answer]) -> bool:
        """Wait for an engine as long as it may take; whether that was not enough, and it was told to end."""
        try:
            await asyncio.wait((asking,), timeout=self._seconds)
            return not asking.done()
        finally:
            asking.cancel()
            await asyncio.wait((asking,), timeout=GRACE_SECONDS)

    async def _quality(self, request: EngineRequest, offered: Offered, draft: Draft, bill: Bill) -> float | None:
        """The composite of a shadow's answer, where the answer that was given has one or could have none."""
        if offered.quality is None and offered.draft.answered:
            return None
        scoring = self._scoring
        try:
            async with asyncio.timeout(scoring.seconds):
                quality = await scoring.assessor.assess(request.question, request.search_text, draft, bill.book)
        except (TimeoutError, OracleError) as error:
            _log.info("shadow_not_assessed", extra=fields(error=type(error).__name__))
            return None
        except Exception:  # an answer that cannot be scored is still one
            _log.exception("shadow_assessment_failed")
            return None
        return quality.composite

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Work that is referred to until it ends, also when nobody waits for it any more."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task


async def _asked(engine: Engine, request: EngineRequest, given: Draft, bill: Bill) -> _Answer:
    """An engine's answer, held beside the words of the one that was given.

    Raises:
        EngineUnavailable: it gave none.
    """
    last: object = None
    async with aclosing(cast("Any", engine.ask(request, bill.book))) as events:
        async for event in events:
            last = event
            await asyncio.sleep(0)  # also an engine that never waits for anything lets people's questions through
    if not isinstance(last, Draft):
        raise EngineUnavailable("It ended without an answer.")
    return last, overlap(_words(given), _words(last)) if given.answered and last.answered else None


def _words(draft: Draft) -> frozenset[str]:
    return frozenset(word.stem for word in content_words(ANY_MARKER.sub("", draft.text)))


def _given(offered: Offered) -> Given:
    return Given(
        question_id=offered.request.question.id,
        engine=offered.engine,
        answered=offered.draft.answered,
        quality=offered.quality.composite if offered.quality else None,
        cost_usd=offered.cost_usd,
        seconds=offered.seconds,
    )


def _ceiling_usd(engine: Engine, request: EngineRequest) -> float | None:
    """The most that a request can cost; None when the engine cannot even tell."""
    try:
        return engine.ceiling_usd(request)
    except Exception as error:
        _tell(engine, error)
        return None


def _tell(engine: Engine, error: BaseException | None) -> None:
    """Note a failure: one that engines may have, or a bug, with where it is. None is one that cancelled itself."""
    if error is None or isinstance(error, OracleError):
        _log.info("shadow_engine_failed", extra=fields(engine=engine.name, error=type(error).__name__))
    else:
        _log.error("shadow_engine_failed", exc_info=error, extra=fields(engine=engine.name, error=type(error).__name__))
