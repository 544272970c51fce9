"""What a run does to files, documents and generations."""

import asyncio
import os
import shutil
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cmo.errors import EngineUnavailable, IndexDamaged, LibraryError, UnreadableDocument, WriterLocked
from cmo.library.generations import GenerationInfo, Recipe, current, generations
from cmo.library.health import HealthGate, VectorCount
from cmo.library.indexer import Indexer
from cmo.library.layout import BlockKind
from cmo.library.lock import writer_lock
from cmo.library.pdf import Block, PageText
from cmo.library.reader import Limits, ReadDocument
from cmo.library.succession import Action, Event, Succession
from cmo.storage.manifest import SCHEMA, Manifest
from cmo.values import Document, FileReport, FileStatus, IndexProgress, IndexReport, Passage

RECIPE = Recipe(reader="1", passages="1", embedder="minilm", extractor="words-1", graph="1.5.7", schema=SCHEMA)

GLUCOSE = "Glucose rises in diabetes. It falls after insulin is given to the patients."
LACTATE = "Lactate rises in sepsis. It falls when the patients recover from the infection."
UREA = "Urea rises in kidney failure. It falls when the patients are put on dialysis."


class FakeReader:
    """Reads text files: a form feed begins a page. The first word may be the status the file is to fail with."""

    def __init__(self) -> None:
        self.read_files: list[str] = []

    async def read(self, path: Path) -> ReadDocument:
        self.read_files.append(path.name)
        text = await asyncio.to_thread(path.read_text)
        if text.startswith("CRASH"):
            raise ZeroDivisionError
        if text.startswith("SCAN"):
            raise UnreadableDocument(FileStatus.NEEDS_OCR, "The pages are images.")
        if text.startswith("LARGE"):
            raise UnreadableDocument(FileStatus.TOO_LARGE, "The file has too many pages.")
        if text.startswith("HANG"):
            raise UnreadableDocument(FileStatus.FAILED, "The file takes too long to read.")
        pages = tuple(_page(page) for page in text.split("\f"))
        return ReadDocument(pages=pages, title=path.stem.replace("_", " "), year=2020)


def _page(text: str) -> PageText:
    return PageText(text=text, blocks=(Block(start=0, end=len(text), kind=BlockKind.PARAGRAPH),))


@dataclass
class Library:
    """The graphs of all generations, which outlive the runs, and what a test wants them to do."""

    documents: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    opened: int = 0
    refused_word: str = "nothing"
    broken_word: str = "nothing"
    damaged: set[str] = field(default_factory=set)
    before_insert: Callable[[str], None] = lambda title: None
    during_insert: asyncio.Event | None = None
    carried: list[tuple[str, str]] = field(default_factory=list)
    unsearchable: set[str] = field(default_factory=set)

    def graph(self, info: GenerationInfo) -> "FakeGraph":
        return FakeGraph(self, info.name)

    @asynccontextmanager
    async def search(self, info: GenerationInfo) -> AsyncIterator["FakeSearch"]:
        yield FakeSearch(self, info)

    def carry(self, source: Path, target: Path) -> None:
        self.carried.append((source.parent.name, target.parent.name))


class FakeGraph:
    """A graph that refuses to be given the same document twice, as LightRAG does."""

    def __init__(self, library: Library, name: str) -> None:
        self._library = library
        self._name = name
        self._documents = library.documents.setdefault(name, {})

    async def open(self) -> None:
        self._library.opened += 1
        if self._name in self._library.damaged:
            raise IndexDamaged("The graph is damaged.")

    async def close(self) -> None:
        pass

    async def insert(
        self, document: Document, passages: Sequence[Passage], *, on_progress: Callable[[int], None] | None = None
    ) -> None:
        assert document.doc_id not in self._documents
        self._library.before_insert(document.title)
        text = " ".join(passage.text for passage in passages)
        if self._library.refused_word in text:
            raise LibraryError("LightRAG could not take the document in.")
        if self._library.broken_word in text:
            raise ZeroDivisionError
        if on_progress is not None:
            on_progress(1)
        if self._library.during_insert is not None:
            await self._library.during_insert.wait()
        self._documents[document.doc_id] = tuple(passage.chunk_id for passage in passages)

    async def delete(self, doc_id: str) -> None:
        self._documents.pop(doc_id, None)

    async def audit(self, expected: Mapping[str, Sequence[str]]) -> list[str]:
        known = expected.keys() | self._documents.keys()
        return sorted(doc for doc in known if self._documents.get(doc) != tuple(expected.get(doc, ())))


