"""The journey of one question: its events in order, and exactly one record of it however it ends."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from cmo.errors import EngineUnavailable, ModelUnavailable, OracleError, QuestionTooLong, StorageUnavailable
from cmo.interfaces import Pipeline
from cmo.pipeline import IN_ENGLISH, NEAREST, NOT_ANSWERED, ONLY_ENGINE, QuestionPipeline
from cmo.values import (
    Answer,
    Document,
    Event,
    EvidenceSentence,
    Extraction,
    Finished,
    Keywords,
    Passage,
    Question,
    Retrieval,
    ScoredPassage,
    Selection,
    Stage,
    StageEnded,
    StageStarted,
    TextPiece,
)

PAGE = "Glucose rose. Lactate fell. Urea stayed."
DOCUMENT = Document(doc_id="doc-1", file="one.pdf", title="One", pages=3)
PASSAGE = Passage(chunk_id="doc-1-p0002-c00", doc_id="doc-1", page=2, start=0, end=len(PAGE), text=PAGE)


def evidence(text: str) -> EvidenceSentence:
    start = PAGE.index(text)
    return EvidenceSentence(
        text=text, passage=PASSAGE, document=DOCUMENT, start=start, end=start + len(text), score=1.0
    )


ANSWERED = Selection(sentences=(evidence("Glucose rose."), evidence("Urea stayed.")), nearest=(), confidence=0.9)
REFUSED = Selection(sentences=(), nearest=(evidence("Lactate fell."),), confidence=0.1)
NOTHING = Selection(sentences=(), nearest=(), confidence=0.0)


@dataclass
class FakeRetriever:
    """Finds one passage, or nothing, or fails; waits for ever when it is to hang."""

    empty: bool = False
    degraded: str | None = None
    error: OracleError | None = None
    hangs: bool = False
    asked: list[str] = field(default_factory=list)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)

    async def retrieve(self, question: str, *, top_k: int) -> Retrieval:
        self.asked.append(question)
        if self.hangs:
            self.waiting.set()
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        found = () if self.empty else (ScoredPassage(passage=PASSAGE, document=DOCUMENT, score=1.0),)
        return Retrieval(passages=found[:top_k], generation="g0001-00000000", seconds=0.0, degraded=self.degraded)


@dataclass
class FakeModel:
    """Selects what it is told to, or fails."""

    selection: Selection = ANSWERED
    error: OracleError | None = None
    name: str = "fake-model"

    async def select(self, question: str, passages: Sequence[ScoredPassage]) -> Selection:
        if self.error is not None:
            raise self.error
        return self.selection


class FakeExtractor:
    """Knows glucose and diabetes."""

    fingerprint = "fake-1"

    def extract(self, text: str) -> Extraction:
        return Extraction(entities=(), relations=())

    def keywords(self, question: str) -> Keywords:
        return Keywords(high=(question,), low=())

    def names(self, text: str) -> tuple[str, ...]:
        return tuple(name for name in ("glucose", "diabetes") if name in text.lower())


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

    async def record(self, question: Question, answer: Answer | None, *, outcome: str, seconds: float) -> None:
        await asyncio.sleep(0)
        if self.broken:
            raise StorageUnavailable("The disk is full.")
        assert seconds >= 0
        self.booked.append((outcome, answer))

    @property
    def outcomes(self) -> list[str]:
        return [outcome for outcome, _ in self.booked]


@dataclass
class Journey:
    """A pipeline and the fakes in it."""

    retriever: FakeRetriever = field(default_factory=FakeRetriever)
    model: FakeModel = field(default_factory=FakeModel)
    ledger: FakeLedger = field(default_factory=FakeLedger)
    timeout_seconds: float = 60.0

    def pipeline(self) -> QuestionPipeline:
        return QuestionPipeline(
            retriever=self.retriever,
            model=self.model,
            extractor=FakeExtractor(),
            detector=FakeDetector(),
            translator=FakeTranslator(),
            ledger=self.ledger,
            top_k=5,
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
    assert pieces == events[-1].answer.text == "Glucose rose. [1] Urea stayed. [1]"


async def test_an_answer_says_where_it_comes_from() -> None:
    answer = await Journey().answer()

    assert (answer.answered, answer.model, answer.reason) == (True, "fake-model", ONLY_ENGINE)
    assert answer.generation == "g0001-00000000"
    assert [(citation.document, citation.page, citation.quote) for citation in answer.citations] == [
        ("one.pdf", 2, "Glucose rose. … Urea stayed.")
    ]


async def test_when_the_papers_do_not_answer_it_says_so_and_offers_the_nearest() -> None:
    answer = await Journey(model=FakeModel(selection=REFUSED)).answer()

    assert not answer.answered
    assert answer.text == f"{NOT_ANSWERED} {NEAREST}"
    assert [citation.quote for citation in answer.citations] == ["Lactate fell."]


async def test_with_nothing_near_nothing_is_offered() -> None:
    answer = await Journey(retriever=FakeRetriever(empty=True), model=FakeModel(selection=NOTHING)).answer()

    assert (answer.answered, answer.text, answer.citations) == (False, NOT_ANSWERED, ())


async def test_a_degraded_search_is_told() -> None:
    answer = await Journey(retriever=FakeRetriever(degraded="Half of it failed.")).answer()

    assert answer.notice is not None
    assert "Half of it failed." in answer.notice


async def test_a_sure_answer_carries_no_notice() -> None:
    assert (await Journey().answer()).notice is None


async def test_the_language_of_the_question_is_the_answers() -> None:
    assert (await Journey().answer("Was lässt den Zucker für Stunden steigen?")).language == "de"


async def test_a_question_of_another_language_is_searched_in_english_and_that_is_told() -> None:
    journey = Journey()

    answer = await journey.answer("Was lässt den Zucker für Stunden steigen?")

    assert journey.retriever.asked == ["[de] Was lässt den Zucker für Stunden steigen?"]
    assert answer.notice == IN_ENGLISH


async def test_a_question_that_stands_alone_carries_nothing() -> None:
    journey = Journey()

    await journey.events("Which trials were done in Norway?", "What does glucose do in diabetes?")

    assert journey.retriever.asked == ["Which trials were done in Norway?"]


async def test_a_follow_up_without_names_carries_those_of_the_question_before() -> None:
    journey = Journey()

    await journey.events("And why is that so?", "What does glucose do in diabetes?")

    [asked] = journey.retriever.asked
    assert asked.startswith("And why is that so?")
    assert "glucose" in asked
    assert "diabetes" in asked


async def test_a_follow_up_with_a_name_stands_alone() -> None:
    journey = Journey()

    await journey.events("And glucose?", "What happens in diabetes?")

    assert journey.retriever.asked == ["And glucose?"]


async def test_a_follow_up_to_a_question_without_names_carries_its_words() -> None:
    journey = Journey()

    await journey.events("And why?", "What rose?")

    assert journey.retriever.asked == ["What rose? And why?"]


# Exactly one record of each question.


@pytest.mark.parametrize(("selection", "outcome"), [(ANSWERED, "answered"), (REFUSED, "refused")])
async def test_a_finished_question_is_booked_once_with_its_answer(selection: Selection, outcome: str) -> None:
    journey = Journey(model=FakeModel(selection=selection))

    answer = await journey.answer()

    assert journey.ledger.booked == [(outcome, answer)]


async def test_a_ledger_that_cannot_be_written_costs_nobody_the_answer() -> None:
    answer = await Journey(ledger=FakeLedger(broken=True)).answer()

    assert answer.answered


@pytest.mark.parametrize(
    "journey",
    [
        Journey(retriever=FakeRetriever(error=EngineUnavailable("nothing works"))),
        Journey(model=FakeModel(error=ModelUnavailable("no weights"))),
    ],
    ids=["search", "model"],
)
async def test_a_failed_question_is_booked_once_and_its_error_comes_through(journey: Journey) -> None:
    with pytest.raises(OracleError, match=r"nothing works|no weights"):
        await journey.events()

    assert journey.ledger.booked == [("failed", None)]


async def test_a_search_that_takes_too_long_is_given_up_and_booked_as_failed() -> None:
    journey = Journey(retriever=FakeRetriever(hangs=True), timeout_seconds=0.01)

    with pytest.raises(EngineUnavailable, match=r"longer than 0\.01 seconds"):
        await journey.events()

    assert journey.ledger.booked == [("failed", None)]


async def test_a_question_cancelled_while_searching_is_booked_once_as_stopped() -> None:
    journey = Journey(retriever=FakeRetriever(hangs=True))
    under_way = asyncio.create_task(journey.events())
    await journey.retriever.waiting.wait()

    under_way.cancel()
    with pytest.raises(asyncio.CancelledError):
        await under_way

    assert journey.ledger.booked == [("stopped", None)]


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

        async def record(self, question: Question, answer: Answer | None, *, outcome: str, seconds: float) -> None:
            self.begun.set()
            await super().record(question, answer, outcome=outcome, seconds=seconds)
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
