"""Does a question find its own abstract? The product against each of its parts, over the product's own index.

    python -m benchmarks.retrieval [--data QUESTIONS.jsonl]

The data are JSON lines with `id`, `question` and `contexts`, as PubMedQA's (Jin et al. 2019,
https://doi.org/10.18653/v1/D19-1259). Each abstract becomes a text file in a papers folder, indexed as by `cmo index`;
each question, which is the title of its paper, looks for its own document among all. A document ranks where its best
passage does.

- hit@1 and MRR@10 are over documents; ms are per question, one after the other, p50 and p95.
- Parts: FTS5 as the product asks it (with synonyms) and with the question's words alone; bm25s with k1 = 0.9 and
  b = 0.4; vectors compared exhaustively; LightRAG's modes.
- Fusions are made of the parts' rankings by reciprocal rank fusion with the k given.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import bm25s  # type: ignore[import-untyped]
import numpy as np
import Stemmer
from rich.console import Console
from rich.table import Table

from cmo.bootstrap.indexing import open_indexer
from cmo.bootstrap.parts import graph_of, open_extractor
from cmo.engines.lightrag import GraphIndex
from cmo.engines.papers import DEPTH, RANK_OFFSET, PapersRetriever, fuse, search_words
from cmo.library.generations import current
from cmo.models.extraction import DictionaryExtractor
from cmo.models.minilm import MiniLM
from cmo.settings import Settings, load_settings
from cmo.storage.manifest import Manifest
from cmo.values import PassageKind

DATA = Path(__file__).resolve().parents[2] / "shared" / "evals" / "pubmedqa_dev.jsonl"
LEAST_HIT_AT_1 = 0.97
LEAST_MRR = 0.98
MOST_P95_MS = 100.0
MRR_DEPTH = 10
PRODUCT = "product"

Ranking = Sequence[str]
"""Chunk ids, best first."""
Search = Callable[[str], Awaitable[Ranking]]

FUSIONS = (
    ("text", "vectors"),
    ("bm25s", "vectors"),
    ("text", "mix"),
    ("words", "mix"),
    ("text", "naive", "mix"),
    ("words", "naive", "mix"),
)
OFFSETS = (RANK_OFFSET, 60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A question and the name of the document it looks for."""

    document: str
    question: str
    text: str


@dataclass(slots=True)
class Result:
    """The rankings of one method for all questions, and how long each took."""

    rankings: list[Ranking] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)


def load(data: Path) -> list[Row]:
    # Not splitlines: U+2028 and its like end no line of JSON lines.
    rows = map(json.loads, data.read_text(encoding="utf-8").strip().split("\n"))
    return [Row(document=f"{row['id']}.txt", question=row["question"], text="\n".join(row["contexts"])) for row in rows]


async def index(settings: Settings, rows: Sequence[Row]) -> float:
    """Index one document for each row; the seconds it took."""
    settings.papers_dir.mkdir()
    for row in rows:
        (settings.papers_dir / row.document).write_text(row.text, encoding="utf-8")
    async with open_indexer(settings) as indexer:
        return (await indexer.run()).seconds


class Parts:
    """The product's search and its parts, each as a function from a question to chunk ids."""

    def __init__(
        self, retriever: PapersRetriever, manifest: Manifest, graph: GraphIndex, embedder: MiniLM,
        extractor: DictionaryExtractor,
    ) -> None:  # fmt: skip
        self._retriever = retriever
        self._manifest = manifest
        self._graph = graph
        self._embedder = embedder
        self._extractor = extractor
        chunk_ids = [chunk_id for ids in manifest.chunk_ids(PassageKind.BODY).values() for chunk_id in ids]
        found = manifest.passages(chunk_ids)
        self._chunk_ids = [passage.chunk_id for passage, _ in found]
        self._texts = [passage.text for passage, _ in found]
        self.documents = {passage.chunk_id: document.file for passage, document in found}

    async def searches(self) -> dict[str, Search]:
        """Every way to search that is timed."""
        return {
            PRODUCT: self._product,
            "text": self._text,
            "words": self._words,
            "bm25s": self._bm25s(),
            "vectors": await self._vectors(),
            "naive": lambda question: self._lightrag(question, "naive"),
            "mix": lambda question: self._lightrag(question, "mix"),
        }

    async def _product(self, question: str) -> Ranking:
        found = await self._retriever.retrieve(question, top_k=DEPTH)
        return [scored.passage.chunk_id for scored in found.passages]

    async def _text(self, question: str) -> Ranking:
        words = [*search_words(question), *self._extractor.synonyms(question)]
        return [chunk_id for chunk_id, _ in self._manifest.search(words, limit=DEPTH)]

    async def _words(self, question: str) -> Ranking:
        return [chunk_id for chunk_id, _ in self._manifest.search(search_words(question), limit=DEPTH)]

    def _bm25s(self) -> Search:
        stemmer = Stemmer.Stemmer("english")
        searcher = bm25s.BM25(k1=0.9, b=0.4)
        searcher.index(_tokens(self._texts, stemmer), show_progress=False)

        async def search(question: str) -> Ranking:
            numbers, _ = searcher.retrieve(_tokens([question], stemmer), k=DEPTH, show_progress=False)
            return [self._chunk_ids[number] for number in numbers[0]]

        return search

    async def _vectors(self) -> Search:
        passages = await self._embedder.embed(self._texts)

        async def search(question: str) -> Ranking:
            (vector,) = await self._embedder.embed([question])
            return [self._chunk_ids[number] for number in np.argsort(-(passages @ vector))[:DEPTH]]

        return search

    async def _lightrag(self, question: str, mode: str) -> Ranking:
        keywords = self._extractor.keywords(question)
        return [chunk_id for chunk_id, _ in await self._graph.retrieve(question, keywords, top_k=DEPTH, mode=mode)]


