"""The engine that answers from the papers, "lightrag": passages are found, and an answer is made of them.

With a model, it writes the answer and marks each claim with the passage it rests on. Without one, or when it fails,
the answer is made of whole sentences of the same passages, verbatim.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, cast

from cmo.citations import MarkerStream, cite, marked_sentences
from cmo.engines.quotes import citations_of, place_of
from cmo.errors import ModelUnavailable
from cmo.interfaces import Book, ChatModel, LanguageModel, Retriever
from cmo.logs import fields
from cmo.models.writing import NOT_IN_THE_PAPERS, answer_prompt, largest_prompt, passages_shown
from cmo.phrases import Phrase, joined
from cmo.values import (
    CallStage,
    Citation,
    Draft,
    EngineEvent,
    EngineRequest,
    Progress,
    Prompt,
    Retrieval,
    ScoredPassage,
    Selection,
    TextPiece,
    TextWithdrawn,
    Tuning,
)

ENGINE = "lightrag"
"""The engine's name in settings, decisions and records."""

NOT_ANSWERED = Phrase("The papers do not answer this.")
SEE_ALSO = Phrase("Related passages:")
NEAREST = Phrase("The nearest passages are listed below; they are related, but they are not an answer.")
UNSURE = Phrase("The match is uncertain: please check the cited page.")
UNSURE_BELOW = 0.5
"""Answers whose estimated probability of standing on the first cited page is lower carry the note above."""
WRITING_SHARE = 0.9
"""Share of the time for an answer that the model may take; what is left is for the sentences that stand in for it."""
NOT_CITED = Phrase("The answer does not say which passages it rests on: it cannot be checked here.")
MODEL_LATE = Phrase("The language model did not finish in time.")
MODEL_FAILED = Phrase("These are sentences from the papers, put together without the language model.")

_EMPHASIS = "*_\"'“"
"""What models put before the words they were told to begin with."""

_log = logging.getLogger(__name__)


class PapersEngine:
    """Answers from the papers. An Engine; asked concurrently."""

    def __init__(
        self,
        *,
        search: Retriever,
        reader: LanguageModel,
        writer: ChatModel | None,
        top_k: int,
        new_mark: Callable[[], str],
    ) -> None:
        """`reader` finds sentences, `writer` writes, if there is one; `new_mark` draws marks nobody can guess."""
        self._search = search
        self._reader = reader
        self._writer = writer
        self._top_k = top_k
        self._new_mark = new_mark

    @property
    def name(self) -> str:
        """The engine's name in settings, decisions and records."""
        return ENGINE

    async def is_available(self) -> bool:
        """Whether there is a paper to search."""
        return bool(await self._search.version())

    async def version(self) -> str:
        """The index's state, and the model that answers from it."""
        model = self._writer.name if self._writer is not None else self._reader.name
        return f"{await self._search.version()} {model}"

    async def coverage(self, search_text: str) -> float:
        """How well the papers fit a question: the cosine of its best passage with it.

        Raises:
            EngineUnavailable: nothing could be searched.
            ModelUnavailable: the embedding model cannot be loaded.
        """
        retrieval = await self._search.retrieve(search_text, top_k=self._top_k)
        return await self._reader.coverage(search_text, retrieval.passages)

    def ceiling_usd(self, request: EngineRequest) -> float:
        """The most that writing the answer can cost; sentences of the papers cost nothing."""
        if self._writer is None or request.free:
            return 0.0
        return self._writer.ceiling_usd(_tuned(largest_prompt(), request.tuning))

    async def ask(self, request: EngineRequest, book: Book) -> AsyncIterator[EngineEvent]:
        """Progress and pieces of text as they come; the last event is the Draft.

        Raises:
            EngineUnavailable: nothing could be searched.
            ModelUnavailable: the embedding model cannot be loaded.
        """
        ends_at = asyncio.get_running_loop().time() + WRITING_SHARE * request.seconds
        retrieval = await self._search.retrieve(
            request.search_text,
            top_k=request.tuning.top_k or self._top_k,
            mode=request.mode,
            asked=request.question.standalone,
        )
        selection = await self._reader.select(request.search_text, retrieval.passages)
        yield Progress(text=_found(retrieval, selection))
        why = ""
        if self._writer is not None and retrieval.passages and not request.free:
            written = cast("Any", self._written(self._writer, request, retrieval, selection, book))
            try:
                async with aclosing(written):
                    async for event in _until(ends_at, written):
                        yield event
                return
            except ModelUnavailable as error:
                _log.warning("model_failed", extra=fields(model=self._writer.name, reason=str(error)))
                why = joined((error.words, MODEL_FAILED))
                yield TextWithdrawn(reason=why)
        for event in self._verbatim(request, retrieval, selection, why):
            yield event

    async def _written(
        self, writer: ChatModel, request: EngineRequest, retrieval: Retrieval, selection: Selection, book: Book
    ) -> AsyncIterator[EngineEvent]:
        passages = passages_shown(reading_order(retrieval, selection))
        prompt = answer_prompt(
            request.question.standalone, passages, in_english=request.search_text, mark=self._new_mark()
        )
        prompt = _tuned(prompt, request.tuning)
        markers = MarkerStream({str(number): place_of(found) for number, found in enumerate(passages, start=1)})
        opening = _Opening()
        text = ""
        async with aclosing(cast("Any", writer.stream(prompt, stage=CallStage.ANSWER, book=book))) as pieces:
            async for piece in pieces:
                shown = markers.feed(opening.feed(piece))
                if shown:
                    text += shown
                    yield TextPiece(text=shown)
        rest = markers.feed(opening.finish()) + markers.finish()
        if rest:
            text += rest
            yield TextPiece(text=rest)
        if opening.refused or not text.strip():
            for event in self._refused(writer.name, request, retrieval, selection):
                yield event
            return
        yield Draft(
            text=text.strip(),
            answered=True,
            model=writer.name,
            citations=citations_of(text, markers.sources_used, passages),
            written=True,
            generation=retrieval.generation,
            mode=request.mode,
            confidence=selection.confidence,
            degraded=retrieval.degraded is not None,
            dropped_markers=markers.dropped,
            notices=tuple(filter(None, (retrieval.degraded, None if markers.sources_used else NOT_CITED))),
        )

    def _refused(
        self, model: str, request: EngineRequest, retrieval: Retrieval, selection: Selection
    ) -> Sequence[EngineEvent]:
        """The model read the passages and found no answer in them."""
        nearest = Selection(
            sentences=(), nearest=(*selection.sentences, *selection.nearest), confidence=selection.confidence
        )
        draft = _draft(request, retrieval, nearest, model=model)
        return TextPiece(text=draft.text), draft

    def _verbatim(
        self, request: EngineRequest, retrieval: Retrieval, selection: Selection, why: str
    ) -> Sequence[EngineEvent]:
        """Sentences of the papers; `why` tells what they stand in for, "" when they are what was asked for."""
        draft = _draft(request, retrieval, selection, model=self._reader.name, why=why)
        return *(TextPiece(text=piece) for piece in _pieces(retrieval, selection)), draft


