"""Every plug of the application as a Protocol. Pipeline and user interfaces know these and never what is plugged in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from cmo.values import (
    Answer,
    CallStage,
    Draft,
    EngineEvent,
    EngineRequest,
    Event,
    Exposure,
    Extraction,
    Feature,
    Feedback,
    Keywords,
    LibraryState,
    Measured,
    ModelCall,
    NamedCompound,
    Prompt,
    Quality,
    Question,
    QuestionKind,
    Retrieval,
    ScoredPassage,
    Selection,
    Translated,
)

Vectors: TypeAlias = npt.NDArray[np.float32]

Book: TypeAlias = Callable[[ModelCall], None]
"""Takes down a call to a model. Called exactly once for each call made, also for those that fail or are stopped."""


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

    async def to_english(self, question: Question, text: str, book: Book) -> str:
        """English search text for a question's standalone `text`, in its language; an English text as it is.

        Never an error: what cannot be translated is searched for as well as it can be.
        """


class AnswerTranslator(Protocol):
    """Answers in the asker's language."""

    async def translate(self, answer: str, question: Question, seconds: float, book: Book) -> Translated:
        """An English answer in the question's language, sentence by sentence, within `seconds`.

        Names, identifiers, numbers, units and markers come out as they went in: a sentence that lost one stays English.

        Raises:
            TranslationUnavailable: nobody could translate; the message can be shown.
        """


class Assessor(Protocol):
    """How good an answer is."""

    async def assess(self, question: Question, asked: str, draft: Draft, book: Book) -> Quality:
        """The quality of an English draft as an answer to the English text `asked`.

        Raises:
            NotAssessed: it cannot be assessed; the message says why.
            ModelUnavailable: the embedding model cannot be loaded.
        """


class CustomAssessor(Protocol):
    """An assessor of somebody's own, found through the entry points "cmo.assessors"."""

    @property
    def name(self) -> str:
        """Its name as shown beside its score."""

    @property
    def weight(self) -> float:
        """Its weight in the composite, beside the 1 of our own parts together; 0 to be shown only."""

    async def assess(self, question: str, answer: str, sources: Sequence[str]) -> float:
        """0 to 1. A marker [n] in the answer stands for the n-th source. Whatever it raises leaves its score out."""


class CompoundFinder(Protocol):
    """The metabolites a text speaks of."""

    def compounds(self, text: str) -> tuple[NamedCompound, ...]:
        """Each once, in order of first mention. May take a few milliseconds: call it in a thread."""


class FeedbackBook(Protocol):
    """What people thought of answers."""

    async def give(self, feedback: Feedback) -> None:
        """Keep what a person says of an answer; it takes the place of what they said of it before.

        Raises:
            OracleError: there is no such answer, or it cannot be kept; the message can be shown.
        """


class Toggles(Protocol):
    """What is switched on for whom."""

    def is_on(self, feature: Feature, question: Question) -> bool:
        """Whether the person who asks has the feature. Reads memory only."""


class Retriever(Protocol):
    """Passages of the library that may answer a question."""

    async def retrieve(self, question: str, *, top_k: int, mode: str = "mix", asked: str = "") -> Retrieval:
        """At most `top_k` passages, best first. `mode` is how the knowledge graph is searched.

        `question` is in English; `asked` is the same in the person's own words, for whoever understands them.

        Raises:
            EngineUnavailable: nothing at all could be searched.
        """

    async def version(self) -> str:
        """Names the state of the index; "" when nothing can be searched. Changes with every change of the index."""


class LanguageModel(Protocol):
    """Finds in passages what answers a question."""

    @property
    def name(self) -> str:
        """The model's name as shown and recorded."""

    async def select(self, question: str, passages: Sequence[ScoredPassage]) -> Selection:
        """The sentences that answer, best page first; none when the passages do not answer."""

    async def coverage(self, question: str, passages: Sequence[ScoredPassage]) -> float:
        """How alike question and best passage are in meaning, as their cosine; 0 without passages."""


class ChatModel(Protocol):
    """A language model behind a server, which writes what it is asked to write."""

    @property
    def name(self) -> str:
        """The model's name as shown and recorded."""

    def ceiling_usd(self, prompt: Prompt) -> float:
        """The most that a call with this prompt can cost, its retry included."""

    def stream(self, prompt: Prompt, *, stage: CallStage, book: Book) -> AsyncIterator[str]:
        """The text in pieces as they come. Closing the iterator early ends the call.

        Raises:
            ModelUnavailable: it failed, before the first piece or after; the message can be shown.
        """

    async def complete(self, prompt: Prompt, *, stage: CallStage, book: Book) -> str:
        """The whole text at once.

        Raises:
            ModelUnavailable: it failed; the message can be shown.
        """


class GraphExtractor(Protocol):
    """Entities and relations of a passage for the knowledge graph, by rules or by a model."""

    @property
    def fingerprint(self) -> str:
        """Version of what extracts; a change asks for a rebuild of the graph."""

    async def extract(self, text: str) -> Extraction:
        """The entities and relations of one passage.

        Raises:
            ModelUnavailable: the model does not answer.
            BudgetExhausted: nothing more may be spent.
        """


class QuestionClassifier(Protocol):
    """Tells what a question asks for."""

    async def classify(self, question: str) -> QuestionKind:
        """Type and need for recent information of an English or translated question."""


class QuestionRewriter(Protocol):
    """Makes a follow-up question understandable by itself."""

    async def standalone(self, question: Question, book: Book) -> str:
        """The question's text, completed from the turns before it; never an error."""


class Engine(Protocol):
    """Looks for an answer in one place."""

    @property
    def name(self) -> str:
        """The engine's name in settings, decisions and records."""

    async def is_available(self) -> bool:
        """Whether it is configured and has something to look into. Asks no other machine."""

    async def version(self) -> str:
        """Names everything its answers depend on besides the question: index, model, settings."""

    def ceiling_usd(self, request: EngineRequest) -> float:
        """The most that this request can cost; 0 when it is free."""

    def ask(self, request: EngineRequest, book: Book) -> AsyncIterator[EngineEvent]:
        """Progress and pieces of text as they come; the last event is the Draft.

        Raises:
            EngineUnavailable: it could not look for an answer; the message can be shown.
        """


class Ledger(Protocol):
    """The record of questions asked and what they cost."""

    async def record(
        self,
        question: Question,
        answer: Answer | None,
        *,
        outcome: str,
        seconds: float,
        calls: Sequence[ModelCall] = (),
        measured: Measured | None = None,
    ) -> None:
        """Book one question, the model calls made for it, and what was measured of it, in one transaction.

        `outcome` is "answered", "refused", "stopped" or "failed". `measured` is for questions whose engine a flag
        chose.

        Raises:
            StorageUnavailable: it cannot be booked.
        """


class ExposureLog(Protocol):
    """Who was led where by a flag."""

    async def expose(self, question: Question, exposure: Exposure) -> None:
        """Write down that a flag has chosen the engine for this question.

        Raises:
            StorageUnavailable: it cannot be written.
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

    async def start_indexing(self, *, paid: bool = False) -> None:
        """Start an indexing run in the background, in a process of its own; nothing happens when one is under way.

        Unless `paid` allows it, a run that would have to make a new index for money ends by saying so.
        """

    async def cancel_indexing(self) -> None:
        """Stop the run under way after its current step. What it finished stays."""

    async def page_source(self, doc_id: str) -> Path | None:
        """The file of a document, always inside the papers folder, or None."""