def _tokens(texts: Sequence[str], stemmer: Stemmer.Stemmer) -> object:
    return bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)


async def measure(search: Search, rows: Sequence[Row]) -> Result:
    await search(rows[0].question)
    result = Result()
    for row in rows:
        started = time.perf_counter()
        result.rankings.append(await search(row.question))
        result.milliseconds.append((time.perf_counter() - started) * 1000)
    return result


def fused(parts: Sequence[Result], offset: int) -> Result:
    return Result(
        [list(fuse(rankings, offset=offset)) for rankings in zip(*(part.rankings for part in parts), strict=True)]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How well one method found the documents looked for, and its seconds; 0 when it was not timed."""

    hit_at_1: float
    mrr: float
    p50_ms: float = 0.0
    p95_ms: float = 0.0


def figures(result: Result, rows: Sequence[Row], documents: Mapping[str, str]) -> Figures:
    ranks = [_rank(row.document, ranking, documents) for row, ranking in zip(rows, result.rankings, strict=True)]
    p50, p95 = np.percentile(result.milliseconds, [50, 95]) if result.milliseconds else (0.0, 0.0)
    return Figures(
        hit_at_1=sum(rank == 1 for rank in ranks) / len(ranks),
        mrr=sum(1 / rank for rank in ranks if rank is not None) / len(ranks),
        p50_ms=float(p50),
        p95_ms=float(p95),
    )


def _rank(wanted: str, ranking: Ranking, documents: Mapping[str, str]) -> int | None:
    """The rank of a document among documents, from 1; None when it is not among the first MRR_DEPTH."""
    order = list(dict.fromkeys(documents[chunk_id] for chunk_id in ranking))[:MRR_DEPTH]
    return order.index(wanted) + 1 if wanted in order else None


async def compare(settings: Settings, rows: Sequence[Row]) -> dict[str, Figures]:
    info = current(settings.storage_dir)
    assert info is not None
    async with AsyncExitStack() as stack:
        extractor = open_extractor(settings)
        embedder = stack.enter_context(closing(MiniLM(settings.cache_dir)))
        manifest = stack.enter_context(closing(Manifest(info.database)))
        graph = graph_of(info, embedder, extractor, writable=False)
        await graph.open()
        stack.push_async_callback(graph.close)
        retriever = PapersRetriever(
            storage=settings.storage_dir,
            make_graph=lambda info: graph_of(info, embedder, extractor, writable=False),
            extractor=extractor,
        )
        stack.push_async_callback(retriever.close)
        parts = Parts(retriever, manifest, graph, embedder, extractor)
        results: dict[str, Result] = {}
        for name, search in (await parts.searches()).items():
            # Each pays for its own embedding of the question.
            embedder.close()
            embedder.load()
            results[name] = await measure(search, rows)
        for names in FUSIONS:
            for offset in OFFSETS:
                results[f"{' + '.join(names)}, k = {offset}"] = fused([results[name] for name in names], offset)
        return {name: figures(result, rows, parts.documents) for name, result in results.items()}


def table(found: Mapping[str, Figures]) -> Table:
    shown = Table("method", "hit@1", "MRR@10", "p50 ms", "p95 ms", box=None)
    for name, one in found.items():
        times = (f"{one.p50_ms:.1f}", f"{one.p95_ms:.1f}") if one.p95_ms else ("", "")
        shown.add_row(name, f"{one.hit_at_1:.3f}", f"{one.mrr:.4f}", *times)
    return shown


def verdict(product: Figures) -> str:
    met = product.hit_at_1 >= LEAST_HIT_AT_1 and product.mrr >= LEAST_MRR and product.p95_ms <= MOST_P95_MS
    wanted = f"hit@1 at least {LEAST_HIT_AT_1}, MRR@10 at least {LEAST_MRR}, p95 at most {MOST_P95_MS:.0f} ms"
    return f"Wanted of the product: {wanted}: {'met' if met else 'MISSED'}."


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    data = parser.parse_args(argv).data
    if not data.is_file():
        print(f"Skipped: {data} is not there. Give a file of questions with --data.")
        return
    rows = load(data)
    with tempfile.TemporaryDirectory(prefix="retrieval-") as folder:
        places = {"papers_dir": Path(folder) / "papers", "storage_dir": Path(folder) / "storage"}
        settings = load_settings(env_file=None).model_copy(update=places)
        seconds = asyncio.run(index(settings, rows))
        print(f"{len(rows)} documents indexed in {seconds:.0f} s, {len(rows)} questions", flush=True)
        found = asyncio.run(compare(settings, rows))
    Console(width=100).print(table(found))
    print(verdict(found[PRODUCT]))


if __name__ == "__main__":
    main(sys.argv[1:])
