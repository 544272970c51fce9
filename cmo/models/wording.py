"""The words of a question and of a text, as they are compared: stems, stop words, rarity. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import Stemmer

STOP_WORDS = frozenset(
    "a about after all also am an and any are as at be been before being between both but by can could did do "
    "does during each for from had has have he her his how i if in into is it its itself may might more most much "
    "must no nor not of on only or other our over own per same she should so some such than that the their them "
    "then there these they this those to too under until up very was we were what when where which while who whom "
    "whose why will with within without would you your".split()
)
"""English function words, and the words questions begin with: they say nothing about where an answer stands."""

_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word of a text: its stem and its character span."""

    stem: str
    start: int
    end: int


def content_words(text: str) -> list[Word]:
    """The words of a text which carry meaning, in order; all of its words when none does."""
    words = [(match.group().lower(), match.span()) for match in _WORD.finditer(text)]
    kept = [(word, span) for word, span in words if word not in STOP_WORDS and (len(word) > 1 or word.isdigit())]
    return [Word(stem=stem(word), start=span[0], end=span[1]) for word, span in kept or words]


def stems(text: str) -> frozenset[str]:
    """The distinct stems of a text's words."""
    return frozenset(stem(word.lower()) for word in _WORD.findall(text))


def document_frequency(wanted: Iterable[str], texts: Iterable[frozenset[str]]) -> dict[str, int]:
    """In how many of the texts, given by their stems, each wanted stem stands."""
    counts = dict.fromkeys(wanted, 0)
    for text in texts:
        for word in counts.keys() & text:
            counts[word] += 1
    return counts


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """A lower-case word's stem by the English Snowball stemmer (Porter 2001)."""
    return str(_stemmer().stemWord(word))


@lru_cache(maxsize=1)
def _stemmer() -> Stemmer.Stemmer:
    return Stemmer.Stemmer("english")
