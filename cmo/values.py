"""The values passed between the stages, all immutable. Nothing here does anything.

Pages are counted from 1, as PDF readers count them. Character spans are half-open [start, end) offsets into
the page's text as stored. Seconds are wall-clock seconds; money is US dollars.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias
from uuid import uuid4


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
    """What a person asks. `standalone` is the text searched for: `text`, completed from the turns before it.

    `history` holds the questions before it, oldest first. `choice` is the engine the person chose, None for automatic.
    `cohort` and `region` are the groups the person belongs to, "" when unknown. `id` names it in all records.
    """

    text: str
    user_id: str
    thread_id: str
    asked_at: datetime
    language: str = "en"
    standalone: str = ""
    history: tuple[str, ...] = ()
    choice: str | None = None
    cohort: str = ""
    region: str = ""
    id: str = field(default_factory=lambda: uuid4().hex)


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
    """One numbered source of an answer: a page of a paper, or a page of the web.

    Of a paper: `quote` stands verbatim on `page` of the document `doc_id` at `url`, `document` is its file, and
    `authors`, `year` and `doi` are the paper's, as far as they are known. Of the web: `page` is 0, `document` is the
    site's name, `quote` the search engine's snippet (it may be ""), and `date` when the page was published or last
    changed, as the search engine tells it, or "".

    `passage` is the text around the quote that sentences are checked against: what the answer was written from. It is
    "" where the quote is all there is. `confidence` is how well the source bears out the sentences that cite it, 0 to
    1; None when that is not known.
    """

    number: int
    document: str
    title: str
    page: int
    quote: str
    url: str
    doc_id: str = ""
    date: str = ""
    authors: tuple[str, ...] = ()
    year: int | None = None
    doi: str | None = None
    passage: str = ""
    confidence: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSource:
    """One result of a web search. `label` is how the answer's markers name it ("1" for [1] or [web:1])."""

    label: str
    url: str
    title: str
    site: str
    snippet: str = ""
    date: str = ""


class CallStage(StrEnum):
    """What a model was called for."""

    REWRITE = "rewrite"
    ANSWER = "answer"
    EXTRACT = "extract"
    EMBED = "embed"
    JUDGE = "judge"
    TRANSLATE = "translate"


