"""The chat over an application that plays a script, for the browser.

Words in a question pick what its answer is like: "evidence", "unassessed", "translated", "weather" and
others.
`CMO_FAKE` picks the library: ready, empty or indexing. An indexing one takes a step with each file step-1, step-2, ...
that appears beside the papers folder; the last step ends the run.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from cmo.citations import page_url
from cmo.errors import EngineUnavailable, OracleError
from cmo.phrases import Phrase
from cmo.settings import Settings, load_settings
from cmo.ui.chat import serve
from cmo.values import (
    Answer,
    Badge,
    Citation,
    CompoundAccession,
    CustomScore,
    Document,
    Event,
    Feedback,
    FileReport,
    FileStatus,
    Finished,
    IndexProgress,
    LibraryState,
    NamedCompound,
    Quality,
    Question,
    SentenceSupport,
    Stage,
    StageEnded,
    StageStarted,
    TextPiece,
    Verdict,
)

TITLES = {
    "primer.pdf": "What clinical metabolomics is and what it is used for",
    "diabetes.pdf": "Plasma metabolomics in early type 2 diabetes: a *cohort* study",
    "notes.txt": "Notes on branched-chain amino acids",
}


class Library:
    def __init__(self, papers_dir: Path, script: str) -> None:
        self.folder = papers_dir
        self._files = {_doc_id(file): file for file in sorted(papers_dir.rglob("*")) if file.suffix in {".pdf", ".txt"}}
        self._documents = tuple(_document(doc_id, file) for doc_id, file in self._files.items())
        self._problems = (FileReport(file="scan.pdf", status=FileStatus.NEEDS_OCR, reason="no text on 3 pages"),)
        self._done = len(self._documents) if script == "ready" else 0
        self._running = script == "indexing"
        self._task: asyncio.Task[None] | None = None

    async def state(self) -> LibraryState:
        total = len(self._documents)
        done = min(self._done, total)
        run = IndexProgress(
            files_done=done,
            files_total=total,
            pages=done * 4,
            passages=done * 31,
            seconds_left=(total - done) * 7.0,
            file="diabetes.pdf",
        )
        return LibraryState(
            documents=self._documents[: self._done],
            passages=31 * self._done,
            generation="g0001",
            indexing=run if self._running else None,
            problems=self._problems if self._documents else (),
        )

    async def start_indexing(self, *, paid: bool = False) -> None:
        if self._done < len(self._documents) and self._task is None and os.environ["CMO_FAKE"] != "empty":
            self._running = True
            self._task = asyncio.create_task(self._index())

    async def cancel_indexing(self) -> None:
        self._running = False
        if self._task is not None:
            self._task.cancel()

    async def page_source(self, doc_id: str) -> Path | None:
        return self._files.get(doc_id)

    async def _index(self) -> None:
        while self._done <= len(self._documents):
            while not (self.folder.parent / f"step-{self._done + 1}").exists():  # noqa: ASYNC110 - made by the test
                await asyncio.sleep(0.02)
            self._done += 1
        self._done = len(self._documents)
        self._running = False

    def citations(self) -> tuple[Citation, ...]:
        by_name = {document.file: document for document in self._documents}
        wanted = (
            ("primer.pdf", 3, "Clinical metabolomics is the study of small molecules in samples from patients."),
            ("diabetes.pdf", 1, "Branched-chain amino acids rise years before diabetes is diagnosed (p < 0.001)."),
            ("notes.txt", 1, "Leucine, isoleucine and valine are the branched-chain amino acids."),
        )
        return tuple(
            Citation(
                number=number,
                document=name,
                title=by_name[name].title,
                page=page,
                quote=quote,
                url=page_url(by_name[name].doc_id, page),
                doc_id=by_name[name].doc_id,
            )
            for number, (name, page, quote) in enumerate(wanted, start=1)
        )


class Pipeline:
    def __init__(self, library: Library) -> None:
        self._library = library

    async def ask(self, question: Question) -> AsyncIterator[Event]:
        for stage, summary in (
            (Stage.UNDERSTAND, f"Language: en. Searching for: {question.text} ({len(question.history)} earlier)"),
            (Stage.DECIDE, "Your papers: the only engine configured."),
            (Stage.ASK, "20 passages of 3 papers read; 3 sentences fit (confidence 0.83)."),
            (Stage.CITE, "3 pages cited."),
        ):
            yield StageStarted(stage=stage)
            await asyncio.sleep(0.05)
            yield StageEnded(stage=stage, summary=summary, seconds=0.05)
        if "crash" in question.text:
            raise RuntimeError("password of the database")
        if "unavailable" in question.text:
            raise EngineUnavailable("The papers cannot be searched now: run `cmo doctor`.")
        if "patient" in question.text:
            yield TextPiece(text="Half an answer ")
            while not self._beside("go").exists():  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(0.02)
        if "slow" in question.text:
            for number in range(600):
                yield TextPiece(text=f"word{number} ")
                await asyncio.sleep(0.05)
        answer = self._refusal(question) if "weather" in question.text else self._answer(question)
        if "evidence" in question.text:
            answer = with_evidence(answer)
        elif "translated" in question.text:
            answer = translated(answer)
        elif "unassessed" in question.text:
            answer = replace(answer, not_assessed="It took too long.")
        for sentence in answer.text.split(". "):
            yield TextPiece(text=sentence if sentence.endswith(".") else f"{sentence}. ")
            await asyncio.sleep(0.1)
        yield Finished(answer=answer)
        self._beside("finished").touch()

    def _beside(self, name: str) -> Path:
        return self._library.folder.parent / name

    def _answer(self, question: Question) -> Answer:
        citations = self._library.citations()
        text = " ".join(f"{citation.quote} [{citation.number}]" for citation in citations)
        return Answer(
            text=text,
            answered=True,
            language="en",
            engine="lightrag",
            model="MiniLM extractive",
            reason="only_engine",
            citations=citations,
            cost_usd=0.0,
            seconds=0.42,
            generation="g0001",
            notice="The match is uncertain: please check the cited page." if "uncertain" in question.text else None,
        )

    def _refusal(self, question: Question) -> Answer:
        return replace(
            self._answer(question),
            answered=False,
            text="The papers do not answer this. The nearest passages are listed below; they are related, but they are "
            "not an answer.",
        )


JUDGED = (
    ("Clinical metabolomics is the study of small molecules in samples from patients.", 1, Verdict.SUPPORTED, 0.98),
    ("It began with *mass spectrometry*.", 1, Verdict.RELATED, 0.31),
    ("Branched-chain amino acids fall years before diabetes is diagnosed.", 2, Verdict.CONTRADICTED, 0.12),
    ("Valine cures it.", 2, Verdict.NOT_FOUND, 0.03),
    ("Others agree.", 3, Verdict.UNCHECKED, 0.0),
    ("It goes on.", 1, Verdict.RELATED, 0.25),
    ("So do lines.", 3, Verdict.RELATED, 0.2),
)
QUOTES = (
    "Clinical metabolomics is the study of small molecules in samples from patients.",
    "Introductory text that is not cited.",
    "Branched-chain amino acids rise years before diabetes is diagnosed (p < 0.001).",
    "",
    "",
    "Clinical metabolomics is the study of small molecules … in samples from nobody.",
    "This line stands here often, and says little.",
)
"""What the sentences of JUDGED are held against: words of a page, words it has often, words of which it has a part."""
COMPOUNDS = ("leucine", "isoleucine", "valine", *(f"compound-{number}" for number in range(11)))


def with_evidence(answer: Answer) -> Answer:
    """An answer with a sentence of each verdict."""
    text = ""
    sentences: list[SentenceSupport] = []
    for (words, number, verdict, score), quote in zip(JUDGED, QUOTES, strict=True):
        start = len(text)
        text += f"{words} [{number}]"
        sentences.append(
            SentenceSupport(
                text=words.replace("*", ""),
                verdict=verdict,
                score=score,
                quote=quote,
                source=number if quote else 0,
                start=start,
                end=len(text),
                cited=(number,),
                judged=verdict is Verdict.CONTRADICTED,
            )
        )
        text += "\n\n- " if verdict is Verdict.SUPPORTED else "\n- "
    quality = Quality(
        relevance=0.91,
        accuracy=0.36,
        consistency=0.75,
        composite=0.7,
        badge=Badge.ACCEPTABLE,
        sentences=tuple(sentences),
        custom=(CustomScore(name="House style", score=0.5, weight=0.25),),
        notes=(Phrase("Sources that cannot be read here: {count}.", count=1),),
    )
    citations = tuple(
        replace(each, confidence=confidence)
        for each, confidence in zip(answer.citations, (0.96, 0.08, None), strict=True)
    )
    return replace(
        answer,
        text=text.rstrip("\n- "),
        written=True,
        model="gpt-test",
        citations=citations,
        quality=quality,
        compounds=tuple(map(_compound, COMPOUNDS)),
    )


def translated(answer: Answer) -> Answer:
    """The same answer in Arabic, one sentence of which stayed in English."""
    english = "Leucine rises. [2] Valine falls. [2]"
    text = "يرتفع Leucine. [2] Valine falls. [2]"
    spans = ((0, 18), (19, len(text)))
    sentences = tuple(
        SentenceSupport(text=words, verdict=verdict, score=0.5, quote="", start=start, end=end, cited=(2,))
        for words, verdict, (start, end) in zip(
            ("Leucine rises.", "Valine falls."), (Verdict.SUPPORTED, Verdict.NOT_FOUND), spans, strict=True
        )
    )
    quality = Quality(
        relevance=0.9, accuracy=0.9, consistency=1.0, composite=0.93, badge=Badge.EXCELLENT, sentences=sentences
    )
    return replace(
        answer, text=text, original=english, translated_by="Google", language="ar", written=True, quality=quality
    )


def _compound(name: str) -> NamedCompound:
    accessions = (
        CompoundAccession(database="chebi", accession="CHEBI:25017", url="https://www.ebi.ac.uk/chebi/CHEBI:25017"),
        CompoundAccession(database="hmdb", accession="HMDB0000687", url="https://hmdb.ca/metabolites/HMDB0000687"),
    )
    return NamedCompound(name=name, written=(name[:3].upper(),), accessions=accessions if name == "leucine" else ())


class FeedbackBook:
    """Writes what it is given into a file; says no when there is one beside it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def give(self, feedback: Feedback) -> None:
        if (self._folder / "full").exists():
            raise OracleError(Phrase("The database is full."))
        with (self._folder / "feedback").open("a", encoding="utf-8") as file:
            file.write(f"{feedback.thumb} {feedback.comment}\n")


# Chainlit loads this file without registering it as a module, which dataclasses cannot stand.
class Application(NamedTuple):
    pipeline: Pipeline
    library: Library
    settings: Settings
    feedback: FeedbackBook
    engine_names: tuple[str, ...] = ("lightrag",)

    async def get_ready(self) -> None:
        pass


@asynccontextmanager
async def application(settings: Settings) -> AsyncIterator[Application]:
    library = Library(settings.papers_dir, os.environ["CMO_FAKE"])
    yield Application(
        pipeline=Pipeline(library),
        library=library,
        settings=settings,
        feedback=FeedbackBook(settings.papers_dir.parent),
    )


def _doc_id(file: Path) -> str:
    return f"doc-{hashlib.sha256(file.read_bytes()).hexdigest()[:16]}"


def _document(doc_id: str, file: Path) -> Document:
    return Document(doc_id=doc_id, file=file.name, title=TITLES.get(file.name, file.stem), pages=4)


serve(lambda: load_settings(env_file=None), application)