class FakeSearch:
    """Finds everything in the graph, or nothing when its generation is unsearchable."""

    def __init__(self, library: Library, info: GenerationInfo) -> None:
        self._chunks = [chunk for chunks in library.documents[info.name].values() for chunk in chunks]
        self._broken = info.name in library.unsearchable

    async def find(self, question: str, *, mode: str, top_k: int) -> list[str]:
        return [] if self._broken else self._chunks

    async def vectors(self) -> list[VectorCount]:
        return [VectorCount(kind="chunks", vectors=len(self._chunks), bad=0)]


class World:
    """A papers folder, a storage folder, and runs over them."""

    def __init__(self, folder: Path) -> None:
        self.papers, self.storage = folder / "papers", folder / "storage"
        self.papers.mkdir()
        self.reader = FakeReader()
        self.library = Library()
        self.recipe = RECIPE
        self.limits = Limits()

    def indexer(self) -> Indexer:
        return Indexer(
            papers=self.papers,
            storage=self.storage,
            recipe=self.recipe,
            reader=self.reader,
            open_graph=self.library.graph,
            carry_cache=self.library.carry,
            gate=HealthGate(papers=self.papers, open_search=self.library.search),
            limits=self.limits,
        )

    async def run(
        self, *, on_progress: Callable[[IndexProgress], None] | None = None, cancel: asyncio.Event | None = None
    ) -> IndexReport:
        self.reader.read_files.clear()
        return await self.indexer().run(on_progress=on_progress, cancel=cancel)

    def write(self, file: str, text: str) -> Path:
        path = self.papers / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    @property
    def info(self) -> GenerationInfo:
        info = current(self.storage)
        assert info is not None
        return info

    def manifest(self) -> Manifest:
        return Manifest(self.info.database)

    def found(self, *words: str) -> list[str]:
        """The files in which a word is found."""
        manifest = self.manifest()
        hits = manifest.search(words, limit=20)
        files = [document.file for _, document in manifest.passages([chunk_id for chunk_id, _ in hits])]
        manifest.close()
        return sorted(set(files))

    def events(self) -> tuple[Event, ...]:
        return Succession(self.storage).events()

    def switch(self, info: GenerationInfo) -> bool:
        """What a person does with `cmo generations switch`."""
        at = datetime(2026, 1, 1, tzinfo=UTC)
        event = Event(
            action=Action.SWITCH, generation=info.name, before=self.info.name, author="ann", reason="to see", at=at
        )
        return Succession(self.storage).take_over(info, event)

    def assert_sound(self) -> None:
        """Manifest and graph hold the same, and nothing is half done."""
        manifest = self.manifest()
        assert not manifest.audit()
        assert set(manifest.states().values()) <= {"indexed"}
        assert manifest.meta("running") in (None, "0")
        assert manifest.states().keys() == self.library.documents[self.info.name].keys()
        manifest.close()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def three(world: World) -> World:
    """A folder of three papers, not indexed yet."""
    for file, text in (("glucose.txt", GLUCOSE), ("lactate.txt", LACTATE), ("sub/urea.txt", UREA)):
        world.write(file, text)
    return world


_opened: list[str] = []
_watching = threading.Event()


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _watching.is_set() and isinstance(arguments[0], str | os.PathLike):
        _opened.append(os.fspath(arguments[0]))


@pytest.fixture
def opened_papers(world: World) -> Iterator[Callable[[], list[str]]]:
    """The names of the papers this process opened since the last call."""
    if not hasattr(sys, "_cmo_watching"):
        sys.addaudithook(_watch)
        sys._cmo_watching = True  # type: ignore[attr-defined]
    _watching.set()

    def names() -> list[str]:
        opened = {Path(path).name for path in _opened if path.startswith(str(world.papers))}
        _opened.clear()
        return sorted(opened)

    yield names
    _watching.clear()


def statuses(report: IndexReport) -> dict[str, str]:
    return {file.file: file.status for file in report.files}


def the(report: IndexReport, file: str) -> FileReport:
    return next(one for one in report.files if one.file == file)


async def test_a_first_run_indexes_everything(three: World) -> None:
    report = await three.run()
    assert statuses(report) == {"glucose.txt": "indexed", "lactate.txt": "indexed", "sub/urea.txt": "indexed"}
    assert (report.generation, report.cancelled, report.notices) == (three.info.name, False, ())
    assert the(report, "glucose.txt").pages == the(report, "glucose.txt").passages == 1
    assert three.found("lactate") == ["lactate.txt"]
    three.assert_sound()


