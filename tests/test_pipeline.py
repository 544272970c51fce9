"""The journey of one question: its events in order, and exactly one record of it however it ends."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from cmo.dispatch.asking import Asked, Failure
from cmo.dispatch.bill import Bill
from cmo.errors import EngineUnavailable, ModelUnavailable, OracleError, QuestionTooLong, StorageUnavailable
from cmo.interfaces import Book, Pipeline
from cmo.pipeline import IN_ENGLISH, QuestionPipeline
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
    Finished,
    ModelCall,
    Progress,
    Question,
    QuestionKind,
    QuestionType,
    RoutingCheck,
    Stage,
    StageEnded,
    StageStarted,
    TextPiece,
    TextWithdrawn,
)

CITATION = Citation(
    number=1, document="one.pdf", title="One", page=2, quote="Glucose rose.", url="/papers/doc-1.pdf#page=2"
)
ANSWERED = Draft(
    text="Glucose rose. [1]", answered=True, model="fake-model", citations=(CITATION,), generation="g0001", mode="mix"
)
REFUSED = replace(ANSWERED, text="The papers do not answer this.", answered=False)
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

    async def ask(self, decision: Decision, request: EngineRequest, bill: Bill) -> AsyncIterator[EngineEvent | Asked]:
        self.asked.append(request)
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

    def to_english(self, text: str, language: str) -> str:
        return text if language == "en" else f"[{language}] {text}"


@dataclass
class FakeLedger:
    """Keeps what is booked; takes one turn of the loop for it, and may be broken."""

    broken: bool = False
    booked: list[tuple[str, Answer | None]] = field(default_factory=list)
    calls: list[ModelCall] = field(default_factory=list)

    async def record(
        self,
        question: Question,
        answer: Answer | None,
        *,
        outcome: str,
        seconds: float,
        calls: Sequence[ModelCall] = (),
    ) -> None:
        await asyncio.sleep(0)
        if self.broken:
            raise StorageUnavailable("The disk is full.")
        assert seconds >= 0
        self.booked.append((outcome, answer))
        self.calls.extend(calls)

    @property
    def outcomes(self) -> list[str]:
        return [outcome for outcome, _ in self.booked]


@dataclass
class Journey:
    """A pipeline and the fakes in it."""

    asking: FakeAsking = field(default_factory=FakeAsking)
    router: FakeRouter = field(default_factory=FakeRouter)
    classifier: FakeClassifier = field(default_factory=FakeClassifier)
    ledger: FakeLedger = field(default_factory=FakeLedger)
    timeout_seconds: float = 60.0

    def pipeline(self) -> QuestionPipeline:
        return QuestionPipeline(
            detector=FakeDetector(),
            rewriter=FakeRewriter(),
            translator=FakeTranslator(),
            classifier=self.classifier,
            router=self.router,
            asking=self.asking,
            ledger=self.ledger,
            mode="mix",
            timeout_seconds=self.timeout_seconds,
        )

    async def events(self, text: str = "What happens?", *history: str) -> list[Event]:
        return [event async for event in self.pipeline().ask(question(text, *history))]

    async def answer(self, text: str = "What happens?", *history: str) -> Answer:
        last = (await self.events(text, *history))[-1]
        assert isinstance(last, Finished)
        return last.answer


def question(text: str = "What happens?", *history: str) -> Question:
    return Question(text=text, user_id="u", thread_id="t", asked_at=datetime(2025, 1, 1, tzinfo=UTC), history=history)


def test_it_is_a_pipeline() -> None:
    pipeline: Pipeline = Journey().pipeline()

    assert pipeline


async def test_every_stage_begins_and_ends_in_running_order() -> None:
    events = await Journey().events()

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
    assert (answer.generation, answer.mode, answer.citations) == ("g0001", "mix", (CITATION,))
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
    assert (await Journey().answer("Was lässt den Zucker für Stunden steigen?")).language == "de"


async def test_a_question_of_another_language_is_searched_in_english_and_that_is_told() -> None:
    journey = Journey()

    answer = await journey.answer("Was lässt den Zucker für Stunden steigen?")

    assert journey.asking.asked[0].search_text == "[de] Was lässt den Zucker für Stunden steigen?"
    assert answer.notice == IN_ENGLISH


async def test_an_answer_written_in_the_askers_language_is_not_told_to_be_english() -> None:
    journey = Journey(asking=FakeAsking(draft=replace(ANSWERED, written=True)))

    assert (await journey.answer("Was lässt den Zucker für Stunden steigen?")).notice is None


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
