"""Searching the serving generation: fusion, failures of a part, and generations that follow one another."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmo.engines.papers import (
    DEPTH,
    GRAPH_FAILED,
    GRAPH_MODES,
    NOT_INDEXED,
    TEXT_FAILED,
    UNREADABLE,
    PapersRetriever,
    fuse,
    search_words,
)
from cmo.errors import EngineUnavailable, IndexDamaged, ModelUnavailable
from cmo.library.generations import POINTER, GenerationInfo, Recipe, create, generations, prepare, serve
from cmo.storage.manifest import SCHEMA, FileRow, Manifest, StoredDocument, StoredPage
from cmo.values import Document, Entity, Extraction, FileStatus, Keywords, Passage

TEXTS = {1: "Glucose rises in diabetes.", 2: "Lactate rises in sepsis.", 3: "Urea rises in kidney failure."}


class FakeExtractor:
    """Knows one synonym."""

    fingerprint = "fake-1"

    def extract(self, text: str) -> Extraction:
        return Extraction(entities=(Entity(name=text, type="Thing"),), relations=())

    def keywords(self, question: str) -> Keywords:
        return Keywords(high=(question,), low=())

    def names(self, text: str) -> tuple[str, ...]:
        return ()

    def synonyms(self, text: str) -> Sequence[str]:
        return ("urea",) if "carbamide" in text else ()


@dataclass
class FakeGraph:
    """Finds what it is told to find, or fails; waits for `gate` when there is one."""

    finds: Sequence[str] = ()
    cannot_open: bool = False
    cannot_search: bool = False
    gate: asyncio.Event | None = None
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    opened: int = 0
    closed: int = 0
    modes: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)

    async def open(self) -> None:
        self.opened += 1
        if self.cannot_open:
            raise IndexDamaged("made with another embedder")

    async def close(self) -> None:
        self.closed += 1

    async def retrieve(
        self, question: str, keywords: Keywords, *, top_k: int, mode: str = "mix"
    ) -> Sequence[tuple[str, float]]:
        self.modes.append(mode)
        self.questions.append(question)
        self.asked.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.cannot_search:
            raise EngineUnavailable("timed out")
        return [(chunk_id, 1.0) for chunk_id in self.finds]


def doc_id(number: int) -> str:
    return f"doc-{number:016x}"


def chunk_id(number: int) -> str:
    return f"{doc_id(number)}-p0001-c00"


def add(manifest: Manifest, number: int, *, published: bool = True) -> None:
    text = TEXTS[number]
    passage = Passage(chunk_id=chunk_id(number), doc_id=doc_id(number), page=1, start=0, end=len(text), text=text)
    document = Document(doc_id=doc_id(number), file=f"{number}.pdf", title=f"Paper {number}", pages=1)
    sha256 = f"{number:016x}" + "0" * 48
    manifest.add(StoredDocument(document=document, sha256=sha256, pages=(StoredPage(text=text),), passages=(passage,)))
    if published:
        row = FileRow(
            path=document.file, size=1, mtime_ns=1, inode=number, sha256=sha256, status=FileStatus.INDEXED, passages=1
        )
        manifest.publish(document.doc_id, row)


def build(storage: Path, *documents: int, name: str = "1") -> GenerationInfo:
    """A generation with these documents, serving."""
    prepare(storage)
    recipe = Recipe(reader=name, passages="1", embedder="e", extractor="x", graph="g", schema=SCHEMA)
    info = create(storage, recipe)
    manifest = Manifest(info.database, writable=True)
    for number in documents:
        add(manifest, number)
    manifest.close()
    serve(storage, info)
    return info


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    return tmp_path / "storage"


@pytest.fixture
async def searching(storage: Path) -> AsyncIterator[Callable[..., PapersRetriever]]:
    """Makes a retriever over `storage`, with a graph for each generation in turn."""
    made: list[PapersRetriever] = []

    def make(*graphs: FakeGraph, multilingual: bool = False) -> PapersRetriever:
        waiting = iter(graphs)
        made.append(
            PapersRetriever(
                storage=storage,
                make_graph=lambda _: next(waiting),
                extractor=FakeExtractor(),
                multilingual=multilingual,
            )
        )
        return made[-1]

    yield make
    for retriever in made:
        await retriever.close()


async def found(retriever: PapersRetriever, question: str, top_k: int = 10) -> list[str]:
    return [scored.passage.chunk_id for scored in (await retriever.retrieve(question, top_k=top_k)).passages]


Searching = Callable[..., PapersRetriever]


async def test_a_library_without_an_index_finds_nothing_and_says_so(searching: Searching) -> None:
    retrieval = await searching().retrieve("What is glucose?", top_k=5)

    assert (retrieval.passages, retrieval.generation, retrieval.degraded) == ((), "", NOT_INDEXED)


async def test_what_both_searches_find_comes_first(storage: Path, searching: Searching) -> None:
    build(storage, 1, 2, 3)
    retriever = searching(FakeGraph(finds=[chunk_id(3), chunk_id(2)]))

    assert await found(retriever, "lactate") == [chunk_id(2), chunk_id(3)]


async def test_a_passage_comes_with_its_document_and_text(storage: Path, searching: Searching) -> None:
    info = build(storage, 1)

    retrieval = await searching(FakeGraph()).retrieve("glucose", top_k=5)

    [scored] = retrieval.passages
    assert (scored.passage.text, scored.document.title, retrieval.generation) == (TEXTS[1], "Paper 1", info.name)
    assert retrieval.degraded is None


async def test_no_more_passages_than_asked_for(storage: Path, searching: Searching) -> None:
    build(storage, 1, 2, 3)

    assert len(await found(searching(FakeGraph()), "rises", top_k=2)) == 2


async def test_the_graph_is_asked_in_every_mode_and_opened_once(storage: Path, searching: Searching) -> None:
    build(storage, 1)
    graph = FakeGraph()
    retriever = searching(graph)

    await found(retriever, "glucose")
    await found(retriever, "lactate")

    assert graph.modes == [*GRAPH_MODES, *GRAPH_MODES]
    assert graph.opened == 1


@pytest.mark.parametrize(("multilingual", "compared"), [(True, "Steigt Glukose?"), (False, "glucose rises")])
async def test_multilingual_vectors_are_compared_with_the_question_as_it_was_asked(
    storage: Path, searching: Searching, multilingual: bool, compared: str
) -> None:
    build(storage, 1)
    graph = FakeGraph()

    retrieval = await searching(graph, multilingual=multilingual).retrieve(
        "glucose rises", top_k=5, asked="Steigt Glukose?"
    )

    assert set(graph.questions) == {compared}
    assert [found.passage.chunk_id for found in retrieval.passages] == [chunk_id(1)], "the text is English"


@pytest.mark.parametrize("mode", ["local", "global", "hybrid", "naive"])
async def test_every_mode_but_mix_goes_alone_and_the_text_is_searched_besides(
    storage: Path, searching: Searching, mode: str
) -> None:
    build(storage, 1, 2)
    graph = FakeGraph(finds=[chunk_id(1)])

    retrieval = await searching(graph).retrieve("lactate", top_k=5, mode=mode)

    assert graph.modes == [mode]
    assert {scored.passage.chunk_id for scored in retrieval.passages} == {chunk_id(1), chunk_id(2)}


async def test_a_question_is_searched_by_other_names_too(storage: Path, searching: Searching) -> None:
    build(storage, 1, 3)

    assert await found(searching(FakeGraph()), "carbamide") == [chunk_id(3)]


async def test_function_words_do_not_search() -> None:
    assert search_words("What is the role of beta-alanine in it?") == ["role", "beta-alanine"]


@pytest.mark.parametrize("graph", [FakeGraph(cannot_open=True), FakeGraph(cannot_search=True)], ids=["open", "search"])
async def test_when_the_graph_fails_the_text_answers_and_the_person_is_told(
    storage: Path, searching: Searching, graph: FakeGraph
) -> None:
    build(storage, 1, 2)

    retrieval = await searching(graph).retrieve("lactate", top_k=5)

    assert [scored.passage.chunk_id for scored in retrieval.passages] == [chunk_id(2)]
    assert retrieval.degraded == GRAPH_FAILED


async def test_when_the_embedding_model_is_missing_the_person_is_told_which_and_what_to_do(
    storage: Path, searching: Searching
) -> None:
    class WithoutModel(FakeGraph):
        async def open(self) -> None:
            raise ModelUnavailable("The index was made with text-embedding-3-small: configure it again.")

    build(storage, 1, 2)

    retrieval = await searching(WithoutModel()).retrieve("lactate", top_k=5)

    assert [scored.passage.chunk_id for scored in retrieval.passages] == [chunk_id(2)]
    assert retrieval.degraded == (f"{GRAPH_FAILED} The index was made with text-embedding-3-small: configure it again.")


async def test_a_model_that_cannot_be_found_while_the_graph_is_made_is_told_too(storage: Path) -> None:
    def make_graph(_: GenerationInfo) -> FakeGraph:
        raise ModelUnavailable("Configure the model again.")

    build(storage, 1)
    retriever = PapersRetriever(storage=storage, make_graph=make_graph, extractor=FakeExtractor())

    assert (await retriever.retrieve("glucose", top_k=5)).degraded == f"{GRAPH_FAILED} Configure the model again."
    await retriever.close()


async def test_a_graph_that_could_not_be_opened_is_tried_again(storage: Path, searching: Searching) -> None:
    build(storage, 1)
    retriever = searching(FakeGraph(cannot_open=True), FakeGraph(finds=[chunk_id(1)]))

    assert (await retriever.retrieve("glucose", top_k=5)).degraded == GRAPH_FAILED
    assert (await retriever.retrieve("glucose", top_k=5)).degraded is None


async def test_without_a_graph_the_text_answers_and_nothing_is_amiss(storage: Path) -> None:
    build(storage, 1, 2)
    retriever = PapersRetriever(storage=storage, make_graph=None, extractor=FakeExtractor())

    retrieval = await retriever.retrieve("lactate", top_k=5)

    assert [scored.passage.chunk_id for scored in retrieval.passages] == [chunk_id(2)]
    assert retrieval.degraded is None


class DamagedText(Manifest):
    """A manifest whose full-text index cannot be read."""

    def search(self, *_: object, **__: object) -> list[tuple[str, float]]:  # type: ignore[override]
        raise IndexDamaged("malformed")


class UnreadableManifest(DamagedText):
    """One of which nothing can be read."""

    def passages(self, chunk_ids: Sequence[str]) -> list[tuple[Passage, Document]]:
        raise IndexDamaged("malformed")


async def test_when_the_text_fails_the_graph_answers_and_the_person_is_told(
    storage: Path, searching: Searching, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(storage, 1, 2)
    monkeypatch.setattr("cmo.engines.papers.Manifest", DamagedText)

    retrieval = await searching(FakeGraph(finds=[chunk_id(1)])).retrieve("lactate", top_k=5)

    assert [scored.passage.chunk_id for scored in retrieval.passages] == [chunk_id(1)]
    assert retrieval.degraded == TEXT_FAILED


async def test_when_both_fail_the_message_says_what_to_do(
    storage: Path, searching: Searching, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(storage, 1)
    monkeypatch.setattr("cmo.engines.papers.Manifest", DamagedText)

    with pytest.raises(EngineUnavailable, match="cmo index"):
        await searching(FakeGraph(cannot_search=True)).retrieve("lactate", top_k=5)


async def test_passages_that_cannot_be_read_are_a_failed_search(
    storage: Path, searching: Searching, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(storage, 1)
    monkeypatch.setattr("cmo.engines.papers.Manifest", UnreadableManifest)

    with pytest.raises(EngineUnavailable, match="malformed"):
        await searching(FakeGraph(finds=[chunk_id(1)])).retrieve("lactate", top_k=5)


async def test_an_index_of_another_program_version_is_a_failed_search(storage: Path, searching: Searching) -> None:
    info = build(storage, 1)
    manifest = Manifest(info.database, writable=True)
    manifest.set_meta({"schema": "another"})
    manifest.close()

    with pytest.raises(EngineUnavailable, match="index the papers again"):
        await searching(FakeGraph()).retrieve("glucose", top_k=5)


async def test_an_unreadable_pointer_is_a_failed_search(storage: Path, searching: Searching) -> None:
    build(storage, 1)
    (storage / POINTER).unlink()
    (storage / POINTER).mkdir()

    with pytest.raises(EngineUnavailable):
        await searching(FakeGraph()).retrieve("glucose", top_k=5)


async def test_a_document_is_found_from_the_moment_it_is_published(storage: Path, searching: Searching) -> None:
    info = build(storage, 1)
    retriever = searching(FakeGraph(finds=[chunk_id(1), chunk_id(2)]))
    writer = Manifest(info.database, writable=True)

    add(writer, 2, published=False)
    before = await found(retriever, "lactate glucose")
    add(writer, 2)
    after = await found(retriever, "lactate glucose")
    writer.close()

    assert (before, sorted(after)) == ([chunk_id(1)], [chunk_id(1), chunk_id(2)])


async def test_the_version_changes_with_whatever_can_be_found(storage: Path, searching: Searching) -> None:
    info = build(storage, 1)
    retriever = searching(FakeGraph(), FakeGraph())
    first = await retriever.version()
    writer = Manifest(info.database, writable=True)
    add(writer, 2, published=False)
    pending = await retriever.version()
    add(writer, 2)
    writer.close()
    published = await retriever.version()
    build(storage, 1, name="2")

    assert pending == first
    assert len({first, published, await retriever.version()}) == 3


async def test_without_a_paper_to_find_there_is_no_version(storage: Path, searching: Searching) -> None:
    retriever = searching(FakeGraph())
    unindexed = await retriever.version()
    build(storage)

    assert (unindexed, await retriever.version()) == ("", "")


async def test_an_index_that_cannot_be_read_is_not_taken_for_an_empty_one(storage: Path, searching: Searching) -> None:
    build(storage, 1)
    (storage / POINTER).unlink()
    (storage / POINTER).mkdir()

    assert await searching(FakeGraph()).version() == UNREADABLE


async def test_many_passages_that_cannot_be_found_yet_do_not_crowd_out_the_others(
    storage: Path, searching: Searching
) -> None:
    build(storage, 1)
    pending = [f"{doc_id(9)}-p{page:04d}-c00" for page in range(1, 3 * DEPTH)]

    assert await found(searching(FakeGraph(finds=[*pending, chunk_id(1)])), "nothing", top_k=1) == [chunk_id(1)]


async def test_the_next_question_is_answered_by_the_generation_that_took_over(
    storage: Path, searching: Searching
) -> None:
    build(storage, 1)
    old, new = FakeGraph(), FakeGraph()
    retriever = searching(old, new)
    await found(retriever, "glucose")

    successor = build(storage, 2, name="2")
    retrieval = await retriever.retrieve("lactate glucose", top_k=5)

    assert retrieval.generation == successor.name
    assert [scored.passage.chunk_id for scored in retrieval.passages] == [chunk_id(2)]
    assert (old.closed, new.closed) == (1, 0)


async def test_a_question_under_way_stays_with_the_generation_it_began_with(
    storage: Path, searching: Searching
) -> None:
    first = build(storage, 1)
    old = FakeGraph(finds=[chunk_id(1)], gate=asyncio.Event())
    retriever = searching(old, FakeGraph())
    under_way = asyncio.create_task(retriever.retrieve("glucose", top_k=5))
    await old.asked.wait()

    build(storage, 2, name="2")
    await found(retriever, "lactate")
    closed_meanwhile = old.closed
    assert old.gate is not None
    old.gate.set()
    retrieval = await under_way

    assert (retrieval.generation, closed_meanwhile, old.closed) == (first.name, 0, 1)
    assert [scored.passage.chunk_id for scored in retrieval.passages] == [chunk_id(1)]


async def test_an_index_that_is_deleted_is_no_index(storage: Path, searching: Searching) -> None:
    build(storage, 1)
    retriever = searching(FakeGraph())
    await found(retriever, "glucose")

    shutil.rmtree(generations(storage)[0].folder)

    assert (await retriever.retrieve("glucose", top_k=5)).degraded == NOT_INDEXED


async def test_a_question_that_is_stopped_lets_go_of_its_generation(storage: Path, searching: Searching) -> None:
    build(storage, 1)
    graph = FakeGraph(gate=asyncio.Event())
    retriever = searching(graph, FakeGraph())
    under_way = asyncio.create_task(retriever.retrieve("glucose", top_k=5))
    await graph.asked.wait()
    under_way.cancel()
    with pytest.raises(asyncio.CancelledError):
        await under_way

    build(storage, 2, name="2")
    await found(retriever, "lactate")

    assert graph.closed == 1


async def test_closing_lets_go_of_the_graph(storage: Path, searching: Searching) -> None:
    build(storage, 1)
    graph = FakeGraph()
    retriever = searching(graph)
    await found(retriever, "glucose")

    await retriever.close()
    await retriever.close()

    assert graph.closed == 1


async def test_what_is_made_ready_need_not_be_opened_by_the_first_question(storage: Path, searching: Searching) -> None:
    build(storage, 1)
    graph = FakeGraph()
    retriever = searching(graph)

    await retriever.get_ready()
    opened_before = graph.opened
    await found(retriever, "glucose")

    assert (opened_before, graph.opened) == (1, 1)


async def test_getting_ready_never_fails(storage: Path, searching: Searching) -> None:
    await searching().get_ready()
    build(storage, 1)
    await searching(FakeGraph(cannot_open=True)).get_ready()


async def test_ten_questions_at_once_open_the_graph_once(storage: Path, searching: Searching) -> None:
    build(storage, 1)
    graph = FakeGraph(finds=[chunk_id(1)])
    retriever = searching(graph)

    answers = await asyncio.gather(*(found(retriever, "glucose") for _ in range(10)))

    assert answers == [[chunk_id(1)]] * 10
    assert graph.opened == 1


rankings = st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True), max_size=4)


@given(rankings)
def test_fusion_holds_everything_once_best_first(lists: list[list[str]]) -> None:
    scores = fuse(lists)

    assert set(scores) == {item for ranking in lists for item in ranking}
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    assert all(score > 0 for score in scores.values())


@given(rankings)
def test_the_order_of_the_rankings_does_not_matter(lists: list[list[str]]) -> None:
    assert fuse(lists) == pytest.approx(fuse(lists[::-1]))


@given(st.lists(st.sampled_from("abcdefgh"), unique=True), st.integers(1, 100))
def test_one_ranking_keeps_its_order(ranking: list[str], offset: int) -> None:
    assert list(fuse([ranking], offset=offset)) == ranking


@given(rankings, st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1))
def test_another_ranking_that_holds_an_item_never_lowers_its_score(lists: list[list[str]], other: list[str]) -> None:
    before, after = fuse(lists), fuse([*lists, other])

    assert all(after[item] > before.get(item, 0.0) for item in other)