async def test_a_second_run_opens_no_paper_and_no_graph(three: World, opened_papers: Callable[[], list[str]]) -> None:
    await three.run()
    assert opened_papers() == ["glucose.txt", "lactate.txt", "urea.txt"]
    three.library.opened = 0
    revision = three.manifest().revision()
    report = await three.run()
    assert opened_papers() == []
    assert three.library.opened == 0
    assert set(statuses(report).values()) == {"unchanged"}
    assert the(report, "glucose.txt").passages == 1
    assert three.manifest().revision() == revision


async def test_an_empty_folder_is_indexed_as_such(world: World) -> None:
    report = await world.run()
    assert report.files == ()
    assert world.manifest().documents() == ()


async def test_a_missing_folder_is_an_error_and_takes_nothing_out(three: World) -> None:
    await three.run()
    three.papers.rename(three.papers.with_name("elsewhere"))
    with pytest.raises(LibraryError):
        await three.run()
    assert len(three.manifest().documents()) == 3


async def test_a_renamed_paper_costs_nothing(three: World, opened_papers: Callable[[], list[str]]) -> None:
    await three.run()
    opened_papers()
    three.library.opened = 0
    (three.papers / "glucose.txt").rename(three.papers / "sub" / "sugar.txt")
    report = await three.run()
    assert opened_papers() == []
    assert three.library.opened == 0
    assert statuses(report) == {"lactate.txt": "unchanged", "sub/sugar.txt": "unchanged", "sub/urea.txt": "unchanged"}
    assert the(report, "sub/sugar.txt").reason == "Renamed from glucose.txt."
    assert three.found("glucose") == ["sub/sugar.txt"]
    assert {document.title for document in three.manifest().documents()} == {"sugar", "lactate", "urea"}
    three.assert_sound()


async def test_two_papers_that_swap_names_keep_their_contents(
    three: World, opened_papers: Callable[[], list[str]]
) -> None:
    await three.run()
    opened_papers()
    (three.papers / "glucose.txt").rename(three.papers / "aside")
    (three.papers / "lactate.txt").rename(three.papers / "glucose.txt")
    (three.papers / "aside").rename(three.papers / "lactate.txt")
    await three.run()
    assert opened_papers() == []
    assert three.found("glucose") == ["lactate.txt"]
    three.assert_sound()


async def test_a_paper_renamed_over_another_takes_its_place(three: World) -> None:
    await three.run()
    (three.papers / "glucose.txt").replace(three.papers / "lactate.txt")
    report = await three.run()
    assert three.reader.read_files == []
    assert three.found("glucose", "lactate") == ["lactate.txt"]
    assert statuses(report) == {"lactate.txt": "unchanged", "sub/urea.txt": "unchanged"}
    three.assert_sound()


async def test_a_paper_moved_by_copying_is_not_read_again(three: World) -> None:
    await three.run()
    shutil.copy(three.papers / "glucose.txt", three.papers / "sub" / "glucose copy.txt")
    (three.papers / "glucose.txt").unlink()
    documents = dict(three.library.documents[three.info.name])
    report = await three.run()
    assert three.reader.read_files == []
    assert three.library.documents[three.info.name] == documents
    assert the(report, "sub/glucose copy.txt").status is FileStatus.UNCHANGED
    assert three.found("glucose") == ["sub/glucose copy.txt"]


async def test_a_touched_paper_is_looked_into_once_and_not_read(
    three: World, opened_papers: Callable[[], list[str]]
) -> None:
    await three.run()
    opened_papers()
    os.utime(three.papers / "glucose.txt", ns=(1, 1))
    report = await three.run()
    assert opened_papers() == ["glucose.txt"]
    assert three.reader.read_files == []
    assert set(statuses(report).values()) == {"unchanged"}
    await three.run()
    assert opened_papers() == []


async def test_a_changed_paper_is_replaced(three: World) -> None:
    await three.run()
    three.write("glucose.txt", "Citrate is high in prostate fluid. " + GLUCOSE.replace("Glucose", "Fructose"))
    report = await three.run()
    assert three.reader.read_files == ["glucose.txt"]
    assert statuses(report) == {"glucose.txt": "indexed", "lactate.txt": "unchanged", "sub/urea.txt": "unchanged"}
    assert three.found("glucose") == []
    assert three.found("citrate") == ["glucose.txt"]
    three.assert_sound()


async def test_a_changed_paper_is_found_as_it_was_until_the_new_one_is_in(three: World) -> None:
    await three.run()
    three.write("glucose.txt", "Citrate is high in the prostate.")
    seen: list[list[str]] = []
    three.library.before_insert = lambda title: seen.append(three.found("glucose", "citrate"))
    before = three.manifest()
    old_page = before.search(["glucose"], limit=1)[0][0]
    three.library.before_insert = lambda title: seen.append(
        [c for c, _ in before.search(["glucose", "citrate"], limit=5)]
    )
    await three.run()
    assert seen == [[old_page]]
    assert three.found("glucose") == []


