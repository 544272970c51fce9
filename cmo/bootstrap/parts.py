"""The parts that answering and indexing have in common."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version

from cmo.engines.lightrag import GraphIndex
from cmo.errors import ModelUnavailable
from cmo.interfaces import Embedder, Extractor, GraphExtractor
from cmo.library.generations import GenerationInfo, Recipe
from cmo.library.lexicon import open_lexicon
from cmo.library.passages import PASSAGE_RULES
from cmo.library.pdf import READER_VERSION
from cmo.models.extraction import DictionaryExtractor
from cmo.models.graph_extraction import DictionaryGraphExtractor
from cmo.phrases import Phrase
from cmo.settings import Settings
from cmo.storage import graph_tables
from cmo.storage.manifest import SCHEMA, Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphModels:
    """What turns passages into vectors and entities."""

    embedder: Embedder
    extractor: GraphExtractor


def open_extractor(settings: Settings) -> DictionaryExtractor:
    """What finds entities; it loads the dictionary, so call it in a thread.

    Raises:
        LibraryError: a word list is missing or changed, or the cache folder cannot be written.
    """
    return DictionaryExtractor(open_lexicon(settings.cache_dir))


def graph_of(
    info: GenerationInfo,
    embedder: Embedder,
    extractor: Extractor,
    *,
    writable: bool,
    finds: GraphExtractor | None = None,
) -> GraphIndex:
    """The knowledge graph of one generation, not yet opened; `finds` extracts in place of the dictionary."""
    by = finds or DictionaryGraphExtractor(extractor)
    return GraphIndex(info.database, generation=info.name, embedder=embedder, extractor=by, writable=writable)


def recipe_of(embedder: Embedder, extractor: Extractor | GraphExtractor) -> Recipe:
    """Everything that decides how an index comes out of the same papers."""
    return Recipe(
        reader=READER_VERSION,
        passages=PASSAGE_RULES,
        embedder=embedder.fingerprint,
        extractor=extractor.fingerprint,
        graph=f"{version('lightrag-hku')} {graph_tables.SCHEMA}",
        schema=SCHEMA,
    )


def made_with(info: GenerationInfo) -> Recipe | None:
    """The recipe of a generation; None when it does not tell, or is of another version of the program.

    Raises:
        LibraryError: it cannot be read.
    """
    with closing(Manifest(info.database)) as manifest:
        try:
            return Recipe.from_json(manifest.meta("recipe") or "{}")
        except ValueError:
            return None


def embedder_called(fingerprint: str, known: Sequence[Embedder]) -> Embedder:
    """The embedder of that fingerprint, of those that are configured.

    Raises:
        ModelUnavailable: it is none of them; the message says what to do.
    """
    for embedder in known:
        if embedder.fingerprint == fingerprint:
            return embedder
    raise ModelUnavailable(
        Phrase(
            "The index was made with the embedding model {model}, which is not configured: configure it again, or make "
            "a new index with `cmo index`.",
            model=fingerprint,
        )
    )
