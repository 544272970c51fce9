"""Answers without a model server: whole sentences from the papers, verbatim, each with its page.

It would rather say that the papers do not answer than show a sentence that only sounds right.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from itertools import islice
from typing import Protocol

import numpy as np

from cmo.interfaces import TokenVectors
from cmo.models.answerability import judge
from cmo.models.evidence import (
    PreparedPassage,
    RankedPage,
    best_sentences,
    candidates,
    leans_back,
    mean_direction,
    paper_scores,
    prepare,
    rank_pages,
    read,
    units,
)
from cmo.values import EvidenceSentence, Passage, ScoredPassage, Selection

MOST_PAGES = 5
"""Pages cited at most: among the first five the right one is nearly always found, and five can still be checked."""
SENTENCES_OF_BEST_PAGE = 2
ANSWER_SHARE = 0.6
"""A further page's sentence belongs to the answer when it matches at least this share of the best one's match."""
MOST_FURTHER_SENTENCES = 2
QUESTIONS_AT_ONCE = 2
"""Questions read at the same time; the others wait their turn.

Reading is arithmetic on every processor, and Python's share of it holds the interpreter's lock: more questions at once
are not answered sooner, but keep the event loop waiting longer (benchmarks/load.py).
"""
_KEPT_PASSAGES = 128
"""Passages whose token vectors are kept for the next question: about 0.25 MB each."""


class TokenEmbedder(Protocol):
    """Vectors of single tokens in context."""

    async def embed_tokens(self, texts: Sequence[str]) -> Sequence[TokenVectors]:
        """The vectors of each text's tokens."""


class ExtractiveModel:
    """Finds the sentences that answer. A LanguageModel; may be shared."""

    def __init__(self, embedder: TokenEmbedder) -> None:
        self._embedder = embedder
        self._kept: OrderedDict[str, PreparedPassage] = OrderedDict()
        self._turns = asyncio.Semaphore(QUESTIONS_AT_ONCE)

    @property
    def name(self) -> str:
        """The model's name as shown and recorded."""
        return "extractive-minilm"

    async def select(self, question: str, passages: Sequence[ScoredPassage]) -> Selection:
        """The sentences that answer, best page first; none when the passages do not answer.

        Raises:
            ModelUnavailable: the embedding model cannot be loaded.
        """
        chosen = candidates(passages)
        if not chosen:
            return Selection(sentences=(), nearest=(), confidence=0.0)
        async with self._turns:
            (question_tokens,) = await self._embedder.embed_tokens([question])
            prepared = await self.prepared(chosen)
            return await asyncio.to_thread(_select, question, question_tokens, passages, chosen, prepared)

    async def coverage(self, question: str, passages: Sequence[ScoredPassage]) -> float:
        """The cosine, -1 to 1, of the question with the passage most like it; 0 without passages.

        Raises:
            ModelUnavailable: the embedding model cannot be loaded.
        """
        chosen = candidates(passages)
        async with self._turns:
            (question_tokens,) = await self._embedder.embed_tokens([question])
            prepared = await self.prepared(chosen)
        wanted = mean_direction(np.asarray(question_tokens.vectors))
        return max((float(wanted @ passage.meaning) for passage in prepared), default=0.0)

    async def prepared(self, passages: Sequence[ScoredPassage]) -> list[PreparedPassage]:
        """The passages made ready, embedding only those not kept from an earlier question."""
        known = {found.passage.chunk_id: self._kept.get(found.passage.chunk_id) for found in passages}
        missing = [found.passage for found in passages if known[found.passage.chunk_id] is None]
        spans = await asyncio.to_thread(lambda: [units(passage.text) for passage in missing])
        texts = [passage.text[start:end] for passage, of in zip(missing, spans, strict=True) for start, end in of]
        embedded = await self._embedder.embed_tokens(texts)
        known |= await asyncio.to_thread(_prepare_all, missing, spans, embedded)
        for chunk_id, passage_ready in known.items():
            if passage_ready is not None:
                self._kept[chunk_id] = passage_ready
                self._kept.move_to_end(chunk_id)
        while len(self._kept) > _KEPT_PASSAGES:
            self._kept.popitem(last=False)
        return [passage_ready for passage_ready in known.values() if passage_ready is not None]


def _prepare_all(
    passages: Sequence[Passage], spans: Sequence[Sequence[tuple[int, int]]], embedded: Sequence[TokenVectors]
) -> dict[str, PreparedPassage]:
    """The passages made ready, by chunk id, given the units of each and the token vectors of all units in order."""
    vectors = iter(embedded)
    return {
        passage.chunk_id: prepare(passage.text, of, [next(vectors) for _ in of])
        for passage, of in zip(passages, spans, strict=True)
    }


def _select(
    question: str,
    question_tokens: TokenVectors,
    passages: Sequence[ScoredPassage],
    chosen: Sequence[ScoredPassage],
    prepared: Sequence[PreparedPassage],
) -> Selection:
    readings = read(question, question_tokens, chosen, prepared)
    ranked = rank_pages(readings, paper_scores(passages))
    pages = list(islice((page for page in ranked if best_sentences(page.reading, most=1)), MOST_PAGES))
    if not pages:
        return Selection(sentences=(), nearest=(), confidence=0.0)
    judgement = judge(readings, ranked)
    sentences = _sentences_of(pages)
    if not judgement.answerable:
        return Selection(sentences=(), nearest=sentences, confidence=judgement.confidence)
    answer = _answer(sentences, pages[0])
    further = tuple(sentence for sentence in sentences if sentence not in answer)
    return Selection(sentences=answer, nearest=further, confidence=judgement.confidence)


def _answer(sentences: Sequence[EvidenceSentence], best: RankedPage) -> tuple[EvidenceSentence, ...]:
    """The best page's sentences, and those of further pages that fit nearly as well and can be read on their own."""
    first = [sentence for sentence in sentences if _page_of(sentence) == best.reading.page]
    least = ANSWER_SHARE * max(sentence.score for sentence in first)
    further = [
        sentence
        for sentence in sentences
        if _page_of(sentence) != best.reading.page and sentence.score >= least and not leans_back(sentence.text)
    ]
    return (*first, *further[:MOST_FURTHER_SENTENCES])


def _page_of(sentence: EvidenceSentence) -> tuple[str, int]:
    return sentence.document.doc_id, sentence.passage.page


def _sentences_of(pages: Sequence[RankedPage]) -> tuple[EvidenceSentence, ...]:
    """Sentences of the best page first, each text once."""
    seen: set[str] = set()
    sentences = []
    for index, page in enumerate(pages):
        for sentence in best_sentences(page.reading, most=SENTENCES_OF_BEST_PAGE if index == 0 else 1):
            if sentence.text not in seen:
                seen.add(sentence.text)
                sentences.append(sentence)
    return tuple(sentences)
