"""Answers from the papers: written by a model, or sentences of them, and what happens in between."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from cmo.dispatch.bill import Bill
from cmo.engines.library import (
    MODEL_FAILED,
    MODEL_LATE,
    NEAREST,
    NOT_ANSWERED,
    NOT_CITED,
    SEE_ALSO,
    UNSURE,
    PapersEngine,
    reading_order,
)
from cmo.errors import EngineUnavailable, ModelUnavailable
from cmo.interfaces import Book
from cmo.models.writing import MOST_PASSAGES, NOT_IN_THE_PAPERS
from cmo.values import (
    CallOutcome,
    CallStage,
    Draft,
    EngineEvent,
    EngineRequest,
    EvidenceSentence,
    ModelCall,
    Passage,
    Progress,
    Prompt,
    Question,
    Retrieval,
    ScoredPassage,
    Selection,
    TextPiece,
    TextWithdrawn,
    Tuning,
)
from tests.engines.fakes import document

MARK = "0123456789abcdef"
CALL = ModelCall(
    engine="lightrag", model="writer-1", stage=CallStage.ANSWER, outcome=CallOutcome.OK, cost_usd=0.002, tokens_out=9
)
GLUCOSE = "Glucose was higher in the patients with diabetes."
LACTATE = "Lactate predicted death in the patients with sepsis."
UREA = "Urea was higher in the patients with kidney failure."


def passage(text: str, *, page: int = 1, paper: int = 1, number: int = 0) -> ScoredPassage:
    of = document(paper)
    return ScoredPassage(
        passage=Passage(
            chunk_id=f"{of.doc_id}-p{page:04d}-c{number:02d}",
            doc_id=of.doc_id,
            page=page,
            start=0,
            end=len(text),
            text=text,
        ),
        document=of,
        score=1.0,
    )


def sentence(found: ScoredPassage) -> EvidenceSentence:
    """The passage's text as evidence."""
    text = found.passage.text
    return EvidenceSentence(
        text=text, passage=found.passage, document=found.document, start=0, end=len(text), score=1.0
    )


THREE = (passage(GLUCOSE, page=1), passage(LACTATE, page=2), passage(UREA, page=3))
SURE = Selection(sentences=(sentence(THREE[0]),), nearest=(sentence(THREE[1]),), confidence=0.9)
NOTHING = Selection(sentences=(), nearest=(), confidence=0.0)


@dataclass
class FakeSearch:
    """Finds the same passages for every question."""

    passages: Sequence[ScoredPassage] = THREE
    degraded: str | None = None
    error: Exception | None = None
    state: str = "g0001.7"
    asked: list[tuple[str, int, str]] = field(default_factory=list)
    own_words: list[str] = field(default_factory=list)

    async def retrieve(self, question: str, *, top_k: int, mode: str = "mix", asked: str = "") -> Retrieval:
        self.asked.append((question, top_k, mode))
        self.own_words.append(asked)
        if self.error is not None:
            raise self.error
        return Retrieval(passages=tuple(self.passages), generation="g0001", seconds=0.1, degraded=self.degraded)

    async def version(self) -> str:
        return self.state


@dataclass
class FakeReader:
    """Selects what it is told to."""

    selection: Selection = SURE
    name: str = "reader-1"
    error: Exception | None = None

    async def select(self, question: str, passages: Sequence[ScoredPassage]) -> Selection:
        if self.error is not None:
            raise self.error
        return self.selection

    async def coverage(self, question: str, passages: Sequence[ScoredPassage]) -> float:
        return len(passages) / 10


@dataclass
class FakeWriter:
    """Writes its pieces, then hangs, fails or ends; books each call when that is over."""

    pieces: Sequence[str] = ("Glucose rises. [1]",)
    error: Exception | None = None
    hangs: bool = False
    name: str = "writer-1"
    prompts: list[Prompt] = field(default_factory=list)
    priced: list[Prompt] = field(default_factory=list)

    def ceiling_usd(self, prompt: Prompt) -> float:
        self.priced.append(prompt)
        return len(prompt.user) / 1_000_000

    async def stream(self, prompt: Prompt, *, stage: CallStage, book: Book) -> AsyncIterator[str]:
        assert stage is CallStage.ANSWER
        self.prompts.append(prompt)
        try:
            for piece in self.pieces:
                yield piece
            if self.hangs:
                await asyncio.Event().wait()
            if self.error is not None:
                raise self.error
        finally:
            book(CALL)

    async def complete(self, prompt: Prompt, *, stage: CallStage, book: Book) -> str:
        raise AssertionError("answers are streamed")


