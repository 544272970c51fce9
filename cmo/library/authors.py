"""The authors of a paper: the names in the lines below its title. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from cmo.library.front_lines import RAISED, FrontLine, clean, is_banner, is_heading, letters

MAX_AUTHORS = 500
"""Collaborations of thousands are cut."""

MAX_NAME_CHARACTERS = 80

_LINES_TO_AUTHORS = 8
"""So many lines (a subtitle, labels, dates) may stand between title and authors."""

_NOT_AUTHORS = re.compile(
    r"""@|©|\d{4}|\b(?:universit|department|dept\b|institut|hospital|school\b|college\b|faculty|cent(?:er|re)\b|laborator|
    division\b|clinic\b|academy|gmbh|ltd\b|inc\b|abstract|summary|received|accepted|published|correspond|key\s?words|doi\b|
    https?:|www\.|copyright|edit(?:ed|ors?)\b|reviewed|citation|open\saccess|introduction|background|articles?\b|issn|
    vol(?:ume)?\b|to\scite|e-?mail|licen[sc]e|available|submi(?:tted|ssion)|journal|
    (?:january|february|march|april|may|june|july|august|september|october|november|december)\s\d)""",
    re.IGNORECASE | re.VERBOSE,
)
_SEPARATOR = re.compile(rf"[,;&|•·{re.escape(RAISED)}*†‡§¶#]|\s(?:and|und|et)\s|^and\s", re.IGNORECASE)
_CONTACT = re.compile(r"\([^()]*@[^()]*\)|\[[^\[\]]*\]")
_ON_BEHALF = re.compile(r"^(?:and\s+)?(?:for|on behalf of)\s+(?:the\s+)?", re.IGNORECASE)
_PARTICLE = re.compile(
    r"(?:af|al|av|bin|das?|de|dela|del|della|den|der|des|di|dos?|du|el|ibn|la|le|lo|st|ten|ter|van|von|y|zu)|[dlO]['’]\w.*",
    re.IGNORECASE,
)
_DEGREE = re.compile(
    r"(?:bsc|dds|dphil|drph|dvm|facp|frcpc?|frcs|mbbs|mbchb|md|mha|mph|mpp|msc|pharmd|phd|rd|rn|scd)", re.IGNORECASE
)
_GROUP = re.compile(
    r"(?:collaboration|collaborators|consortium|group|initiative|investigators|network|study|team)", re.IGNORECASE
)
_NEVER_NAMES = frozenset(("For", "From", "New", "Our", "The", "These", "This", "Which", "With"))


def printed_authors(lines: Sequence[FrontLine], title: Sequence[FrontLine]) -> tuple[str, ...]:
    """The names printed below the title, in order; none when the lines there hold no names."""
    if not title:
        return ()
    labels_above = [letters(line.text) for line in lines if line.baseline > title[0].baseline]
    below = [line for line in lines if line.baseline < title[-1].baseline and _under(line, title)]
    for start, line in enumerate(below[:_LINES_TO_AUTHORS]):
        if is_heading(line.text):
            break
        # The journal's name, printed once above and once below the title, looks like a person's.
        repeated = any(len(label) > 4 and letters(line.text).startswith(label) for label in labels_above)
        if not repeated and _lists_names(line.marked):
            return _names(_block(below[start:]))
    return ()


def listed_authors(text: str) -> tuple[str, ...]:
    """The names in one string, as a PDF's Author entry holds them: "A B, C D and E F" or "B, A; D, C"."""
    if ";" in text:
        return _names(";".join(_given_name_first(part.strip()) for part in text.split(";")))
    return _names(text)


def _under(line: FrontLine, title: Sequence[FrontLine]) -> bool:
    left = min(part.left for part in title)
    right = max(part.right for part in title)
    return line.left < right and left < line.right and any(char.isalpha() for char in line.text)


def _lists_names(marked: str) -> bool:
    text = _without_contacts(marked)
    if _NOT_AUTHORS.search(text) or is_banner(text):
        return False
    pieces = [piece.strip() for piece in _SEPARATOR.split(text) if re.search(r"[^\W\d_]{2}", piece)]
    pieces = [piece for piece in pieces if not _DEGREE.fullmatch(piece.replace(".", ""))]
    if pieces and _is_part_of_name(pieces[-1]):
        pieces.pop()  # a given name whose family name is in the next line
    names = sum(_name(piece) is not None for piece in pieces)
    return names > 0 and names >= 0.6 * len(pieces)


def _without_contacts(text: str) -> str:
    return _CONTACT.sub("", text).strip()


def _block(lines: Sequence[FrontLine]) -> str:
    """The first line and those that go on listing authors, as one text with separators."""
    texts = [_without_contacts(lines[0].marked)]
    for above, line in pairwise(lines):
        text = _without_contacts(line.marked)
        if not _goes_on(lines[0], above, line) or _NOT_AUTHORS.search(text) or re.match(rf"[\d{RAISED}]", text):
            break
        texts.append(text)
    one_a_line = not any(_SEPARATOR.search(text) for text in texts)
    return (", " if one_a_line else " ").join(texts)


def _goes_on(first: FrontLine, above: FrontLine, line: FrontLine) -> bool:
    same_size = abs(line.size - first.size) <= 0.08 * first.size
    near = above.baseline - line.baseline <= 2.4 * first.size
    return same_size and near and not is_heading(line.text) and not is_banner(line.text)


def _names(text: str) -> tuple[str, ...]:
    names = (_name(piece) for piece in _SEPARATOR.split(text))
    return tuple(dict.fromkeys(name for name in names if name is not None))[:MAX_AUTHORS]


def _name(piece: str) -> str | None:
    """The piece as a person's or group's name, or None when it is neither."""
    text = _ON_BEHALF.sub("", clean(piece, MAX_NAME_CHARACTERS).strip(" .,:"))
    words = re.sub(r"[\d()]+", " ", text).split()
    while words and _DEGREE.fullmatch(words[-1].replace(".", "")):
        words.pop()
    if not 2 <= len(words) <= 7 or _NOT_AUTHORS.search(text):
        return None
    if not _GROUP.fullmatch(words[-1]) and not all(_is_part_of_name(word) for word in words):
        return None
    name = " ".join(words)
    return name.title() if name.isupper() and len(words[-1]) > 3 else name


def _is_part_of_name(word: str) -> bool:
    if _PARTICLE.fullmatch(word):
        return True
    return word[0].isupper() and bool(re.fullmatch(r"[^\W\d_][\w.'’‐-]*", word)) and word not in _NEVER_NAMES


def _given_name_first(name: str) -> str:
    family, comma, given = name.partition(",")
    return f"{given.strip()} {family.strip()}" if comma else name
