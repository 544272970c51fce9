"""Every plug of the application as a Protocol. Pipeline and user interfaces know these and never what is plugged in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from cmo.values import (
    Answer,
    Event,
    Extraction,
    Keywords,
    LibraryState,
    Question,
    Retrieval,
    ScoredPassage,
    Selection,
)

Vectors: TypeAlias = npt.NDArray[np.float32]


class TokenVectors(Protocol):
    """The tokens of one text in reading order: unit `vectors`, shape (tokens, dimension), and their character spans."""

    @property
    def vectors(self) -> Vectors:
        """One unit row per token."""

    @property
    def offsets(self) -> Sequence[tuple[int, int]]:
        """Where each token stands in the text, [start, end)."""


class Embedder(Protocol):
    """Texts as unit vectors whose dot product is their similarity in meaning."""

    @property
    def fingerprint(self) -> str:
        """Name and version of the weights; vectors of different fingerprints cannot be compared."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape (len(texts), dimension). An empty text gets a zero vector.

        Raises:
            ModelUnavailable: the model cannot be loaded or does not answer.
        """


class Extractor(Protocol):
    """Entities and relations in text, for the knowledge graph."""

    @property
    def fingerprint(self) -> str:
        """Version of the extraction rules and word lists; a change asks for a rebuild of the graph."""

    def extract(self, text: str) -> Extraction:
        """The entities and relations of one passage."""

    def keywords(self, question: str) -> Keywords:
        """What a question is about."""

    def names(self, text: str) -> tuple[str, ...]:
        """The named things in a text (metabolites, genes, diseases), canonical, in order of appearance; often none."""


class LanguageDetector(Protocol):
    """The language a text is written in."""

    def detect(self, text: str) -> str:
        """An ISO 639-1 code such as "en"; "en" when there is too little to go by."""


class QuestionTranslator(Protocol):
    """Questions of other languages as search text for English papers."""

    def to_english(self, text: str, language: str) -> str:
        """English search text for a question in `language` (ISO 639-1); an English question as it is."""


class Retriever(Protocol):
    """Passages of the library that may answer a question."""

    async def retrieve(self, question: str, *, top_k: int) -> Retrieval:
        """At most `top_k` passages, best first.

        Raises:
            EngineUnavailable: nothing at all could be searched.
        """


class LanguageModel(Protocol):
    """Finds in passages what answers a question."""

    @property
    def name(self) -> str:
        """The model's name as shown and recorded."""

    async def select(self, question: str, passages: Sequence[ScoredPassage]) -> Selection:
        """The sentences that answer, best page first; none when the passages do not answer."""


class Ledger(Protocol):
    """The record of questions asked and what they cost."""

    async def record(self, question: Question, answer: Answer | None, *, outcome: str, seconds: float) -> None:
        """Book one question. `outcome` is "answered", "refused", "stopped" or "failed".

        Raises:
            StorageUnavailable: it cannot be booked.
        """


class Clock(Protocol):
    """Time as an argument."""

    def now(self) -> datetime:
        """The current time, aware, in UTC."""


class Pipeline(Protocol):
    """One question's journey, as the user interfaces see it."""

    def ask(self, question: Question) -> AsyncIterator[Event]:
        """Events of the journey; the last one is Finished. Closing the iterator early books the question as stopped.

        Raises:
            EngineUnavailable: nothing could be searched; the message says what to do.
        """


class LibraryView(Protocol):
    """What the user interfaces may know and ask of the library."""

    async def state(self) -> LibraryState:
        """What is indexed, and how far a run under way is."""

    async def start_indexing(self) -> None:
        """Start an indexing run in the background, in a process of its own; nothing happens when one is under way."""

    async def cancel_indexing(self) -> None:
        """Stop the run under way after its current step. What it finished stays."""

    async def page_source(self, doc_id: str) -> Path | None:
        """The file of a document, always inside the papers folder, or None."""
