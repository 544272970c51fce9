"""From the words of a page to its lines.

Words come in the order of the page's content. A line may hold several cells, parted by gaps wider than a word space, as
in a table. Measures are in points, heights grow upwards.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from operator import attrgetter
from typing import NamedTuple

from cmo.library import directions

CELL_GAP = 1.0
"""A gap wider than this many times the font size parts two cells of a line."""

SHIFT = 0.4
"""A word whose baseline is off by less than this many times the font size stands in the same line."""

RAISED_SHIFT = 0.7
"""The same for a smaller word, which may be raised or lowered."""

_STAMP_LINES = 5  # turned text with fewer lines is a stamp in the margin or the label of an axis, not a table
_GUTTER_LINES = 8  # so many lines must leave the same gap free before it is taken for the space between columns
_COLUMN_LETTERS = 18  # and their two sides must be this long on average


class Word(NamedTuple):
    """A word and its place. `spaced` is what came before it: a space, a line break or nothing."""

    text: str
    left: float
    right: float
    baseline: float
    size: float
    font: str
    spaced: str


class Style(NamedTuple):
    """Font and rounded size."""

    font: str
    size: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PageWords:
    """The words of one page by direction of text, the most frequent direction first; `bottom` and `top` of the page."""

    streams: tuple[tuple[Word, ...], ...]
    bottom: float
    top: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Line:
    """Words on one baseline, from left to right."""

    words: tuple[Word, ...]

    @cached_property
    def left(self) -> float:
        """Where the line begins."""
        return min(word.left for word in self.words)

    @cached_property
    def right(self) -> float:
        """Where the line ends."""
        return max(word.right for word in self.words)

    @cached_property
    def style(self) -> Style:
        """Font and size of most of its letters."""
        letters: Counter[Style] = Counter()
        for word in self.words:
            letters[Style(word.font, round(word.size * 2) / 2)] += len(word.text)
        return letters.most_common(1)[0][0]

    @cached_property
    def uniform(self) -> bool:
        """Whether all its words share one font."""
        return len({word.font for word in self.words}) == 1

    @cached_property
    def baseline(self) -> float:
        """Height of the baseline of its largest words."""
        return max(self.words, key=lambda word: (round(word.size), len(word.text))).baseline

    @cached_property
    def cells(self) -> tuple[tuple[Word, ...], ...]:
        """Its words, parted where a gap is wider than between words."""
        cells: list[list[Word]] = [[]]
        for word in self.words:
            if cells[-1] and word.left - cells[-1][-1].right > CELL_GAP * max(word.size, cells[-1][-1].size):
                cells.append([])
            cells[-1].append(word)
        return tuple(tuple(cell) for cell in cells)

    @cached_property
    def text(self) -> str:
        """Its words with a space wherever the page shows one."""
        return _text(self.words)

    @cached_property
    def row(self) -> str:
        """Its cells with tabs between them."""
        return "\t".join(_text(cell) for cell in self.cells)


def lines_of(page: PageWords) -> list[Line]:
    """The lines of a page in the order of its content; turned tables follow, turned stamps are left out."""
    lines: list[Line] = []
    for number, words in enumerate(page.streams):
        found = _columns_apart(_rejoined(_lines(words)))
        if number == 0:
            lines = found
        elif len(found) >= _STAMP_LINES and _is_text(found):
            lines += found
    return [line for line in lines if not _is_rule(line)]


def _is_text(lines: Sequence[Line]) -> bool:
    letters = sum(len(line.text) for line in lines)
    return letters >= 40 * _STAMP_LINES and letters / len(lines) >= 10


def _is_rule(line: Line) -> bool:
    """Whether it is drawn with dots or dashes rather than written."""
    characters = set(line.text) - {" "}
    return len(line.text) > 2 and len(characters) == 1 and not characters.pop().isalnum()


def _lines(words: Sequence[Word]) -> list[Line]:
    lines: list[Line] = []
    current: list[Word] = []
    anchor: Word | None = None  # the largest word so far: raised figures do not move the line
    for word in words:
        if anchor is not None and _continues(current[-1], anchor, word):
            current.append(word)
            anchor = word if word.size > anchor.size * 1.05 else anchor
            continue
        if current:
            lines.append(Line(words=tuple(current)))
        current, anchor = [word], word
    if current:
        lines.append(Line(words=tuple(current)))
    return lines


def _continues(last: Word, anchor: Word, word: Word) -> bool:
    size = max(anchor.size, word.size)
    if abs(word.baseline - anchor.baseline) > _shift(anchor.size, word.size):
        return False
    return word.left >= last.right - 0.4 * size or _right_to_left(last, word, size)


def _shift(size: float, other: float) -> float:
    """How far the baselines of two words of one line may be apart."""
    larger = max(size, other)
    return (RAISED_SHIFT if min(size, other) < 0.85 * larger else SHIFT) * larger


def _right_to_left(last: Word, word: Word, size: float) -> bool:
    return abs(last.left - word.right) < CELL_GAP * size and any("\u0590" <= letter <= "\u08ff" for letter in word.text)


def _rejoined(lines: list[Line]) -> list[Line]:
    """Lines that continue another one which the page's content wrote at another time (raised figures, initials)."""
    by_height: dict[int, list[int]] = defaultdict(list)
    result: list[Line | None] = []
    for line in lines:
        height = int(line.baseline // 12)
        near = [at for key in (height - 1, height, height + 1) for at in by_height[key]]
        host = next((at for at in reversed(near) if (other := result[at]) is not None and _adjoins(other, line)), None)
        if host is None:
            by_height[height].append(len(result))
            result.append(line)
            continue
        other = result[host]
        assert other is not None
        result[host] = Line(words=tuple(sorted((*other.words, *line.words), key=lambda word: word.left)))
    return [line for line in result if line is not None]


def _adjoins(line: Line, other: Line) -> bool:
    size = max(line.style.size, other.style.size)
    gap = max(line.left, other.left) - min(line.right, other.right)
    shift = _shift(line.style.size, other.style.size)
    return abs(line.baseline - other.baseline) <= shift and -0.3 * size < gap < 0.7 * size


def _columns_apart(lines: list[Line]) -> list[Line]:
    """The lines with those cut in two that run across the space between columns."""
    gutter = _gutter(lines)
    if gutter is None:
        return lines
    result: list[Line] = []
    for line in lines:
        if gutter not in _Gaps(line):
            result.append(line)
            continue
        result.append(Line(words=tuple(word for word in line.words if word.left < gutter)))
        result.append(Line(words=tuple(word for word in line.words if word.left >= gutter)))
    return result


def _gutter(lines: Sequence[Line]) -> float | None:
    """A height-long gap that many lines of prose leave free on both sides, if there is one."""
    gapped = [(line, gap) for line in lines for gap in _Gaps(line).gaps]
    if len(gapped) < _GUTTER_LINES:
        return None
    middles = Counter(round((gap[0] + gap[1]) / 2) for _, gap in gapped)
    x = float(middles.most_common(1)[0][0])
    parted = [line for line in lines if x in _Gaps(line)]
    crossing = [line for line in lines if line.left < x < line.right and x not in _Gaps(line)]
    if len(parted) < _GUTTER_LINES or len(crossing) > len(parted) / 2:
        return None
    sides = [[word for word in line.words if (word.left > x) == right] for line in parted for right in (False, True)]
    letters = [sum(len(word.text) for word in side) for side in sides]
    prose = sum(letters[::2]) / len(parted) >= _COLUMN_LETTERS and sum(letters[1::2]) / len(parted) >= _COLUMN_LETTERS
    return x if prose and sum(len(line.cells) for line in parted) <= 2.5 * len(parted) else None


class _Gaps:
    """The free spaces between the cells of a line."""

    def __init__(self, line: Line) -> None:
        self.gaps = [(left[-1].right, right[0].left) for left, right in pairwise(line.cells)]

    def __contains__(self, x: float) -> bool:
        return any(left <= x <= right for left, right in self.gaps)


def _text(words: Sequence[Word]) -> str:
    if any(directions.has_right_to_left(word.text) for word in words):
        return _mixed_text(words)
    parts: list[str] = []
    for before, word in zip((None, *words), words, strict=False):
        if before is not None and _spaced(before, word):
            parts.append(" ")
        parts.append(word.text)
    return re.sub(r" +", " ", "".join(parts))


def _mixed_text(words: Sequence[Word]) -> str:
    """The text of words of which some are written from right to left."""
    ordered = directions.in_reading_order(words, text=attrgetter("text"), place=lambda word: word.left + word.right)
    text = ordered[0].text
    for before, word in pairwise(ordered):
        gap = max(word.left - before.right, before.left - word.right)
        text += (" " if gap > 0.2 * max(before.size, word.size) else "") + word.text
    return directions.with_brackets(text) if directions.is_right_to_left(text) else text


def _spaced(before: Word, word: Word) -> bool:
    """Whether a space stands between two words; PDFium also breaks off where a raised figure begins or ends."""
    if word.spaced == " ":
        return True
    gap = word.left - before.right
    size = max(before.size, word.size)
    return gap > (0.05 if word.spaced else 0.1) * size or gap < -size
