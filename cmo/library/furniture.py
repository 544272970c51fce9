"""What a page carries besides its text: running heads and feet, page numbers, line numbers in the margin."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from cmo.library.lines import Line, PageWords, Word

ZONE = 0.12
"""Running heads stand within this share of the page's height from its top or bottom."""

_PAGE_NUMBER = re.compile(
    r"(?:page\s*)?(?:\d{1,4}|[ivxl]{1,6})(?:\s*(?:of|/)\s*\d{1,4})?|[-–]\s*\d{1,4}\s*[-–]", re.IGNORECASE
)
_NUMBERED_LINES = 8  # a page with line numbers has at least so many
_HEAD_PREFIX = 12  # letters; the first page often shows only the beginning of the running head


def without_furniture(pages: Sequence[PageWords], lines: Sequence[list[Line]]) -> list[list[Line]]:
    """The lines of each page without heads, feet and page numbers."""
    edges = [_edge_lines(page, found) for page, found in zip(pages, lines, strict=True)]
    dropped = {line for edge in edges for line in _page_numbers(edge)} | _running_heads(edges)
    return [[line for line in found if line not in dropped] for found in lines]


def _edge_lines(page: PageWords, lines: Sequence[Line]) -> tuple[list[Line], list[Line]]:
    """The lines at the top of the page and those at its bottom, each from the edge inwards."""
    height = page.top - page.bottom
    top = [line for line in lines if line.baseline > page.top - ZONE * height]
    bottom = [line for line in lines if line.baseline < page.bottom + ZONE * height]
    return sorted(top, key=lambda line: -line.baseline), sorted(bottom, key=lambda line: line.baseline)


def _page_numbers(edges: tuple[list[Line], list[Line]]) -> list[Line]:
    return [line for edge in edges for line in edge[:2] if _PAGE_NUMBER.fullmatch(line.text.strip())]


def _running_heads(edges: Sequence[tuple[list[Line], list[Line]]]) -> set[Line]:
    """Lines that stand at the edge of several pages with nothing but other numbers."""
    wanted = 2 if len(edges) <= 4 else 3
    dropped: set[Line] = set()
    for side in (0, 1):
        pages_of: dict[str, set[int]] = defaultdict(set)
        for number, edge in enumerate(edges):
            for line in edge[side]:
                pages_of[_key(line)].add(number)
        heads = {key for key, pages in pages_of.items() if len(pages) >= wanted and len(key) > 1}
        dropped |= {line for edge in edges for line in edge[side] if _is_head(_key(line), heads)}
    return dropped


def _key(line: Line) -> str:
    return re.sub(r"\d+", "#", re.sub(r"[^\w]+", "", line.text.lower()))


def _is_head(key: str, heads: Iterable[str]) -> bool:
    return any(key == head or (len(key) >= _HEAD_PREFIX and head.startswith(key)) for head in heads)


def without_line_numbers(pages: Sequence[PageWords]) -> list[PageWords]:
    """The pages without the numbers of their lines in the margin, when most pages are numbered."""
    columns = [_number_column(_main(page)) for page in pages]
    full = sum(len(_main(page)) > 20 * _NUMBERED_LINES for page in pages)
    numbered = [column for column in columns if column is not None]
    if not numbered or len(numbered) < 0.6 * full:
        return list(pages)
    edge = Counter(numbered).most_common(1)[0][0]
    return [_without_numbers(page, edge) for page in pages]


def _main(page: PageWords) -> Sequence[Word]:
    return page.streams[0] if page.streams else ()


def _number_column(words: Sequence[Word]) -> int | None:
    """Where the line numbers of a page end (in points from the left), or None when it has none."""
    numbers = [(word.baseline, int(word.text), round(word.right)) for word in words if _is_number(word)]
    if len(numbers) < _NUMBERED_LINES:
        return None
    edge, _ = Counter(right for _, _, right in numbers).most_common(1)[0]
    column = [value for _, value, right in sorted(numbers, reverse=True) if abs(right - edge) <= 1]
    if len(column) < _NUMBERED_LINES:
        return None
    steps = Counter(later - earlier for earlier, later in pairwise(column))
    step, times = steps.most_common(1)[0]
    return edge if step in (1, 5) and times >= 0.8 * (len(column) - 1) else None


def _is_number(word: Word) -> bool:
    return len(word.text) <= 4 and word.text.isascii() and word.text.isdigit()


def _without_numbers(page: PageWords, edge: int) -> PageWords:
    kept = tuple(word for word in _main(page) if not (_is_number(word) and abs(round(word.right) - edge) <= 1))
    return replace(page, streams=(kept, *page.streams[1:]))