async def test_papers_that_exchange_contents_are_both_right(three: World) -> None:
    await three.run()
    three.write("glucose.txt", LACTATE)
    three.write("lactate.txt", GLUCOSE)
    await three.run()
    assert three.found("glucose") == ["lactate.txt"]
    assert three.found("lactate") == ["glucose.txt"]
    three.assert_sound()


async def test_a_removed_paper_leaves(three: World) -> None:
    await three.run()
    (three.papers / "glucose.txt").unlink()
    report = await three.run()
    assert the(report, "glucose.txt").status is FileStatus.REMOVED
    assert three.found("glucose") == []
    three.assert_sound()
    assert "glucose.txt" not in statuses(await three.run())


async def test_a_removed_paper_is_not_found_from_the_start_of_the_run(three: World) -> None:
    await three.run()
    (three.papers / "glucose.txt").unlink()
    three.write("new.txt", "Citrate is high in the prostate.")
    seen: list[list[str]] = []
    three.library.before_insert = lambda title: seen.append(three.found("glucose"))
    await three.run()
    assert seen == [[]]


async def test_papers_of_equal_content_are_one_document(world: World) -> None:
    world.write("a.txt", GLUCOSE)
    world.write("b.txt", GLUCOSE)
    world.write("c.txt", GLUCOSE)
    report = await world.run()
    assert world.reader.read_files == ["a.txt"]
    assert set(statuses(report).values()) == {"indexed"}
    assert the(report, "b.txt").reason == "Same content as a.txt."
    assert len(world.manifest().documents()) == 1
    (world.papers / "a.txt").unlink()
    await world.run()
    assert world.found("glucose") == ["b.txt"]
    world.assert_sound()


async def test_a_touched_copy_is_unchanged(world: World) -> None:
    world.write("a.txt", GLUCOSE)
    world.write("b.txt", GLUCOSE)
    await world.run()
    os.utime(world.papers / "b.txt", ns=(1, 1))
    assert statuses(await world.run()) == {"a.txt": "unchanged", "b.txt": "unchanged"}


async def test_an_unreadable_paper_is_reported_again_without_being_opened(
    three: World, opened_papers: Callable[[], list[str]]
) -> None:
    three.write("scan.txt", "SCAN")
    first = await three.run()
    opened_papers()
    second = await three.run()
    assert opened_papers() == []
    for report in (first, second):
        assert the(report, "scan.txt").status is FileStatus.NEEDS_OCR
        assert the(report, "scan.txt").reason == "The pages are images."
    assert len(three.manifest().documents()) == 3


async def test_a_paper_too_large_is_looked_into_again_when_the_limits_change(three: World) -> None:
    three.write("big.txt", "LARGE")
    await three.run()
    assert the(await three.run(), "big.txt").status is FileStatus.TOO_LARGE
    assert three.reader.read_files == []
    three.limits = Limits(max_pages=5000)
    await three.run()
    assert three.reader.read_files == ["big.txt"]


async def test_a_copy_of_an_unreadable_paper_is_not_read(world: World) -> None:
    world.write("a.txt", "SCAN")
    world.write("b.txt", "SCAN")
    report = await world.run()
    assert statuses(report) == {"a.txt": "needs_ocr", "b.txt": "needs_ocr"}
    assert world.reader.read_files == ["a.txt"]


async def test_a_paper_that_becomes_unreadable_leaves(three: World) -> None:
    await three.run()
    three.write("glucose.txt", "SCAN")
    report = await three.run()
    assert the(report, "glucose.txt").status is FileStatus.NEEDS_OCR
    assert three.found("glucose") == []
    three.assert_sound()


@pytest.mark.parametrize("text", ["HANG", "CRASH the reader"])
async def test_a_paper_that_failed_is_tried_again_by_each_run(three: World, text: str) -> None:
    three.write("bad.txt", text)
    for _ in range(2):
        report = await three.run()
        assert "bad.txt" in three.reader.read_files
        assert the(report, "bad.txt").status is FileStatus.FAILED
        assert "ZeroDivision" not in (the(report, "bad.txt").reason or "")
    assert len(three.manifest().documents()) == 3
    three.write("bad.txt", "Citrate is high in the prostate.")
    await three.run()
    assert three.found("citrate") == ["bad.txt"]


