"""Abbreviations that a text defines itself, by the rule of Schwartz and Hearst.

A. Schwartz, M. Hearst: A simple algorithm for identifying abbreviation definitions in biomedical text. Pacific
Symposium on Biocomputing 2003, 451-462. A short form in brackets after its long form is accepted when its letters occur
in that order in the words before, the first of them at the start of a word. The other order, "TMAO (trimethylamine
N-oxide)", is read too. Nothing here knows what an abbreviation usually means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_BRACKETED = re.compile(r"(?<=\s)[(\[]([^()\[\]]{2,100}|[^()\[\]]{1,20}\([^()]{1,20}\)[^()\[\]]{0,60})[)\]]")
_SHORT = re.compile(r"[A-Za-zΑ-ω0-9][\w\-+/().:α-ω]{1,11}(?: [\w\-+/]{1,8})?")
_WORD = re.compile(r"\S+")
_CLAUSE_END = re.compile(r"[.;:!?]\s|[()\[\]]")
_MEASURE = re.compile(r"[=<>≤≥±%]|^[a-zµμ]{1,4}/\w+$")


def find_abbreviations(text: str) -> dict[str, str]:
    """Short form to long form, as the text defines them; the first definition of a short form stands."""
    found: dict[str, str] = {}
    for short, long in _definitions(text):
        found.setdefault(short, long)
    return found


def _definitions(text: str) -> Iterator[tuple[str, str]]:
    for match in _BRACKETED.finditer(text):
        inside = re.split(r"[;,] ", match.group(1), maxsplit=1)[0].strip(" \"'“”‘’")
        before = _clause_before(text, match.start())
        if _is_short_form(inside):
            if long := _long_form(inside, _last_words(before, inside)):
                yield inside, long
        elif (word := _WORD.findall(before)[-1:]) and _is_short_form(word[0]) and _fits(word[0], inside):
            yield word[0], inside


def _clause_before(text: str, end: int) -> str:
    """What stands before `end` without crossing the end of a sentence or another bracket."""
    window = text[max(0, end - 160) : end].rstrip()
    breaks = [match.end() for match in _CLAUSE_END.finditer(window)]
    return window[breaks[-1] :] if breaks else window


def _is_short_form(form: str) -> bool:
    """Two to twelve characters, at most two words, with a capital or a digit: what people abbreviate with."""
    if not _SHORT.fullmatch(form) or _MEASURE.search(form):
        return False
    letters = sum(map(str.isalpha, form))
    return letters > 1 and any(map(str.isupper, form)) and not re.fullmatch(r"[A-Z][a-z]{3,}", form)


def _last_words(clause: str, short: str) -> str:
    """The words a long form may take: min(|A| + 5, |A| * 2) of them, as Schwartz and Hearst allow."""
    words = list(_WORD.finditer(clause))
    most = min(len(short) + 5, len(short) * 2)
    return clause[words[-most:][0].start() :] if words else ""


def _long_form(short: str, candidate: str) -> str:
    """The shortest end of `candidate` that spells `short`, or "" when there is none."""
    position = len(candidate)
    letters = [c for c in (short[:-1] if _is_plural(short) else short).lower() if c.isalnum()]
    lowered = candidate.lower()
    for index, letter in reversed(list(enumerate(letters))):
        position -= 1
        while position >= 0 and not (lowered[position] == letter and (index > 0 or _starts_word(lowered, position))):
            position -= 1
        if position < 0:
            return ""
    long = candidate[_word_start(candidate, position) :].strip(" ,\"'“”‘’")
    return long if _plausible(short, long) else ""


def _is_plural(short: str) -> bool:
    return len(short) > 2 and short.endswith("s") and short[-2].isupper()


def _starts_word(text: str, position: int) -> bool:
    return position == 0 or not text[position - 1].isalnum()


def _word_start(text: str, position: int) -> int:
    """The start of the hyphenated word that holds `position`, so that N-acetylcysteine keeps its N."""
    while position > 0 and not text[position - 1].isspace():
        position -= 1
    return position


def _plausible(short: str, long: str) -> bool:
    """Longer than the short form, which is not one of its words, and with no bracket cut in two."""
    words = re.findall(r"[\w-]+", long)
    return len(long) > len(short) and short not in words and long.count("(") == long.count(")") and len(long) > 4


def _fits(short: str, long: str) -> bool:
    """Whether `long`, standing in brackets after `short`, is its whole long form."""
    return len(long.split()) <= min(len(short) + 5, len(short) * 2) and _long_form(short, long) == long
