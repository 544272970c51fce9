"""An answer's quality: relevance, accuracy and consistency, what they come to, and the sentences behind them.

All that is embedded for one answer is embedded in one go, and the rest runs in a thread: the loop stays free. What
sources are and where they come from (drafts.py), and what is done about a poor answer, are not here.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from cmo.citations import ANY_MARKER, answer_sentences
from cmo.interfaces import TokenVectors
from cmo.quality.consistency import consistency
from cmo.quality.relevance import relevance
from cmo.quality.support import Sifted, SourceSentence, judge, sift, source_sentences
from cmo.values import Badge, CustomScore, Quality, SentenceSupport, Verdict

RELEVANCE_SHARE: Final = 0.4
ACCURACY_SHARE: Final = 0.3
CONSISTENCY_SHARE: Final = 0.3

_BADGES: Final = ((0.9, Badge.EXCELLENT), (0.8, Badge.GOOD), (0.7, Badge.ACCEPTABLE))
MOST_SENTENCES: Final = 60
"""Sentences of an answer that are assessed; the rest of a longer one is not looked at."""


class TokenEmbedder(Protocol):
    """Texts as vectors of their tokens."""

    async def embed_tokens(self, texts: Sequence[str]) -> Sequence[TokenVectors]:
        """The token vectors of each text.

        Raises:
            ModelUnavailable: the model cannot be loaded.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A sentence of an answer without its markers, the numbers they named, and where it stands, markers included."""

    text: str
    cited: tuple[int, ...] = ()
    start: int = 0
    end: int = 0


class Assessor:
    """Assesses answers against the sources they were given.

    Arguments:
        embedder: the model whose vectors support.json and relevance.json were fitted with.
    """

    def __init__(self, embedder: TokenEmbedder) -> None:
        self._embedder = embedder

    async def assess(self, question: str, answer: str, sources: Sequence[str]) -> Quality:
        """The quality of an answer. A marker [n] stands for the n-th source; a sentence without one for all of them.

        Raises:
            ModelUnavailable: the embedding model cannot be loaded.
        """
        found = claims(answer)
        sifted = await asyncio.to_thread(_sift_all, found, sources)
        texts = list(dict.fromkeys([question, *(text for each in sifted for text in each.texts)]))
        vectors = dict(zip(texts, await self._embedder.embed_tokens(texts), strict=True))
        return await asyncio.to_thread(_quality, question, found, sifted, vectors)


def claims(answer: str) -> list[Claim]:
    """The sentences of an answer that say something, with the sources their markers name. Headings say nothing."""
    found: list[Claim] = []
    for start, end in answer_sentences(answer):
        marked = answer[start:end]
        cited = tuple(int(number) for number in ANY_MARKER.findall(marked))
        text = _MARKS.sub("", _MARKER_WITH_SPACE.sub("", marked)).strip()
        if _SAYS_SOMETHING.search(text) and not (marked.startswith("#") or text.endswith(":")):
            found.append(Claim(text=text, cited=cited, start=start, end=end))
    return found[:MOST_SENTENCES]


_MARKER_WITH_SPACE = re.compile(rf"\s*{ANY_MARKER.pattern}")
_MARKS = re.compile(r"\*\*|^(?:[-*•>]+|\d{1,2}[.)])\s+")
"""Bold type and marks of lists."""
_SAYS_SOMETHING = re.compile(r"[^\W\d_]{2}")


def badge(composite: float) -> Badge:
    """The word for a composite."""
    return next((each for floor, each in _BADGES if composite >= floor), Badge.LOW)


def composed(relevance: float, accuracy: float, consistency: float, custom: Sequence[CustomScore] = ()) -> float:
    """The composite of the three, 0 to 1, and of what others found, each by its weight beside the 1 of the three."""
    own = RELEVANCE_SHARE * relevance + ACCURACY_SHARE * accuracy + CONSISTENCY_SHARE * consistency
    return (own + sum(each.weight * each.score for each in custom)) / (1 + sum(each.weight for each in custom))


def scored(
    relevance: float,
    sentences: Sequence[SentenceSupport],
    *,
    custom: Sequence[CustomScore] = (),
    notes: Sequence[str] = (),
) -> Quality:
    """The quality that follows from an answer's relevance and its sentences. Unchecked ones count for nothing."""
    checked = [each for each in sentences if each.verdict is not Verdict.UNCHECKED]
    accuracy = sum(each.score for each in checked) / len(checked) if checked else 0.0
    return _weighed(relevance, accuracy, consistency(checked), sentences, custom, notes)


def reweighed(
    quality: Quality, relevance: float, *, custom: Sequence[CustomScore] = (), notes: Sequence[str] = ()
) -> Quality:
    """The quality of the same sentences with another relevance and scores of others; none is compared anew."""
    return _weighed(relevance, quality.accuracy, quality.consistency, quality.sentences, custom, notes)


def _weighed(
    relevance: float,
    accuracy: float,
    agreement: float,
    sentences: Sequence[SentenceSupport],
    custom: Sequence[CustomScore],
    notes: Sequence[str],
) -> Quality:
    composite = composed(relevance, accuracy, agreement, custom)
    return Quality(
        relevance=relevance,
        accuracy=accuracy,
        consistency=agreement,
        composite=composite,
        badge=badge(composite),
        sentences=tuple(sentences),
        custom=tuple(custom),
        notes=tuple(notes),
    )


def _sift_all(found: Sequence[Claim], sources: Sequence[str]) -> list[Sifted]:
    sentences = [source_sentences(source, number) for number, source in enumerate(sources, start=1)]
    return [sift(each.text, _of_cited(each, sentences)) for each in found]


def _of_cited(claim: Claim, sentences: Sequence[Sequence[SourceSentence]]) -> list[SourceSentence]:
    """The sentences of the sources a claim cites, of all sources when it cites none of them."""
    chosen = [sentences[number - 1] for number in dict.fromkeys(claim.cited) if 0 < number <= len(sentences)]
    return [sentence for source in chosen or sentences for sentence in source]


def _quality(
    question: str, found: Sequence[Claim], sifted: Sequence[Sifted], vectors: Mapping[str, TokenVectors]
) -> Quality:
    sentences = [
        replace(judge(each, vectors), start=claim.start, end=claim.end, cited=tuple(dict.fromkeys(claim.cited)))
        for claim, each in zip(found, sifted, strict=True)
    ]
    return scored(relevance(question, vectors[question], [vectors[each.claim] for each in sifted]), sentences)