@pytest.mark.parametrize("how", ["refused_word", "broken_word"])
async def test_a_paper_the_graph_does_not_take_fails_alone_and_leaves_nothing(three: World, how: str) -> None:
    setattr(three.library, how, "Lactate")
    report = await three.run()
    assert statuses(report) == {"glucose.txt": "indexed", "lactate.txt": "failed", "sub/urea.txt": "indexed"}
    assert three.found("lactate") == []
    three.assert_sound()
    setattr(three.library, how, "nothing")
    report = await three.run()
    assert statuses(report) == {"glucose.txt": "unchanged", "lactate.txt": "indexed", "sub/urea.txt": "unchanged"}
    three.assert_sound()


async def test_copies_of_a_paper_the_graph_does_not_take_all_fail(world: World) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        world.write(name, LACTATE)
    world.library.refused_word = "Lactate"
    assert set(statuses(await world.run()).values()) == {"failed"}
    world.library.refused_word = "nothing"
    assert set(statuses(await world.run()).values()) == {"indexed"}
    world.assert_sound()


async def test_an_entry_that_must_not_be_opened_is_reported(three: World) -> None:
    (three.papers / "link.txt").symlink_to("link.txt")
    report = await three.run()
    assert the(report, "link.txt").status is FileStatus.FAILED
    assert the(report, "link.txt").reason
    assert len(three.manifest().documents()) == 3


async def test_nothing_of_a_paper_is_found_until_all_of_it_is_in(world: World) -> None:
    pages = [f"Metabolite number{n} was measured on this page of the paper." for n in range(20)]
    world.write("long.txt", "\f".join(pages))
    world.library.during_insert = asyncio.Event()
    entered = asyncio.Event()
    world.library.before_insert = lambda title: entered.set()
    run = asyncio.create_task(world.run())
    await entered.wait()
    manifest = world.manifest()
    assert list(manifest.states().values()) == ["pending"]
    assert manifest.search(["metabolite"], limit=99) == []
    assert manifest.documents() == ()
    world.library.during_insert.set()
    await run
    assert len(manifest.search(["metabolite"], limit=99)) == 20


async def test_readers_only_ever_see_whole_papers(world: World) -> None:
    for n in range(6):
        world.write(f"{n}.txt", "\f".join(f"Glucose on page {page} of paper {n}." for page in range(5)))
    await world.run()
    for n in range(6):
        world.write(f"{n}.txt", "\f".join(f"Glucose on page {page} of new paper {n}." for page in range(7)))
    seen: set[int] = set()
    stop = threading.Event()
    manifest = world.manifest()

    def watch() -> None:
        while not stop.is_set():
            chunks = [chunk_id for chunk_id, _ in manifest.search(["glucose"], limit=99)]
            documents = [chunk_id.rsplit("-", 2)[0] for chunk_id in chunks]
            seen.update(documents.count(document) for document in set(documents))

    watching = asyncio.create_task(asyncio.to_thread(watch))
    await world.run()
    stop.set()
    await watching
    assert seen <= {5, 7}
    assert 7 in seen or len(manifest.search(["glucose"], limit=99)) == 42


async def test_a_cancelled_run_keeps_what_is_in_and_the_next_goes_on(three: World) -> None:
    cancel = asyncio.Event()
    three.library.before_insert = lambda title: cancel.set()
    report = await three.run(cancel=cancel)
    assert report.cancelled
    assert statuses(report) == {"glucose.txt": "indexed"}
    assert three.found("glucose", "lactate", "urea") == ["glucose.txt"]
    three.assert_sound()
    report = await three.run()
    assert not report.cancelled
    assert statuses(report) == {"glucose.txt": "unchanged", "lactate.txt": "indexed", "sub/urea.txt": "indexed"}
    three.assert_sound()


async def test_a_run_cancelled_before_it_began_changes_nothing(three: World) -> None:
    cancel = asyncio.Event()
    cancel.set()
    report = await three.run(cancel=cancel)
    assert report.cancelled
    assert report.files == ()
    assert three.reader.read_files in ([], ["glucose.txt"])


async def test_a_run_cancelled_while_taking_papers_out_goes_on_next_time(three: World) -> None:
    await three.run()
    for file in ("glucose.txt", "lactate.txt"):
        (three.papers / file).unlink()
    cancel = asyncio.Event()
    cancel.set()
    assert (await three.run(cancel=cancel)).cancelled
    assert three.found("glucose", "lactate", "urea") == ["sub/urea.txt"]
    await three.run()
    three.assert_sound()