@dataclass
class World:
    """The engine among fakes; without a writer unless it is given one."""

    writer: FakeWriter | None = None
    search: FakeSearch = field(default_factory=FakeSearch)
    reader: FakeReader = field(default_factory=FakeReader)
    bill: Bill = field(default_factory=Bill)
    new_mark: Callable[[], str] = lambda: MARK

    @property
    def engine(self) -> PapersEngine:
        return PapersEngine(
            search=self.search, reader=self.reader, writer=self.writer, top_k=20, new_mark=self.new_mark
        )

    async def events(self, asked: EngineRequest | None = None) -> list[EngineEvent]:
        async with aclosing(cast("Any", self.engine.ask(asked or request(), self.bill.book))) as events:
            return [event async for event in events]

    async def draft(self, asked: EngineRequest | None = None) -> Draft:
        *before, last = await self.events(asked)
        assert isinstance(last, Draft)
        assert not any(isinstance(event, Draft) for event in before)
        return last


def writing(*pieces: str, **more: Any) -> World:
    """A world whose model writes these pieces."""
    return World(writer=FakeWriter(pieces=pieces, **more))


def request(**more: Any) -> EngineRequest:
    question = Question(
        text="And in sepsis?",
        standalone="What rises in sepsis?",
        user_id="ann",
        thread_id="t",
        asked_at=datetime(2025, 1, 1, tzinfo=UTC),
    )
    known: dict[str, Any] = {"question": question, "search_text": "rises in sepsis", "seconds": 5.0}
    return EngineRequest(**(known | more))


def left_on_the_screen(events: Sequence[EngineEvent]) -> str:
    """The text that stands there in the end."""
    withdrawn = max((index for index, event in enumerate(events) if isinstance(event, TextWithdrawn)), default=-1)
    return "".join(event.text for event in events[withdrawn + 1 :] if isinstance(event, TextPiece))


# Written answers


async def test_a_model_writes_the_answer_and_each_marker_has_its_page() -> None:
    draft = await writing("Glucose rises. [1] Lactate", " tells who dies. [2]").draft()

    assert (draft.text, draft.answered, draft.written, draft.model) == (
        "Glucose rises. [1] Lactate tells who dies. [2]",
        True,
        True,
        "writer-1",
    )
    assert [(citation.number, citation.page, citation.quote) for citation in draft.citations] == [
        (1, 1, GLUCOSE),
        (2, 2, LACTATE),
    ]
    assert (draft.generation, draft.confidence, draft.degraded, draft.notices) == ("g0001", 0.9, False, ())


async def test_what_is_streamed_is_the_answer() -> None:
    world = writing("Glucose ", "rises.", " [", "2", "] And lactate. [7", "] ")

    events = await world.events()

    draft = events[-1]
    assert isinstance(draft, Draft)
    assert left_on_the_screen(events).strip() == draft.text == "Glucose rises. [1] And lactate."
    assert isinstance(events[0], Progress)
    assert world.bill.calls == (CALL,)


async def test_markers_are_numbered_by_first_use() -> None:
    draft = await writing("Urea rises. [3] Glucose rises. [1] Urea again. [3]").draft()

    assert draft.text == "Urea rises. [1] Glucose rises. [2] Urea again. [1]"
    assert [citation.page for citation in draft.citations] == [3, 1]


async def test_passages_of_one_page_are_one_source() -> None:
    world = writing("Glucose rises. [1] [2] And lactate. [2]")
    world.search.passages = (passage(GLUCOSE, number=0), passage(LACTATE, number=1))
    world.reader.selection = NOTHING

    draft = await world.draft()

    assert draft.text == "Glucose rises. [1] And lactate. [1]"
    assert [(citation.number, citation.page) for citation in draft.citations] == [(1, 1)]


