"""The printed lines of a paper's front page as values, and how their text is put right.

Pure. `front_page` gets them out of a PDF; `titles`, `authors` and `publication` say what they mean.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

RAISED = "^"
"""Stands in `FrontLine.marked` for each run of raised characters (affiliation marks, exponents)."""

SOFT_HYPHEN = "\u00ad"
"""Ends a `FrontLine` whose last word goes on in the next line."""

_SPACING_ACCENTS = {
    "´": "\u0301",
    "¨": "\u0308",
    "˜": "\u0303",
    "ˆ": "\u0302",
    "ˇ": "\u030c",
    "¸": "\u0327",
    "˚": "\u030a",
}
_ACCENT_BEFORE_LETTER = re.compile(f"([{''.join(_SPACING_ACCENTS)}])([A-Za-zı])")
_BANNER = re.compile(
    r"""^(?:open\s?access|open|\W*r\s?e\s?s\s?e\s?a\s?r\s?c\s?h(?:\s?a\s?r\s?t\s?i\s?c\s?l\s?e)?|
    (?:original|short|brief|mini|systematic|invited|rapid|case|meta)?[\s-]*
    (?:articles?|research|investigations?|papers?|reports?|reviews?|communications?|contributions?|letters?)
    (?:\s(?:article|paper|communication|report))?|
    (?:clinical\s)?(?:trial|study)|perspectives?|editorial|commentary|opinion|protocol|database|software|
    author\smanuscript|(?:hhs|nih)\spublic\saccess|accepted\smanuscript|provisional\spdf|just\saccepted|preprint|
    contents\slists?\savailable\b.*|journal\s(?:homepage|of\s).*|(?:international|american|british|european)\sjournal\b.*|
    (?:this|the)\sprovisional\spdf.*|(?:available\sonline|published\sonline|www\.|https?:|doi\b|issn\b).*|
    [\w.-]+\.(?:org|com|net)\b.*|(?:volume|vol\.?|issue)\s\d+.*|.*\bissn\b.*|pdf\sand\sfull\stext.*)$""",
    re.IGNORECASE | re.VERBOSE,
)
_HEADING = re.compile(
    r"^(?:\d+\.?\s*)?(?:abstract|summary|introduction|background|highlights|contents|key\s?words|references|"
    r"a\s?r\s?t\s?i\s?c\s?l\s?e\s+i\s?n\s?f\s?o|a\s?b\s?s\s?t\s?r\s?a\s?c\s?t)\b\W*$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontLine:
    """One printed line of the front page; sizes and places in points, `baseline` counted from the page's foot.

    `text` is the whole line; in `marked` each run of raised characters is replaced by `RAISED`.
    """

    text: str
    marked: str
    size: float
    left: float
    right: float
    baseline: float
    bold: bool = False


def clean(text: str, limit: int) -> str:
    """The text on one line, at most `limit` characters, without control characters, ligatures or doubled spaces."""
    plain = "".join(unicodedata.normalize("NFKC", char) if "\ufb00" <= char <= "\ufb06" else char for char in text)
    visible = "".join(char if unicodedata.category(char)[0] != "C" else " " for char in plain.replace(SOFT_HYPHEN, ""))
    line = unicodedata.normalize("NFC", " ".join(_with_accents(visible).split()))
    return line if len(line) <= limit else line[: limit - 1].rsplit(" ", 1)[0].rstrip() + "…"


def _with_accents(text: str) -> str:
    """The text with accents on their letters: older TeX fonts print the accent as a character before the letter."""
    return _ACCENT_BEFORE_LETTER.sub(lambda pair: pair[2].replace("ı", "i") + _SPACING_ACCENTS[pair[1]], text)


def joined(lines: Sequence[FrontLine]) -> str:
    """The lines as one text, words broken at a line's end made whole."""
    text = ""
    for line in lines:
        part = line.text.strip()
        if text.endswith(SOFT_HYPHEN):
            text = text[:-1] + part
        elif re.search(r"\w[-–/]$", text):
            text += part
        else:
            text = f"{text} {part}".strip()
    return text


def letters(text: str) -> str:
    """The letters and digits alone, in lower case and without accents, for comparing."""
    return "".join(char for char in unicodedata.normalize("NFKD", text).casefold() if char.isalnum())


def is_banner(text: str) -> bool:
    """Whether the line is a label of the journal or publisher, such as "Original Article" or "Open Access"."""
    return bool(_BANNER.match(text.strip()))


def is_heading(text: str) -> bool:
    """Whether the line opens a part of the paper, such as "Abstract"."""
    return bool(_HEADING.match(text))
