"""What a page carries besides its text: running heads and feet, page numbers, line numbers in the margin."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from cmo.library.lines import Line, PageWords, Style, Word

ZONE = 0.12
"""Running heads stand within this share of the page's height from its top or bottom."""

HEAD_ROWS = 2
"""They have at most so many lines at each edge."""

HEAD_GAP = 1.7
"""They keep at least this many times their font size away from text in the same style; lines of text keep less."""

_HEAD_WORDS = 40  # in both lines together: the title of a paper with its authors and journal may be long
_PROSE_WORDS = 5
_SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*$")
_PAGE_NUMBER = re.compile(
    r"(?:page\s*)?(?:\d{1,4}|[ivxl]{1,6})(?:\s*(?:of|/)\s*\d{1,4})?|[-–]\s*\d{1,4}\s*[-–]", re.IGNORECASE
)
_NUMBERED_LINES = 8  # a page with line numbers has at least so many
_HEAD_PREFIX = 12  # letters; the first page often shows only the beginning of the running head


def without_furniture(pages: Sequence[PageWords], lines: Sequence[list[Line]]) -> list[list[Line]]:
    """The lines of each page without heads, feet and page numbers."""
    body = _most_frequent_style(lines)
    edges = [_edge_lines(page, found) for page, found in zip(pages, lines, strict=True)]
    dropped = {line for edge in edges for line in _page_numbers(edge)}
    margins = [
        tuple(_set_apart([line for line in side if line not in dropped], found, body) for side in edge)
        for edge, found in zip(edges, lines, strict=True)
    ]
    dropped |= _running_heads(margins, [len(set(found) - dropped) for found in lines])
    return [[line for line in found if line not in dropped] for found in lines]


def _most_frequent_style(pages: Iterable[Iterable[Line]]) -> Style | None:
    letters: Counter[Style] = Counter()
    for page in pages:
        for line in page:
            letters[line.style] += len(line.text)
    return letters.most_common(1)[0][0] if letters else None


def _edge_lines(page: PageWords, lines: Sequence[Line]) -> tuple[list[Line], list[Line]]:
    """The lines at the top of the page and those at its bottom, each from the edge inwards."""
    height = page.top - page.bottom
    top = [line for line in lines if line.baseline > page.top - ZONE * height]
    bottom = [line for line in lines if line.baseline < page.bottom + ZONE * height]
    return sorted(top, key=lambda line: -line.baseline), sorted(bottom, key=lambda line: line.baseline)


def _page_numbers(edges: tuple[list[Line], list[Line]]) -> list[Line]:
    return [line for edge in edges for line in edge[:2] if _PAGE_NUMBER.fullmatch(line.text.strip())]


def _set_apart(edge: Sequence[Line], page: Sequence[Line], body: Style | None) -> list[Line]:
    """The one or two short lines at an edge that stand apart from the text; nothing when text reaches to the edge."""
    rows = _rows(edge)
    for count in range(min(HEAD_ROWS, len(rows)), 0, -1):
        margin = [line for row in rows[:count] for line in row]
        if _is_apart(rows[count - 1], set(page) - set(margin)) and not _is_prose(margin, body):
            return margin
    return []


def _rows(lines: Iterable[Line]) -> list[list[Line]]:
    """The lines, already sorted by height, by the baselines they share."""
    rows: list[list[Line]] = []
    for line in lines:
        if rows and abs(rows[-1][0].baseline - line.baseline) < 0.5 * line.style.size:
            rows[-1].append(line)
        else:
            rows.append([line])
    return rows


def _is_apart(row: Sequence[Line], others: Iterable[Line]) -> bool:
    """Whether no other line in a style of the row goes on from it at the distance of lines in a paragraph."""
    styles = {line.style: line.style.size for line in row}
    gaps = (
        abs(other.baseline - line.baseline) / styles[other.style]
        for other in others
        if other.style in styles
        for line in row
    )
    return min(gaps, default=HEAD_GAP) >= HEAD_GAP


def _is_prose(margin: Sequence[Line], body: Style | None) -> bool:
    """Whether lines in the type of the running text are a paragraph of it, however short."""
    ends = _SENTENCE_END.search(margin[-1].text) is not None or len(margin) > 1
    words = sum(len(line.text.split()) for line in margin)
    return words > _HEAD_WORDS or (margin[-1].style == body and ends and words >= _PROSE_WORDS)


def _running_heads(margins: Sequence[Sequence[Sequence[Line]]], lines_on: Sequence[int]) -> set[Line]:
    """Lines that stand apart at the edge of several pages, most of which show other text too."""
    wanted = 2 if len(margins) <= 4 else 3
    dropped: set[Line] = set()
    for side in (0, 1):
        pages_of: dict[str, set[int]] = defaultdict(set)
        for number, edges in enumerate(margins):
            for line in edges[side]:
                pages_of[_key(line)].add(number)
        filled = {number for number, edges in enumerate(margins) if lines_on[number] > sum(map(len, edges))}
        heads = {
            key
            for key, pages in pages_of.items()
            if len(pages) >= wanted and len(key) > 1 and 2 * len(pages & filled) >= len(pages)
        }
        dropped |= {line for edges in margins for line in edges[side] if _is_head(_key(line), heads)}
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
    numbers = [(word.baseline, int(word.text), round(word.right)) for word in _lone_numbers(words)]
    if len(numbers) < _NUMBERED_LINES:
        return None
    edge, _ = Counter(right for _, _, right in numbers).most_common(1)[0]
    column = [value for _, value, right in sorted(numbers, reverse=True) if abs(right - edge) <= 1]
    if len(column) < _NUMBERED_LINES:
        return None
    steps = Counter(later - earlier for earlier, later in pairwise(column))
    step, times = steps.most_common(1)[0]
    return edge if step in (1, 5) and times >= 0.8 * (len(column) - 1) else None


def _lone_numbers(words: Sequence[Word]) -> list[Word]:
    """The numbers that follow no other word in their line."""
    return [
        word
        for before, word in zip((None, *words), words, strict=False)
        if _is_number(word) and not (before is not None and _adjoins(before, word))
    ]


def _is_number(word: Word) -> bool:
    return len(word.text) <= 4 and word.text.isascii() and word.text.isdigit()


def _adjoins(before: Word, word: Word) -> bool:
    size = max(before.size, word.size)
    return abs(before.baseline - word.baseline) < 0.5 * size and -0.5 * size < word.left - before.right < 0.6 * size


def _without_numbers(page: PageWords, edge: int) -> PageWords:
    dropped = {word for word in _lone_numbers(_main(page)) if abs(round(word.right) - edge) <= 1}
    return replace(page, streams=(tuple(word for word in _main(page) if word not in dropped), *page.streams[1:]))
