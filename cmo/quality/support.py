"""Whether the passages a sentence cites say what it says: a verdict, a score and the sentence of the page behind it.

Four things are weighed: how well each of the sentence's words is met in context (each word against every word, as in
cmo.models.evidence), how many of its neighbouring words stand side by side in the passages too, and which of its
numbers and names stand nowhere in them. cmo.quality.guards tells where it says the opposite of its source.
scripts/fit_support.py fits the weights; support.json holds them with the data and figures of the fit.

The passages' sentences are sifted by their words first, so that only a few are embedded for each claim. This module
does not know where passages come from, nor what is done about a sentence without support.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from cmo.interfaces import TokenVectors
from cmo.models.evidence import Floats
from cmo.models.wording import Word, content_words, document_frequency, stems
from cmo.quality.guards import Quantity, conflicts, missing_quantities, quantities
from cmo.quality.matching import words_met
from cmo.sentences import split_sentences
from cmo.values import SentenceSupport, Verdict

WEIGHTS_FILE: Final = Path(__file__).with_name("support.json")
EMBEDDED_PER_CLAIM: Final = 3
"""How many sentences of the passages are compared word by word with a claim: each costs the time of an embedding."""
_NEAR_FROM: Final = 0.4
"""A sentence that shares less than this part of what the best one shares with a claim is not embedded beside it."""
READ_CHARACTERS: Final = 2000
"""Characters of one sentence that are read; a longer one is a table or no sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSentence:
    """A sentence of the source with this number, verbatim, with its words."""

    text: str
    source: int
    stems: frozenset[str]
    pairs: frozenset[tuple[str, str]]
    quantities: tuple[Quantity, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sifted:
    """A claim with the sentences of its sources that share most with it, best first, and what its words tell."""

    claim: str
    words: tuple[Word, ...]
    nearest: tuple[SourceSentence, ...]
    verbatim: SourceSentence | None
    lexical: Mapping[str, float]

    @property
    def texts(self) -> tuple[str, ...]:
        """What has to be embedded to judge it."""
        return (self.claim, *(() if self.verbatim else (each.text for each in self.nearest)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SupportWeights:
    """The log-odds of support: `offset`, plus a weight for each feature.

    `related_from` is the meaning met (0 to 1) from which sources speak of a claim they do not support.
    """

    offset: float
    features: Mapping[str, float]
    related_from: float

    def probability(self, found: Mapping[str, float]) -> float:
        """That the sources support the claim, were half of all claims supported."""
        odds = self.offset + sum(weight * found[name] for name, weight in self.features.items())
        return 1 / (1 + math.exp(-odds))


SUPPORTED_FROM: Final = 0.5
_CONTRADICTED_SHARE: Final = 0.25
"""What is left of the score of a sentence that is told to say the opposite of its source."""
_VERBATIM: Final = 0.98
"""The score of a sentence that stands word for word in its source: short of certainty, for it may mislead alone."""


@lru_cache(maxsize=1)
def shipped_weights() -> SupportWeights:
    """Those of support.json."""
    content = json.loads(WEIGHTS_FILE.read_text(encoding="utf-8"))
    return SupportWeights(
        offset=content["offset"],
        features=MappingProxyType(content["features"]),
        related_from=content["related_from"],
    )


def source_sentences(source: str, number: int = 1) -> list[SourceSentence]:
    """The sentences of a text, the source with this number; lines that only break a sentence are joined."""
    return [_source_sentence(text, number) for text in _sentences(source)]


def sift(claim: str, sentences: Sequence[SourceSentence]) -> Sifted:
    """A claim laid beside the sentences of its sources, by its words alone."""
    text = claim[:READ_CHARACTERS]
    words = tuple(content_words(text))
    pairs = _pairs(words)
    shared = [_shared_rarity(words, sentences), [_share(pairs, each.pairs) for each in sentences]]
    scores = np.sum(shared, axis=0)
    best = np.argsort(-scores, kind="stable")[: EMBEDDED_PER_CLAIM if words else 0]
    ranked = [place for place in best if scores[place] >= _NEAR_FROM * scores[best[0]]]
    everywhere = frozenset().union(*(each.pairs for each in sentences))
    known = [number for each in sentences for number in each.quantities]
    lexical = {
        "pairs": _share(pairs, everywhere),
        "numbers_missing": float(min(_MOST_MISSING, missing_quantities(quantities(text), known))),
        "names_missing": _names_missing(text, sentences),
    }
    nearest = tuple(sentences[place] for place in ranked)
    verbatim = next((near for near in nearest if stands_in(text, near.text)), None)
    return Sifted(claim=text, words=words, nearest=nearest, verbatim=verbatim, lexical=lexical)


_MOST_MISSING: Final = 2
"""More missing numbers than this do not make a claim worse."""


def features(sifted: Sifted, met: Sequence[Floats]) -> dict[str, float]:
    """What is weighed, given how well each of the nearest sentences meets each of the claim's words."""
    return {"meaning": float(np.max(met, axis=0).mean()), **sifted.lexical}


def met_by_nearest(sifted: Sifted, vectors: Mapping[str, TokenVectors]) -> list[Floats]:
    """How well each of the nearest sentences meets each word of the claim, 0 to 1."""
    return [words_met(sifted.words, vectors[sifted.claim], vectors[near.text]) for near in sifted.nearest]


def judge(sifted: Sifted, vectors: Mapping[str, TokenVectors]) -> SentenceSupport:
    """The verdict on a claim, with the sentence of its sources that comes nearest; `vectors` holds its `texts`."""
    if not sifted.nearest:
        return SentenceSupport(text=sifted.claim, verdict=Verdict.NOT_FOUND, score=0.0, quote="")
    if sifted.verbatim:
        return _support(sifted, Verdict.SUPPORTED, _VERBATIM, sifted.verbatim)
    met = met_by_nearest(sifted, vectors)
    nearest = sifted.nearest[int(np.argmax([each.mean() for each in met]))]
    weights, found = shipped_weights(), features(sifted, met)
    score = weights.probability(found)
    if conflicts(sifted.claim, nearest.text):
        return _support(sifted, Verdict.CONTRADICTED, score * _CONTRADICTED_SHARE, nearest)
    if score >= SUPPORTED_FROM:
        return _support(sifted, Verdict.SUPPORTED, score, nearest)
    if found["meaning"] >= weights.related_from:
        return _support(sifted, Verdict.RELATED, score, nearest)
    return SentenceSupport(text=sifted.claim, verdict=Verdict.NOT_FOUND, score=score, quote="")


def _support(sifted: Sifted, verdict: Verdict, score: float, found: SourceSentence) -> SentenceSupport:
    return SentenceSupport(text=sifted.claim, verdict=verdict, score=score, quote=found.text, source=found.source)


_LEAST_WORDS: Final = 4
"""A shorter claim ("Yes.") stands in any text by chance."""


def stands_in(claim: str, text: str) -> bool:
    """Whether a text holds the claim word for word, white space and the closing mark aside."""
    words = _even(claim)
    return len(words.split()) >= _LEAST_WORDS and f" {words} " in f" {_even(text)} "


def _even(text: str) -> str:
    return " ".join(re.findall(r"\w+|[^\w\s]", text.casefold().rstrip(" .!?…;:,")))


def _sentences(source: str) -> list[str]:
    found: list[str] = []
    last_end = 0
    for start, end in split_sentences(source):
        goes_on = found and not re.search(r"[.!?:;…]\W*$", found[-1]) and source[start].islower()
        if goes_on and "\n" in source[last_end:start] and len(found[-1]) < READ_CHARACTERS:
            found[-1] += source[last_end:end]
        else:
            found.append(source[start:end])
        last_end = end
    return [text[:READ_CHARACTERS] for text in found]


def _source_sentence(text: str, number: int) -> SourceSentence:
    return SourceSentence(
        text=text, source=number, stems=stems(text), pairs=_pairs(content_words(text)), quantities=quantities(text)
    )


def _shared_rarity(words: Sequence[Word], sentences: Sequence[SourceSentence]) -> list[float]:
    """Which share of a claim's words each sentence has, rare words counting more."""
    distinct = {word.stem for word in words}
    frequency = document_frequency(distinct, [each.stems for each in sentences])
    idf = {key: math.log(1 + (len(sentences) + 1) / (count + 0.5)) for key, count in frequency.items()}
    total = sum(idf.values()) or 1.0
    return [sum(idf[key] for key in distinct & each.stems) / total for each in sentences]


def _pairs(words: Sequence[Word]) -> frozenset[tuple[str, str]]:
    order = [word.stem for word in words]
    return frozenset(itertools.pairwise(order))


def _share(pairs: frozenset[tuple[str, str]], known: frozenset[tuple[str, str]]) -> float:
    """Which share of a claim's neighbouring words stand side by side in a text too."""
    return len(pairs & known) / max(1, len(pairs))


_NAME = re.compile(r"(?<!^)(?<![.!?]\s)\b[A-Z][\w-]*")


def _names_missing(claim: str, sentences: Sequence[SourceSentence]) -> float:
    """Which share of the capitalised words within a claim no source has."""
    names = [stems(name) for name in _NAME.findall(claim)]
    known = frozenset().union(*(each.stems for each in sentences))
    return sum(not name <= known for name in names) / max(1, len(names))
