"""The parts that answering and indexing have in common."""

from __future__ import annotations

from importlib.metadata import version

from cmo.engines.lightrag import GraphIndex
from cmo.interfaces import Embedder, Extractor
from cmo.library.generations import GenerationInfo, Recipe
from cmo.library.lexicon import open_lexicon
from cmo.library.passages import PASSAGE_RULES
from cmo.library.pdf import READER_VERSION
from cmo.models.extraction import DictionaryExtractor
from cmo.settings import Settings
from cmo.storage import graph_tables
from cmo.storage.manifest import SCHEMA


def open_extractor(settings: Settings) -> DictionaryExtractor:
    """What finds entities; it loads the dictionary, so call it in a thread.

    Raises:
        LibraryError: a word list is missing or changed, or the cache folder cannot be written.
    """
    return DictionaryExtractor(open_lexicon(settings.cache_dir))


def graph_of(info: GenerationInfo, embedder: Embedder, extractor: Extractor, *, writable: bool) -> GraphIndex:
    """The knowledge graph of one generation, not yet opened."""
    return GraphIndex(info.database, generation=info.name, embedder=embedder, extractor=extractor, writable=writable)


def recipe_of(embedder: Embedder, extractor: Extractor) -> Recipe:
    """Everything that decides how an index comes out of the same papers."""
    return Recipe(
        reader=READER_VERSION,
        passages=PASSAGE_RULES,
        embedder=embedder.fingerprint,
        extractor=extractor.fingerprint,
        graph=f"{version('lightrag-hku')} {graph_tables.SCHEMA}",
        schema=SCHEMA,
    )
