"""How free an answer is of disagreement: with its sources, and between its own sentences. Pure.

It counts only what can be laid a finger on: numbers, negations and directions. An answer that says nothing checkable
is consistent; whether it is borne out is accuracy's affair.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from cmo.quality.guards import conflicts
from cmo.values import SentenceSupport, Verdict

_MOST_COMPARED = 30
"""Sentences of one answer that are compared with each other; comparing grows with the square of their number."""


def consistency(sentences: Sequence[SentenceSupport]) -> float:
    """The share of sentences that neither a source nor another sentence of the answer contradicts; 0 without any."""
    if not sentences:
        return 0.0
    disputed = {number for number, each in enumerate(sentences) if each.verdict is Verdict.CONTRADICTED}
    for one, other in combinations(range(min(len(sentences), _MOST_COMPARED)), 2):
        if conflicts(sentences[one].text, sentences[other].text):
            disputed |= {one, other}
    return 1 - len(disputed) / len(sentences)