async def test_a_marker_that_names_no_passage_is_left_out_and_counted() -> None:
    draft = await writing("Glucose rises. [1] [9] So does fame. [0]").draft()

    assert (draft.text, draft.dropped_markers) == ("Glucose rises. [1] So does fame.", 2)


async def test_a_marker_of_a_passage_that_was_found_but_not_shown_to_the_model_is_left_out_and_counted() -> None:
    found = tuple(passage(f"Glucose was {page} mM.", page=page) for page in range(1, MOST_PASSAGES + 3))
    world = writing(f"It was high. [{MOST_PASSAGES}] And low. [{MOST_PASSAGES + 1}]")
    world.search.passages, world.reader.selection = found, NOTHING

    draft = await world.draft()

    assert (draft.text, draft.dropped_markers) == ("It was high. [1] And low.", 1)
    assert [citation.page for citation in draft.citations] == [MOST_PASSAGES]


@pytest.mark.parametrize("text", ["Glucose rises.", "Glucose rises. [9]"])
async def test_an_answer_that_names_no_passage_says_that_it_cannot_be_checked(text: str) -> None:
    draft = await writing(text).draft()

    assert (draft.text, draft.citations, draft.notices) == ("Glucose rises.", (), (NOT_CITED,))


async def test_the_model_reads_first_what_holds_the_best_sentences_and_is_asked_the_whole_question() -> None:
    world = writing("Urea rises. [1]")
    world.reader.selection = Selection(sentences=(sentence(THREE[2]),), nearest=(sentence(THREE[1]),), confidence=0.9)

    draft = await world.draft()

    assert world.writer is not None
    [prompt] = world.writer.prompts
    assert prompt.user.index(UREA) < prompt.user.index(LACTATE) < prompt.user.index(GLUCOSE)
    assert prompt.user.endswith("Question: What rises in sepsis?\nIn English: rises in sepsis")
    assert [citation.page for citation in draft.citations] == [3]


@pytest.mark.parametrize("world", [World(), writing("Glucose rises. [1]"), writing(NOT_IN_THE_PAPERS)])
async def test_every_citation_carries_the_passage_it_can_be_checked_against(world: World) -> None:
    draft = await world.draft()

    assert draft.citations
    assert all(citation.quote and citation.quote in citation.passage for citation in draft.citations)


async def test_every_request_has_a_mark_of_its_own() -> None:
    numbers = itertools.count()
    world = writing()
    world.new_mark = lambda: f"{next(numbers):016d}"

    await world.events()
    await world.events()

    assert world.writer is not None
    first, second = world.writer.prompts
    assert ("0" * 16 in first.system, "0" * 16 in second.system) == (True, False)


async def test_a_search_that_worked_only_in_part_is_told_with_a_written_answer_too() -> None:
    world = writing("Glucose rises. [1]")
    world.search.degraded = "The graph failed."

    draft = await world.draft()

    assert (draft.degraded, draft.notices) == (True, ("The graph failed.",))


# The papers do not answer


def cuts(text: str) -> list[tuple[str, ...]]:
    """A text whole, by letters, and cut in two at every place."""
    return [(text,), tuple(text), *((text[:at], text[at:]) for at in range(1, len(text)))]


@pytest.mark.parametrize("pieces", cuts(NOT_IN_THE_PAPERS))
async def test_that_the_papers_do_not_answer_is_heard_however_it_is_cut(pieces: tuple[str, ...]) -> None:
    events = await writing(*pieces).events()

    draft = events[-1]
    assert isinstance(draft, Draft)
    assert (draft.answered, draft.written, draft.model) == (False, False, "writer-1")
    assert draft.text == left_on_the_screen(events) == f"{NOT_ANSWERED} {NEAREST}"
    assert [citation.page for citation in draft.citations] == [1, 2]
    assert (draft.degraded, draft.notices) == (False, ())


@pytest.mark.parametrize(
    "text",
    [
        f"\n {NOT_IN_THE_PAPERS}",
        f"**{NOT_IN_THE_PAPERS}**",
        f'"{NOT_IN_THE_PAPERS}."',
        f"{NOT_IN_THE_PAPERS}. But. [1]",
    ],
)
async def test_what_a_model_puts_around_it_changes_nothing(text: str) -> None:
    events = await writing(*text).events()

    assert isinstance(events[-1], Draft)
    assert not events[-1].answered
    assert left_on_the_screen(events) == f"{NOT_ANSWERED} {NEAREST}"


