"""Passages for a question from the serving index: LightRAG's graph and vectors, fused with full-text search.

Three rankings are fused: LightRAG's `mix`, which deals out passages of the graph and of the vectors in turn; its
vectors alone (`naive`), because in that deal their order is lost; and BM25 over the same passages.

Reads only. It follows the index as another process writes it: documents that come in are found at once, and a new
generation takes over between two questions, never within one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cmo.errors import EngineUnavailable, LibraryError, ModelUnavailable, OracleError
from cmo.interfaces import Extractor
from cmo.library.generations import GenerationInfo, current
from cmo.logs import fields
from cmo.models.wording import STOP_WORDS
from cmo.phrases import Phrase, joined
from cmo.storage.manifest import Manifest
from cmo.values import Keywords, Retrieval, ScoredPassage

RANK_OFFSET = 10
"""k of reciprocal rank fusion: a score is the sum of 1 / (k + rank).

Cormack, Clarke and Buettcher 2009, https://doi.org/10.1145/1571941.1572114. They used 60, over lists of very different
quality; with these three 10 finds as much or more (benchmarks/retrieval.py).
"""
DEPTH = 60
"""How many passages each search contributes at least."""
MIX = "mix"
GRAPH_MODES = (MIX, "naive")
"""The ways LightRAG is searched for one question in its mode `mix`, a ranking each; every other mode goes alone."""

UNREADABLE = "unreadable"
NOT_INDEXED = Phrase("No paper is indexed yet.")
GRAPH_FAILED = Phrase("The knowledge graph could not be searched, so this comes from full-text search alone.")
TEXT_FAILED = Phrase("Full-text search failed, so this comes from the knowledge graph alone.")
NOTHING_WORKED = Phrase("The index cannot be searched. Run `cmo doctor` to see why, and `cmo index` to repair it.")

_WORD = re.compile(r"\w+(?:[-'’]\w+)*")
_log = logging.getLogger(__name__)


class GraphSearch(Protocol):
    """The knowledge graph of one generation, for reading."""

    async def open(self) -> None:
        """Get ready to search."""

    async def close(self) -> None:
        """Let go of everything."""

    async def retrieve(
        self, question: str, keywords: Keywords, *, top_k: int, mode: str = "mix"
    ) -> Sequence[tuple[str, float]]:
        """Chunk ids with scores, best first."""


class QuestionReader(Extractor, Protocol):
    """What is understood of a question before searching."""

    def synonyms(self, text: str) -> Sequence[str]:
        """Other names of what the text names."""


@dataclass(slots=True)
class _Generation:
    """An open generation and how many questions are using it."""

    info: GenerationInfo
    manifest: Manifest
    graph: GraphSearch | None = None
    users: int = 0
    retired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _ByGraph:
    """What the graph found, a ranking for each way of searching it; `failure` tells a person that it failed."""

    rankings: Sequence[Sequence[str]] = ()
    failure: str | None = None


class PapersRetriever:
    """Searches the serving generation. A Retriever; asked concurrently. Close it at the end."""

    def __init__(
        self,
        *,
        storage: Path,
        make_graph: Callable[[GenerationInfo], GraphSearch] | None,
        extractor: QuestionReader,
        multilingual: bool = False,
    ) -> None:
        """Nothing is opened before the first question. Without `make_graph` full-text search works alone.

        `multilingual` tells that the graph's vectors understand questions of other languages.
        """
        self._multilingual = multilingual
        self._storage = storage
        self._make_graph = make_graph
        self._extractor = extractor
        self._opening = asyncio.Lock()
        self._serving: _Generation | None = None

    async def retrieve(self, question: str, *, top_k: int, mode: str = MIX, asked: str = "") -> Retrieval:
        """At most `top_k` passages, best first, all of one generation. An unindexed library gives none and says so.

        `mode` is how the graph is searched, one of LightRAG's; the text is searched besides in all of them. `asked` is
        the question in the person's own words, which multilingual vectors are compared with in place of `question`.

        Raises:
            EngineUnavailable: neither search worked.
        """
        started = time.perf_counter()
        try:
            async with self._generation() as generation:
                if generation is None:
                    return Retrieval(passages=(), generation="", seconds=0.0, degraded=NOT_INDEXED)
                meant = asked if self._multilingual and asked else question
                passages, degraded = await self._search(
                    generation, question, meant, top_k, GRAPH_MODES if mode == MIX else (mode,)
                )
        except LibraryError as error:
            raise EngineUnavailable(joined((error.words, NOTHING_WORKED))) from error
        return Retrieval(
            passages=passages,
            generation=generation.info.name,
            seconds=time.perf_counter() - started,
            degraded=degraded,
        )

    async def version(self) -> str:
        """Names the state of the index; "" when there is nothing to find. One that cannot be read is not nothing."""
        try:
            async with self._generation() as generation:
                if generation is None or await asyncio.to_thread(generation.manifest.is_empty):
                    return ""
                return f"{generation.info.name}.{await asyncio.to_thread(generation.manifest.revision)}"
        except LibraryError:
            return UNREADABLE

    async def get_ready(self) -> None:
        """Load what the first question would have to wait for. What fails is left to that question, which tells."""
        if self._make_graph is None:
            return
        with contextlib.suppress(OracleError):
            async with self._generation() as generation:
                if generation is not None:
                    await self._graph(generation, self._make_graph)

    async def close(self) -> None:
        """Let go of the index. Questions under way fail."""
        async with self._opening:
            serving, self._serving = self._serving, None
        if serving is not None:
            await _close(serving)

    async def _search(
        self, generation: _Generation, question: str, meant: str, top_k: int, modes: Sequence[str]
    ) -> tuple[tuple[ScoredPassage, ...], str | None]:
        depth = max(DEPTH, top_k)
        by_graph, by_text = await asyncio.gather(
            self._by_graph(generation, question, meant, depth, modes), self._by_text(generation, question, depth)
        )
        rankings = [*by_graph.rankings, *([by_text] if by_text is not None else [])]
        if not rankings:
            raise EngineUnavailable(NOTHING_WORKED)
        scores = fuse(rankings)
        # The graph may know passages that cannot be found yet, or any more: all are looked up, and those left out.
        found = await asyncio.to_thread(generation.manifest.passages, tuple(scores))
        passages = tuple(
            ScoredPassage(passage=passage, document=document, score=scores[passage.chunk_id])
            for passage, document in found[:top_k]
        )
        return passages, by_graph.failure or (TEXT_FAILED if by_text is None else None)

    async def _by_graph(
        self, generation: _Generation, question: str, meant: str, depth: int, modes: Sequence[str]
    ) -> _ByGraph:
        """One ranking for each mode, none when there is no graph; `meant` is what vectors are compared with."""
        if self._make_graph is None:
            return _ByGraph()
        keywords = await asyncio.to_thread(self._extractor.keywords, question)
        try:
            graph = await self._graph(generation, self._make_graph)
            rankings = [await graph.retrieve(meant, keywords, top_k=depth, mode=mode) for mode in modes]
        except ModelUnavailable as error:
            _log.warning("graph_search_failed", extra=fields(generation=generation.info.name, reason=str(error)))
            return _ByGraph(failure=joined((GRAPH_FAILED, error.words)))
        except OracleError:
            _log.exception("graph_search_failed", extra=fields(generation=generation.info.name))
            return _ByGraph(failure=GRAPH_FAILED)
        return _ByGraph(rankings=[[chunk_id for chunk_id, _ in ranking] for ranking in rankings])

    async def _by_text(self, generation: _Generation, question: str, depth: int) -> Sequence[str] | None:
        words = [*search_words(question), *await asyncio.to_thread(self._extractor.synonyms, question)]
        try:
            found = await asyncio.to_thread(generation.manifest.search, words, limit=depth)
        except LibraryError:
            _log.exception("text_search_failed", extra=fields(generation=generation.info.name))
            return None
        return [chunk_id for chunk_id, _ in found]

    async def _graph(self, generation: _Generation, make: Callable[[GenerationInfo], GraphSearch]) -> GraphSearch:
        """The generation's graph, opened at first use; when that fails, the next question tries again."""
        async with self._opening:
            if generation.graph is None:
                graph = make(generation.info)
                await graph.open()
                generation.graph = graph
            return generation.graph

    @asynccontextmanager
    async def _generation(self) -> AsyncIterator[_Generation | None]:
        """The generation that serves when the question is asked, held open until it is answered."""
        generation = await self._follow()
        if generation is None:
            yield None
            return
        generation.users += 1
        try:
            yield generation
        finally:
            generation.users -= 1
            if generation.retired and generation.users == 0:
                await _close(generation)

    async def _follow(self) -> _Generation | None:
        async with self._opening:
            info = await asyncio.to_thread(current, self._storage)
            if self._serving is not None and self._serving.info != info:
                retired, self._serving = self._serving, None
                retired.retired = True
                if retired.users == 0:
                    await _close(retired)
            if self._serving is None and info is not None:
                self._serving = _Generation(info=info, manifest=await asyncio.to_thread(Manifest, info.database))
            return self._serving


def search_words(question: str) -> list[str]:
    """The words of a question to search the text for; those joined by a hyphen or apostrophe are one."""
    return [word for word in _WORD.findall(question) if word.lower() not in STOP_WORDS]


def fuse(rankings: Sequence[Sequence[str]], *, offset: int = RANK_OFFSET) -> Mapping[str, float]:
    """The score of everything ranked, best first, by reciprocal rank fusion."""
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, chunk_id in enumerate(ranking, start=1):
            scores[chunk_id] = scores.get(chunk_id, 0.0) + 1 / (offset + rank)
    return dict(sorted(scores.items(), key=lambda item: (-item[1], item[0])))


async def _close(generation: _Generation) -> None:
    if generation.graph is not None:
        await generation.graph.close()
    await asyncio.to_thread(generation.manifest.close)
