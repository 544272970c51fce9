"""The values passed between the stages, all immutable. Nothing here does anything.

Pages are counted from 1, as PDF readers count them. Character spans are half-open [start, end) offsets into
the page's text as stored. Seconds are wall-clock seconds; money is US dollars.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias


class FileStatus(StrEnum):
    """What became of one file of the papers folder in an indexing run."""

    INDEXED = "indexed"
    UNCHANGED = "unchanged"
    NEEDS_OCR = "needs_ocr"
    ENCRYPTED = "encrypted"
    CORRUPT = "corrupt"
    EMPTY = "empty"
    TOO_LARGE = "too_large"
    FAILED = "failed"
    REMOVED = "removed"


class PassageKind(StrEnum):
    """What a passage is for: only BODY passages can answer a question."""

    BODY = "body"
    REFERENCES = "references"
    BOILERPLATE = "boilerplate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One distinct paper of the library (by content), with what could be found out about it.

    `doc_id` is "doc-" and the first 16 hexadecimal digits of the file's SHA-256; `file` is its path relative to
    the papers folder, with forward slashes. `title` falls back to the file's name; the rest to nothing.
    """

    doc_id: str
    file: str
    title: str
    authors: tuple[str, ...] = ()
    year: int | None = None
    doi: str | None = None
    pages: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """About 200 words of one page of one document, made of whole sentences.

    `chunk_id` is "<doc_id>-p<page, 4 digits>-c<number, 2 digits>". `text` is the page's text from `start` to
    `end`, verbatim. `section` is the heading it stands under, or "".
    """

    chunk_id: str
    doc_id: str
    page: int
    start: int
    end: int
    text: str
    section: str = ""
    kind: PassageKind = PassageKind.BODY


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredPassage:
    """A passage found for a question. `score` orders the passages of one retrieval, best highest."""

    passage: Passage
    document: Document
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """Passages for one question, best first, all out of one generation of the index.

    `degraded` is a sentence for the person when a part of the search did not work and the rest stood in.
    """

    passages: tuple[ScoredPassage, ...]
    generation: str
    seconds: float
    degraded: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Keywords:
    """What a question is about: `high` are its themes, `low` its named things (metabolites, genes, diseases)."""

    high: tuple[str, ...]
    low: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """A named thing found in a text. `identifiers` are database accessions such as "CHEBI:17234"."""

    name: str
    type: str
    identifiers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """Two entities named in one sentence; `sentence` is that sentence. It is a co-mention, not a fact."""

    source: str
    target: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """The entities and relations of one text."""

    entities: tuple[Entity, ...]
    relations: tuple[Relation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a person asks. `standalone` is the text searched for: `text`, completed from the turns before it."""

    text: str
    user_id: str
    thread_id: str
    asked_at: datetime
    language: str = "en"
    standalone: str = ""
    history: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceSentence:
    """A whole sentence of a page, verbatim, with how well it answers (`score`, higher is better)."""

    text: str
    passage: Passage
    document: Document
    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a model found in the passages of one question.

    `sentences` are the answer, best page first, none when the passages do not answer. `nearest` are sentences of
    further pages that come close, best first. `confidence` is the estimated probability, 0 to 1, that the first page
    answers.
    """

    sentences: tuple[EvidenceSentence, ...]
    nearest: tuple[EvidenceSentence, ...]
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """One numbered source of an answer. `quote` stands verbatim on `page` of the document at `url`."""

    number: int
    document: str
    title: str
    page: int
    quote: str
    url: str
    doc_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is shown and recorded for one question.

    `text` carries a marker [n] for each citation. When `answered` is false, `text` says so and the citations are the
    nearest passages. `reason` is why this engine was asked. `notice` is what the person should know about how the
    answer came about (a degraded search, an unfinished index).
    """

    text: str
    answered: bool
    language: str
    engine: str
    model: str
    reason: str
    citations: tuple[Citation, ...]
    cost_usd: float
    seconds: float
    generation: str = ""
    notice: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """The outcome of one file in an indexing run; `file` is relative to the papers folder."""

    file: str
    status: FileStatus
    pages: int = 0
    passages: int = 0
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexProgress:
    """How far an indexing run is. `seconds_left` is an estimate, None until there is something to go by."""

    files_done: int
    files_total: int
    pages: int
    passages: int
    seconds_left: float | None
    file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexReport:
    """The outcome of an indexing run. `cancelled` runs keep what they finished and go on from there next time.

    `notices` are sentences about the index as a whole, such as that a damaged one had to be built again.
    """

    files: tuple[FileReport, ...]
    seconds: float
    generation: str
    cancelled: bool = False
    notices: tuple[str, ...] = ()


class Stage(StrEnum):
    """The stages of one question's journey, in running order."""

    UNDERSTAND = "understand"
    DECIDE = "decide"
    ASK = "ask"
    CITE = "cite"
    RECORD = "record"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStarted:
    """A stage has begun."""

    stage: Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class StageEnded:
    """A stage is done; `summary` is one line for the person about what came out of it."""

    stage: Stage
    summary: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPiece:
    """The next piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The journey is over; nothing comes after it."""

    answer: Answer


Event: TypeAlias = StageStarted | StageEnded | TextPiece | Finished


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryState:
    """What the library holds at this moment, for people to see.

    `indexing` is set while a run is under way in any process that reports to this one; `problems` are the files which
    could not be read, with their reasons; `failure` is why the last run ended before its time, as a sentence.
    """

    documents: tuple[Document, ...]
    passages: int
    generation: str
    indexing: IndexProgress | None = None
    problems: tuple[FileReport, ...] = ()
    failure: str | None = None
