"""One generation's graph and vectors, tried out before it takes over. Whether it may is decided elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import numpy as np

from cmo.engines.lightrag import GraphIndex
from cmo.engines.vector_matrix import ROWS_PER_BLOCK
from cmo.interfaces import Extractor
from cmo.library.health import VectorCount
from cmo.storage.graph_rows import VECTOR_NAMESPACES, VectorTable, unpack_vectors
from cmo.storage.graph_tables import GraphTables


class GenerationSearch:
    """The Search of the health gate, over a graph that is open for reading."""

    def __init__(self, graph: GraphIndex, database: Path, extractor: Extractor) -> None:
        self._graph = graph
        self._database = database
        self._extractor = extractor

    async def find(self, question: str, *, mode: str, top_k: int) -> Sequence[str]:
        """Chunk ids, best first."""
        keywords = await asyncio.to_thread(self._extractor.keywords, question)
        return [chunk_id for chunk_id, _ in await self._graph.retrieve(question, keywords, top_k=top_k, mode=mode)]

    async def vectors(self) -> Sequence[VectorCount]:
        """A count for each kind of vector in the file."""
        return await asyncio.to_thread(_counted, self._database)


@asynccontextmanager
async def open_generation(graph: GraphIndex, database: Path, extractor: Extractor) -> AsyncIterator[GenerationSearch]:
    """The search of a graph that is not open yet; it is closed at the end.

    Raises:
        OracleError: it cannot be opened; the message says why.
    """
    await graph.open()
    try:
        yield GenerationSearch(graph, database, extractor)
    finally:
        await graph.close()


def _counted(database: Path) -> tuple[VectorCount, ...]:
    with closing(GraphTables(database, writable=False)) as tables:
        return tuple(_count(kind, tables.vectors(kind)) for kind in VECTOR_NAMESPACES)


def _count(kind: str, table: VectorTable) -> VectorCount:
    vectors = bad = 0
    for page in table.changed_since(0, size=ROWS_PER_BLOCK):
        packed = [vector for _, vector in page if vector is not None]
        if packed:
            scales, codes = unpack_vectors(packed)
            vectors += len(packed)
            # A file that was damaged may hold any scale; ours are above zero.
            bad += int(np.count_nonzero(~(np.isfinite(scales) & (scales > 0) & codes.any(axis=1))))
    return VectorCount(kind=kind, vectors=vectors, bad=bad)
