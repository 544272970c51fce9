"""An answer's quality: relevance, accuracy and consistency, what they come to, and the sentences behind them.

All that is embedded for one answer is embedded in one go, and the rest runs in a thread: the loop stays free. Custom
assessors, the second opinion and what is done about a poor answer are not here.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from cmo.citations import ANY_MARKER
from cmo.interfaces import TokenVectors
from cmo.quality.consistency import consistency
from cmo.quality.relevance import relevance
from cmo.quality.support import Sifted, SourceSentence, judge, sift, source_sentences
from cmo.sentences import split_sentences
from cmo.values import Badge, Quality

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
    """A sentence of an answer without its markers, and the numbers they named."""

    text: str
    cited: tuple[int, ...] = ()


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
        sifted = await asyncio.to_thread(_sift_all, claims(answer), sources)
        texts = list(dict.fromkeys([question, *(text for each in sifted for text in each.texts)]))
        vectors = dict(zip(texts, await self._embedder.embed_tokens(texts), strict=True))
        return await asyncio.to_thread(_quality, question, sifted, vectors)


def claims(answer: str) -> list[Claim]:
    """The sentences of an answer that say something, with the sources their markers name."""
    found: list[Claim] = []
    for start, end in split_sentences(answer):
        marked = answer[start:end]
        cited = tuple(int(number) for number in ANY_MARKER.findall(marked))
        text = _MARKS.sub("", _MARKER_WITH_SPACE.sub("", marked)).strip()
        if not _SAYS_SOMETHING.search(text):
            if found:  # a marker on its own belongs to the sentence before it
                found[-1] = replace(found[-1], cited=found[-1].cited + cited)
        elif not marked.startswith("#"):
            found.append(Claim(text=text, cited=cited))
    return found[:MOST_SENTENCES]


_MARKER_WITH_SPACE = re.compile(rf"\s*{ANY_MARKER.pattern}")
_MARKS = re.compile(r"\*\*|^(?:[-*•>]+|\d{1,2}[.)])\s+")
"""Bold type and marks of lists."""
_SAYS_SOMETHING = re.compile(r"[^\W\d_]{2}")


def badge(composite: float) -> Badge:
    """The word for a composite."""
    return next((each for floor, each in _BADGES if composite >= floor), Badge.LOW)


def composed(relevance: float, accuracy: float, consistency: float) -> float:
    """The composite of the three, 0 to 1."""
    return RELEVANCE_SHARE * relevance + ACCURACY_SHARE * accuracy + CONSISTENCY_SHARE * consistency


def _sift_all(found: Sequence[Claim], sources: Sequence[str]) -> list[Sifted]:
    sentences = [source_sentences(source) for source in sources]
    return [sift(each.text, _of_cited(each, sentences)) for each in found]


def _of_cited(claim: Claim, sentences: Sequence[Sequence[SourceSentence]]) -> list[SourceSentence]:
    """The sentences of the sources a claim cites, of all sources when it cites none of them."""
    chosen = [sentences[number - 1] for number in dict.fromkeys(claim.cited) if 0 < number <= len(sentences)]
    return [sentence for source in chosen or sentences for sentence in source]


def _quality(question: str, sifted: Sequence[Sifted], vectors: Mapping[str, TokenVectors]) -> Quality:
    sentences = tuple(judge(each, vectors) for each in sifted)
    fit = relevance(question, vectors[question], [vectors[each.claim] for each in sifted])
    accuracy = sum(each.score for each in sentences) / len(sentences) if sentences else 0.0
    agreement = consistency(sentences)
    composite = composed(fit, accuracy, agreement)
    return Quality(
        relevance=fit,
        accuracy=accuracy,
        consistency=agreement,
        composite=composite,
        badge=badge(composite),
        sentences=sentences,
    )
