"""One question's journey, top to bottom: understand, decide, ask, cite, assess, ask again, translate, record, show.

The pipeline knows the plugs of interfaces.py and never what is plugged in. It refuses to know about screens: it
yields events, and whoever shows them decides how.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast

from cmo.citations import without_markers
from cmo.dispatch import telling
from cmo.dispatch.asking import Asked
from cmo.dispatch.bill import Bill
from cmo.dispatch.shadow import Offered
from cmo.errors import EngineUnavailable, OracleError, QuestionTooLong, StorageUnavailable
from cmo.interfaces import (
    AnswerTranslator,
    Assessor,
    CompoundFinder,
    ExposureLog,
    LanguageDetector,
    Ledger,
    QuestionClassifier,
    QuestionRewriter,
    QuestionTranslator,
    Toggles,
)
from cmo.logs import fields
from cmo.phrases import Phrase
from cmo.policy.second_opinion import is_better, is_poor, whom_to_ask
from cmo.quality.drafts import confidences
from cmo.values import (
    Answer,
    Citation,
    Decision,
    Draft,
    EngineEvent,
    EngineRequest,
    Event,
    Exposure,
    Feature,
    Finished,
    Measured,
    NamedCompound,
    Quality,
    Question,
    QuestionKind,
    QuestionType,
    Stage,
    StageEnded,
    StageStarted,
    TextPiece,
    TextWithdrawn,
    Translated,
    Tuning,
)

LONGEST_QUESTION = 2_000
"""Characters of a question at most: more is a pasted text, which the search cannot do justice to."""
ENGLISH = "en"
EXPOSURE_SECONDS = 1.0
"""How long a person waits until it is written down where a flag leads them. It takes a millisecond, as a rule."""

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


class Scores(Protocol):
    """Remembers how good the engines' recent answers were."""

    def score(self, name: str, composite: float | None) -> None:
        """Take down one answer's quality, 0 to 1; None for one that could not be scored."""


class Shadow(Protocol):
    """Asks other engines the same in the background."""

    def offer(self, offered: Offered) -> None:
        """Take note of a question that was answered. Returns at once, and never fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checking:
    """How answers are checked: by whom and how long, who remembers their quality, and which are poor.

    `second_opinion_below` is the composite, 0 to 1, under which another engine is asked; 0 for never.
    """

    assessor: Assessor
    seconds: float
    scores: Scores
    second_opinion_below: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """An engine's answer with what is known of its quality, `not_assessed` when that is nothing."""

    asked: Asked
    quality: Quality | None = None
    not_assessed: str = ""


@dataclass(slots=True)
class _Journey:
    """What is known of one question so far. What is None comes with its stage."""

    question: Question
    timer: Callable[[], float]
    started: float
    bill: Bill = field(default_factory=Bill)
    request: EngineRequest | None = None
    decision: Decision | None = None
    exposure: Exposure | None = None
    first: _Candidate | None = None
    candidate: _Candidate | None = None
    second_opinion: str = ""
    notes: list[str] = field(default_factory=list)
    translated: Translated | None = None
    answer: Answer | None = None

    @property
    def seconds(self) -> float:
        return self.timer() - self.started

    def begun(self, stage: Stage) -> StageStarted:
        return StageStarted(stage=stage, language=self.question.language)

    def ended(self, stage: Stage, since: float, summary: str) -> StageEnded:
        return StageEnded(stage=stage, summary=summary, seconds=self.timer() - since)


