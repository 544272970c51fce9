"""Whether a generation is fit to take over from the one that serves: it is whole, lost nothing, and finds as much.

It is compared with the serving one, side by side, and neither is changed. The questions it is tried with are the first
sentences of passages spread over the papers: a passage's own paper has to come up. They are put to each way of
searching by itself, because together one would cover up for another that is broken.

What the index is searched with is plugged in; nothing here knows LightRAG, SQL or models.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from cmo.errors import LibraryError, OracleError
from cmo.library.generations import GenerationInfo
from cmo.sentences import split_sentences
from cmo.storage.manifest import FileRow, Manifest
from cmo.values import FileStatus, PassageKind

MAX_LOST_SHARE: Final = 0.1
"""A generation that lacks a larger share of the papers the serving one holds is not fit."""
LEAST_PASSAGES_SHARE: Final = 0.5
"""Other rules may cut longer passages. Less than half as many means that text is missing."""
MAX_BAD_VECTORS_SHARE: Final = 0.01
"""A name without a single known word may have a vector of zeros, which is how one that is not finite is stored, too;
many of them mean a broken model."""
MAX_FEWER_SHARE: Final = 0.1
"""Another model finds other passages: of 20 questions it may fail on two more than the serving one."""
PROBES: Final = 20
PROBE_DEPTH: Final = 5
"""A question is answered when its paper is among so many passages."""
PROBE_SECONDS: Final = 10.0
"""How long questions are put; those put until then are compared."""

WORDS: Final = "words"
GRAPH_MODES: Final = ("naive", "mix")
"""The ways in which LightRAG is asked: its vectors alone, and with the graph."""
_WAYS: Final = {WORDS: "by words", "naive": "by vectors", "mix": "by the graph"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at; `words` tell the figures, and what is wanted."""

    name: str
    passed: bool
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What was found out about a generation."""

    generation: str
    checks: tuple[Check, ...]

    @property
    def healthy(self) -> bool:
        """Whether it may take over."""
        return not self.failed

    @property
    def failed(self) -> tuple[Check, ...]:
        """What speaks against it."""
        return tuple(check for check in self.checks if not check.passed)


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorCount:
    """The vectors of one kind ("chunks", "entities"): how many there are, and how many are zero."""

    kind: str
    vectors: int
    bad: int


class Search(Protocol):
    """The graph and the vectors of one generation, for reading."""

    async def find(self, question: str, *, mode: str, top_k: int) -> Sequence[str]:
        """Chunk ids, best first.

        Raises:
            OracleError: the search failed.
        """

    async def vectors(self) -> Sequence[VectorCount]:
        """A count for each kind, the passages' own one called "chunks"."""


OpenSearch: TypeAlias = Callable[[GenerationInfo], AbstractAsyncContextManager[Search]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a generation holds: the files it knows, by path, and the chunk ids of each document that can be found."""

    files: Mapping[str, FileRow]
    chunks: Mapping[str, tuple[str, ...]]

    @property
    def passages(self) -> int:
        """How many passages can be found."""
        return sum(map(len, self.chunks.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A question, and the document that answers it."""

    question: str
    doc_id: str


@dataclass(slots=True, kw_only=True)
class Tally:
    """How many questions were put, and how many of them each generation answered in each way of searching."""

    put: int = 0
    before: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_WAYS, 0))
    after: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_WAYS, 0))


