"""The journey of one question: its events in order, and exactly one record of it however it ends."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from cmo.dispatch.asking import Asked, Failure
from cmo.dispatch.bill import Bill
from cmo.dispatch.shadow import Offered
from cmo.dispatch.telling import IN_ENGLISH, WRITTEN_IN_ENGLISH
from cmo.errors import (
    EngineUnavailable,
    ModelUnavailable,
    NotAssessed,
    OracleError,
    QuestionTooLong,
    StorageUnavailable,
    TranslationUnavailable,
)
from cmo.interfaces import Book, Pipeline
from cmo.pipeline import Checking, QuestionPipeline
from cmo.quality.assessment import scored
from cmo.values import (
    Answer,
    CallOutcome,
    CallStage,
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
    ModelCall,
    NamedCompound,
    Progress,
    Quality,
    Question,
    QuestionKind,
    QuestionType,
    RoutingCheck,
    SentenceSupport,
    Stage,
    StageEnded,
    StageStarted,
    TextPiece,
    TextWithdrawn,
    Translated,
    Tuning,
    Verdict,
)
from tests.toggles import FixedToggles

CITATION = Citation(
    number=1, document="one.pdf", title="One", page=2, quote="Glucose rose.", url="/papers/doc-1.pdf#page=2"
)
ANSWERED = Draft(
    text="Glucose rose. [1]", answered=True, model="fake-model", citations=(CITATION,), generation="g0001", mode="mix"
)
REFUSED = replace(ANSWERED, text="The papers do not answer this.", answered=False)
WEB = replace(ANSWERED, text="Glucose rose by 9 %. [1]", model="web-model", written=True)
GERMAN = "Was lässt den Zucker für Stunden steigen?"
DECISION = Decision(
    engine="lightrag",
    reason="only_engine",
    bucket=12.5,
    configuration="c1",
    checks=(RoutingCheck(name="only_engine", matched=True, words="Only the papers are configured."),),
)
CALL = ModelCall(
    engine="lightrag",
    model="m",
    stage=CallStage.ANSWER,
    outcome=CallOutcome.OK,
    tokens_in=70,
    tokens_out=8,
    cost_usd=0.002,
)


@dataclass
class FakeAsking:
    """Tells what it is told to tell, or fails; waits for ever when it is to hang."""

    draft: Draft = ANSWERED
    failures: tuple[Failure, ...] = ()
    cached_seconds: float | None = None
    calls: tuple[ModelCall, ...] = ()
    before: tuple[EngineEvent, ...] = ()
    error: OracleError | None = None
    hangs: bool = False
    asked: list[EngineRequest] = field(default_factory=list)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    others: dict[str, Draft | OracleError] = field(default_factory=dict)

    async def ask(self, decision: Decision, request: EngineRequest, bill: Bill) -> AsyncIterator[EngineEvent | Asked]:
        self.asked.append(request)
        engine = decision.engine or ""
        other = self.others.get(engine)
        if isinstance(other, OracleError):
            raise other
        if other is not None:
            yield Progress(text=f"{engine} searches")
            yield TextPiece(text=other.text)
            yield Asked(engine=engine, draft=other)
            return
        for event in self.before:
            yield event
        for call in self.calls:
            bill.book(call)
        if self.hangs:
            self.waiting.set()
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        yield TextPiece(text=self.draft.text)
        yield Asked(engine="lightrag", draft=self.draft, failures=self.failures, cached_seconds=self.cached_seconds)


@dataclass
class FakeRouter:
    """Decides what it is told to."""

    decision: Decision = DECISION
    kinds: list[QuestionKind] = field(default_factory=list)

    async def decide(self, request: EngineRequest, kind: QuestionKind) -> Decision:
        self.kinds.append(kind)
        return self.decision


class FakeRewriter:
    """Completes what begins with "And"."""

    async def standalone(self, question: Question, book: Book) -> str:
        return f"{question.history[-1]} {question.text}" if question.text.startswith("And") else question.text


@dataclass
class FakeClassifier:
    """What is "new" needs recent information."""

    error: OracleError | None = None

    async def classify(self, question: str) -> QuestionKind:
        if self.error is not None:
            raise self.error
        return QuestionKind(type=QuestionType.NEWS, freshness=0.9 if "new" in question else 0.1)


class FakeDetector:
    """Everything with an umlaut is German."""

    def detect(self, text: str) -> str:
        return "de" if "ü" in text else "en"


class FakeTranslator:
    """Puts the language before what it translates."""

    async def to_english(self, question: Question, text: str, book: Book) -> str:
        return text if question.language == "en" else f"[{question.language}] {text}"


def quality(score: float, text: str = ANSWERED.text) -> Quality:
    """All three parts are `score`."""
    sentence = SentenceSupport(
        text="Glucose rose.",
        verdict=Verdict.SUPPORTED,
        score=score,
        quote="Glucose rose.",
        source=1,
        start=0,
        end=len(text),
        cited=(1,),
    )
    return replace(scored(score, [sentence]), composite=score)


@dataclass
class FakeAssessor:
    """Scores drafts by their text; good unless told otherwise."""

    scores: dict[str, float] = field(default_factory=dict)
    error: Exception | None = None
    hangs: bool = False
    asked: list[str] = field(default_factory=list)

    async def assess(self, question: Question, asked: str, draft: Draft, book: Book) -> Quality:
        self.asked.append(asked)
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return quality(self.scores.get(draft.text, 0.95), draft.text)


@dataclass
class FakeScores:
    """Keeps what it is told."""

    told: list[tuple[str, float | None]] = field(default_factory=list)

    def score(self, name: str, composite: float | None) -> None:
        self.told.append((name, composite))


@dataclass
class FakeCompounds:
    """Finds glucose, or fails."""

    broken: bool = False

    def compounds(self, text: str) -> tuple[NamedCompound, ...]:
        if self.broken:
            raise ZeroDivisionError
        return (NamedCompound(name="glucose", written=("Glucose",), accessions=()),) if "Glucose" in text else ()


@dataclass
class FakeAnswers:
    """Translates by shouting, or fails."""

    error: Exception | None = None
    kept: int = 0
    service: str = "Fake"

    async def translate(self, answer: str, question: Question, seconds: float, book: Book) -> Translated:
        if self.error is not None:
            raise self.error
        text = f"» {answer.upper()}"
        return Translated(text=text, service=self.service, spans={0: (2, len(text))}, kept=self.kept)


@dataclass
class FakeLedger:
    """Keeps what is booked; takes one turn of the loop for it, and may be broken."""

    broken: bool = False
    booked: list[tuple[str, Answer | None]] = field(default_factory=list)
    calls: list[ModelCall] = field(default_factory=list)
    measured: list[Measured | None] = field(default_factory=list)

    async def record(
        self,
        question: Question,
        answer: Answer | None,
        *,
        outcome: str,
        seconds: float,
        calls: Sequence[ModelCall] = (),
        measured: Measured | None = None,
    ) -> None:
        await asyncio.sleep(0)
        if self.broken:
            raise StorageUnavailable("The disk is full.")
        assert seconds >= 0
        self.booked.append((outcome, answer))
        self.calls.extend(calls)
        self.measured.append(measured)

    @property
    def outcomes(self) -> list[str]:
        return [outcome for outcome, _ in self.booked]


@dataclass
class FakeExposures:
    """Notes who was led where, or may be broken, or locked until somebody opens it."""

    broken: bool = False
    lock: asyncio.Event | None = None
    told: list[Exposure] = field(default_factory=list)
    written: asyncio.Event = field(default_factory=asyncio.Event)

    async def expose(self, question: Question, exposure: Exposure) -> None:
        if self.broken:
            raise StorageUnavailable("The disk is full.")
        if self.lock is not None:
            await self.lock.wait()
        self.told.append(exposure)
        self.written.set()


@dataclass
class FakeShadow:
    """Keeps what it is offered."""

    offered: list[Offered] = field(default_factory=list)

    def offer(self, offered: Offered) -> None:
        self.offered.append(offered)


@dataclass
class Journey:
    """A pipeline and the fakes in it."""

    asking: FakeAsking = field(default_factory=FakeAsking)
    router: FakeRouter = field(default_factory=FakeRouter)
    classifier: FakeClassifier = field(default_factory=FakeClassifier)
    ledger: FakeLedger = field(default_factory=FakeLedger)
    exposures: FakeExposures = field(default_factory=FakeExposures)
    shadow: FakeShadow = field(default_factory=FakeShadow)
    assessor: FakeAssessor = field(default_factory=FakeAssessor)
    toggles: FixedToggles = field(default_factory=FixedToggles)
    scores: FakeScores = field(default_factory=FakeScores)
    answers: FakeAnswers | None = None
    compounds: FakeCompounds = field(default_factory=FakeCompounds)
    timeout_seconds: float = 60.0
    quality_seconds: float = 10.0
    floor: float = 0.6

    def pipeline(self, timer: Callable[[], float] = time.perf_counter) -> QuestionPipeline:
        return QuestionPipeline(
            detector=FakeDetector(),
            rewriter=FakeRewriter(),
            question_translator=FakeTranslator(),
            classifier=self.classifier,
            router=self.router,
            asking=self.asking,
            checking=Checking(
                assessor=self.assessor,
                seconds=self.quality_seconds,
                scores=self.scores,
                second_opinion_below=self.floor,
            ),
            compounds=self.compounds,
            answer_translator=self.answers,
            translation_seconds=5.0,
            toggles=self.toggles,
            ledger=self.ledger,
            exposures=self.exposures,
            shadow=self.shadow,
            mode="mix",
            timeout_seconds=self.timeout_seconds,
            timer=timer,
        )

    async def events(self, text: str = "What happens?", *history: str) -> list[Event]:
        return [event async for event in self.pipeline().ask(question(text, *history))]

    async def answer(self, text: str = "What happens?", *history: str) -> Answer:
        last = (await self.events(text, *history))[-1]
        assert isinstance(last, Finished)
        return last.answer


TWO_ENGINES = FakeRouter(decision=replace(DECISION, reason="rollout", fallbacks=("perplexity",)))
WEAK = FakeAssessor(scores={ANSWERED.text: 0.4})


def question(text: str = "What happens?", *history: str) -> Question:
    return Question(text=text, user_id="u", thread_id="t", asked_at=datetime(2025, 1, 1, tzinfo=UTC), history=history)


def test_it_is_a_pipeline() -> None:
    pipeline: Pipeline = Journey().pipeline()

    assert pipeline


async def test_every_stage_begins_and_ends_in_running_order() -> None:
    weak_first = FakeAsking(others={"perplexity": WEB})
    journey = Journey(asking=weak_first, router=TWO_ENGINES, assessor=WEAK, answers=FakeAnswers())

    events = await journey.events(GERMAN)

    expected = [kind(stage) for stage in Stage for kind in (_begun, _over)]
    assert [_told(event) for event in events if isinstance(event, StageStarted | StageEnded)] == expected


def _begun(stage: Stage) -> str:
    return f"{stage} begun"


def _over(stage: Stage) -> str:
    return f"{stage} over"


def _told(event: StageStarted | StageEnded) -> str:
    return _begun(event.stage) if isinstance(event, StageStarted) else _over(event.stage)


async def test_the_last_event_is_the_answer_and_comes_once() -> None:
    events = await Journey().events()

    assert isinstance(events[-1], Finished)
    assert sum(isinstance(event, Finished) for event in events) == 1


async def test_the_pieces_make_the_answers_text() -> None:
    events = await Journey().events()

    pieces = "".join(event.text for event in events if isinstance(event, TextPiece))
    assert isinstance(events[-1], Finished)
    assert pieces == events[-1].answer.text == "Glucose rose. [1]"


async def test_what_the_engine_tells_on_its_way_is_passed_on_in_order() -> None:
    told = (Progress(text="Searching."), TextPiece(text="Half of"), TextWithdrawn(reason="It broke."))
    events = await Journey(asking=FakeAsking(before=told)).events()

    assert [event for event in events if isinstance(event, Progress | TextPiece | TextWithdrawn)] == [
        *told,
        TextPiece(text=ANSWERED.text),
    ]


async def test_an_answer_says_where_it_comes_from_and_why() -> None:
    answer = await Journey().answer()

    assert (answer.answered, answer.engine, answer.model, answer.reason) == (
        True,
        "lightrag",
        "fake-model",
        "only_engine",
    )
    assert (answer.generation, answer.mode, answer.citations) == ("g0001", "mix", (replace(CITATION, confidence=0.95),))
    assert answer.decision == DECISION


async def test_an_answer_carries_what_all_its_calls_cost_and_the_ledger_has_each_of_them() -> None:
    journey = Journey(asking=FakeAsking(calls=(CALL, replace(CALL, outcome=CallOutcome.FAILED, cost_usd=0.001))))

    answer = await journey.answer()

    assert answer.cost_usd == pytest.approx(0.003)
    assert (answer.tokens_in, answer.tokens_out) == (140, 16)
    assert [call.outcome for call in journey.ledger.calls] == [CallOutcome.OK, CallOutcome.FAILED]


async def test_engines_that_failed_before_are_told_with_the_answer() -> None:
    failed = FakeAsking(failures=(Failure(engine="perplexity", words="The web search: it is busy."),))

    assert (await Journey(asking=failed).answer()).notice == "The web search: it is busy."


async def test_an_answer_given_before_carries_its_age() -> None:
    assert (await Journey(asking=FakeAsking(cached_seconds=30.0)).answer()).cached_seconds == 30.0


async def test_the_notices_of_a_draft_are_told() -> None:
    draft = replace(ANSWERED, notices=("Half of it failed.", "Please check."))

    assert (await Journey(asking=FakeAsking(draft=draft)).answer()).notice == "Half of it failed. Please check."


async def test_a_sure_answer_carries_no_notice() -> None:
    assert (await Journey().answer()).notice is None


async def test_a_question_for_what_is_new_asks_for_fresh_sources() -> None:
    journey = Journey()

    await journey.events("What is new?")
    await journey.events("What is old?")

    assert [request.fresh for request in journey.asking.asked] == [True, False]


async def test_a_classifier_that_fails_costs_nobody_the_answer() -> None:
    journey = Journey(classifier=FakeClassifier(error=ModelUnavailable("no weights")))

    assert (await journey.answer()).answered
    assert [kind.type for kind in journey.router.kinds] == [QuestionType.OTHER]


async def test_a_decision_for_nothing_that_costs_is_handed_on() -> None:
    journey = Journey(router=FakeRouter(decision=replace(DECISION, free=True)))

    await journey.events()

    assert [request.free for request in journey.asking.asked] == [True]


async def test_routing_can_be_looked_at_without_asking_or_booking() -> None:
    journey = Journey()

    assert await journey.pipeline().decide(question()) == DECISION
    assert (journey.asking.asked, journey.ledger.booked) == ([], [])


async def test_the_language_of_the_question_is_the_answers() -> None:
    assert (await Journey().answer(GERMAN)).language == "de"


async def test_a_question_of_another_language_is_searched_in_english_and_that_is_told() -> None:
    journey = Journey()

    answer = await journey.answer(GERMAN)

    assert journey.asking.asked[0].search_text == f"[de] {GERMAN}"
    assert answer.notice == IN_ENGLISH


async def test_without_a_translator_a_written_answer_is_told_to_be_english() -> None:
    journey = Journey(asking=FakeAsking(draft=replace(ANSWERED, written=True)))

    assert (await journey.answer(GERMAN)).notice == WRITTEN_IN_ENGLISH


async def test_a_follow_up_is_completed_before_it_is_searched() -> None:
    journey = Journey()

    await journey.events("And why?", "What rose?")

    assert journey.asking.asked[0].search_text == "What rose? And why?"
    assert journey.asking.asked[0].question.text == "And why?"


# Exactly one record of each question.


@pytest.mark.parametrize(("draft", "outcome"), [(ANSWERED, "answered"), (REFUSED, "refused")])
async def test_a_finished_question_is_booked_once_with_its_answer(draft: Draft, outcome: str) -> None:
    journey = Journey(asking=FakeAsking(draft=draft))

    answer = await journey.answer()

    assert journey.ledger.booked == [(outcome, answer)]


async def test_a_ledger_that_cannot_be_written_costs_nobody_the_answer() -> None:
    answer = await Journey(ledger=FakeLedger(broken=True)).answer()

    assert answer.answered


async def test_a_failed_question_is_booked_once_with_what_it_cost_and_its_error_comes_through() -> None:
    journey = Journey(asking=FakeAsking(calls=(CALL,), error=EngineUnavailable("nothing works")))

    with pytest.raises(EngineUnavailable, match="nothing works"):
        await journey.events()

    assert journey.ledger.booked == [("failed", None)]
    assert journey.ledger.calls == [CALL]


async def test_a_question_cancelled_while_asking_is_booked_once_as_stopped_with_what_it_cost() -> None:
    journey = Journey(asking=FakeAsking(calls=(CALL,), hangs=True))
    under_way = asyncio.create_task(journey.events())
    await journey.asking.waiting.wait()

    under_way.cancel()
    with pytest.raises(asyncio.CancelledError):
        await under_way

    assert journey.ledger.booked == [("stopped", None)]
    assert journey.ledger.calls == [CALL]


async def test_wherever_a_person_stops_the_question_is_booked_exactly_once() -> None:
    count = len(await Journey().events())

    for stopped_after in range(1, count + 1):
        journey = Journey()
        events = journey.pipeline().ask(question())
        for _ in range(stopped_after):
            last = await anext(events)
        await events.aclose()  # type: ignore[attr-defined]

        assert len(journey.ledger.booked) == 1, f"stopped after {last}"
        assert journey.ledger.outcomes[0] in ("stopped", "answered")


async def test_what_was_stopped_before_the_text_was_out_is_booked_as_stopped() -> None:
    journey = Journey()
    events = journey.pipeline().ask(question())
    async for event in events:
        if isinstance(event, TextPiece):
            break
    await events.aclose()  # type: ignore[attr-defined]

    assert journey.ledger.booked == [("stopped", None)]


async def test_wherever_a_task_is_cancelled_the_question_is_booked_exactly_once() -> None:
    count = len(await Journey().events())

    for seen in range(1, count + 1):
        journey = Journey()
        under_way = asyncio.create_task(_cancel_itself(journey, after=seen))
        await asyncio.gather(under_way, return_exceptions=True)

        assert under_way.cancelled()
        assert len(journey.ledger.booked) == 1, f"cancelled after {seen} events"


async def _cancel_itself(journey: Journey, *, after: int) -> None:
    """Take so many events and be cancelled at the next point where a task can be."""
    task = asyncio.current_task()
    assert task is not None
    async for _ in journey.pipeline().ask(question()):
        after -= 1
        if not after:
            task.cancel()
    await asyncio.sleep(0)


async def test_a_question_cancelled_while_it_is_booked_is_booked_all_the_same() -> None:
    class SlowLedger(FakeLedger):
        """Lets the test act in the middle of booking."""

        def __init__(self) -> None:
            super().__init__()
            self.begun = asyncio.Event()
            self.done = asyncio.Event()

        async def record(
            self,
            question: Question,
            answer: Answer | None,
            *,
            outcome: str,
            seconds: float,
            calls: Sequence[ModelCall] = (),
            measured: Measured | None = None,
        ) -> None:
            self.begun.set()
            await super().record(question, answer, outcome=outcome, seconds=seconds, calls=calls)
            self.done.set()

    ledger = SlowLedger()
    under_way = asyncio.create_task(Journey(ledger=ledger).events())
    await ledger.begun.wait()
    under_way.cancel()
    await asyncio.gather(under_way, return_exceptions=True)
    async with asyncio.timeout(5):
        await ledger.done.wait()

    assert ledger.outcomes == ["answered"]


async def test_questions_asked_at_once_do_not_mix() -> None:
    journey = Journey()
    pipeline = journey.pipeline()

    async def one(text: str) -> str:
        answer = None
        async for event in pipeline.ask(question(text)):
            answer = event.answer if isinstance(event, Finished) else answer
        assert answer is not None
        return answer.language

    languages = await asyncio.gather(*(one("für wen?" if number % 2 else "for whom?") for number in range(10)))

    assert languages == ["en", "de"] * 5
    assert journey.ledger.outcomes == ["answered"] * 10


async def test_a_question_too_long_to_search_for_is_sent_back_and_not_booked() -> None:
    journey = Journey()

    with pytest.raises(QuestionTooLong, match="2,000"):
        await journey.events("why " * 600)

    assert journey.ledger.booked == []


# How good an answer is, and what follows from it.


async def test_an_answer_carries_its_quality_and_each_citation_its_confidence() -> None:
    with_passage = replace(ANSWERED, citations=(replace(CITATION, passage="Glucose rose. More."),))
    journey = Journey(asking=FakeAsking(draft=with_passage))

    answer = await journey.answer()

    assert answer.quality == quality(0.95)
    assert [citation.confidence for citation in answer.citations] == [0.95]
    assert [citation.passage for citation in answer.citations] == [""]


async def test_the_english_question_is_what_an_answer_is_assessed_by() -> None:
    journey = Journey()

    await journey.answer(GERMAN)

    assert journey.assessor.asked == [f"[de] {GERMAN}"]


@pytest.mark.parametrize(
    ("assessor", "seconds", "why"),
    [
        (FakeAssessor(error=NotAssessed("Nothing to read.")), 10.0, "Nothing to read."),
        (FakeAssessor(error=ModelUnavailable("No weights.")), 10.0, "No weights."),
        (FakeAssessor(error=ZeroDivisionError()), 10.0, "The check of the sentences failed."),
        (FakeAssessor(hangs=True), 0.01, "Checking the sentences took longer than 0.01 s."),
    ],
)
async def test_an_answer_that_cannot_be_assessed_is_shown_and_says_why(
    assessor: FakeAssessor, seconds: float, why: str
) -> None:
    answer = await Journey(assessor=assessor, quality_seconds=seconds).answer()

    assert (answer.text, answer.quality, answer.not_assessed) == (ANSWERED.text, None, why)


async def test_an_answer_is_not_assessed_for_whom_that_is_switched_off() -> None:
    journey = Journey(toggles=FixedToggles(off=frozenset({Feature.QUALITY_ASSESSMENT})))

    answer = await journey.answer()

    assert (answer.quality, answer.not_assessed) == (None, "The check of sentences is switched off.")
    assert journey.assessor.asked == []
    assert (Feature.QUALITY_ASSESSMENT, "u") in journey.toggles.asked


async def test_an_answer_stays_english_for_whom_languages_are_switched_off() -> None:
    off = FixedToggles(off=frozenset({Feature.MULTI_LANGUAGE}))

    assert (await Journey(answers=FakeAnswers(), toggles=off).answer(GERMAN)).text == ANSWERED.text


async def test_the_quality_of_each_new_answer_is_remembered_for_its_engine() -> None:
    journey = Journey()
    await journey.answer()
    assert journey.scores.told == [("lightrag", 0.95)]


async def test_what_could_not_be_scored_is_remembered_as_such() -> None:
    journey = Journey(asking=FakeAsking(draft=REFUSED))
    await journey.answer()
    assert journey.scores.told == [("lightrag", None)]


async def test_an_answer_given_before_is_not_remembered_again() -> None:
    journey = Journey(asking=FakeAsking(cached_seconds=3.0))

    assert (await journey.answer()).quality is not None
    assert journey.scores.told == []


def weak_journey(web: Draft | OracleError = WEB, **changes: object) -> Journey:
    """The papers' answer scores 0.4, the web's 0.95."""
    scores = FakeAssessor(scores={ANSWERED.text: 0.4})
    return replace(
        Journey(asking=FakeAsking(others={"perplexity": web}), router=TWO_ENGINES, assessor=scores), **changes
    )


async def test_a_better_second_answer_takes_the_place_of_a_weak_one() -> None:
    journey = weak_journey()

    events = await journey.events()

    last = events[-1]
    assert isinstance(last, Finished)
    assert (last.answer.text, last.answer.engine, last.answer.second_opinion) == (WEB.text, "perplexity", "perplexity")
    assert last.answer.notice == "The first answer (your papers) was weak; this one (the web) is better."
    shown = [event for event in events if isinstance(event, TextPiece | TextWithdrawn)]
    assert [type(event) for event in shown] == [TextPiece, TextWithdrawn, TextPiece]
    assert journey.scores.told == [("lightrag", 0.4), ("perplexity", 0.95)]


async def test_a_worse_second_answer_is_told_of_and_not_shown() -> None:
    journey = weak_journey(assessor=FakeAssessor(scores={ANSWERED.text: 0.4, WEB.text: 0.3}))

    events = await journey.events()

    last = events[-1]
    assert isinstance(last, Finished)
    assert (last.answer.text, last.answer.engine, last.answer.second_opinion) == (
        ANSWERED.text,
        "lightrag",
        "perplexity",
    )
    assert last.answer.notice == "This answer is weak, and a second one (the web) was no better."
    assert not any(isinstance(event, TextWithdrawn) for event in events)


async def test_a_second_engine_that_fails_costs_nobody_the_first_answer() -> None:
    answer = await weak_journey(EngineUnavailable("It is down.")).answer()

    assert (answer.text, answer.engine) == (ANSWERED.text, "lightrag")


async def test_what_the_papers_do_not_answer_is_looked_for_on_the_web() -> None:
    asking = FakeAsking(draft=REFUSED, others={"perplexity": WEB})

    answer = await Journey(asking=asking, router=TWO_ENGINES).answer()

    assert (answer.answered, answer.engine) == (True, "perplexity")
    assert answer.notice == "The first source (your papers) had no answer; this one comes from another (the web)."


async def test_when_neither_engine_answers_the_first_refusal_is_shown() -> None:
    asking = FakeAsking(draft=REFUSED, others={"perplexity": replace(WEB, answered=False)})

    answer = await Journey(asking=asking, router=TWO_ENGINES).answer()

    assert (answer.answered, answer.engine) == (False, "lightrag")


@pytest.mark.parametrize(
    "changes",
    [
        {"floor": 0.0},
        {"floor": 0.4},
        {"toggles": FixedToggles(off=frozenset({Feature.QUALITY_ASSESSMENT}))},
        {"timeout_seconds": 4.0},
        {"router": FakeRouter(decision=replace(TWO_ENGINES.decision, reason="user_choice"))},
        {"router": FakeRouter(decision=replace(TWO_ENGINES.decision, fallbacks=()))},
        {"router": FakeRouter(decision=replace(TWO_ENGINES.decision, free=True))},
    ],
)
async def test_nobody_else_is_asked_where_that_is_not_wanted_or_not_possible(changes: dict[str, object]) -> None:
    answer = await weak_journey(**changes).answer()

    assert (answer.engine, answer.second_opinion) == ("lightrag", "")


async def test_an_engine_that_has_just_failed_is_not_asked_for_a_second_opinion() -> None:
    journey = weak_journey()
    journey.asking.failures = (Failure(engine="perplexity", words="The web is down."),)

    assert (await journey.answer()).second_opinion == ""


# Languages.


async def test_an_answer_is_given_in_the_language_of_the_question_with_the_original_beside_it() -> None:
    answer = await Journey(answers=FakeAnswers()).answer(GERMAN)

    assert (answer.text, answer.original, answer.translated_by) == (
        f"» {ANSWERED.text.upper()}",
        ANSWERED.text,
        "Fake",
    )
    assert answer.notice is None


async def test_where_all_sentences_are_our_own_there_is_no_original_to_show() -> None:
    answer = await Journey(asking=FakeAsking(draft=REFUSED), answers=FakeAnswers(service="")).answer(GERMAN)

    assert (answer.text, answer.original, answer.translated_by) == (f"» {REFUSED.text.upper()}", "", "")


async def test_the_sentences_of_a_translated_answer_are_found_in_the_translation() -> None:
    answer = await Journey(answers=FakeAnswers()).answer(GERMAN)

    assert answer.quality is not None
    [sentence] = answer.quality.sentences
    assert answer.text[sentence.start : sentence.end] == ANSWERED.text.upper()
    assert sentence.text == "Glucose rose."


async def test_an_english_question_is_translated_nowhere() -> None:
    events = await Journey(answers=FakeAnswers()).events()

    assert Stage.TRANSLATE not in [event.stage for event in events if isinstance(event, StageStarted)]


async def test_an_answer_nobody_can_translate_is_shown_in_english_and_says_why() -> None:
    answer = await Journey(answers=FakeAnswers(error=TranslationUnavailable("It is offline."))).answer(GERMAN)

    assert (answer.text, answer.original) == (ANSWERED.text, "")
    assert answer.notice == "The answer could not be translated and is in English. It is offline."


async def test_a_mistake_in_what_comes_after_an_answer_loses_nobody_the_answer() -> None:
    journey = Journey(answers=FakeAnswers(error=ZeroDivisionError()), compounds=FakeCompounds(broken=True))

    answer = await journey.answer(GERMAN)

    assert (answer.text, answer.compounds) == (ANSWERED.text, ())
    assert answer.notice == "The answer could not be translated and is in English."


async def test_sentences_that_stayed_english_are_told_of() -> None:
    answer = await Journey(answers=FakeAnswers(kept=2)).answer(GERMAN)

    assert answer.kept_english == 2
    assert answer.notice == "Sentences that stay in English, because their translation lost something: 2."


async def test_the_stages_are_told_in_the_language_of_the_question() -> None:
    events = await Journey().events(GERMAN)

    assert {event.language for event in events if isinstance(event, StageStarted)} == {"de"}


async def test_the_compounds_of_an_answer_are_named() -> None:
    assert [compound.name for compound in (await Journey().answer()).compounds] == ["glucose"]
    assert (await Journey(asking=FakeAsking(draft=REFUSED)).answer()).compounds == ()


EXPOSURE = Exposure(flag="lightrag_rollout", version=3, variant="local", engine="lightrag")
EXPOSED = FakeRouter(
    decision=replace(DECISION, exposure=EXPOSURE, tuning=Tuning(mode="local", top_k=5), fallbacks=("perplexity",))
)


async def measured(**parts: Any) -> Measured | None:
    """What is written down of a question whose engine a flag chose, whatever became of it."""
    journey = Journey(router=EXPOSED, **parts)
    with contextlib.suppress(OracleError):
        await journey.events()
    return journey.ledger.measured[-1]


async def test_where_a_flag_leads_is_written_down_before_anybody_is_asked() -> None:
    exposures = FakeExposures()

    class Watching(FakeAsking):
        told_before: list[Exposure]

        def ask(self, *arguments: Any) -> Any:
            self.told_before = list(exposures.told)
            return super().ask(*arguments)

    asking = Watching()
    await Journey(router=EXPOSED, exposures=exposures, asking=asking).events()

    assert asking.told_before == [EXPOSURE]


async def test_a_question_that_no_flag_decided_is_neither_exposed_nor_measured() -> None:
    journey = Journey()
    await journey.events()

    assert (journey.exposures.told, journey.ledger.measured) == ([], [None])


async def test_an_exposure_that_cannot_be_written_costs_nobody_their_answer() -> None:
    assert (await Journey(router=EXPOSED, exposures=FakeExposures(broken=True)).answer()).answered


async def test_the_engine_works_as_the_variant_says() -> None:
    journey = Journey(router=EXPOSED)
    await journey.events()

    assert [(asked.mode, asked.tuning.top_k) for asked in journey.asking.asked] == [("local", 5)]


async def test_a_good_answer_is_measured_with_its_quality_and_cost() -> None:
    found = await measured(asking=FakeAsking(calls=(CALL,)))

    assert found is not None
    assert (found.variant, found.failed, found.quality, found.cost_usd) == ("local", False, 0.95, CALL.cost_usd)
    assert found.seconds is not None


async def test_an_engine_that_gave_way_to_another_has_failed_and_gets_no_quality_of_the_others() -> None:
    failures = (Failure(engine="lightrag", words="It broke."),)

    class Other(FakeAsking):
        async def ask(self, *arguments: Any) -> Any:
            async for event in super().ask(*arguments):
                yield replace(event, engine="perplexity") if isinstance(event, Asked) else event

    found = await measured(asking=Other(failures=failures))

    assert found is not None
    assert (found.failed, found.quality) == (True, None)


async def test_a_lesser_part_that_stood_in_is_a_failure_of_the_engine() -> None:
    found = await measured(asking=FakeAsking(draft=replace(ANSWERED, degraded=True)))

    assert found is not None
    assert found.failed is True


async def test_a_question_that_nobody_could_answer_is_a_failure() -> None:
    found = await measured(asking=FakeAsking(error=EngineUnavailable("It broke.")))

    assert found is not None
    assert (found.failed, found.quality) == (True, None)


async def test_a_second_opinion_does_not_improve_the_quality_of_the_first_engine() -> None:
    found = await measured(asking=FakeAsking(others={"perplexity": WEB}), assessor=WEAK)

    assert found is not None
    assert (found.failed, found.quality) == (False, 0.4)


async def test_an_answer_given_before_says_nothing_of_the_engine() -> None:
    found = await measured(asking=FakeAsking(cached_seconds=60.0))

    assert found == Measured(variant="local", failed=None, seconds=None, quality=None, cost_usd=None)


async def test_an_engine_whose_earlier_answer_had_to_stand_in_has_failed() -> None:
    failures = (Failure(engine="lightrag", words="It broke."),)
    found = await measured(asking=FakeAsking(cached_seconds=60.0, failures=failures))

    assert found is not None
    assert (found.failed, found.quality) == (True, None)


@pytest.mark.parametrize(("engine", "failed"), [("lightrag", False), ("perplexity", None)])
async def test_want_of_money_is_no_failure_of_the_engine(engine: str, failed: bool | None) -> None:
    class Poor(FakeAsking):
        async def ask(self, *arguments: Any) -> Any:
            async for event in super().ask(*arguments):
                yield replace(event, engine=engine) if isinstance(event, Asked) else event

    failures = (Failure(engine="lightrag", words="The budget is spent.", blamed=False),)
    found = await measured(asking=Poor(failures=failures))

    assert found is not None
    assert found.failed is failed


async def test_a_stopped_question_says_nothing_of_the_engine() -> None:
    journey = Journey(router=EXPOSED, asking=FakeAsking(hangs=True))
    under_way = asyncio.create_task(journey.events())
    await journey.asking.waiting.wait()
    under_way.cancel()
    await asyncio.gather(under_way, return_exceptions=True)

    assert journey.exposures.told == [EXPOSURE]
    assert journey.ledger.measured == [
        Measured(variant="local", failed=None, seconds=None, quality=None, cost_usd=None)
    ]


async def test_all_durations_are_those_of_the_timer_that_is_given() -> None:
    ticks = itertools.count(100.0, 10.0)
    events = [event async for event in Journey().pipeline(timer=lambda: next(ticks)).ask(question())]

    took = [event.seconds for event in events if isinstance(event, StageEnded)]
    assert min(took) >= 10


async def test_an_answer_is_offered_to_the_shadow_as_the_engine_made_it_once_it_is_booked() -> None:
    journey = Journey(router=EXPOSED, asking=FakeAsking(calls=(CALL,)), answers=FakeAnswers())
    await journey.events("für wen?")

    [offered] = journey.shadow.offered
    assert (offered.engine, offered.draft, offered.others) == ("lightrag", ANSWERED, ("perplexity",))
    assert offered.quality is not None
    assert offered.cost_usd == CALL.cost_usd
    assert (offered.request.mode, offered.request.tuning) == ("mix", Tuning())  # the variant is this person's alone
    assert journey.ledger.outcomes == ["answered"]


@pytest.mark.parametrize(
    "asking",
    [
        FakeAsking(cached_seconds=60.0),
        FakeAsking(failures=(Failure(engine="perplexity", words="It broke."),)),
        FakeAsking(error=EngineUnavailable("It broke.")),
    ],
    ids=["given before", "the other has failed", "nobody answered"],
)
async def test_what_is_no_new_answer_of_one_engine_alone_is_not_offered(asking: FakeAsking) -> None:
    journey = Journey(asking=asking)
    with contextlib.suppress(OracleError):
        await journey.events()

    assert journey.shadow.offered == []


async def test_what_both_engines_have_answered_is_not_offered() -> None:
    journey = Journey(router=TWO_ENGINES, asking=FakeAsking(others={"perplexity": WEB}), assessor=WEAK)
    await journey.events()

    assert journey.shadow.offered == []


def without(feature: Feature) -> FixedToggles:
    return FixedToggles(off=frozenset({feature}))


async def test_without_citations_an_answer_has_no_markers_and_says_that_nobody_can_check_it() -> None:
    journey = Journey(toggles=without(Feature.CITATION_PROCESSING))
    events = await journey.events()
    answer = await Journey(toggles=without(Feature.CITATION_PROCESSING)).answer()

    assert (answer.text, answer.citations) == ("Glucose rose.", ())
    assert "cannot be checked here" in (answer.notice or "")
    shown = [event for event in events if isinstance(event, TextPiece | TextWithdrawn)]
    assert shown[-1] == TextPiece(text="Glucose rose.")
    assert isinstance(shown[-2], TextWithdrawn)


async def test_a_second_answer_has_no_markers_either_when_citations_are_off() -> None:
    refused = FakeAsking(draft=replace(ANSWERED, answered=False), others={"perplexity": WEB})
    answer = await Journey(router=TWO_ENGINES, asking=refused, toggles=without(Feature.CITATION_PROCESSING)).answer()

    assert (answer.engine, answer.citations) == ("perplexity", ())
    assert "[1]" not in answer.text


async def test_without_cost_monitoring_the_person_sees_the_price_and_the_books_do_not() -> None:
    journey = Journey(toggles=without(Feature.COST_MONITORING), asking=FakeAsking(calls=(CALL,)))
    answer = await journey.answer()

    [(_, booked)] = journey.ledger.booked
    assert booked is not None
    assert (answer.cost_usd, booked.cost_usd, booked.tokens_in, journey.ledger.calls) == (CALL.cost_usd, 0.0, 0, [])


async def test_without_analytics_the_variant_holds_and_nothing_is_written_of_it() -> None:
    journey = Journey(router=EXPOSED, toggles=without(Feature.ANALYTICS_COLLECTION))
    await journey.events()

    assert [asked.mode for asked in journey.asking.asked] == ["local"]
    assert (journey.exposures.told, journey.ledger.measured, journey.shadow.offered) == ([], [None], [])


async def test_a_question_for_an_engine_somebody_chose_is_not_put_to_another_one_unseen() -> None:
    journey = Journey()
    async for _ in journey.pipeline().ask(replace(question(), choice="lightrag")):
        pass

    assert journey.ledger.outcomes == ["answered"]
    assert journey.shadow.offered == []


async def test_a_locked_database_keeps_nobody_waiting_and_gets_to_know_the_exposure_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cmo.pipeline.EXPOSURE_SECONDS", 0.01)
    exposures = FakeExposures(lock=asyncio.Event())
    answer = await Journey(router=EXPOSED, exposures=exposures).answer()

    assert (answer.answered, exposures.told) == (True, [])
    assert exposures.lock is not None
    exposures.lock.set()
    async with asyncio.timeout(5):
        await exposures.written.wait()
    assert exposures.told == [EXPOSURE]
