"""From the words of a document's pages to headings, paragraphs and tables in reading order.

Pure geometry and typography, in points with heights growing upwards. Publishers nearly always write the content of a
page in reading order, so that order is kept unless it is found to jump backwards; then the places decide.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import groupby, pairwise
from statistics import median

from cmo.library.furniture import without_furniture, without_line_numbers
from cmo.library.hyphens import LINE_END, SOFT
from cmo.library.lines import Line, PageWords, Style, lines_of

__all__ = ["BlockKind", "Paragraph", "names_section", "paragraphs_of_pages"]

_OPEN_BLOCKS = 6  # a line may continue one of so many blocks before it: columns can be written line by line
_PLACED_BLOCKS = 100  # ordering by place takes the cube of the number; pages with more are drawings or tables
_LABELS = 3  # so many snippets after one another are no text
_HEADING_LETTERS = 160
_HEADING_WORDS = 22
_END = re.compile(r"[.!?:;][\"'”’)\]]*[\d,–\-\[\]]*$")
_SENTENCE_END = re.compile(r"[.!?:][\"'”’)\]\d,–\-]*$")
_NUMBERED_HEADING = re.compile(r"(?:\d{1,2}(?:\.\d{1,2}){0,3}\.?|[IVX]{1,4}\.)\s+[A-Z]")
_CAPTION = re.compile(r"(?:fig(?:ure|\.)?|table|scheme|box|chart)\s*(?:s?\d+|[ivx]+)\b", re.IGNORECASE)
_MARKED_NAME = re.compile(r"[a-z] ?\d(?:,\d)*[†‡§¶*]*(?:,| and\b| &|$)")  # an author with numbers of affiliations
_SECTION_NAMES = re.compile(
    r"(?:\d{1,2}(?:\.\d{1,2})*\.?\s+)?(?:abstract|summary|(?:general )?introduction|background|aims?|objectives?|"
    r"(?:patients|subjects|participants|materials?|data)? ?(?:and|&)? ?methods?|materials?|"
    r"(?:experimental|methods?)(?: (?:section|design|procedures?))?|results?(?: and discussions?)?|discussions?|"
    r"conclusions?|limitations|keywords?|statistical analys[ie]s|references?(?: and notes)?|bibliography|"
    r"literature cited|acknowledge?ments?|abbreviations?|funding|appendix(?: [a-z0-9])?|"
    r"supplementary (?:materials?|information|data)|competing interests?|conflicts? of interests?|"
    r"authors?[’'] contributions?|author contributions?|data (?:availability|accessibility)(?: statement)?|"
    r"ethics(?: statement)?)[.:]?",
    re.IGNORECASE,
)


class BlockKind(StrEnum):
    """What a block of text is."""

    HEADING = "heading"
    PARAGRAPH = "paragraph"
    TABLE = "table"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """The lines of one block in reading order; those of a table have tabs between their cells."""

    kind: BlockKind
    lines: tuple[str, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Block:
    """Lines under one another."""

    lines: tuple[Line, ...]
    kind: BlockKind = BlockKind.PARAGRAPH

    @cached_property
    def left(self) -> float:
        return min(line.left for line in self.lines)

    @cached_property
    def right(self) -> float:
        return max(line.right for line in self.lines)

    @cached_property
    def top(self) -> float:
        return max(line.baseline + 0.7 * line.style.size for line in self.lines)

    @cached_property
    def bottom(self) -> float:
        return min(line.baseline for line in self.lines)

    @cached_property
    def letters(self) -> int:
        return sum(len(line.text) for line in self.lines)

    @cached_property
    def style(self) -> Style:
        letters: Counter[Style] = Counter()
        for line in self.lines:
            letters[line.style] += len(line.text)
        return letters.most_common(1)[0][0]


def names_section(text: str) -> bool:
    """Whether the text is nothing but the usual name of a section ("2. Results", "Acknowledgements")."""
    return _SECTION_NAMES.fullmatch(text.strip()) is not None


def paragraphs_of_pages(pages: Sequence[PageWords]) -> list[list[Paragraph]]:
    """The paragraphs of each page in reading order."""
    pages = without_line_numbers(pages)
    lines = without_furniture(pages, [lines_of(page) for page in pages])
    body = _body_style(lines)
    return [_page_paragraphs(page, body) for page in lines]


def _body_style(pages: Iterable[Iterable[Line]]) -> Style:
    """The largest style that much of the document is set in: references and tables can be longer than the rest."""
    letters: Counter[Style] = Counter()
    for page in pages:
        for line in page:
            letters[line.style] += len(line.text)
    most = max(letters.values(), default=0)
    frequent = [style for style, count in letters.items() if count >= 0.3 * most]
    return max(frequent, key=lambda style: style.size, default=Style("", 0.0))


def _page_paragraphs(lines: Sequence[Line], body: Style) -> list[Paragraph]:
    blocks = [part for block in _in_reading_order(_blocks(lines)) for part in _parts(block, body)]
    blocks = _mended(_labels_gathered(_demoted(blocks, body)))
    return [Paragraph(kind=block.kind, lines=_texts(block)) for block in blocks]


def _texts(block: _Block) -> tuple[str, ...]:
    table = block.kind is BlockKind.TABLE
    return tuple(line.row if table else line.text for line in block.lines)


def _blocks(lines: Sequence[Line]) -> list[_Block]:
    """Lines gathered with those right under them."""
    found: list[list[Line]] = []
    for line in lines:
        home = next((block for block in reversed(found[-_OPEN_BLOCKS:]) if _is_next(block, line)), None)
        if home is None:
            found.append([line])
        else:
            home.append(line)
    return [_Block(lines=tuple(block)) for block in found]


def _is_next(block: Sequence[Line], line: Line) -> bool:
    """Whether a line stands right under the last one of a block, at its distance and size."""
    last = block[-1]
    size = max(last.style.size, line.style.size)
    fall = last.baseline - line.baseline
    if abs(last.style.size - line.style.size) > 0.12 * size + 0.3:
        return False
    leading = last_fall if (last_fall := _leading(block)) is not None else 1.5 * size
    if not 0.4 * size < fall <= 1.25 * leading + 0.5:
        return False
    overlap = min(last.right, line.right) - max(last.left, line.left)
    return overlap > 0.3 * min(last.right - last.left, line.right - line.left)


def _leading(block: Sequence[Line]) -> float | None:
    if len(block) < 3:
        return None
    return median(above.baseline - below.baseline for above, below in pairwise(block[-6:]))


def _parts(block: _Block, body: Style) -> Iterator[_Block]:
    """The headings, paragraphs and tables that make up a block."""
    if _is_table(block):
        yield _Block(lines=block.lines, kind=BlockKind.TABLE)
        return
    rest = list(block.lines)
    while rest:
        taken = _heading_lines(rest, block, body)
        kind = BlockKind.HEADING if taken else BlockKind.PARAGRAPH
        taken = taken or _paragraph_lines(rest, block, body)
        yield _Block(lines=tuple(rest[:taken]), kind=kind)
        rest = rest[taken:]


def _is_table(block: _Block) -> bool:
    """Whether its lines are rows of cells, or mostly figures."""
    if len(block.lines) < 2:
        return len(block.lines[0].cells) > 2
    rows = sum(len(line.cells) > 1 for line in block.lines)
    if rows >= 2 and rows >= 0.34 * len(block.lines):
        return True
    letters = sum(letter.isalpha() for line in block.lines for letter in line.text)
    return letters < 0.4 * block.letters


def _heading_lines(lines: Sequence[Line], block: _Block, body: Style) -> int:
    """How many of the first lines are a heading; none when they begin a paragraph."""
    first = lines[0]
    stands_out = _stands_out(first, body)
    if names_section(first.text) and (len(lines) == 1 or stands_out or first.right < lines[1].right - 3 * body.size):
        return 1
    if not stands_out or (len(block.lines) > 4 and first.style == block.style):
        return 0
    count = 1
    while count < len(lines) and lines[count].style == first.style and lines[count].uniform:
        count += 1
    text = " ".join(line.text for line in lines[:count])
    return count if _reads_as_heading(text) and count <= 4 else 0


def _stands_out(line: Line, body: Style) -> bool:
    """Whether the whole line is set in a font or size that sets it off from the running text."""
    if len(line.cells) > 1:
        return False
    if line.style.size > 1.07 * body.size + 0.3:
        return True
    return line.uniform and line.style.font != body.font and line.style.size > 0.85 * body.size


def _reads_as_heading(text: str) -> bool:
    if len(text) > _HEADING_LETTERS or len(text.split()) > _HEADING_WORDS:
        return False
    if _CAPTION.match(text) or len(_MARKED_NAME.findall(text)) > 1:
        return False
    if names_section(text) or (_NUMBERED_HEADING.match(text) and not text.endswith((",", ";"))):
        return True
    return (text[0].isupper() or text[0].isdigit()) and not _END.search(text) and sum(map(str.isalpha, text)) > 3


def _paragraph_lines(lines: Sequence[Line], block: _Block, body: Style) -> int:
    """How many of the first lines make one paragraph."""
    for count in range(1, len(lines)):
        above, line = lines[count - 1], lines[count]
        heading_next = _SENTENCE_END.search(above.text) and _heading_lines(lines[count:], block, body)
        if heading_next or _begins_paragraph(above, line, block):
            return count
    return len(lines)


def _begins_paragraph(above: Line, line: Line, block: _Block) -> bool:
    """Whether a line is indented, or follows one that ends early, after the end of a sentence."""
    if not _SENTENCE_END.search(above.text):
        return False
    em = line.style.size
    indented = 0.7 * em < line.left - block.left < 6 * em and above.left < line.left - 0.5 * em
    return indented or above.right < block.right - 2 * em


def _demoted(blocks: Sequence[_Block], body: Style) -> list[_Block]:
    """The blocks with headings made paragraphs when no text or other heading follows them (labels in figures)."""
    result: list[_Block] = []
    for number, block in enumerate(blocks):
        after = blocks[number + 1] if number + 1 < len(blocks) else None
        if block.kind is BlockKind.HEADING and not _heads(block, after, body):
            block = _Block(lines=block.lines)
        result.append(block)
    return result


def _heads(heading: _Block, after: _Block | None, body: Style) -> bool:
    if names_section(" ".join(line.text for line in heading.lines)) or after is None:
        return True
    if after.kind is BlockKind.HEADING:
        return True
    return after.kind is BlockKind.PARAGRAPH and after.letters > 60 and after.style.size > 0.8 * body.size


def _labels_gathered(blocks: Sequence[_Block]) -> list[_Block]:
    """The blocks with rows of snippets (the labels of a figure or formula, stray cells) made one table."""
    result: list[_Block] = []
    for is_label, group in groupby(blocks, key=_is_label):
        members = list(group)
        if is_label and len(members) >= _LABELS:
            lines = tuple(line for block in members for line in block.lines)
            members = [_Block(lines=lines, kind=BlockKind.TABLE)]
        result += members
    return result


def _is_label(block: _Block) -> bool:
    short = block.letters < 30 and not _SENTENCE_END.search(block.lines[-1].text)
    return block.kind is BlockKind.PARAGRAPH and short


def _in_reading_order(blocks: list[_Block]) -> list[_Block]:
    """The blocks as written, or by their places when the writing jumps backwards."""
    prose = [block for block in blocks if len(block.lines) > 1 and block.letters > 80]
    if len(blocks) <= _PLACED_BLOCKS and any(_backwards(block, after) for block, after in pairwise(prose)):
        return _by_place(blocks)
    return blocks


def _backwards(block: _Block, after: _Block) -> bool:
    """Whether a block written later stands above in the same column, or beside it to the left."""
    size = block.style.size
    overlap = min(block.right, after.right) - max(block.left, after.left)
    if overlap > 0.3 * min(block.right - block.left, after.right - after.left):
        return after.bottom > block.top - size
    return after.right <= block.left + size and after.bottom > block.top - size


def _by_place(blocks: Sequence[_Block]) -> list[_Block]:
    """Columns from left to right, each from top to bottom, kept apart by what runs across them.

    T. M. Breuel, High Performance Document Layout Analysis (2003): a block comes before another when it stands above it
    in the same column, or in a column further left with no block across both columns between them.
    """
    before = {block: [other for other in blocks if _precedes(other, block, blocks)] for block in blocks}
    ordered: list[_Block] = []
    seen: set[_Block] = set()

    def visit(block: _Block) -> None:
        if block in seen:
            return
        seen.add(block)
        for other in sorted(before[block], key=lambda other: (-other.top, other.left)):
            visit(other)
        ordered.append(block)

    for block in sorted(blocks, key=lambda block: (-block.top, block.left)):
        visit(block)
    return ordered


def _precedes(block: _Block, other: _Block, blocks: Sequence[_Block]) -> bool:
    if block is other:
        return False
    if _share_column(block, other):
        return block.top + block.bottom > other.top + other.bottom
    if block.left + block.right >= other.left + other.right:
        return False
    high, low = max(block.top, other.top), min(block.bottom, other.bottom)
    return not any(
        low < (third.top + third.bottom) / 2 < high and _share_column(third, block) and _share_column(third, other)
        for third in blocks
        if third is not block and third is not other
    )


def _share_column(block: _Block, other: _Block) -> bool:
    overlap = min(block.right, other.right) - max(block.left, other.left)
    return overlap > 0.1 * min(block.right - block.left, other.right - other.left)


def _mended(blocks: Sequence[_Block]) -> list[_Block]:
    """Paragraphs joined with their other half in the next column or below a figure, table or footnote."""
    rest = list(blocks)
    result: list[_Block] = []
    while rest:
        block = rest.pop(0)
        while (at := _other_half(block, rest)) is not None:
            block = _Block(lines=block.lines + rest.pop(at).lines)
        result.append(block)
    return result


def _other_half(block: _Block, following: Sequence[_Block]) -> int | None:
    """Where among the blocks after it the sentence goes on that a paragraph breaks off."""
    last = block.lines[-1]
    if block.kind is not BlockKind.PARAGRAPH or block.letters < 40 or _SENTENCE_END.search(last.text):
        return None
    for number, other in enumerate(following[:8]):
        if other.kind is BlockKind.PARAGRAPH and _same_style(block, other):
            return number if _goes_on(block, other) else None
    return None


def _same_style(block: _Block, other: _Block) -> bool:
    return other.style.font == block.style.font and abs(other.style.size - block.style.size) <= 0.3


def _goes_on(block: _Block, other: _Block) -> bool:
    """Whether the second paragraph can go on with the first one's sentence."""
    last, text = block.lines[-1], other.lines[0].text
    if text[0].islower() or last.text.endswith(("-", LINE_END, SOFT, ",", "(")):
        return True
    full = block.letters > 150 and last.right > block.right - 2 * last.style.size
    return full and other.letters > 60 and not _CAPTION.match(text)
