"""Right-to-left script: from the places of letters and words to the order in which they are read.

PDF files hold Arabic and Hebrew in either order, and PDFium turns some of it round; the places do not lie. A simple
form of the Unicode bidirectional algorithm (https://www.unicode.org/reports/tr9/): one base direction, and runs against
it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TypeVar

_T = TypeVar("_T")
_LETTER = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")


def has_right_to_left(text: str) -> bool:
    """Whether there is any Arabic, Hebrew or related letter in it."""
    return _LETTER.search(text) is not None


def is_right_to_left(text: str) -> bool:
    """Whether most of its letters are."""
    backwards = len(_LETTER.findall(text))
    return backwards > sum(map(str.isalpha, text)) - backwards


def in_reading_order(items: Sequence[_T], *, text: Callable[[_T], str], place: Callable[[_T], float]) -> list[_T]:
    """Letters of a word or words of a line as they are read, given how far from the left each stands.

    Items that stand in the same place keep their order.
    """
    backwards = is_right_to_left("".join(map(text, items)))
    ordered = sorted(items, key=place, reverse=backwards)
    if backwards:
        # Sorted in reverse, items in the same place are in their old order all the same: sorting is stable.
        runs = groupby(ordered, key=lambda item: _runs_forwards(text(item)))
        return [item for against, run in runs for item in (reversed(list(run)) if against else run)]
    runs = groupby(ordered, key=lambda item: has_right_to_left(text(item)))
    return [item for against, run in runs for item in (reversed(list(run)) if against else run)]


def _runs_forwards(text: str) -> bool:
    """Whether it is written from left to right in any surroundings: foreign words, and figures."""
    return not has_right_to_left(text) and any(map(str.isalnum, text))


def with_brackets(text: str) -> str:
    """The line with its brackets opening and closing in turn: the file shows them mirrored, or not, or PDFium does."""
    parts = re.split(r"[()]", text)
    if len(parts) % 2 == 0:
        return text
    return "".join(part + mark for part, mark in zip(parts, [*"()" * (len(parts) // 2), ""], strict=True))


def is_mark(text: str) -> bool:
    """Whether it is a vowel point or other mark, which belongs to the letter before it."""
    return unicodedata.category(text[0]) == "Mn"
