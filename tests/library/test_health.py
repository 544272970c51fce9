"""What speaks against letting a generation take over."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cmo.errors import EngineUnavailable, IndexDamaged, ModelUnavailable
from cmo.library.generations import GenerationInfo, Recipe, create, prepare
from cmo.library.health import (
    PROBES,
    Contents,
    Health,
    HealthGate,
    Tally,
    VectorCount,
    compare_found,
    compare_papers,
    compare_passages,
    judge_vectors,
)
from cmo.storage.manifest import SCHEMA, FileRow, Manifest, StoredDocument, StoredPage
from cmo.values import Document, FileStatus, Passage

RECIPE = Recipe(reader="1", passages="1", embedder="e", extractor="x", graph="g", schema=SCHEMA)
NAMES = ("Alanine", "Citrate", "Glycine", "Lactate", "Proline", "Serine", "Taurine", "Urate")


def row(path: str, status: FileStatus = FileStatus.INDEXED, *, sha256: str = "1") -> FileRow:
    return FileRow(path=path, size=1, mtime_ns=1, inode=1, sha256=sha256, status=status)


def files(*rows: FileRow) -> dict[str, FileRow]:
    return {one.path: one for one in rows}


def contents(passages: int) -> Contents:
    return Contents(files={}, chunks={"doc": tuple(map(str, range(passages)))})


@pytest.mark.parametrize(
    ("after", "passed"),
    [
        (row("a"), True),
        (row("a", sha256="2"), True),
        (row("a", FileStatus.NEEDS_OCR, sha256="2"), True),
        (row("a", FileStatus.NEEDS_OCR), False),
        (row("a", FileStatus.FAILED, sha256="2"), False),
        (row("b"), False),
    ],
    ids=["held", "changed", "changed into a scan", "not read any more", "failed", "missing"],
)
def test_a_paper_is_lost_when_the_serving_one_could_read_what_is_still_there(after: FileRow, passed: bool) -> None:
    check = compare_papers(files(row("a")), files(after))

    assert check.passed is passed
    assert ("not a" in check.words) is not passed


def test_one_paper_in_ten_may_be_missing_and_no_more() -> None:
    before = files(*(row(str(number)) for number in range(10)), row("never read", FileStatus.CORRUPT))
    one_less = {path: one for path, one in before.items() if path != "3"}
    two_less = {path: one for path, one in one_less.items() if path != "7"}

    assert compare_papers(before, one_less).passed
    check = compare_papers(before, two_less)
    assert not check.passed
    assert "8 of the 10 papers" in check.words
    assert "not 3 and 1 more" in check.words


@pytest.mark.parametrize(("after", "passed"), [(10, True), (5, True), (4, False), (0, False)])
def test_half_of_the_passages_may_be_gone_and_no_more(after: int, passed: bool) -> None:
    assert compare_passages(contents(10), contents(after)).passed is passed


def test_of_an_empty_index_nothing_can_be_lost() -> None:
    assert compare_papers({}, {}).passed
    assert compare_passages(contents(0), contents(0)).passed
    assert judge_vectors([], passages=0).passed


@pytest.mark.parametrize(
    ("chunks", "bad_chunks", "bad_entities", "passed"),
    [(100, 0, 0, True), (99, 1, 1, True), (98, 0, 0, False), (100, 2, 0, False), (100, 0, 2, False)],
    ids=["all", "one in a hundred", "missing", "zero", "another kind"],
)
def test_vectors_that_are_zero_or_missing_speak_against_it(
    chunks: int, bad_chunks: int, bad_entities: int, passed: bool
) -> None:
    counts = (
        VectorCount(kind="chunks", vectors=max(chunks, 100), bad=bad_chunks)
        if chunks > 98
        else VectorCount(kind="chunks", vectors=chunks, bad=bad_chunks),
        VectorCount(kind="entities", vectors=100, bad=bad_entities),
    )

    assert judge_vectors(counts, passages=100).passed is passed


@pytest.mark.parametrize("way", ["words", "naive", "mix"])
@pytest.mark.parametrize(("put", "fewer", "passed"), [(20, 2, True), (20, 3, False), (9, 0, True), (9, 1, False)])
def test_each_way_of_searching_has_to_answer_nearly_as_much(way: str, put: int, fewer: int, passed: bool) -> None:
    tally = Tally(put=put, before=dict.fromkeys(("words", "naive", "mix"), put))
    tally.after = tally.before | {way: put - fewer}

    assert compare_found(tally, wanted=20).passed is passed


def test_questions_that_nobody_answers_in_time_speak_against_it() -> None:
    assert not compare_found(Tally(), wanted=20).passed
    assert compare_found(Tally(), wanted=0).passed


# Two generations side by side.


@dataclass
class FakeSearch:
    """Finds the passage whose first word is in the question, or fails as it is told."""

    chunks: dict[str, str] = field(default_factory=dict)
    bad: int = 0
    blind: bool = False
    broken: bool = False
    slow: bool = False
    cannot_open: bool = False
    asked: list[str] = field(default_factory=list)

    async def find(self, question: str, *, mode: str, top_k: int) -> Sequence[str]:
        self.asked.append(question)
        if self.slow:
            await asyncio.Event().wait()
        if self.broken:
            raise EngineUnavailable("timed out")
        return () if self.blind else [chunk for word, chunk in self.chunks.items() if word in question]

    async def vectors(self) -> Sequence[VectorCount]:
        return [VectorCount(kind="chunks", vectors=len(self.chunks), bad=self.bad)]


class World:
    """A papers folder, and generations made of it by hand."""

    def __init__(self, folder: Path) -> None:
        self.papers, self.storage = folder / "papers", folder / "storage"
        self.papers.mkdir()
        prepare(self.storage)
        self.searches: dict[str, FakeSearch] = {}
        self.opened: list[str] = []

    def build(self, names: Sequence[str] = NAMES, *, complete: bool = True) -> GenerationInfo:
        info = create(self.storage, RECIPE)
        search = self.searches[info.name] = FakeSearch()
        manifest = Manifest(info.database, writable=True)
        for name in names:
            chunk_id = _add(manifest, name)
            search.chunks[name] = chunk_id
            (self.papers / f"{name}.pdf").touch()
        if complete:
            manifest.set_meta({"complete": "1"})
        manifest.close()
        return info

    @asynccontextmanager
    async def _open(self, info: GenerationInfo) -> AsyncIterator[FakeSearch]:
        search = self.searches[info.name]
        if search.cannot_open:
            raise ModelUnavailable("The embedding model is not configured.")
        self.opened.append(info.name)
        yield search
        self.opened.remove(info.name)

    async def examine(
        self, candidate: GenerationInfo, serving: GenerationInfo | None, *, seconds: float = 10.0
    ) -> Health:
        gate = HealthGate(papers=self.papers, open_search=self._open, seconds=seconds)
        health = await gate.examine(candidate, serving)
        assert self.opened == []
        return health


def _add(manifest: Manifest, name: str) -> str:
    text = f"{name} rose in the volunteers. It fell again when they had slept."
    doc_id = f"doc-{name:0>16}"
    chunk_id = f"{doc_id}-p0001-c00"
    document = Document(doc_id=doc_id, file=f"{name}.pdf", title=name, pages=1)
    passage = Passage(chunk_id=chunk_id, doc_id=doc_id, page=1, start=0, end=len(text), text=text)
    manifest.add(StoredDocument(document=document, sha256=name, pages=(StoredPage(text=text),), passages=(passage,)))
    manifest.publish(doc_id, row(f"{name}.pdf", sha256=name))
    return chunk_id


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def failed(health: Health) -> list[str]:
    return [check.name for check in health.failed]


async def test_a_generation_as_good_as_the_serving_one_is_healthy(world: World) -> None:
    serving, candidate = world.build(), world.build()

    health = await world.examine(candidate, serving)

    assert health.healthy
    assert [check.name for check in health.checks] == ["file", "papers", "passages", "vectors", "questions"]
    assert health.checks[-1].words.startswith("Of 8 questions")
    assert "by words 8 (8), by vectors 8 (8), by the graph 8 (8)" in health.checks[-1].words


async def test_the_questions_are_first_sentences_the_same_ones_every_time_and_not_many(world: World) -> None:
    many = [f"{name}-{number}" for name in NAMES for number in range(10)]
    serving, candidate = world.build(many), world.build(many)

    await world.examine(candidate, serving)
    first = world.searches[candidate.name].asked[:]
    await world.examine(candidate, serving)

    asked = world.searches[candidate.name].asked
    assert asked == first * 2
    assert len(set(first)) == PROBES
    assert all(question.endswith(" rose in the volunteers.") for question in first)
    assert {question.partition("-")[0] for question in first} == set(NAMES)


@pytest.mark.parametrize(("trouble", "told"), [("blind", ""), ("broken", "timed out")])
async def test_a_search_that_finds_nothing_is_not_covered_up_by_the_others(
    world: World, trouble: str, told: str
) -> None:
    serving, candidate = world.build(), world.build()
    setattr(world.searches[candidate.name], trouble, True)

    health = await world.examine(candidate, serving)

    assert failed(health) == ["questions"]
    assert "by words 8 (8), by vectors 0 (8)" in health.failed[0].words
    assert health.failed[0].words.endswith(told)


async def test_a_serving_one_that_finds_nothing_holds_nobody_up(world: World) -> None:
    serving, candidate = world.build(), world.build()
    world.searches[serving.name].cannot_open = True

    assert (await world.examine(candidate, serving)).healthy


async def test_papers_that_are_missing_speak_against_it_unless_they_left_the_folder(world: World) -> None:
    serving, candidate = world.build(), world.build(NAMES[:6])

    assert failed(await world.examine(candidate, serving)) == ["papers"]

    for name in NAMES[6:]:
        (world.papers / f"{name}.pdf").unlink()
    assert (await world.examine(candidate, serving)).healthy


async def test_a_generation_that_no_run_has_finished_is_not_healthy(world: World) -> None:
    serving, candidate = world.build(), world.build(complete=False)

    health = await world.examine(candidate, serving)

    assert failed(health) == ["file"]
    assert "cmo index" in health.failed[0].words


@pytest.mark.parametrize("damage", ["torn", "gone", "half"])
async def test_a_damaged_file_is_not_healthy(world: World, damage: str) -> None:
    serving, candidate = world.build(), world.build()
    if damage == "half":
        manifest = Manifest(candidate.database, writable=True)
        with manifest._file.writing() as connection:
            connection.execute("DELETE FROM pages")
        manifest.close()
    elif damage == "gone":
        candidate.database.unlink()
    else:
        content = candidate.database.read_bytes()
        candidate.database.write_bytes(content[:4096] + bytes(len(content) - 4096))

    assert failed(await world.examine(candidate, serving)) == ["file"]


async def test_bad_vectors_are_told_of(world: World) -> None:
    serving, candidate = world.build(), world.build()
    world.searches[candidate.name].bad = 8

    health = await world.examine(candidate, serving)

    assert failed(health) == ["vectors"]
    assert "8 chunks (8 bad)" in health.failed[0].words


async def test_a_generation_whose_model_is_missing_is_not_healthy(world: World) -> None:
    serving, candidate = world.build(), world.build()
    world.searches[candidate.name].cannot_open = True

    health = await world.examine(candidate, serving)

    assert failed(health) == ["search"]
    assert "not configured" in health.failed[0].words


async def test_without_a_serving_one_a_generation_is_judged_by_itself(world: World) -> None:
    candidate = world.build()

    health = await world.examine(candidate, None)

    assert health.healthy
    assert [check.name for check in health.checks] == ["file", "vectors"]


async def test_a_serving_one_that_cannot_be_read_is_no_measure(world: World) -> None:
    serving, candidate = world.build(), world.build()
    serving.database.write_bytes(b"no database" * 1000)

    health = await world.examine(candidate, serving)

    assert health.healthy
    assert [check.name for check in health.checks] == ["file", "vectors"]


async def test_questions_are_put_for_a_bounded_time(world: World) -> None:
    serving, candidate = world.build(), world.build()
    search = world.searches[candidate.name]
    search.find = _slow_after(2, search)  # type: ignore[method-assign]

    health = await asyncio.wait_for(world.examine(candidate, serving, seconds=0.05), timeout=20)

    assert failed(health) == ["questions"]
    assert "within 0.05 s" in health.failed[0].words


def _slow_after(count: int, search: FakeSearch):  # type: ignore[no-untyped-def]
    """Answers the questions that load the models, and none after them."""
    find = search.find

    async def slow(question: str, *, mode: str, top_k: int) -> Sequence[str]:
        search.slow = len(search.asked) >= count
        return await find(question, mode=mode, top_k=top_k)

    return slow


async def test_damage_in_the_serving_one_is_not_held_against_its_successor(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving, candidate = world.build(), world.build()
    passages = Manifest.passages

    def damaged(manifest: Manifest, chunk_ids: Sequence[str]) -> list[tuple[Passage, Document]]:
        if manifest._file.path == serving.database:
            raise IndexDamaged("malformed")
        return passages(manifest, chunk_ids)

    monkeypatch.setattr(Manifest, "passages", damaged)

    assert (await world.examine(candidate, serving)).healthy
