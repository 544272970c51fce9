"""The chat over an application that plays a script, for the browser.

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
from cmo.errors import EngineUnavailable
from cmo.settings import Settings, load_settings
from cmo.ui.chat import serve
from cmo.values import (
    Answer,
    Citation,
    Document,
    Event,
    FileReport,
    FileStatus,
    Finished,
    IndexProgress,
    LibraryState,
    Question,
    Stage,
    StageEnded,
    StageStarted,
    TextPiece,
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


# Chainlit loads this file without registering it as a module, which dataclasses cannot stand.
class Application(NamedTuple):
    pipeline: Pipeline
    library: Library
    settings: Settings
    engine_names: tuple[str, ...] = ("lightrag",)

    async def get_ready(self) -> None:
        pass


@asynccontextmanager
async def application(settings: Settings) -> AsyncIterator[Application]:
    library = Library(settings.papers_dir, os.environ["CMO_FAKE"])
    yield Application(pipeline=Pipeline(library), library=library, settings=settings)


def _doc_id(file: Path) -> str:
    return f"doc-{hashlib.sha256(file.read_bytes()).hexdigest()[:16]}"


def _document(doc_id: str, file: Path) -> Document:
    return Document(doc_id=doc_id, file=file.name, title=TITLES.get(file.name, file.stem), pages=4)


serve(lambda: load_settings(env_file=None), application)