async def test_progress_counts_up_to_the_end(three: World) -> None:
    told: list[IndexProgress] = []
    await three.run(on_progress=told.append)
    assert told[0].files_total == 3
    assert (told[0].files_done, told[0].seconds_left) == (0, None)
    assert (told[-1].files_done, told[-1].pages, told[-1].passages, told[-1].seconds_left) == (3, 3, 3, 0.0)
    for fields in ("files_done", "passages"):
        assert [getattr(one, fields) for one in told] == sorted(getattr(one, fields) for one in told)
    assert {one.file for one in told} == {None, "glucose.txt", "lactate.txt", "sub/urea.txt"}


async def test_a_second_writer_is_refused(three: World) -> None:
    await three.run()
    with writer_lock(three.storage), pytest.raises(WriterLocked, match=f"process {os.getpid()} on"):
        await three.run()


async def test_a_graph_that_does_not_start_ends_the_run_and_harms_nothing(three: World) -> None:
    await three.run()
    three.write("new.txt", "Citrate is high in the prostate.")
    indexer = three.indexer()

    class Broken(FakeGraph):
        async def open(self) -> None:
            raise EngineUnavailable("LightRAG does not start.")

    indexer._open_graph = lambda info: Broken(three.library, info.name)
    with pytest.raises(EngineUnavailable):
        await indexer.run()
    assert len(three.manifest().documents()) == 3
    assert statuses(await three.run())["new.txt"] == "indexed"
    three.assert_sound()


# What a crash leaves behind, made by hand; tests/library/test_indexer_crash.py makes it by killing.


async def unclean(world: World) -> Manifest:
    await world.run()
    manifest = Manifest(world.info.database, writable=True)
    manifest.set_meta({"running": "1"})
    return manifest


async def test_after_a_crash_a_pending_document_is_done_again(three: World) -> None:
    manifest = await unclean(three)
    document = manifest.documents()[0]
    manifest.hide(document.doc_id)
    report = await three.run()
    assert statuses(report)["glucose.txt"] == "indexed"
    three.assert_sound()


async def test_after_a_crash_documents_missing_or_left_over_in_the_graph_are_mended(three: World) -> None:
    manifest = await unclean(three)
    graph = three.library.documents[three.info.name]
    first, second, _ = (document.doc_id for document in manifest.documents())
    del graph[first]
    graph[second] = ()
    graph["doc-0000000000000000"] = ("doc-0000000000000000-p0001-c01",)
    report = await three.run()
    assert three.reader.read_files == []
    assert set(statuses(report).values()) == {"unchanged"}
    three.assert_sound()


async def test_after_a_crash_a_broken_search_index_is_rebuilt(three: World) -> None:
    manifest = await unclean(three)
    with manifest._file.writing() as connection:
        connection.execute("INSERT INTO passages_fts (passages_fts) VALUES ('delete-all')")
    await three.run()
    assert three.found("glucose") == ["glucose.txt"]
    three.assert_sound()


async def test_after_a_crash_a_document_with_lost_pages_is_read_again(three: World) -> None:
    manifest = await unclean(three)
    doc_id = manifest.documents()[0].doc_id
    with manifest._file.writing() as connection:
        connection.execute("DELETE FROM pages WHERE doc_id = ?", (doc_id,))
    await three.run()
    assert three.reader.read_files == ["glucose.txt"]
    three.assert_sound()


async def test_a_document_that_cannot_be_mended_is_reported_as_failed(three: World) -> None:
    manifest = await unclean(three)
    del three.library.documents[three.info.name][manifest.documents()[0].doc_id]
    three.library.refused_word = "Glucose"
    report = await three.run()
    assert the(report, "glucose.txt").status is FileStatus.FAILED
    three.assert_sound()
    three.library.refused_word = "nothing"
    assert statuses(await three.run())["glucose.txt"] == "indexed"


@pytest.mark.parametrize("damage", ["no database", "torn"])
async def test_a_damaged_index_is_set_aside_and_built_again(three: World, damage: str) -> None:
    await three.run()
    old = three.info
    content = old.database.read_bytes()
    broken = {"no database": b"x" * len(content), "torn": content[:4096] + bytes(len(content) - 4096)}
    old.database.write_bytes(broken[damage])
    report = await three.run()
    assert set(statuses(report).values()) == {"indexed"}
    assert three.found("glucose") == ["glucose.txt"]
    assert three.info != old
    assert "The index was damaged and is being built again" in report.notices[0]
    assert any(".damaged-" in path.name for path in old.folder.parent.iterdir())
    three.assert_sound()


async def test_an_index_file_without_content_is_filled_again(three: World) -> None:
    await three.run()
    three.info.database.write_bytes(b"")
    three.library.documents.clear()
    await three.run()
    assert three.found("glucose") == ["glucose.txt"]
    three.assert_sound()