class CallOutcome(StrEnum):
    """How a call to a model ended. STOPPED: nobody waited for its end any more."""

    OK = "ok"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """One call to a paid or local model, as it is booked.

    `tokens_cached` are those of `tokens_in` that the server had in its cache. `estimated` is set when the server did
    not tell what the call took (it failed or was stopped), so that tokens and cost are our own count.
    """

    engine: str
    model: str
    stage: CallStage
    outcome: CallOutcome
    tokens_in: int = 0
    tokens_cached: int = 0
    tokens_out: int = 0
    cost_usd: float = 0.0
    seconds: float = 0.0
    estimated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a language model is asked to write: rules in `system`, the task in `user`, at most `max_tokens` back.

    `json` asks for one JSON object. `temperature` (0 to 2) is how freely it is written; None is as always.
    """

    system: str
    user: str
    max_tokens: int
    json: bool = False
    temperature: float | None = None


class QuestionType(StrEnum):
    """What kind of answer a question asks for."""

    DEFINITION = "definition"
    MECHANISM = "mechanism"
    METHOD = "method"
    VALUE = "value"
    COMPARISON = "comparison"
    EVIDENCE = "evidence"
    NEWS = "news"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionKind:
    """What a question asks for. `freshness` is the estimated probability, 0 to 1, that it needs recent information."""

    type: QuestionType
    freshness: float

    @property
    def needs_fresh(self) -> bool:
        """Whether it more likely needs recent information than not."""
        return self.freshness >= 0.5


class Feature(StrEnum):
    """What can be switched on and off for people while the service runs, by the name of its flag."""

    QUALITY_ASSESSMENT = "quality_assessment"
    RESPONSE_CACHING = "response_caching"
    ADVANCED_ROUTING = "advanced_routing"
    MULTI_LANGUAGE = "multi_language"
    CITATION_PROCESSING = "citation_processing"
    COST_MONITORING = "cost_monitoring"
    ANALYTICS_COLLECTION = "analytics_collection"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingCheck:
    """One rule a routing decision passed: its name, whether it decided, and why in words for a person."""

    name: str
    matched: bool
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How an engine is to work for one question; None leaves it as it is set for everybody.

    `mode` is how the knowledge graph is searched, `top_k` how many passages are read, `max_tokens` the longest answer
    a model writes, `temperature` (0 to 2) how freely it does.
    """

    mode: str | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    temperature: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """That a flag, at a version of it, has chosen the engine for a question, by a variant or, with "", by its share.

    `engine` is the one that was meant, whoever answers in the end.
    """

    flag: str
    version: int
    variant: str
    engine: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of a question whose engine a flag chose. What is None could not be told, or is not the engine's doing.

    `variant` is the one it was answered in, "" for none. `failed`: that engine gave no answer, or only a lesser part of
    it did. `quality` is the composite of its answer, 0 to 1. `seconds` and `cost_usd` are of the whole question.
    """

    variant: str
    failed: bool | None
    seconds: float | None
    quality: float | None
    cost_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Which engine is asked, and why.

    `engine` is None when nobody may be asked. `bucket` is the person's place in the main rollout, 0 to 100. `rule` is
    the name of the conditional rule or variant that decided, or "". `free` allows only what costs nothing. `fallbacks`
    are the engines to turn to when the first fails, in order. `checks` are all rules passed, the deciding one last.
    `configuration` names the version of everything the rules depend on. `exposure` is set when a flag placed the
    person, `tuning` is what its variant changes.
    """

    engine: str | None
    reason: str
    bucket: float
    configuration: str
    rule: str = ""
    free: bool = False
    fallbacks: tuple[str, ...] = ()
    checks: tuple[RoutingCheck, ...] = ()
    exposure: Exposure | None = None
    tuning: Tuning = Tuning()


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequest:
    """One question as an engine gets it.

    `search_text` is the question in English search words. `mode` is how the knowledge graph is searched. `fresh` asks
    for recent sources. `free` forbids whatever costs money. `seconds` is the time there is for the answer. `tuning` is
    for this question alone; its mode is already in `mode`.
    """

    question: Question
    search_text: str
    seconds: float
    mode: str = "mix"
    fresh: bool = False
    free: bool = False
    tuning: Tuning = Tuning()


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An engine's answer before it is recorded and shown.

    `text` carries a marker [n] for each citation. `written` tells an answer in a model's own words from one made of
    verbatim sentences. `degraded` is set when something of the engine failed and a lesser part stood in: such answers
    are not kept for later. `dropped_markers` counts markers of the model that named no source. `notices` are sentences
    for the person. `confidence` is the estimated probability that the first source answers, where one is known.
    """

    text: str
    answered: bool
    model: str
    citations: tuple[Citation, ...]
    written: bool = False
    generation: str = ""
    mode: str = ""
    confidence: float | None = None
    degraded: bool = False
    dropped_markers: int = 0
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is shown and recorded for one question.

    `text` carries a marker [n] for each citation. When `answered` is false, `text` says so and the citations are the
    nearest passages. `reason` is why this engine was asked. `notice` is what the person should know about how the
    answer came about (a degraded search, an unfinished index). `written` tells a model's own words from verbatim
    sentences. `cached_seconds` is the age of an answer given before, None for one made for this question. `decision` is
    how the engine was chosen; `engine` may be one of its fallbacks.

    `quality` is None for an answer that was not assessed; `not_assessed` then says why, "" when there was nothing to
    assess. The sentences of `quality` stand in `text`. `original` is the English text of a translated answer, whose
    `text` is in `language`, and `translated_by` names who translated it; both are "" for others. `kept_english` counts
    the sentences of it that stayed as they were. `compounds` are the metabolites named in it. `second_opinion` is the
    engine that was asked as well, because the first answer was poor; "" when nobody was.
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
    written: bool = False
    mode: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    dropped_markers: int = 0
    cached_seconds: float | None = None
    decision: Decision | None = None
    quality: Quality | None = None
    not_assessed: str = ""
    original: str = ""
    translated_by: str = ""
    kept_english: int = 0
    second_opinion: str = ""
    compounds: tuple[NamedCompound, ...] = ()


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
    ASSESS = "assess"
    SECOND_OPINION = "second_opinion"
    TRANSLATE = "translate"
    RECORD = "record"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStarted:
    """A stage has begun. `language` is the person's, as far as it is known by then."""

    stage: Stage
    language: str = "en"


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
class Progress:
    """Something to tell while a stage is under way, as one line for the person."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextWithdrawn:
    """The text so far is not the answer after all: it is taken back, and another one follows. `reason` says why."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The journey is over; nothing comes after it."""

    answer: Answer