def reading_order(retrieval: Retrieval, selection: Selection) -> tuple[ScoredPassage, ...]:
    """The passages for a model to read: first those that hold the sentences found, then the rest as retrieved."""
    found = {passage.passage.chunk_id: passage for passage in retrieval.passages}
    sentences = (*selection.sentences, *selection.nearest)
    chosen = dict.fromkeys(sentence.passage.chunk_id for sentence in sentences)
    order = [chunk_id for chunk_id in chosen if chunk_id in found]
    return tuple(found[chunk_id] for chunk_id in dict.fromkeys((*order, *found)))


async def _until(ends_at: float, events: AsyncIterator[EngineEvent]) -> AsyncIterator[EngineEvent]:
    """The events of a model as they come.

    Raises:
        ModelUnavailable: it takes longer than until `ends_at`, in the time of the event loop.
    """
    while True:
        try:
            async with asyncio.timeout_at(ends_at):
                event = await anext(events)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise ModelUnavailable(MODEL_LATE) from error
        yield event


def _tuned(prompt: Prompt, tuning: Tuning) -> Prompt:
    """The prompt as somebody's variant wants it."""
    return replace(prompt, max_tokens=tuning.max_tokens or prompt.max_tokens, temperature=tuning.temperature)


class _Opening:
    """Holds a model's first words back until it is clear whether they say that the papers do not answer."""

    def __init__(self) -> None:
        self._held: str | None = ""
        self.refused = False

    def feed(self, piece: str) -> str:
        """What may be shown."""
        if self.refused:
            return ""
        if self._held is None:
            return piece
        self._held = (self._held + piece).lstrip()
        said = self._held.lstrip(_EMPHASIS)
        if said.startswith(NOT_IN_THE_PAPERS):
            self.refused = True
            return ""
        if NOT_IN_THE_PAPERS.startswith(said):
            return ""
        shown, self._held = self._held, None
        return shown

    def finish(self) -> str:
        """What was held back to the end."""
        held, self._held = self._held or "", None
        return "" if self.refused else held


def _draft(request: EngineRequest, retrieval: Retrieval, selection: Selection, *, model: str, why: str = "") -> Draft:
    answered = bool(selection.sentences)
    unsure = answered and selection.confidence < UNSURE_BELOW
    notices = (why, retrieval.degraded or "", UNSURE if unsure else "")
    pieces = _pieces(retrieval, selection)
    return Draft(
        text="".join(pieces) if answered else pieces[0],
        answered=answered,
        model=model,
        citations=cite((*selection.sentences, *selection.nearest), retrieval.passages),
        generation=retrieval.generation,
        mode=request.mode,
        confidence=selection.confidence,
        degraded=bool(why) or retrieval.degraded is not None,
        notices=tuple(notice for notice in notices if notice),
    )


def _pieces(retrieval: Retrieval, selection: Selection) -> list[str]:
    if not selection.sentences:
        return [joined((NOT_ANSWERED, NEAREST)) if selection.nearest else NOT_ANSWERED]
    citations = cite((*selection.sentences, *selection.nearest))
    sentences = marked_sentences(selection.sentences, citations)
    pieces = [sentence if index == 0 else f" {sentence}" for index, sentence in enumerate(sentences)]
    further = _further(selection, citations)
    return [*pieces, f"\n\n{SEE_ALSO} {' '.join(further)}"] if further else pieces


def _further(selection: Selection, citations: Sequence[Citation]) -> list[str]:
    """Markers of the pages that say more about it."""
    said = {(sentence.document.doc_id, sentence.passage.page) for sentence in selection.sentences}
    return [f"[{citation.number}]" for citation in citations if (citation.doc_id, citation.page) not in said]


def _found(retrieval: Retrieval, selection: Selection) -> str:
    documents = {found.document.doc_id for found in retrieval.passages}
    return Phrase(
        "Passages read: {passages}, of papers: {papers}. Sentences that fit: {sentences} "
        "(confidence {confidence:.2f}).",
        passages=len(retrieval.passages),
        papers=len(documents),
        sentences=len(selection.sentences),
        confidence=selection.confidence,
    )
