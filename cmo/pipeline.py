"""One question's journey, top to bottom: understand, decide, ask, cite, record, show.

The pipeline knows the plugs of interfaces.py and never what is plugged in. It refuses to know about screens: it
yields events, and whoever shows them decides how.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from cmo.dispatch.asking import Asked
from cmo.dispatch.bill import Bill
from cmo.errors import EngineUnavailable, OracleError, QuestionTooLong, StorageUnavailable
from cmo.interfaces import LanguageDetector, Ledger, QuestionClassifier, QuestionRewriter, QuestionTranslator
from cmo.logs import fields
from cmo.values import (
    Answer,
    Decision,
    EngineEvent,
    EngineRequest,
    Event,
    Finished,
    Question,
    QuestionKind,
    QuestionType,
    Stage,
    StageEnded,
    StageStarted,
)

LONGEST_QUESTION = 2_000
"""Characters of a question at most: more is a pasted text, which the search cannot do justice to."""
ENGLISH = "en"
IN_ENGLISH = "The papers were searched by English words for your question, and are quoted in English."

UNKNOWN_KIND = QuestionKind(type=QuestionType.OTHER, freshness=0.0)

_log = logging.getLogger(__name__)


class Router(Protocol):
    """Decides which engine is asked."""

    async def decide(self, request: EngineRequest, kind: QuestionKind) -> Decision:
        """Which engine is asked, and why."""


class Asking(Protocol):
    """Asks the engines a decision names, in their order."""

    def ask(self, decision: Decision, request: EngineRequest, bill: Bill) -> AsyncIterator[EngineEvent | Asked]:
        """The events of the engine under way; the last one is Asked.

        Raises:
            EngineUnavailable: none of them could answer; the message says what failed and what to do.
        """


@dataclass(slots=True)
class _Journey:
    """What is known of one question so far. `decision` and `answer` come with their stages."""

    question: Question
    started: float
    bill: Bill = field(default_factory=Bill)
    decision: Decision | None = None
    answer: Answer | None = None

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started


class QuestionPipeline:
    """Takes a question through its stages. Built once; asked concurrently."""

    def __init__(
        self,
        *,
        detector: LanguageDetector,
        rewriter: QuestionRewriter,
        translator: QuestionTranslator,
        classifier: QuestionClassifier,
        router: Router,
        asking: Asking,
        ledger: Ledger,
        mode: str,
        timeout_seconds: float,
    ) -> None:
        self._detector = detector
        self._rewriter = rewriter
        self._translator = translator
        self._classifier = classifier
        self._router = router
        self._asking = asking
        self._ledger = ledger
        self._mode = mode
        self._timeout_seconds = timeout_seconds

    async def ask(self, question: Question) -> AsyncIterator[Event]:
        """Events of the journey; the last one is Finished.

        A journey that is closed or cancelled before its end is booked as "stopped", one that fails as "failed", each
        with what it has cost.

        Raises:
            EngineUnavailable: nobody could answer within `timeout_seconds`; the message says why and what to do.
            QuestionTooLong: it has more than LONGEST_QUESTION characters; nothing is booked.
        """
        refuse_too_long(question.text)
        journey = _Journey(question, time.perf_counter())
        outcome = "failed"
        try:
            async with aclosing(cast("Any", self._stages(journey))) as stages:
                async for event in stages:
                    yield event
            assert journey.answer is not None
            outcome = "answered" if journey.answer.answered else "refused"
            yield StageStarted(stage=Stage.RECORD)
        except (asyncio.CancelledError, GeneratorExit):
            outcome = outcome if journey.answer else "stopped"
            raise
        finally:
            recording = time.perf_counter()
            await asyncio.shield(self._record(journey, outcome))
        yield _ended(Stage.RECORD, recording, outcome)
        yield Finished(answer=journey.answer)

    async def decide(self, question: Question) -> Decision:
        """How the question would be routed now; nothing is asked and nothing booked."""
        refuse_too_long(question.text)
        request, kind = await self._understand(question, Bill())
        return await self._router.decide(request, kind)

    async def _stages(self, journey: _Journey) -> AsyncIterator[Event]:
        yield StageStarted(stage=Stage.UNDERSTAND)
        request, kind = await self._understand(journey.question, journey.bill)
        journey.question = request.question
        yield _ended(Stage.UNDERSTAND, journey.started, _understood(request, kind))

        yield StageStarted(stage=Stage.DECIDE)
        deciding = time.perf_counter()
        decision = journey.decision = await self._router.decide(request, kind)
        yield _ended(Stage.DECIDE, deciding, decision.checks[-1].words)

        yield StageStarted(stage=Stage.ASK)
        asking = time.perf_counter()
        asked: Asked | None = None
        request = dataclasses.replace(request, seconds=self._timeout_seconds - journey.seconds, free=decision.free)
        async with aclosing(cast("Any", self._asking.ask(decision, request, journey.bill))) as events:
            async for event in events:
                match event:
                    case Asked():
                        asked = event
                    case _:
                        yield event
        if asked is None:
            raise EngineUnavailable("The question ended without an answer. Run `cmo doctor` to see what is wrong.")
        yield _ended(Stage.ASK, asking, _told(asked))

        yield StageStarted(stage=Stage.CITE)
        yield _ended(Stage.CITE, time.perf_counter(), _cited(asked))
        journey.answer = _answer(journey, decision, asked)

    async def _understand(self, question: Question, bill: Bill) -> tuple[EngineRequest, QuestionKind]:
        language = self._detector.detect(question.text)
        question = dataclasses.replace(question, language=language)
        question = dataclasses.replace(question, standalone=await self._rewriter.standalone(question, bill.book))
        searched = await asyncio.to_thread(self._translator.to_english, question.standalone, language)
        kind = await self._kind(searched)
        request = EngineRequest(
            question=question,
            search_text=searched,
            seconds=self._timeout_seconds,
            mode=self._mode,
            fresh=kind.needs_fresh,
        )
        return request, kind

    async def _kind(self, searched: str) -> QuestionKind:
        try:
            return await self._classifier.classify(searched)
        except OracleError:
            _log.exception("classifier_failed")
            return UNKNOWN_KIND

    async def _record(self, journey: _Journey, outcome: str) -> None:
        """Book the question. A ledger that cannot be written costs nobody their answer, but somebody should look."""
        answer, bill, decision = journey.answer, journey.bill, journey.decision
        seconds = journey.seconds
        _log.info(
            "question_done",
            extra=fields(
                outcome=outcome,
                engine=answer.engine if answer else "",
                reason=decision.reason if decision else "",
                seconds=round(seconds, 3),
                cost_usd=round(bill.cost_usd, 6),
            ),
        )
        try:
            await self._ledger.record(journey.question, answer, outcome=outcome, seconds=seconds, calls=bill.calls)
        except StorageUnavailable:
            _log.exception("ledger_record_failed", extra=fields(outcome=outcome))


def refuse_too_long(text: str) -> None:
    """Let a question pass that can be searched for.

    Raises:
        QuestionTooLong: it has more than LONGEST_QUESTION characters.
    """
    if len(text) > LONGEST_QUESTION:
        raise QuestionTooLong(f"The question has {len(text):,} characters; please ask in at most {LONGEST_QUESTION:,}.")


def _answer(journey: _Journey, decision: Decision, asked: Asked) -> Answer:
    draft, bill = asked.draft, journey.bill
    return Answer(
        text=draft.text,
        answered=draft.answered,
        language=journey.question.language,
        engine=asked.engine,
        model=draft.model,
        reason=decision.reason,
        citations=draft.citations,
        cost_usd=bill.cost_usd,
        seconds=journey.seconds,
        generation=draft.generation,
        notice=_notice(journey.question, asked),
        written=draft.written,
        mode=draft.mode,
        tokens_in=bill.tokens_in,
        tokens_out=bill.tokens_out,
        dropped_markers=draft.dropped_markers,
        cached_seconds=asked.cached_seconds,
        decision=decision,
    )


def _notice(question: Question, asked: Asked) -> str | None:
    notes = [*(failure.words for failure in asked.failures), *asked.draft.notices]
    if question.language != ENGLISH and not asked.draft.written:
        notes.append(IN_ENGLISH)
    return " ".join(notes) or None


def _ended(stage: Stage, since: float, summary: str) -> StageEnded:
    return StageEnded(stage=stage, summary=summary, seconds=time.perf_counter() - since)


def _understood(request: EngineRequest, kind: QuestionKind) -> str:
    fresh = " Asks for recent information." if kind.needs_fresh else ""
    return f"Language: {request.question.language}. Searching for “{request.search_text}”.{fresh}"


def _told(asked: Asked) -> str:
    kept = f", answered {asked.cached_seconds:.0f} s ago" if asked.cached_seconds is not None else ""
    return f"{asked.engine} ({asked.draft.model}){kept}."


def _cited(asked: Asked) -> str:
    dropped = asked.draft.dropped_markers
    more = f"; {dropped} marker(s) named no source and were dropped" if dropped else ""
    return f"{len(asked.draft.citations)} source(s) cited{more}."
