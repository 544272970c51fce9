"""How much two answers to one question say in the same words. Pure."""

from __future__ import annotations

from collections.abc import Set


def overlap(first: Set[str], second: Set[str]) -> float | None:
    """The share, 0 to 1, of the words of two texts that stand in both; None when neither has any.

    Dice's coefficient 2|A and B| / (|A| + |B|) of the distinct words: Dice LR (1945), Ecology 26:297-302,
    doi:10.2307/1932409. What counts as a word, and as the same one, is up to who gives them. It tells whether two
    answers speak of the same, not whether they agree: "rose" against "fell" is one word.
    """
    if not first and not second:
        return None
    return 2 * len(first & second) / (len(first) + len(second))