class QuestionPipeline:
    """Takes a question through its stages. Built once; asked concurrently."""

    def __init__(
        self,
        *,
        detector: LanguageDetector,
        rewriter: QuestionRewriter,
        question_translator: QuestionTranslator,
        classifier: QuestionClassifier,
        router: Router,
        asking: Asking,
        checking: Checking,
        compounds: CompoundFinder,
        answer_translator: AnswerTranslator | None,
        translation_seconds: float,
        toggles: Toggles,
        ledger: Ledger,
        exposures: ExposureLog,
        shadow: Shadow,
        mode: str,
        timeout_seconds: float,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Without an `answer_translator` answers are in English. `timer` gives seconds since whenever."""
        self._detector = detector
        self._rewriter = rewriter
        self._question_translator = question_translator
        self._classifier = classifier
        self._router = router
        self._asking = asking
        self._checking = checking
        self._compounds = compounds
        self._answer_translator = answer_translator
        self._translation_seconds = translation_seconds
        self._toggles = toggles
        self._ledger = ledger
        self._exposures = exposures
        self._shadow = shadow
        self._writing: set[asyncio.Task[None]] = set()
        self._mode = mode
        self._timeout_seconds = timeout_seconds
        self._timer = timer

    async def ask(self, question: Question) -> AsyncIterator[Event]:
        """Events of the journey; the last one is Finished.

        A journey that is closed or cancelled before its end is booked as "stopped", one that fails as "failed", each
        with what it has cost.

        Raises:
            EngineUnavailable: nobody could answer within `timeout_seconds`; the message says why and what to do.
            QuestionTooLong: it has more than LONGEST_QUESTION characters; nothing is booked.
        """
        refuse_too_long(question.text)
        journey = _Journey(question, self._timer, self._timer())
        outcome = "failed"
        try:
            async with aclosing(cast("Any", self._stages(journey))) as stages:
                async for event in stages:
                    yield event
            assert journey.answer is not None
            outcome = "answered" if journey.answer.answered else "refused"
            yield journey.begun(Stage.RECORD)
        except (asyncio.CancelledError, GeneratorExit):
            outcome = outcome if journey.answer else "stopped"
            raise
        finally:
            recording = self._timer()
            await asyncio.shield(self._record(journey, outcome))
        self._offer(journey)
        yield journey.ended(Stage.RECORD, recording, Phrase("Recorded."))
        yield Finished(answer=journey.answer)

    def _offer(self, journey: _Journey) -> None:
        """Let another engine answer in the shadow what one engine alone has answered, made for this question."""
        first, request, decision = journey.first, journey.request, journey.decision
        if first is None or request is None or decision is None:
            return
        if first.asked.cached_seconds is not None or first.asked.failures or journey.second_opinion:
            return
        if journey.question.choice or not self._is_on(Feature.ANALYTICS_COLLECTION, journey):
            return  # whoever chose an engine did not choose the other one
        offered = Offered(
            request=replace(request, mode=self._mode, tuning=Tuning(), free=decision.free),
            engine=first.asked.engine,
            draft=first.asked.draft,
            quality=first.quality,
            cost_usd=journey.bill.cost_usd,
            seconds=journey.seconds,
            others=decision.fallbacks,
        )
        self._shadow.offer(offered)

    async def decide(self, question: Question) -> Decision:
        """How the question would be routed now; nothing is asked and nothing booked."""
        refuse_too_long(question.text)
        question = replace(question, language=self._detector.detect(question.text))
        request, kind = await self._understand(question, Bill())
        return await self._router.decide(request, kind)

    async def _stages(self, journey: _Journey) -> AsyncIterator[Event]:
        journey.question = replace(journey.question, language=self._detector.detect(journey.question.text))
        yield journey.begun(Stage.UNDERSTAND)
        request, kind = await self._understand(journey.question, journey.bill)
        journey.question = request.question
        yield journey.ended(Stage.UNDERSTAND, journey.started, telling.understood(request))

        yield journey.begun(Stage.DECIDE)
        deciding = self._timer()
        decision = journey.decision = await self._router.decide(request, kind)
        journey.exposure = decision.exposure if self._is_on(Feature.ANALYTICS_COLLECTION, journey) else None
        await self._expose(journey)
        request = journey.request = _tuned(request, decision)
        yield journey.ended(Stage.DECIDE, deciding, decision.checks[-1].words)

        yield journey.begun(Stage.ASK)
        asking = self._timer()
        asked: Asked | None = None
        async with aclosing(cast("Any", self._ask(journey, request, decision))) as events:
            async for event in events:
                match event:
                    case Asked():
                        asked = event
                    case _:
                        yield event
        if asked is None:
            raise EngineUnavailable(
                Phrase("The question ended without an answer. Run `cmo doctor` to see what is wrong.")
            )
        yield journey.ended(Stage.ASK, asking, telling.told(asked))

        yield journey.begun(Stage.CITE)
        if not self._is_on(Feature.CITATION_PROCESSING, journey):
            asked = _uncited(asked)
            yield TextWithdrawn(reason=telling.NOT_CITED)
            yield TextPiece(text=asked.draft.text)
        yield journey.ended(Stage.CITE, self._timer(), telling.cited(asked))

        yield journey.begun(Stage.ASSESS)
        assessing = self._timer()
        candidate = journey.first = journey.candidate = await self._assess(journey, request, asked)
        yield journey.ended(Stage.ASSESS, assessing, telling.assessed(candidate.quality, candidate.not_assessed))

        if other := self._second_engine(journey, decision, candidate):
            yield journey.begun(Stage.SECOND_OPINION)
            async with aclosing(cast("Any", self._second_opinion(journey, request, candidate, other))) as events:
                async for event in events:
                    yield event

        if journey.question.language != ENGLISH:
            yield journey.begun(Stage.TRANSLATE)
            translating = self._timer()
            note = await self._translate(journey, journey.candidate.asked)
            yield journey.ended(Stage.TRANSLATE, translating, telling.translated(journey.translated, note))

        journey.answer = await self._answer(journey, decision, journey.candidate)

    async def _understand(self, question: Question, bill: Bill) -> tuple[EngineRequest, QuestionKind]:
        question = replace(question, standalone=await self._rewriter.standalone(question, bill.book))
        searched = await self._question_translator.to_english(question, question.standalone, bill.book)
        kind = await self._kind(searched)
        request = EngineRequest(
            question=question,
            search_text=searched,
            seconds=self._timeout_seconds,
            mode=self._mode,
            fresh=kind.needs_fresh,
        )
        return request, kind

    async def _expose(self, journey: _Journey) -> None:
        """Write down where a flag led the question, before anybody can lose it.

        A database that is busy for longer than EXPOSURE_SECONDS writes it while the engine is at work.
        """
        if journey.exposure is None:
            return
        writing = asyncio.create_task(self._written(journey.question, journey.exposure))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        await asyncio.wait({writing}, timeout=EXPOSURE_SECONDS)

    async def _written(self, question: Question, exposure: Exposure) -> None:
        try:
            await self._exposures.expose(question, exposure)
        except StorageUnavailable:
            _log.exception("exposure_failed", extra=fields(flag=exposure.flag))

    def _is_on(self, feature: Feature, journey: _Journey) -> bool:
        return self._toggles.is_on(feature, journey.question)

    def _ask(self, journey: _Journey, request: EngineRequest, decision: Decision) -> AsyncIterator[EngineEvent | Asked]:
        left = self._timeout_seconds - journey.seconds
        return self._asking.ask(decision, replace(request, seconds=left, free=decision.free), journey.bill)

    async def _assess(self, journey: _Journey, request: EngineRequest, asked: Asked) -> _Candidate:
        """An engine's answer with its quality. Whatever goes wrong here costs nobody the answer."""
        candidate = await self._assessed(journey, request, asked)
        if asked.cached_seconds is None:
            composite = candidate.quality.composite if candidate.quality else None
            self._checking.scores.score(asked.engine, composite)
        return candidate

    async def _assessed(self, journey: _Journey, request: EngineRequest, asked: Asked) -> _Candidate:
        assessor, seconds = self._checking.assessor, self._checking.seconds
        if not self._is_on(Feature.QUALITY_ASSESSMENT, journey):
            return _Candidate(asked=asked, not_assessed=Phrase("The check of sentences is switched off."))
        if not asked.draft.answered:
            return _Candidate(asked=asked)
        try:
            async with asyncio.timeout(seconds):
                quality = await assessor.assess(journey.question, request.search_text, asked.draft, journey.bill.book)
        except TimeoutError:
            why: str = Phrase("Checking the sentences took longer than {seconds:g} s.", seconds=seconds)
            return _Candidate(asked=asked, not_assessed=why)
        except OracleError as error:
            return _Candidate(asked=asked, not_assessed=error.words)
        except Exception:
            _log.exception("assessment_failed")
            return _Candidate(asked=asked, not_assessed=Phrase("The check of the sentences failed."))
        return _Candidate(asked=asked, quality=quality)

    def _second_engine(self, journey: _Journey, decision: Decision, candidate: _Candidate) -> str | None:
        asked = candidate.asked
        floor = self._checking.second_opinion_below
        if not is_poor(candidate.quality, answered=asked.draft.answered, floor=floor):
            return None
        tried = {asked.engine, *(failure.engine for failure in asked.failures)}
        return whom_to_ask(decision, tried, seconds=self._timeout_seconds - journey.seconds)

    async def _second_opinion(
        self, journey: _Journey, request: EngineRequest, first: _Candidate, engine: str
    ) -> AsyncIterator[Event]:
        """Ask one more engine; its answer takes the place of the first if it is better. The first stays on the screen
        meanwhile."""
        assert journey.decision is not None
        started = self._timer()
        journey.second_opinion = engine
        decision = replace(journey.decision, engine=engine, fallbacks=())
        asked: Asked | None = None
        try:
            async with aclosing(cast("Any", self._ask(journey, request, decision))) as events:
                async for event in events:
                    if isinstance(event, Asked):
                        asked = event
                    elif not isinstance(event, TextPiece | TextWithdrawn):
                        yield event
        except OracleError as error:
            yield journey.ended(Stage.SECOND_OPINION, started, error.words)
            return
        if asked is None:
            return
        if not self._is_on(Feature.CITATION_PROCESSING, journey):
            asked = _uncited(asked)
        second = await self._assess(journey, request, asked)
        better = is_better(
            second.quality,
            first.quality,
            answered=asked.draft.answered,
            first_answered=first.asked.draft.answered,
        )
        words = telling.second_opinion(
            first.asked.engine,
            engine,
            answered=first.asked.draft.answered,
            second_answered=asked.draft.answered,
            better=better,
        )
        journey.notes.append(words)
        if better:
            journey.candidate = replace(second, asked=replace(asked, failures=first.asked.failures))
            yield TextWithdrawn(reason=words)
            yield TextPiece(text=asked.draft.text)
        yield journey.ended(Stage.SECOND_OPINION, started, words)

    async def _translate(self, journey: _Journey, asked: Asked) -> str:
        """Put the answer into the question's language, or note why it stays in English; the note is given back."""
        if self._answer_translator is None or not self._is_on(Feature.MULTI_LANGUAGE, journey):
            note: str = telling.WRITTEN_IN_ENGLISH if asked.draft.written else telling.IN_ENGLISH
            journey.notes.append(note)
            return note
        try:
            journey.translated = await self._answer_translator.translate(
                asked.draft.text, journey.question, self._translation_seconds, journey.bill.book
            )
            note = telling.kept_english(journey.translated)
        except OracleError as error:
            note = telling.not_translated(error.words)
        except Exception:  # nobody loses an answer by a mistake in what comes after it
            _log.exception("translation_failed")
            note = telling.not_translated("")
        if note:
            journey.notes.append(note)
        return note

    async def _answer(self, journey: _Journey, decision: Decision, candidate: _Candidate) -> Answer:
        asked, quality, translated = candidate.asked, candidate.quality, journey.translated
        draft, bill = asked.draft, journey.bill
        return Answer(
            text=translated.text if translated else draft.text,
            answered=draft.answered,
            language=journey.question.language,
            engine=asked.engine,
            model=draft.model,
            reason=decision.reason,
            citations=_with_confidence(draft.citations, quality),
            cost_usd=bill.cost_usd,
            seconds=journey.seconds,
            generation=draft.generation,
            notice=telling.notice(asked, *journey.notes),
            written=draft.written,
            mode=draft.mode,
            tokens_in=bill.tokens_in,
            tokens_out=bill.tokens_out,
            dropped_markers=draft.dropped_markers,
            cached_seconds=asked.cached_seconds,
            decision=decision,
            quality=_where_shown(quality, translated) if quality and translated else quality,
            not_assessed=candidate.not_assessed,
            original=draft.text if translated and translated.service else "",
            translated_by=translated.service if translated else "",
            kept_english=translated.kept if translated else 0,
            second_opinion=journey.second_opinion,
            compounds=await self._named(draft) if draft.answered else (),
        )

    async def _named(self, draft: Draft) -> tuple[NamedCompound, ...]:
        """The metabolites a draft speaks of."""
        try:
            return await asyncio.to_thread(self._compounds.compounds, draft.text)
        except Exception:  # as for translating
            _log.exception("naming_failed")
            return ()

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
        is_costed = self._is_on(Feature.COST_MONITORING, journey)
        try:
            await self._ledger.record(
                journey.question,
                answer if is_costed or answer is None else _unpriced(answer),
                outcome=outcome,
                seconds=seconds,
                calls=bill.calls if is_costed else (),
                measured=_measured(journey, outcome, seconds),
            )
        except StorageUnavailable:
            _log.exception("ledger_record_failed", extra=fields(outcome=outcome))


def refuse_too_long(text: str) -> None:
    """Let a question pass that can be searched for.

    Raises:
        QuestionTooLong: it has more than LONGEST_QUESTION characters.
    """
    if len(text) > LONGEST_QUESTION:
        raise QuestionTooLong(
            Phrase(
                "The question has {n:,} characters; please ask in at most {most:,}.",
                n=len(text),
                most=LONGEST_QUESTION,
            )
        )


def _with_confidence(citations: Sequence[Citation], quality: Quality | None) -> tuple[Citation, ...]:
    """The citations with how well each bears out what cites it, and without the passages, which were for checking."""
    known = confidences(quality.sentences) if quality else {}
    return tuple(replace(citation, passage="", confidence=known.get(citation.number)) for citation in citations)


def _tuned(request: EngineRequest, decision: Decision) -> EngineRequest:
    """The request as the person's variant wants it worked on."""
    return replace(request, mode=decision.tuning.mode or request.mode, tuning=decision.tuning)


def _uncited(asked: Asked) -> Asked:
    """An answer as if it had no sources, which says so."""
    draft = asked.draft
    notices = (*draft.notices, telling.NOT_CITED) if draft.answered else draft.notices
    bare = replace(draft, text=without_markers(draft.text), citations=(), dropped_markers=0, notices=notices)
    return replace(asked, draft=bare)


def _unpriced(answer: Answer) -> Answer:
    """An answer for books that are not to know what it cost."""
    return replace(answer, cost_usd=0.0, tokens_in=0, tokens_out=0)


def _measured(journey: _Journey, outcome: str, seconds: float) -> Measured | None:
    """What came of a question whose engine a flag chose; None for others."""
    exposure = journey.exposure
    if exposure is None:
        return None
    first = journey.first
    failed = _has_failed(exposure.engine, first.asked) if first else outcome == "failed" or None
    is_its_own = first is not None and first.asked.engine == exposure.engine and first.asked.cached_seconds is None
    return Measured(
        variant=exposure.variant,
        failed=failed,
        seconds=None if failed is None else seconds,
        quality=first.quality.composite if first and first.quality and is_its_own else None,
        cost_usd=None if failed is None else journey.bill.cost_usd,
    )


def _has_failed(engine: str, asked: Asked) -> bool | None:
    """Whether the engine that was meant has failed; None when it was not asked, or had answered long before.

    It has failed also when an older answer of its own stood in for the one it could not give.
    """
    if any(failure.engine == engine and failure.blamed for failure in asked.failures):
        return True
    return asked.draft.degraded if asked.engine == engine and asked.cached_seconds is None else None


def _where_shown(quality: Quality, translated: Translated) -> Quality:
    """The quality whose sentences stand where their translations do."""
    sentences = []
    for sentence in quality.sentences:
        start, end = translated.spans.get(sentence.start, (0, 0))
        sentences.append(replace(sentence, start=start, end=end))
    return replace(quality, sentences=tuple(sentences))
