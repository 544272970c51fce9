"""An engine's draft held against the sources it cites.

A source is what can be read of it here: the text a paper's page was cited from, or a web page's snippet. What a web
search brought no text for cannot be checked, and is told so instead of being called unsupported.

Others may have their say after our own scores: a judge of the open sentences, and custom assessors. What they do not
finish in time costs only their part.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from cmo.errors import NotAssessed
from cmo.interfaces import Book
from cmo.logs import fields
from cmo.phrases import Phrase
from cmo.quality.assessment import reweighed, scored
from cmo.quality.custom import CustomAssessors
from cmo.values import Citation, Draft, Quality, Question, SentenceSupport, Verdict

NO_TEXT = "What this answer cites came without any text, so its sentences cannot be checked here."
NO_SOURCES = "This answer cites nothing, so its sentences cannot be checked."
UNREAD = "Sentences that could not be checked, because what they cite came without text: {n}."


class TextAssessor(Protocol):
    """Assesses texts."""

    async def assess(self, question: str, answer: str, sources: Sequence[str]) -> Quality:
        """The quality of an answer whose markers [n] stand for the n-th source.

        Raises:
            ModelUnavailable: the embedding model cannot be loaded.
        """


class Judge(Protocol):
    """Has the last word on sentences that the embedded check leaves open."""

    async def judged(
        self, sentences: Sequence[SentenceSupport], sources: Sequence[str], book: Book, *, user_id: str
    ) -> tuple[SentenceSupport, ...]:
        """The sentences of an answer to this person, the open ones with another verdict where it can be believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Others:
    """Who else is asked about an answer. `seconds` is the time for its whole assessment, our own scores included."""

    judge: Judge | None
    custom: CustomAssessors
    seconds: float


OTHERS_SHARE: Final = 0.9
"""The part of that time after which nobody else is waited for, so that what is known by then can still be shown."""

NOBODY: Final = Others(judge=None, custom=CustomAssessors(()), seconds=0.0)

_log = logging.getLogger(__name__)


class DraftAssessor:
    """Assesses drafts. An `interfaces.Assessor`."""

    def __init__(self, assessor: TextAssessor, others: Others = NOBODY) -> None:
        self._assessor = assessor
        self._others = others

    async def assess(self, question: Question, asked: str, draft: Draft, book: Book) -> Quality:
        """The quality of an English draft as an answer to the English text `asked`.

        Raises:
            NotAssessed: nothing it cites can be read here.
            ModelUnavailable: the embedding model cannot be loaded.
        """
        if not draft.citations:
            raise NotAssessed(Phrase(NO_SOURCES))
        sources = source_texts(draft.citations)
        if not any(sources):
            raise NotAssessed(Phrase(NO_TEXT))
        ends = _now() + OTHERS_SHARE * self._others.seconds
        quality = await self._assessor.assess(asked, draft.text, sources)
        sentences = tuple(_if_readable(sentence, sources) for sentence in quality.sentences)
        unread = sum(sentence.verdict is Verdict.UNCHECKED for sentence in sentences)
        if unread and unread == len(sentences):
            raise NotAssessed(Phrase(NO_TEXT))
        judged, (custom, silent) = await asyncio.gather(
            self._judged(sentences, sources, question.user_id, book, ends=ends),
            self._others.custom.scores(asked, draft.text, sources, seconds=max(0.0, ends - _now())),
        )
        notes = (*((Phrase(UNREAD, n=unread),) if unread else ()), *silent)
        relevance = _believed_relevance(quality.relevance, draft)
        if judged == quality.sentences:
            return reweighed(quality, relevance, custom=custom, notes=notes)
        return await asyncio.to_thread(scored, relevance, judged, custom=custom, notes=notes)

    async def _judged(
        self, sentences: tuple[SentenceSupport, ...], sources: Sequence[str], user_id: str, book: Book, *, ends: float
    ) -> tuple[SentenceSupport, ...]:
        if self._others.judge is None:
            return sentences
        try:
            async with asyncio.timeout_at(ends):
                return await self._others.judge.judged(sentences, sources, book, user_id=user_id)
        except TimeoutError:
            _log.warning("judge_too_late", extra=fields(seconds=self._others.seconds))
            return sentences


def source_texts(citations: Sequence[Citation]) -> list[str]:
    """What can be read of each source, the one with number n in place n - 1; "" for what cannot be."""
    texts = {citation.number: (citation.passage or citation.quote).strip() for citation in citations}
    return [texts.get(number, "") for number in range(1, max(texts, default=0) + 1)]


def confidences(sentences: Sequence[SentenceSupport]) -> Mapping[int, float]:
    """How well each source bears out the sentences whose best match stands in it: the mean of their scores, 0 to 1."""
    of_source: dict[int, list[float]] = {}
    for sentence in sentences:
        if sentence.source:
            of_source.setdefault(sentence.source, []).append(sentence.score)
    return {source: sum(scores) / len(scores) for source, scores in of_source.items()}


def _believed_relevance(likeness: float, draft: Draft) -> float:
    """The relevance of a draft, 0 to 1.

    Sentences of the very papers a question led to are always like it, so likeness says little of a draft made of them.
    Whoever chose them has an estimate of their own, and the lower of the two counts.
    """
    if draft.written or draft.confidence is None:
        return likeness
    return min(likeness, draft.confidence)


def _now() -> float:
    """The event loop's time, in seconds."""
    return asyncio.get_running_loop().time()


def _if_readable(sentence: SentenceSupport, sources: Sequence[str]) -> SentenceSupport:
    cited = [number for number in sentence.cited if 0 < number <= len(sources)]
    if not cited or any(sources[number - 1] for number in cited):
        return sentence
    return replace(sentence, verdict=Verdict.UNCHECKED, score=0.0, quote="", source=0)
