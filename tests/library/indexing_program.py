"""A real indexing run as a program of its own, so that tests can kill it: `indexing_program.py PAPERS STORAGE`.

Everything is real but the models: words stand in for meaning, which is quick. Says "started" when the run begins,
with LightRAG loaded, so that there is little before and after the instants that matter, and "working" at each step.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from cmo.engines.generation_search import open_generation
from cmo.engines.lightrag import GraphIndex
from cmo.engines.lightrag_runtime import load_lightrag
from cmo.library.generations import GenerationInfo, Recipe
from cmo.library.health import HealthGate, Search
from cmo.library.indexer import Indexer
from cmo.library.passages import PASSAGE_RULES
from cmo.library.pdf import READER_VERSION
from cmo.library.reader import DocumentReader
from cmo.storage.graph_tables import copy_extraction_cache
from cmo.storage.manifest import SCHEMA
from cmo.values import IndexProgress, IndexReport

# By its path: an installed package may be called "tests" too, and this program is started by its path itself.
_spec = importlib.util.spec_from_file_location("graph_fakes", Path(__file__).parents[1] / "engines" / "fakes.py")
assert _spec is not None
assert _spec.loader is not None
fakes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fakes)

EMBEDDER = fakes.WordEmbedder()
EXTRACTOR = fakes.WordExtractor()
RECIPE = Recipe(
    reader=READER_VERSION,
    passages=PASSAGE_RULES,
    embedder=EMBEDDER.fingerprint,
    extractor=EXTRACTOR.fingerprint,
    graph="tested",
    schema=SCHEMA,
)


def graph(info: GenerationInfo, *, writable: bool = True) -> GraphIndex:
    """The graph of one generation."""
    return GraphIndex(info.database, generation=info.name, embedder=EMBEDDER, extractor=EXTRACTOR, writable=writable)


def search(info: GenerationInfo) -> AbstractAsyncContextManager[Search]:
    """What the health gate tries a generation with."""
    return open_generation(graph(info, writable=False), info.database, EXTRACTOR)


async def index(
    papers: Path,
    storage: Path,
    *,
    recipe: Recipe = RECIPE,
    on_progress: Callable[[IndexProgress], None] | None = None,
) -> IndexReport:
    """One run to its end."""
    async with DocumentReader() as reader:
        indexer = Indexer(
            papers=papers,
            storage=storage,
            recipe=recipe,
            reader=reader,
            open_graph=graph,
            carry_cache=copy_extraction_cache,
            gate=HealthGate(papers=papers, open_search=search),
        )
        return await indexer.run(on_progress=on_progress)


if __name__ == "__main__":
    load_lightrag()
    print("started", flush=True)
    asyncio.run(index(Path(sys.argv[1]), Path(sys.argv[2]), on_progress=lambda _: print("working", flush=True)))
