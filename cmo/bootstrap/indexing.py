"""What brings the index up to date."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cmo.bootstrap.parts import graph_of, open_extractor, recipe_of
from cmo.library.indexer import Indexer
from cmo.library.reader import DocumentReader, Limits
from cmo.models.minilm import MiniLM
from cmo.settings import Settings
from cmo.storage.graph_tables import copy_extraction_cache


@asynccontextmanager
async def open_indexer(settings: Settings) -> AsyncIterator[Indexer]:
    """What brings the index up to date. It loads a model only when a run finds something to do.

    Raises:
        OracleError: a part cannot be opened; the message says which and what to do.
    """
    extractor = await asyncio.to_thread(open_extractor, settings)
    embedder = MiniLM(settings.cache_dir)
    limits = Limits(
        seconds=settings.parse_timeout_seconds,
        max_bytes=settings.max_file_mb * 1_000_000,
        max_pages=settings.max_pages,
    )
    async with DocumentReader(limits) as reader:
        try:
            yield Indexer(
                papers=settings.papers_dir,
                storage=settings.storage_dir,
                recipe=recipe_of(embedder, extractor),
                reader=reader,
                open_graph=lambda info: graph_of(info, embedder, extractor, writable=True),
                carry_cache=copy_extraction_cache,
                limits=limits,
            )
        finally:
            embedder.close()