class HealthGate:
    """Examines generations of one papers folder."""

    def __init__(self, *, papers: Path, open_search: OpenSearch, seconds: float = PROBE_SECONDS) -> None:
        """`open_search` opens the graph of a generation for reading, made with the models it needs."""
        self._papers = papers
        self._open_search = open_search
        self._seconds = seconds

    async def examine(self, candidate: GenerationInfo, serving: GenerationInfo | None) -> Health:
        """What speaks for and against letting `candidate` take over from `serving`, which may be unreadable itself.

        Raises:
            LibraryError: one of them was damaged or taken away while it was read.
        """
        checks = [await asyncio.to_thread(_whole, candidate)]
        if checks[0].passed:
            after = await asyncio.to_thread(_contents, candidate)
            measure = await asyncio.to_thread(_measure, serving, after)
            if measure is not None:
                there = await asyncio.to_thread(self._still_there, measure.contents)
                checks += [compare_papers(there, after.files), compare_passages(measure.contents, after)]
            checks += await self._searches(candidate, after, measure)
        return Health(generation=candidate.name, checks=tuple(checks))

    def _still_there(self, contents: Contents) -> Mapping[str, FileRow]:
        return {path: row for path, row in contents.files.items() if (self._papers / path).is_file()}

    async def _searches(self, candidate: GenerationInfo, after: Contents, measure: _Measure | None) -> list[Check]:
        async with AsyncExitStack() as stack:
            try:
                mine = await stack.enter_async_context(self._open_search(candidate))
                checks = [judge_vectors(await mine.vectors(), passages=after.passages)]
            except OracleError as error:
                return [Check(name="search", passed=False, words=f"It cannot be searched: {error}")]
            if measure is None:
                return checks
            theirs = await self._opened(measure.info, stack)
            with closing(Manifest(candidate.database)) as new, closing(Manifest(measure.info.database)) as old:
                side = _Side(new, mine)
                tally = await self._put(measure.probes, _Side(old, theirs), side)
        found = compare_found(tally, wanted=len(measure.probes), seconds=self._seconds)
        return [*checks, replace(found, words=f"{found.words} {side.trouble}".rstrip())]

    async def _opened(self, info: GenerationInfo, stack: AsyncExitStack) -> Search | None:
        """None when it cannot be searched, which says nothing against its successor."""
        try:
            return await stack.enter_async_context(self._open_search(info))
        except OracleError:
            return None

    async def _put(self, probes: Sequence[Probe], old: _Side, new: _Side) -> Tally:
        tally = Tally()
        for probe in probes[:1]:
            # Loads the models, which is not counted.
            await asyncio.gather(old.answers(probe), new.answers(probe))
        try:
            async with asyncio.timeout(self._seconds):
                for probe in probes:
                    before, after = await old.answers(probe), await new.answers(probe)
                    tally.put += 1
                    for way in _WAYS:
                        tally.before[way] += before[way]
                        tally.after[way] += after[way]
        except TimeoutError:
            pass  # what was put until then is compared
        return tally


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measure:
    """The serving generation, as what a candidate is measured by."""

    info: GenerationInfo
    contents: Contents
    probes: tuple[Probe, ...]


class _Side:
    """One of the two generations that are compared."""

    def __init__(self, manifest: Manifest, search: Search | None) -> None:
        self._manifest = manifest
        self._search = search
        self.trouble = ""
        """What the last search that failed had to say."""

    async def answers(self, probe: Probe) -> Mapping[str, bool]:
        """By way of searching, whether the probe's own document is found."""
        found = {WORDS: await self._by_words(probe)}
        return found | {mode: await self._by_graph(probe, mode) for mode in GRAPH_MODES}

    async def _by_words(self, probe: Probe) -> bool:
        try:
            ranked = await asyncio.to_thread(self._manifest.search, probe.question.split(), limit=PROBE_DEPTH)
            return await self._holds(probe, [chunk_id for chunk_id, _ in ranked])
        except LibraryError as error:
            self.trouble = str(error)
            return False

    async def _by_graph(self, probe: Probe, mode: str) -> bool:
        if self._search is None:
            return False
        try:
            return await self._holds(probe, await self._search.find(probe.question, mode=mode, top_k=PROBE_DEPTH))
        except OracleError as error:
            self.trouble = str(error)
            return False

    async def _holds(self, probe: Probe, chunk_ids: Sequence[str]) -> bool:
        found = await asyncio.to_thread(self._manifest.passages, chunk_ids)
        return any(document.doc_id == probe.doc_id for _, document in found)


def compare_papers(before: Mapping[str, FileRow], after: Mapping[str, FileRow]) -> Check:
    """Whether the papers of the serving generation that are still in the folder are held, given the files of both."""
    held = [row for row in before.values() if row.status is FileStatus.INDEXED]
    lost = [row.path for row in held if _is_lost(row, after.get(row.path))]
    words = f"It holds {len(held) - len(lost)} of the {len(held)} papers that the serving one holds"
    if lost:
        words += f", not {lost[0]}" + (f" and {len(lost) - 1} more" if len(lost) > 1 else "")
    return Check(
        name="papers",
        passed=len(lost) <= MAX_LOST_SHARE * len(held),
        words=f"{words}; at most {MAX_LOST_SHARE:.0%} may be missing.",
    )


