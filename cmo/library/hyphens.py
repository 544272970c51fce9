"""Words broken at the end of a line: which hyphens belong to the word is decided by the rest of the same document."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


LINE_END = "\x02"
"""Marks a hyphen that the reader of the file found to break a word at a line's end; it never stays in a text."""

SOFT = "\xad"
"""The soft hyphen: it shows at a line's end only, and never stays in a text."""

_HYPHENS = ("-", LINE_END, SOFT)
_TOKEN = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_LAST_PART = re.compile(r"[^\W_]+$")
_FIRST_PART = re.compile(r"[^\W_]+")
_ADDRESS = re.compile(r"(?:://|www\.|@)\S*$")
_JOINERS = frozenset({"and", "or", "to", "und"})  # "inter- and intra-individual"
_KEPT_AFTER = _words(
    "all alpha beta cross delta double down four gamma half high ill kappa long low non omega self semi short "
    "single three two up well"
)
_CLOSED_BEFORE = _words(
    "a any back be by every fore hyper hypo in inter macro micro mid mis multi on out over post pre re some sub "
    "super there trans un under what where with work"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """How often words and hyphenated compounds stand unbroken in a document, in lower case.

    `breaks_words` tells whether its lines end with broken words at least as often as with compounds.
    """

    words: Counter[str]
    compounds: Counter[str]
    breaks_words: bool = True


def vocabulary(lines: Iterable[str]) -> Vocabulary:
    """The words of a document, leaving out those a line break may have cut."""
    words: Counter[str] = Counter()
    compounds: Counter[str] = Counter()
    breaks: list[tuple[str, str]] = []
    head = ""
    for line in lines:
        tokens = _TOKEN.findall(line.lower())
        if head:
            breaks.append((head, line))
            tokens = tokens[1:]
        head = line[:-1] if line.endswith(_HYPHENS) else ""
        for token in tokens[:-1] if head else tokens:
            (compounds if "-" in token else words)[token] += 1
    known = Vocabulary(words=words, compounds=compounds)
    verdicts = Counter(_by_evidence(*parts, known) for pair in breaks if (parts := _parts(*pair)) is not None)
    return replace(known, breaks_words=verdicts[False] >= verdicts[True])


def join_lines(lines: Sequence[str], known: Vocabulary) -> str:
    """The lines of a paragraph as running text."""
    text = ""
    for line in lines:
        if not text:
            text = line
        elif text.endswith(_HYPHENS) and len(text) > 1 and text[-2].isalnum():
            text = text[:-1] + ("-" if keeps_hyphen(text[:-1], line, known) else "") + line
        else:
            text = f"{text} {line}"
    return visible(text)


def visible(text: str) -> str:
    """The text without marks: what breaks no line is a hyphen after all, and a soft hyphen is nothing."""
    return text.replace(LINE_END, "-").replace(SOFT, "")


def keeps_hyphen(before: str, after: str, known: Vocabulary) -> bool:
    """Whether the hyphen between two lines belongs to the word ("LC-" "MS") or only broke it ("meta-" "bolism")."""
    parts = _parts(before, after)
    if parts is None:
        return True
    evidence = _by_evidence(*parts, known)
    return _looks_compound(*parts, known) if evidence is None else evidence


def _parts(before: str, after: str) -> tuple[str, str] | None:
    """The letters on both sides of a break, in lower case; None where no word can have been broken."""
    head, tail = _LAST_PART.search(before), _FIRST_PART.match(after)
    if head is None or tail is None or _ADDRESS.search(before):
        return None
    first, second = head.group(), tail.group()
    if not first.isalpha() or len(first) < 2 or any(letter.isupper() for letter in first[1:]):
        return None
    return (first.lower(), second) if second[0].islower() and second not in _JOINERS else None


def _by_evidence(first: str, second: str, known: Vocabulary) -> bool | None:
    """Whether the hyphen stays, by how the word is written elsewhere; None when it is not."""
    joined = _seen(known.words, first + second)
    compound = _seen(known.compounds, f"{first}-{second}")
    return compound > joined if joined or compound else None


def _seen(counts: Counter[str], word: str) -> int:
    """How often the word or its singular or plural stands in the document."""
    return counts[word] + counts[f"{word}s"] + (counts[word[:-1]] if word.endswith("s") else 0)


def _looks_compound(first: str, second: str, known: Vocabulary) -> bool:
    if first in _KEPT_AFTER:
        return True
    if first in _CLOSED_BEFORE or len(first) < 3 or len(second) < 3:
        return False
    if not known.breaks_words:
        return True
    if not known.words[first]:
        return False
    return bool(known.words[second]) or (len(second) > 4 and second.endswith(("ed", "ing")))