@pytest.mark.parametrize("text", ["NOT IN THE PANCREAS. [1]", "NOT", "**Glucose** rises. [1]", "No. [1]", '"Yes." [1]'])
async def test_an_answer_that_begins_like_it_comes_through_whole(text: str) -> None:
    draft = await writing(*text).draft()

    assert (draft.answered, draft.text) == (True, text)


@pytest.mark.parametrize("pieces", [(), ("", " \n"), ("[9]",)])
async def test_a_model_that_writes_nothing_has_not_answered(pieces: tuple[str, ...]) -> None:
    draft = await writing(*pieces).draft()

    assert (draft.answered, draft.text) == (False, f"{NOT_ANSWERED} {NEAREST}")


# The model fails


FAILURES = [ModelUnavailable("The model server is busy."), ModelUnavailable("The connection broke.")]


@pytest.mark.parametrize("pieces", [(), ("Glu",), ("Glucose rises. [1] And",), ("NOT IN",)])
@pytest.mark.parametrize("error", FAILURES, ids=str)
async def test_when_the_model_fails_its_text_is_taken_back_and_sentences_of_the_papers_stand_in(
    pieces: tuple[str, ...], error: ModelUnavailable
) -> None:
    world = writing(*pieces, error=error)

    events = await world.events()

    [withdrawn] = [event for event in events if isinstance(event, TextWithdrawn)]
    draft = events[-1]
    assert isinstance(draft, Draft)
    assert withdrawn.reason == f"{error} {MODEL_FAILED}"
    assert draft.text == left_on_the_screen(events) == f"{GLUCOSE} [1]\n\n{SEE_ALSO} [2]"
    assert (draft.written, draft.model, draft.answered) == (False, "reader-1", True)
    assert (draft.degraded, draft.notices) == (True, (withdrawn.reason,))
    assert world.bill.calls == (CALL,)


async def test_a_model_that_does_not_end_in_time_is_stopped_and_sentences_stand_in() -> None:
    world = writing("Glucose", hangs=True)

    async with asyncio.timeout(5):
        draft = await world.draft(request(seconds=0.1))

    assert draft.notices == (f"{MODEL_LATE} {MODEL_FAILED}",)
    assert (draft.written, draft.degraded, world.bill.calls) == (False, True, (CALL,))


async def test_a_failed_model_does_not_make_an_answer_of_papers_that_have_none() -> None:
    world = writing(error=FAILURES[0])
    world.reader.selection = replace(SURE, sentences=(), nearest=SURE.sentences)

    draft = await world.draft()

    assert (draft.answered, draft.degraded, draft.text) == (False, True, f"{NOT_ANSWERED} {NEAREST}")


async def test_a_mistake_of_ours_is_not_taken_for_a_failure_of_the_model() -> None:
    with pytest.raises(ZeroDivisionError):
        await writing("Glucose", error=ZeroDivisionError()).events()


async def test_whoever_stops_ends_the_models_call() -> None:
    world = writing("Glucose rises and falls", hangs=True)
    events = cast("Any", world.engine.ask(request(), world.bill.book))
    while not isinstance(await anext(events), TextPiece):
        pass

    await events.aclose()

    assert world.bill.calls == (CALL,)


# Sentences of the papers


async def test_without_a_model_the_answer_is_sentences_with_their_pages() -> None:
    events = await World().events()

    draft = events[-1]
    assert isinstance(draft, Draft)
    assert draft.text == left_on_the_screen(events) == f"{GLUCOSE} [1]\n\n{SEE_ALSO} [2]"
    assert [(citation.page, citation.quote) for citation in draft.citations] == [(1, GLUCOSE), (2, LACTATE)]
    assert (draft.model, draft.written, draft.degraded, draft.notices) == ("reader-1", False, False, ())


async def test_a_request_that_may_cost_nothing_never_reaches_the_model() -> None:
    world = writing()

    draft = await world.draft(request(free=True))

    assert world.writer is not None
    assert (draft.text, world.writer.prompts, world.bill.calls) == (f"{GLUCOSE} [1]\n\n{SEE_ALSO} [2]", [], ())
    assert (draft.degraded, draft.notices) == (False, ())