Event: TypeAlias = StageStarted | StageEnded | Progress | TextPiece | TextWithdrawn | Finished

EngineEvent: TypeAlias = Progress | TextPiece | TextWithdrawn | Draft


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


class Verdict(StrEnum):
    """What the cited passages say to a sentence of an answer.

    RELATED: they speak of it without bearing it out. UNCHECKED: nothing of what it cites can be read here.
    """

    SUPPORTED = "supported"
    RELATED = "related"
    NOT_FOUND = "not_found"
    CONTRADICTED = "contradicted"
    UNCHECKED = "unchecked"


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceSupport:
    """A sentence of an answer held against its sources.

    `score` is the estimated probability, 0 to 1, that they support it, were half of all sentences supported. `quote` is
    the sentence of a source that comes nearest, verbatim, "" when none does; `source` is that source's number, 0
    without one. The sentence stands at [`start`, `end`) of the answer's text, its markers included, and names the
    sources `cited`. `judged` is set when a language model had the last word on it.
    """

    text: str
    verdict: Verdict
    score: float
    quote: str
    source: int = 0
    start: int = 0
    end: int = 0
    cited: tuple[int, ...] = ()
    judged: bool = False


class Badge(StrEnum):
    """An answer's quality in words, by its composite."""

    EXCELLENT = "excellent"
    GOOD = "good"
    ACCEPTABLE = "acceptable"
    LOW = "low quality"


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomScore:
    """What an assessor of somebody's own found, 0 to 1, and its weight in the composite beside the 1 of our own."""

    name: str
    score: float
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How good an answer is, each part 0 to 1, and the sentences behind it.

    `relevance` is how well it fits the question, `accuracy` how far its sources bear it out, `consistency` how free it
    is of disagreement with them and within itself, `composite` the three weighed, and `custom` with them. `notes` tell
    what could not be looked at, as sentences.
    """

    relevance: float
    accuracy: float
    consistency: float
    composite: float
    badge: Badge
    sentences: tuple[SentenceSupport, ...]
    custom: tuple[CustomScore, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedCompound:
    """A metabolite an answer speaks of: its name, how the answer writes it, and (database, accession) pairs.

    `accessions` are those of ChEBI, KEGG and HMDB and the InChIKey, as far as they are known.
    """

    name: str
    written: tuple[str, ...]
    accessions: tuple[CompoundAccession, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompoundAccession:
    """What one database ("chebi", "kegg", "hmdb", "inchikey") calls a compound, and the web page of its entry there."""

    database: str
    accession: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Translated:
    """An answer in another language. `spans` gives, for where each sentence of the original begins, [start, end) here.

    `kept` counts the sentences that stayed in the original because their translation lost something. `service` names
    who translated, for people; "" where there was nothing but sentences of our own.
    """

    text: str
    service: str
    spans: Mapping[int, tuple[int, int]]
    kept: int = 0


class Thumb(StrEnum):
    """Whether a person liked an answer."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What the person who asked question `question_id` says of its answer. Without a `thumb` it is taken back."""

    question_id: str
    user_id: str
    thumb: Thumb | None
    comment: str
    at: datetime
