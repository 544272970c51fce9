"""Scripts that put no spaces between words, made ready for a full-text index that looks for spaces. Pure.

Every letter of such a script is a word of its own in the index, and a question is looked for by its pairs of letters,
as is usual for Chinese, Japanese and Korean (Lucene's CJKBigramFilter does the same).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

# Thai to Burmese; kana, Chinese characters, Hangul syllables; Chinese characters of the supplementary planes.
_LETTERS = r"\u0e00-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff"
_LETTER = re.compile(f"[{_LETTERS}]")
_RUN = re.compile(f"[{_LETTERS}]+|[^{_LETTERS}]+")


def spaced(text: str) -> str:
    """The text with spaces around every letter of such a script; any other text as it is."""
    return _LETTER.sub(r" \g<0> ", text)


def search_terms(word: str) -> Iterator[str]:
    """What to look for as phrases to find a word: pairs of letters of such a script, and whatever else is in it."""
    for run in _RUN.findall(word):
        if len(run) == 1 or not _LETTER.match(run):
            yield run
        else:
            yield from (f"{first} {second}" for first, second in pairwise(run))
