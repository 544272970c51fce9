"""One question's journey, top to bottom: understand, decide, ask, cite, record, show.

The pipeline knows the plugs of interfaces.py and never what is plugged in. It refuses to know about screens: it
yields events, and whoever shows them decides how.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import re
import time
from collections.abc import AsyncIterator, Sequence

from cmo.citations import cite, marked_sentences
from cmo.errors import EngineUnavailable, QuestionTooLong, StorageUnavailable
from cmo.interfaces import Extractor, LanguageDetector, LanguageModel, Ledger, QuestionTranslator, Retriever
from cmo.logs import fields
from cmo.values import (
    Answer,
    Citation,
    Event,
    Finished,
    Question,
    Retrieval,
    Selection,
    Stage,
    StageEnded,
    StageStarted,
    TextPiece,
)

ENGINE = "lightrag"
ONLY_ENGINE = "only_engine"
"""The routing reason when no other engine is configured."""

LONGEST_QUESTION = 2_000
"""Characters of a question at most: more is a pasted text, which the search cannot do justice to."""
ENGLISH = "en"
IN_ENGLISH = "The papers were searched by English words for your question, and are quoted in English."
NOT_ANSWERED = "The papers do not answer this."
SEE_ALSO = "Related passages:"
NEAREST = "The nearest passages are listed below; they are related, but they are not an answer."
UNSURE = "The match is uncertain: please check the cited page."
UNSURE_BELOW = 0.5
"""Answers whose estimated probability of standing on the first cited page is lower carry the note above."""

_FOLLOWS_UP = re.compile(
    r"^\s*(?:and|or|but|also|what about|how about|why|und|et|y|e)\b"
    r"|\b(?:it|its|they|them|their|this|that|these|those)\b",
    re.IGNORECASE,
)
"""What a question that cannot be understood by itself looks like."""

_log = logging.getLogger(__name__)


class QuestionPipeline:
    """Takes a question through its stages. Built once; asked concurrently."""

    def __init__(
        self,
        *,
        retriever: Retriever,
        model: LanguageModel,
        extractor: Extractor,
        detector: LanguageDetector,
        translator: QuestionTranslator,
        ledger: Ledger,
        top_k: int,
        timeout_seconds: float,
    ) -> None:
        self._retriever = retriever
        self._model = model
        self._extractor = extractor
        self._detector = detector
        self._translator = translator
        self._ledger = ledger
        self._top_k = top_k
        self._timeout_seconds = timeout_seconds

    async def ask(self, question: Question) -> AsyncIterator[Event]:
        """Events of the journey; the last one is Finished.

        A journey that is closed or cancelled before its end is booked as "stopped", one that fails as "failed".

        Raises:
            EngineUnavailable: nothing could be searched, or it took longer than `timeout_seconds`.
            QuestionTooLong: it has more than LONGEST_QUESTION characters; nothing is booked.
        """
        refuse_too_long(question.text)
        started = time.perf_counter()
        outcome: str = "failed"
        finished: Finished | None = None
        try:
            async for event in self._journey(question, started):
                if isinstance(event, Finished):
                    finished = event
                    outcome = "answered" if event.answer.answered else "refused"
                    event = StageStarted(stage=Stage.RECORD)
                yield event
        except (asyncio.CancelledError, GeneratorExit):
            outcome = outcome if finished else "stopped"
            raise
        finally:
            ended = time.perf_counter()
            answer = finished.answer if finished else None
            await asyncio.shield(self._book(question, answer, outcome=outcome, seconds=ended - started))
        if finished:
            yield _ended(Stage.RECORD, ended, outcome)
            yield finished

    async def _book(self, question: Question, answer: Answer | None, *, outcome: str, seconds: float) -> None:
        """Book the question. A ledger that cannot be written costs nobody their answer, but somebody should look."""
        try:
            await self._ledger.record(question, answer, outcome=outcome, seconds=seconds)
        except StorageUnavailable:
            _log.exception("ledger_record_failed", extra=fields(outcome=outcome))

    async def _journey(self, question: Question, started: float) -> AsyncIterator[Event]:
        yield StageStarted(stage=Stage.UNDERSTAND)
        question = self._understand(question)
        searched = await asyncio.to_thread(self._translator.to_english, question.standalone, question.language)
        yield _ended(Stage.UNDERSTAND, started, f"Language: {question.language}. Searching for: {searched}")

        yield StageStarted(stage=Stage.DECIDE)
        yield _ended(Stage.DECIDE, started, "Your papers: the only engine configured.")

        yield StageStarted(stage=Stage.ASK)
        asked = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                retrieval = await self._retriever.retrieve(searched, top_k=self._top_k)
                selection = await self._model.select(searched, retrieval.passages)
        except TimeoutError as error:
            raise EngineUnavailable(
                f"Searching the papers took longer than {self._timeout_seconds:g} seconds and was given up. "
                "Please ask again; if it happens often, run `cmo doctor`."
            ) from error
        yield _ended(Stage.ASK, asked, _found(retrieval, selection))

        yield StageStarted(stage=Stage.CITE)
        citations = cite((*selection.sentences, *selection.nearest))
        yield _ended(Stage.CITE, time.perf_counter(), f"{len(citations)} page(s) cited.")

        pieces = _answer(selection, citations) if selection.sentences else [_refusal(retrieval, selection)]
        for piece in pieces:
            yield TextPiece(text=piece)
        yield Finished(
            answer=Answer(
                text="".join(pieces),
                answered=bool(selection.sentences),
                language=question.language,
                engine=ENGINE,
                model=self._model.name,
                reason=ONLY_ENGINE,
                citations=citations,
                cost_usd=0.0,
                seconds=time.perf_counter() - started,
                generation=retrieval.generation,
                notice=_notice(question, retrieval, selection),
            )
        )

    def _understand(self, question: Question) -> Question:
        language = self._detector.detect(question.text)
        return dataclasses.replace(question, language=language, standalone=self._standalone(question))

    def _standalone(self, question: Question) -> str:
        """The question; one that leans on the turn before is completed by the things named there."""
        if not question.history or not _FOLLOWS_UP.search(question.text) or self._extractor.names(question.text):
            return question.text
        carried = self._extractor.names(question.history[-1])
        return f"{question.text} ({', '.join(carried)})" if carried else f"{question.history[-1]} {question.text}"


def refuse_too_long(text: str) -> None:
    """Let a question pass that can be searched for.

    Raises:
        QuestionTooLong: it has more than LONGEST_QUESTION characters.
    """
    if len(text) > LONGEST_QUESTION:
        raise QuestionTooLong(f"The question has {len(text):,} characters; please ask in at most {LONGEST_QUESTION:,}.")


def _ended(stage: Stage, since: float, summary: str) -> StageEnded:
    return StageEnded(stage=stage, summary=summary, seconds=time.perf_counter() - since)


def _found(retrieval: Retrieval, selection: Selection) -> str:
    documents = {found.document.doc_id for found in retrieval.passages}
    return (
        f"{len(retrieval.passages)} passages of {len(documents)} paper(s) read; "
        f"{len(selection.sentences)} sentence(s) fit (confidence {selection.confidence:.2f})."
    )


def _answer(selection: Selection, citations: Sequence[Citation]) -> list[str]:
    """The sentences with their markers, then the pages that say more about it."""
    sentences = marked_sentences(selection.sentences, citations)
    pieces = [sentence if index == 0 else f" {sentence}" for index, sentence in enumerate(sentences)]
    said = {(sentence.document.doc_id, sentence.passage.page) for sentence in selection.sentences}
    further = [f"[{citation.number}]" for citation in citations if (citation.doc_id, citation.page) not in said]
    return [*pieces, f"\n\n{SEE_ALSO} {' '.join(further)}"] if further else pieces


def _refusal(retrieval: Retrieval, selection: Selection) -> str:
    if not retrieval.passages:
        return NOT_ANSWERED
    return f"{NOT_ANSWERED} {NEAREST}" if selection.nearest else NOT_ANSWERED


def _notice(question: Question, retrieval: Retrieval, selection: Selection) -> str | None:
    notes = [retrieval.degraded] if retrieval.degraded else []
    if question.language != ENGLISH:
        notes.append(IN_ENGLISH)
    if selection.sentences and selection.confidence < UNSURE_BELOW:
        notes.append(UNSURE)
    return " ".join(notes) or None
