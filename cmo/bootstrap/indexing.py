"""What brings the index up to date, and what a new one will cost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

from cmo.bootstrap.parts import GraphModels, embedder_called, graph_of, made_with, open_extractor, recipe_of
from cmo.engines.generation_search import open_generation
from cmo.errors import LibraryError
from cmo.interfaces import Embedder
from cmo.library.generations import GenerationInfo, Recipe, current, generations
from cmo.library.health import HealthGate, Search
from cmo.library.indexer import Indexer
from cmo.library.reader import DocumentReader, Limits, scan
from cmo.models.extraction import DictionaryExtractor
from cmo.models.graph_extraction import DictionaryGraphExtractor
from cmo.models.minilm import MiniLM
from cmo.settings import Settings
from cmo.storage.graph_tables import copy_extraction_cache
from cmo.storage.manifest import Manifest
from cmo.values import PassageKind

PASSAGES_PER_FILE = 60
"""Of papers not read yet: about what an article of 16 pages has."""
_STEPS = {"embedder": "embedding model", "extractor": "extraction of entities"}


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexCost:
    """What a new index is expected to cost, in US dollars. `passages` of papers not read yet are guessed.

    `changed` names what asks for a new index, nothing for the first one.
    """

    passages: int
    usd: float
    changed: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The cost as a sentence for a person."""
        why = f"The {' and '.join(self.changed)} changed, so a new index is needed. " if self.changed else ""
        return f"{why}Paid models make it: about {self.passages:,} passages for about ${self.usd:.2f}."


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
    async with AsyncExitStack() as stack:
        stack.callback(embedder.close)
        models = await _open_models(settings, embedder, extractor, stack)
        reader = await stack.enter_async_context(DocumentReader(limits))
        yield Indexer(
            papers=settings.papers_dir,
            storage=settings.storage_dir,
            recipe=recipe_of(models.embedder, models.extractor),
            reader=reader,
            open_graph=lambda info: graph_of(info, models.embedder, extractor, finds=models.extractor, writable=True),
            carry_cache=copy_extraction_cache,
            gate=_gate(settings, (models.embedder, embedder), extractor),
            limits=limits,
        )


@asynccontextmanager
async def open_gate(settings: Settings) -> AsyncIterator[HealthGate]:
    """What tells whether a generation is fit to serve.

    Raises:
        OracleError: a part cannot be opened; the message says which and what to do.
    """
    extractor = await asyncio.to_thread(open_extractor, settings)
    embedder = MiniLM(settings.cache_dir)
    async with AsyncExitStack() as stack:
        stack.callback(embedder.close)
        models = await _open_models(settings, embedder, extractor, stack)
        yield _gate(settings, (models.embedder, embedder), extractor)


def _gate(settings: Settings, embedders: tuple[Embedder, ...], extractor: DictionaryExtractor) -> HealthGate:
    def open_search(info: GenerationInfo) -> AbstractAsyncContextManager[Search]:
        recipe = made_with(info)
        embedder = embedder_called(recipe.embedder, embedders) if recipe is not None else embedders[0]
        return open_generation(graph_of(info, embedder, extractor, writable=False), info.database, extractor)

    return HealthGate(papers=settings.papers_dir, open_search=open_search)


async def cost_of_new_index(settings: Settings) -> IndexCost | None:
    """What the next run will cost when it has to make a new index by paid models; None when it does not have to.

    Papers added to an index there is are not asked about: they cost little, and budgets hold for them, too.

    Raises:
        OracleError: the papers or the index cannot be read, or nobody can tell what a model costs.
    """
    if not (settings.embeds_on_server or settings.extracts_on_server):
        return None
    from cmo.bootstrap.graph_models import estimate  # libraries that free indexing need not wait for

    wanted = await wanted_recipe(settings)
    serving = await asyncio.to_thread(current, settings.storage_dir)
    if await asyncio.to_thread(_is_there, settings.storage_dir, serving, wanted):
        return None
    passages, changed = await asyncio.to_thread(_to_do, settings, serving, wanted)
    usd = estimate(passages, settings)
    return IndexCost(passages=passages, usd=usd, changed=changed) if usd > 0 else None


async def wanted_recipe(settings: Settings) -> Recipe:
    """How an index would be made by these settings.

    Raises:
        OracleError: a model cannot be told apart from others: its price or its word lists are not known.
    """
    async with AsyncExitStack() as stack:
        extractor = await asyncio.to_thread(open_extractor, settings)
        embedder = MiniLM(settings.cache_dir)
        stack.callback(embedder.close)
        models = await _open_models(settings, embedder, extractor, stack)
        return recipe_of(models.embedder, models.extractor)


async def _open_models(
    settings: Settings, embedder: MiniLM, extractor: DictionaryExtractor, stack: AsyncExitStack
) -> GraphModels:
    if not (settings.embeds_on_server or settings.extracts_on_server):
        return GraphModels(embedder=embedder, extractor=DictionaryGraphExtractor(extractor))
    from cmo.bootstrap.graph_models import paid_models  # libraries that free indexing need not wait for

    return await stack.enter_async_context(paid_models(settings, embedded=embedder, dictionary=extractor))


def _is_there(storage: Path, serving: GenerationInfo | None, wanted: Recipe) -> bool:
    """Whether there is an index of this recipe: the one that serves, or one that was finished and lies beside it."""
    return any(info.made_by(wanted) and (info == serving or _is_finished(info)) for info in generations(storage))


def _is_finished(info: GenerationInfo) -> bool:
    try:
        with closing(Manifest(info.database)) as manifest:
            return manifest.meta("complete") == "1"
    except LibraryError:
        return False


def _to_do(settings: Settings, serving: GenerationInfo | None, wanted: Recipe) -> tuple[int, tuple[str, ...]]:
    """How many passages a new index takes, and what changed in its recipe since the one there is."""
    files = len(scan(settings.papers_dir))
    if serving is None:
        return files * PASSAGES_PER_FILE, ()
    with closing(Manifest(serving.database)) as manifest:
        known = manifest.chunk_ids(PassageKind.BODY)
    recipe = made_with(serving)
    changed = recipe.changes(wanted) if recipe is not None else ()
    new = max(0, files - len(known)) * PASSAGES_PER_FILE
    return sum(map(len, known.values())) + new, tuple(_STEPS.get(step, step) for step in changed)