async def test_a_damaged_graph_is_set_aside_and_built_again(three: World) -> None:
    await three.run()
    old = three.info
    three.library.damaged.add(old.name)
    three.write("new.txt", "Citrate is high in the prostate.")
    report = await three.run()
    assert three.info != old
    assert report.notices
    assert len(three.manifest().documents()) == 4


async def test_a_graph_that_cannot_even_be_begun_anew_condemns_no_index(three: World) -> None:
    await three.run()
    old = three.info
    three.write("new.txt", "Citrate is high in the prostate.")
    indexer = three.indexer()

    class Broken(FakeGraph):
        async def open(self) -> None:
            raise IndexDamaged("LightRAG found nothing in a test sentence.")

    indexer._open_graph = lambda info: Broken(three.library, info.name)
    with pytest.raises(IndexDamaged, match="test sentence"):
        await indexer.run()
    assert three.info == old
    assert len(three.manifest().documents()) == 3


# Generations.


async def test_another_embedding_model_is_another_generation_made_without_opening_a_paper(
    three: World, opened_papers: Callable[[], list[str]]
) -> None:
    three.write("scan.txt", "SCAN")
    await three.run()
    opened_papers()
    old = three.info
    three.recipe = replace(RECIPE, embedder="other")
    report = await three.run()
    assert opened_papers() == []
    assert report.generation == three.info.name != old.name
    assert statuses(report)["scan.txt"] == "needs_ocr"
    assert len(three.manifest().documents()) == 3
    assert three.library.carried == [(old.name, three.info.name)]
    assert [info.name for info in generations(three.storage)] == [old.name, three.info.name]
    three.assert_sound()


async def test_another_reader_reads_every_paper_again(three: World) -> None:
    await three.run()
    three.recipe = replace(RECIPE, reader="2", extractor="words-2")
    await three.run()
    assert sorted(three.reader.read_files) == ["glucose.txt", "lactate.txt", "urea.txt"]
    assert three.library.carried == []


async def test_the_old_generation_serves_until_the_new_one_is_whole(three: World) -> None:
    await three.run()
    old = three.info
    reader = three.manifest()
    (three.papers / "glucose.txt").unlink()
    three.recipe = replace(RECIPE, embedder="other")
    seen: list[tuple[str, list[str]]] = []
    three.library.before_insert = lambda title: seen.append((three.info.name, three.found("lactate", "glucose")))
    await three.run()
    assert seen == [(old.name, ["lactate.txt"]), (old.name, ["lactate.txt"])]
    assert three.info != old
    assert len(reader.documents()) == 2


async def test_a_half_built_generation_is_finished_not_begun_again(three: World) -> None:
    await three.run()
    old = three.info
    three.recipe = replace(RECIPE, embedder="other")
    cancel = asyncio.Event()
    three.library.before_insert = lambda title: cancel.set()
    assert (await three.run(cancel=cancel)).cancelled
    assert three.info == old
    inserted: list[str] = []
    three.library.before_insert = inserted.append
    await three.run()
    assert len(inserted) == 2
    assert three.info.number == 2
    three.assert_sound()


async def test_a_rebuild_that_fails_on_many_papers_does_not_serve(three: World) -> None:
    await three.run()
    old = three.info
    three.recipe = replace(RECIPE, embedder="other")
    three.library.refused_word = "falls"
    report = await three.run()
    assert three.info == old
    assert "the one before goes on serving" in report.notices[0]
    three.library.refused_word = "nothing"
    await three.run()
    assert three.info != old
    assert len(three.manifest().documents()) == 3


async def test_a_rebuild_that_is_not_healthy_does_not_serve_and_the_report_says_why(
    three: World,
) -> None:
    await three.run()
    old = three.info
    three.recipe = replace(RECIPE, embedder="other")
    three.library.unsearchable.add(f"g0002-{three.recipe.fingerprint[:8]}")
    report = await three.run()
    assert three.info == old
    [notice] = report.notices
    assert "[questions] Of 3 questions out of the papers it answers (the serving one)" in notice
    assert "by vectors 0 (3)" in notice
    assert f"`cmo generations switch {report.generation} --force`" in notice
    three.library.unsearchable.clear()
    assert (await three.run()).notices == ()
    assert three.info.name == report.generation