@pytest.mark.parametrize(("confidence", "notices"), [(0.49, (UNSURE,)), (0.5, ())])
async def test_an_uncertain_match_is_told(confidence: float, notices: tuple[str, ...]) -> None:
    draft = await World(reader=FakeReader(replace(SURE, confidence=confidence))).draft()

    assert draft.notices == notices


async def test_no_answer_is_never_called_uncertain() -> None:
    draft = await World(reader=FakeReader(replace(SURE, sentences=(), confidence=0.1))).draft()

    assert (draft.answered, draft.notices) == (False, ())


async def test_an_empty_library_does_not_answer_and_no_model_is_asked() -> None:
    world = writing()
    world.search.passages, world.search.degraded, world.reader.selection = (), "No paper is indexed yet.", NOTHING

    draft = await world.draft()

    assert world.writer is not None
    assert (draft.text, draft.answered, draft.citations) == (NOT_ANSWERED, False, ())
    assert draft.notices == ("No paper is indexed yet.",)
    assert world.writer.prompts == []


# Around the answer


@pytest.mark.parametrize("error", [EngineUnavailable("No search worked."), ModelUnavailable("No weights.")])
async def test_what_keeps_from_searching_or_reading_comes_through(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        await World(search=FakeSearch(error=error)).events()
    with pytest.raises(type(error), match=str(error)):
        await World(reader=FakeReader(error=error)).events()


async def test_the_search_words_the_depth_and_the_mode_are_searched_by() -> None:
    world = World()

    draft = await world.draft(request(mode="local"))

    assert (world.search.asked, draft.mode) == ([("rises in sepsis", 20, "local")], "local")


async def test_what_was_found_is_told_before_anything_is_written() -> None:
    first, *_ = await writing().events()

    assert isinstance(first, Progress)
    assert first.text.startswith("Passages read: 3, of papers: 1. Sentences that fit: 1 ")


@pytest.mark.parametrize(("state", "available"), [("", False), ("g0001.7", True)])
async def test_it_can_be_asked_when_there_is_a_paper(state: str, available: bool) -> None:
    assert await World(search=FakeSearch(state=state)).engine.is_available() is available


async def test_another_index_or_another_model_is_another_version() -> None:
    versions = [
        await World().engine.version(),
        await writing().engine.version(),
        await World(search=FakeSearch(state="g0001.8")).engine.version(),
    ]

    assert len(set(versions)) == 3


async def test_the_most_it_can_cost_is_the_largest_prompt_and_sentences_cost_nothing() -> None:
    world = writing()
    await world.events()
    assert world.writer is not None
    [asked] = world.writer.prompts

    assert world.engine.ceiling_usd(request()) > len(asked.user) / 1_000_000
    assert world.engine.ceiling_usd(request(free=True)) == 0.0
    assert World().engine.ceiling_usd(request()) == 0.0


async def test_coverage_is_that_of_the_passages_found() -> None:
    world = World()

    assert await world.engine.coverage("urea") == pytest.approx(0.3)
    assert [(question, top_k) for question, top_k, _ in world.search.asked] == [("urea", 20)]


def test_the_reading_order_holds_every_passage_once() -> None:
    stray = sentence(passage("Somewhere else.", page=9))
    found = Retrieval(passages=THREE, generation="g", seconds=0.0)
    selection = Selection(sentences=(sentence(THREE[1]), stray), nearest=(sentence(THREE[1]),), confidence=0.5)

    assert reading_order(found, selection) == (THREE[1], THREE[0], THREE[2])


async def test_a_variant_can_change_how_much_is_read_and_how_long_and_freely_is_written() -> None:
    world = writing("Glucose rises. [1]")
    tuned = request(tuning=Tuning(top_k=3, max_tokens=90, temperature=0.7))
    world.engine.ceiling_usd(tuned)
    await world.draft(tuned)

    assert world.writer is not None
    assert [(prompt.max_tokens, prompt.temperature) for prompt in world.writer.prompts] == [(90, 0.7)]
    assert [prompt.max_tokens for prompt in world.writer.priced] == [90]
    assert [top_k for _, top_k, _ in world.search.asked] == [3]
