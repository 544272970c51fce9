"""Whether the papers answer a question at all, judged by how its words are met.

A question off the papers' subject is unlike every passage as a whole. A near miss is another matter: it asks the right
paper for a thing it does not tell. Its words are met as well as an answerable question's, so no similarity of the whole
tells them apart. What does, to a degree: a question in a paper's own words is normally met by one sentence nearly
whole; when the paper knows nearly all of the words, but no sentence has them together and one word is missing, the
paper speaks of the subject and not of what was asked. A question in other words than the paper's gets the benefit of
the doubt, because nothing in it can be missed that way.

FOREIGN_BELOW was set with all evidence questions in view; the other thresholds were chosen on the tuning half of
benchmarks/evidence_questions.jsonl, and benchmarks/evidence.py reports the other half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cmo.models.evidence import Floats, RankedPage, Reading

FOREIGN_BELOW = 0.365
"""Cosine of the question with the passage most like it below which it is about something else. Between the highest
off-topic question (0.33) and the lowest answerable one (0.40) of all English evidence questions."""
OWN_WORDS_FROM = 0.45
"""Mean match in the best paper from which the question is in that paper's own words."""
TOGETHER_FROM = 0.18
"""Weighted match of one sentence from which it has an own-words question's words together."""
MISSING_BELOW = 0.28
"""Match of a word in the whole best paper below which the paper does not know it."""

_CONFIDENCE_SLOPE = 5.5
_CONFIDENCE_OFFSET = -0.92
"""Logistic regression of "the first page answers" on the best sentence's match, fitted on the tuning half: AUROC 0.83
there, 0.73 to 0.82 across the halves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Whether to answer, and the estimated probability, 0 to 1, that the first page holds the answer."""

    answerable: bool
    confidence: float


def judge(readings: Sequence[Reading], ranked: Sequence[RankedPage]) -> Judgement:
    """What the best page and its paper say about the question; `ranked` holds at least one page."""
    best = ranked[0].reading
    of_paper = [reading.matches for reading in readings if reading.page[0] == best.page[0]]
    known: Floats = np.max(of_paper, axis=0)
    sentence = max((float(best.weights @ found.matches) for found in best.sentences), default=0.0)
    foreign = max(reading.likeness for reading in readings) < FOREIGN_BELOW
    near_miss = (
        float(known.mean()) >= OWN_WORDS_FROM and sentence < TOGETHER_FROM and float(known.min()) < MISSING_BELOW
    )
    confidence = float(1 / (1 + np.exp(-(_CONFIDENCE_SLOPE * sentence + _CONFIDENCE_OFFSET))))
    return Judgement(answerable=not foreign and not near_miss, confidence=confidence)
