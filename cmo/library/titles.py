"""The title of a paper: the largest text near the top of its front page, most of the time. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from cmo.library.front_lines import FrontLine, clean, is_banner, is_heading, joined, letters

MAX_TITLE_CHARACTERS = 300
MAX_TITLE_WORDS = 60

_ENOUGH_WORDS = 4
"""A text of fewer words is a title only when its type says so."""

_FEW_WORDS_WEIGHT = {1: 0.25, 2: 0.5, 3: 0.85}
"""A big line of one or two words is far more often the journal's name than the title."""

_LOWEST_START = 0.6
"""A title does not begin farther down than this share of the way from the first line to the foot of the page."""

_JUNK = re.compile(
    r"""^(?:untitled.*|microsoft\s(?:word|powerpoint).*|.*\.(?:docx?|dvi|pdf|qxd|indd|tex|rtf|odt|pptx?|fm|ps|xml|p65)|
    (?:binder|document|layout|slide|presentation|book|draft|manuscript|article|template|title|paper|main)\s*\d*|
    pii:?.*|doi:?.*|[\w.-]*\d{4,}[\w.-]*(?:\s\d+\.\.\d+)?|.*\btemplate\b.*|\S+)$""",
    re.IGNORECASE | re.VERBOSE,
)
_FOOTNOTE_MARK = re.compile(r"[\s*†‡§¶☆]+$")


def title_lines(lines: Sequence[FrontLine]) -> list[FrontLine]:
    """The lines of the front page that make up the title; none when nothing looks like one."""
    body = _body_size(lines)
    best: list[FrontLine] = []
    best_score = 0.0
    for block in _blocks(lines):
        score = _score(block, top=lines[0].baseline, body=body)
        if score > best_score:
            best, best_score = block, score
    return best


def choose_title(*, printed: str, stored: str, front: str, file_name: str) -> str:
    """The better of the title found on the page and the one in the file's properties, else the file's name.

    A stored title is believed against the page when the page shows it in another place.
    """
    if printed and not (stored and _stands_elsewhere(stored, printed, front)):
        return _FOOTNOTE_MARK.sub("", clean(printed, MAX_TITLE_CHARACTERS))
    return stored or clean(_spoken(file_name), MAX_TITLE_CHARACTERS)


def stored_title(info: Mapping[str, str], file_name: str) -> str:
    """The title in the file's properties, or "" when a program or template put it there."""
    title = clean(info.get("Title", ""), MAX_TITLE_CHARACTERS)
    if _JUNK.match(title) or is_banner(title) or letters(title) == letters(PurePath(file_name).stem):
        return ""
    return title


def text_title(text: str) -> str:
    """The title of a plain text: its first Markdown heading, or a short first line that stands alone; else ""."""
    heading = re.search(r"^#{1,2}\s+(.+?)\s*#*\s*$", text, re.MULTILINE)
    if heading:
        return heading[1]
    first, _, rest = text.strip().partition("\n")
    stands_alone = re.match(r"\s*\n|[=-]{3,}", rest)
    return first.strip() if stands_alone and len(first) <= MAX_TITLE_CHARACTERS else ""


def _body_size(lines: Sequence[FrontLine]) -> float:
    characters: Counter[float] = Counter()
    for line in lines:
        characters[line.size] += len(line.text)
    return characters.most_common(1)[0][0] if characters else 0.0


def _blocks(lines: Sequence[FrontLine]) -> list[list[FrontLine]]:
    """Lines of one size, one below the other."""
    blocks: list[list[FrontLine]] = []
    for line in lines:
        if is_banner(line.text) or not any(char.isalpha() for char in line.text):
            continue
        block = next((block for block in reversed(blocks) if _continues(block[-1], line)), None)
        if block is None:
            blocks.append([line])
        else:
            block.append(line)
    return blocks


def _continues(above: FrontLine, line: FrontLine) -> bool:
    same_size = abs(above.size - line.size) < 0.06 * above.size
    just_below = 0 < above.baseline - line.baseline < 1.75 * above.size
    same_column = above.left < line.right and line.left < above.right
    return same_size and just_below and same_column and (above.bold == line.bold or above.size > 13)


def _score(block: Sequence[FrontLine], *, top: float, body: float) -> float:
    """How much the block looks like the title: its size in points, lowered where that is deceptive; 0 for never."""
    text = joined(block)
    words = len(text.split())
    depth = (top - block[0].baseline) / max(top, 1.0)
    if words > MAX_TITLE_WORDS or depth > _LOWEST_START or is_heading(text) or is_banner(text):
        return 0.0
    if not _stands_out(block, words=words, depth=depth, body=body):
        return 0.0
    return block[0].size * _FEW_WORDS_WEIGHT.get(words, 1.0) * (1.0 - 0.3 * depth)


def _stands_out(block: Sequence[FrontLine], *, words: int, depth: float, body: float) -> bool:
    size = block[0].size
    if words < _ENOUGH_WORDS:
        return size >= (1.6 if words == 1 else 1.25) * body
    return size >= 1.08 * body or (block[0].bold and depth < 0.35)


def _stands_elsewhere(stored: str, printed: str, front: str) -> bool:
    wanted = letters(stored)
    return len(stored.split()) >= _ENOUGH_WORDS and wanted in letters(front) and wanted not in letters(printed)


def _spoken(file_name: str) -> str:
    return re.sub(r"[_\s]+", " ", PurePath(file_name).stem).strip() or file_name