def _is_lost(row: FileRow, found: FileRow | None) -> bool:
    """A file that was changed into one that cannot be read is not lost: its paper is not there any more."""
    if found is None or found.status is FileStatus.FAILED:
        return True
    return found.status is not FileStatus.INDEXED and found.sha256 == row.sha256


def compare_passages(before: Contents, after: Contents) -> Check:
    """Whether about as much text can be found."""
    return Check(
        name="passages",
        passed=after.passages >= LEAST_PASSAGES_SHARE * before.passages,
        words=f"{after.passages} passages can be found, {before.passages} in the serving one; at least "
        f"{LEAST_PASSAGES_SHARE:.0%} of them are wanted.",
    )


def judge_vectors(counts: Sequence[VectorCount], *, passages: int) -> Check:
    """Whether every passage has a vector, and all vectors but a few are similar to something."""
    sound = all(count.bad <= MAX_BAD_VECTORS_SHARE * count.vectors for count in counts)
    chunks = sum(count.vectors for count in counts if count.kind == "chunks")
    missing = max(0, passages - chunks)
    told = ", ".join(f"{count.vectors} {count.kind} ({count.bad} bad)" for count in counts)
    return Check(
        name="vectors",
        passed=sound and missing <= MAX_BAD_VECTORS_SHARE * passages,
        words=f"It has vectors of {told or 'nothing'}, and none of {missing} of its {passages} passages; "
        f"at most {MAX_BAD_VECTORS_SHARE:.0%} may be zero or missing.",
    )


def compare_found(tally: Tally, *, wanted: int, seconds: float = PROBE_SECONDS) -> Check:
    """Whether as many questions are answered as by the serving generation, in each way of searching."""
    if not wanted:
        return Check(name="questions", passed=True, words="No paper is held by both, so no question was put.")
    if not tally.put:
        return Check(name="questions", passed=False, words=f"Not one question was answered within {seconds:g} s.")
    allowed = int(MAX_FEWER_SHARE * tally.put)
    told = ", ".join(f"{words} {tally.after[way]} ({tally.before[way]})" for way, words in _WAYS.items())
    return Check(
        name="questions",
        passed=all(tally.after[way] >= tally.before[way] - allowed for way in _WAYS),
        words=f"Of {tally.put} questions out of the papers it answers (the serving one): {told}; "
        f"{allowed} fewer would do.",
    )


def _whole(info: GenerationInfo) -> Check:
    try:
        with closing(Manifest(info.database)) as manifest:
            manifest.check_file()
            problem = _problem(manifest)
    except LibraryError as error:
        problem = str(error)
    return Check(name="file", passed=problem is None, words=problem or "The file is sound and nothing is half done.")


def _problem(manifest: Manifest) -> str | None:
    if manifest.meta("complete") != "1":
        return "No run has finished it yet: run `cmo index`."
    faults = manifest.audit()
    if not faults:
        return None
    search = ", and its search by words does not fit its passages" if faults.search else ""
    return f"{len(faults.documents)} document(s) and {len(faults.files)} file(s) in it are not whole{search}."


def _contents(info: GenerationInfo) -> Contents:
    with closing(Manifest(info.database)) as manifest:
        files = {row.path: row for row in manifest.files()}
        return Contents(files=files, chunks=manifest.chunk_ids(PassageKind.BODY))


def _measure(serving: GenerationInfo | None, after: Contents) -> _Measure | None:
    """None when nothing serves, or what does cannot be read."""
    if serving is None:
        return None
    try:
        contents = _contents(serving)
        return _Measure(info=serving, contents=contents, probes=_probes(serving, contents, after))
    except LibraryError:
        return None


def _probes(serving: GenerationInfo, before: Contents, after: Contents) -> tuple[Probe, ...]:
    """The first sentences of passages evenly spread over the documents that both hold, the same ones every time."""
    chunks = [chunk_id for doc_id, ids in before.chunks.items() if doc_id in after.chunks for chunk_id in ids]
    count = min(PROBES, len(chunks))
    chosen = [chunks[number * len(chunks) // count] for number in range(count)]
    with closing(Manifest(serving.database)) as manifest:
        passages = [passage for passage, _ in manifest.passages(chosen)]
    return tuple(Probe(question=_first_sentence(passage.text), doc_id=passage.doc_id) for passage in passages)


def _first_sentence(text: str) -> str:
    start, end = next(iter(split_sentences(text)), (0, len(text)))
    return text[start:end]
