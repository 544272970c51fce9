"""How well the words of one text are met in another: each against every word, in context.

Late interaction as in cmo.models.evidence (Khattab and Zaharia 2020, ColBERT, doi:10.1145/3397271.3401075), without
weights: this module knows neither questions nor claims.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cmo.interfaces import TokenVectors
from cmo.models.cosines import cosines
from cmo.models.evidence import Floats
from cmo.models.wording import Word


def words_met(words: Sequence[Word], tokens: TokenVectors, other: TokenVectors) -> Floats:
    """For each word of a text the mean, over the tokens it is made of, of the cosine with the other's nearest token.

    A word beyond the model's reach is not met.
    """
    if not len(other.offsets) or not len(tokens.offsets):
        return np.zeros(len(words), np.float32)
    nearest = cosines(np.asarray(tokens.vectors), np.asarray(other.vectors)).max(axis=1)
    begins = [start for start, _ in tokens.offsets]
    first = np.searchsorted(begins, [word.start for word in words])
    last = np.searchsorted(begins, [word.end for word in words])
    met = [nearest[start:end].mean() if end > start else 0.0 for start, end in zip(first, last, strict=True)]
    return np.array(met, dtype=np.float32)