async def test_the_history_tells_what_runs_did(three: World) -> None:
    await three.run()
    await three.run()
    first = three.info.name
    three.recipe = replace(RECIPE, embedder="other")
    three.library.unsearchable.add(f"g0002-{three.recipe.fingerprint[:8]}")
    await three.run()
    three.library.unsearchable.clear()
    await three.run()
    told = [(event.action, event.generation, event.before, event.failed) for event in three.events()]
    second = three.info.name
    assert told == [
        ("index", first, "", ()),
        ("check", second, "", ("questions",)),
        ("check", second, "", ()),
        ("index", second, first, ()),
    ]
    assert {event.author for event in three.events()} == {"indexing"}


async def test_a_generation_that_a_person_switched_away_from_is_kept_up_to_date_and_does_not_serve(
    three: World,
) -> None:
    await three.run()
    first = three.info
    three.recipe = replace(RECIPE, embedder="other")
    await three.run()
    second = three.info
    assert three.switch(first)
    three.write("new.txt", "Citrate is high in the prostate.")
    for _ in range(2):
        report = await three.run()
        assert three.info == first
        assert "ann switched away from" in report.notices[0]
        assert f"`cmo generations switch {second.name}`" in report.notices[0]
    assert three.found("citrate") == []
    assert three.switch(second)
    assert three.found("citrate") == ["new.txt"]
    assert (await three.run()).notices == ()
    three.assert_sound()


async def test_after_a_switch_another_new_generation_takes_over_as_ever(three: World) -> None:
    await three.run()
    first = three.info
    three.recipe = replace(RECIPE, embedder="other")
    await three.run()
    assert three.switch(first)
    three.recipe = replace(RECIPE, embedder="third")
    assert (await three.run()).notices == ()
    assert three.info.number == 3
    assert [info.number for info in generations(three.storage)] == [1, 3]


async def test_a_switch_during_a_rebuild_is_not_undone_by_its_end(three: World) -> None:
    await three.run()
    first = three.info
    three.recipe = replace(RECIPE, embedder="other")
    await three.run()
    second = three.info
    three.recipe = replace(RECIPE, embedder="third")
    three.library.before_insert = lambda title: three.switch(first) if three.info != first else None
    report = await three.run()
    assert three.info == first
    assert f"switched to {first.name} during the run" in report.notices[0]
    assert {info.number for info in generations(three.storage)} == {1, second.number, 3}
    three.library.before_insert = lambda title: None
    assert (await three.run()).notices == ()
    assert three.info.name == report.generation


async def test_a_switch_away_from_the_generation_a_run_is_writing_holds_and_nothing_is_lost(three: World) -> None:
    await three.run()
    first = three.info
    three.recipe = replace(RECIPE, embedder="other")
    await three.run()
    second = three.info
    three.write("new.txt", "Citrate is high in the prostate.")
    three.library.before_insert = lambda title: three.switch(first)
    report = await three.run()
    assert three.info == first
    assert f"switched to {first.name} during the run" in report.notices[0]
    assert three.switch(second)
    assert three.found("citrate") == ["new.txt"]
    three.assert_sound()


async def test_what_served_before_is_kept_however_often_a_rebuild_is_begun(three: World) -> None:
    await three.run()
    first = three.info
    three.recipe = replace(RECIPE, embedder="other")
    await three.run()
    second = three.info
    for number in range(3):
        three.recipe = replace(RECIPE, embedder=f"unhealthy {number}")
        three.library.unsearchable.add(f"g{number + 3:04d}-{three.recipe.fingerprint[:8]}")
        report = await three.run()
        assert [info.name for info in generations(three.storage)] == [first.name, second.name, report.generation]
    three.recipe = replace(RECIPE, embedder="other")
    await three.run()
    assert generations(three.storage) == (first, second)


async def test_two_generations_are_kept(three: World) -> None:
    for number in range(4):
        three.recipe = replace(RECIPE, embedder=f"model {number}")
        await three.run()
    assert [info.number for info in generations(three.storage)] == [3, 4]


async def test_going_back_to_a_kept_generation_costs_only_what_changed_since(three: World) -> None:
    await three.run()
    first = three.info
    three.recipe = replace(RECIPE, embedder="other")
    three.write("new.txt", "Citrate is high in the prostate.")
    await three.run()
    inserted: list[str] = []
    three.library.before_insert = inserted.append
    three.recipe = RECIPE
    await three.run()
    assert three.info == first
    assert inserted == ["new"]
    assert three.found("citrate") == ["new.txt"]


async def test_a_rebuild_from_a_damaged_generation_reads_the_papers(three: World) -> None:
    await three.run()
    three.info.database.write_bytes(b"no database" * 1000)
    three.recipe = replace(RECIPE, embedder="other")
    report = await three.run()
    assert set(statuses(report).values()) == {"indexed"}
    assert len(three.manifest().documents()) == 3
