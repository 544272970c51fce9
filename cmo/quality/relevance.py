"""How well an answer fits its question, whether or not it is true.

Two likenesses are weighed: of question and answer as wholes, and of each word of the question with the word of the
answer nearest to it in context. The first knows the subject, the second what in particular is asked. The weights are
fitted by scripts/fit_support.py and stand in relevance.json. A fluent answer about the right subject that dodges the
question is not seen through.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from cmo.interfaces import TokenVectors
from cmo.models.evidence import mean_direction
from cmo.models.wording import content_words
from cmo.quality.matching import words_met

WEIGHTS_FILE: Final = Path(__file__).with_name("relevance.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How question and answer are alike, each 0 to about 1: as wholes, and word by word."""

    whole: float
    words: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RelevanceWeights:
    """The log-odds that an answer is the question's own: `offset`, plus a weight for each likeness."""

    offset: float
    whole: float
    words: float

    def probability(self, found: Likeness) -> float:
        """That it is the question's own answer and not another question's, were half of all answers such."""
        return 1 / (1 + math.exp(-(self.offset + self.whole * found.whole + self.words * found.words)))


@lru_cache(maxsize=1)
def shipped_weights() -> RelevanceWeights:
    """Those of relevance.json."""
    content = json.loads(WEIGHTS_FILE.read_text(encoding="utf-8"))
    return RelevanceWeights(offset=content["offset"], whole=content["whole"], words=content["words"])


def relevance(question: str, asked: TokenVectors, answered: Sequence[TokenVectors]) -> float:
    """0 to 1, from the vectors of a question and of an answer's sentences; 0 when either has no words."""
    found = likeness(question, asked, answered)
    return shipped_weights().probability(found) if found else 0.0


def likeness(question: str, asked: TokenVectors, answered: Sequence[TokenVectors]) -> Likeness | None:
    """How alike a question and an answer's sentences are; None when either has no words."""
    words = content_words(question)
    spoken = [np.asarray(each.vectors) for each in answered if len(each.offsets)]
    if not words or not len(asked.offsets) or not spoken:
        return None
    whole = mean_direction(np.asarray(asked.vectors)) @ mean_direction(np.concatenate(spoken))
    met = np.max([words_met(words, asked, each) for each in answered], axis=0)
    return Likeness(whole=float(whole), words=float(met.mean()))
