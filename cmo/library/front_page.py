"""The lines of a PDF's first page with their type size, and what the file says about itself.

Only for finding title and authors: reading order, columns and hyphenation of the whole text are not looked at here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import pypdfium2  # type: ignore[import-untyped]
import pypdfium2.raw as pdfium  # type: ignore[import-untyped]

from cmo.library.front_lines import RAISED, SOFT_HYPHEN, FrontLine

MAX_CHARACTERS = 8000
"""Characters looked at on a page: a title and its authors never come later."""

PAGES_TRIED = 3
"""A cover made of pictures has no text; then the next page is the front page."""

PDFIUM_HYPHENS = ("\x02", "\ufffe")
"""What PDFium reports for the hyphen of a word broken at the end of a line."""

LARGEST_TYPE = 72.0
"""Points; larger type is a watermark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPage:
    """What the first page with text looks like. `info` holds the document information dictionary's entries."""

    lines: tuple[FrontLine, ...] = ()
    info: Mapping[str, str] = field(default_factory=dict)
    page_count: int = 0


@dataclass(frozen=True, slots=True)
class _Glyph:
    text: str
    size: float
    left: float
    right: float
    baseline: float
    bold: bool
    spaced: bool = False


class _Run:
    """Neighbouring glyphs on one baseline, raised ones included."""

    def __init__(self, first: _Glyph) -> None:
        self.size = first.size
        self.baseline = first.baseline
        self.glyphs = [first]
        self.raised = [False]

    @property
    def left(self) -> float:
        return self.glyphs[0].left

    @property
    def right(self) -> float:
        return max(glyph.right for glyph in self.glyphs)

    def takes(self, glyph: _Glyph, *, reach: float) -> bool:
        """Whether the glyph goes on this run, at most `reach` type sizes behind its end."""
        gap = glyph.left - self.glyphs[-1].right
        larger = max(self.size, glyph.size)
        if self._is_raised(glyph):
            return -larger < gap < 2 * reach * larger
        if not -1.5 * larger < gap < reach * larger:
            return False
        same_size = abs(glyph.size - self.size) < 0.15 * larger
        return abs(glyph.baseline - self.baseline) < 0.1 * larger and (same_size or gap < 0.3 * larger)

    def add(self, glyph: _Glyph) -> None:
        self.raised.append(self._is_raised(glyph))
        self.glyphs.append(glyph)

    def extend(self, other: _Run) -> None:
        whole_is_raised = self._is_raised(other.glyphs[0])
        self.raised.extend(whole_is_raised or raised for raised in other.raised)
        apart = other.left - self.glyphs[-1].right > 0.1 * self.size
        self.glyphs.append(replace(other.glyphs[0], spaced=apart or other.glyphs[0].spaced))
        self.glyphs.extend(other.glyphs[1:])

    def line(self) -> FrontLine:
        letters = [glyph for glyph, raised in zip(self.glyphs, self.raised, strict=True) if not raised]
        return FrontLine(
            text=_spaced(self.glyphs),
            marked=_spaced(self._marked()),
            size=round(median(glyph.size for glyph in letters), 1),
            left=self.left,
            right=self.right,
            baseline=self.baseline,
            bold=sum(glyph.bold for glyph in letters) * 2 > len(letters),
        )

    def _is_raised(self, glyph: _Glyph) -> bool:
        rise = glyph.baseline - self.baseline
        return glyph.size < 0.88 * self.size and 0.12 * self.size < rise < 0.8 * self.size

    def _marked(self) -> Iterator[_Glyph]:
        for glyph, raised in zip(self.glyphs, self.raised, strict=True):
            yield replace(glyph, text=RAISED) if raised else glyph


def read_front_page(path: Path) -> FrontPage:
    """The first page that has text, looked for among the first few.

    Raises:
        pypdfium2.PdfiumError: the file cannot be opened or has a page that cannot.
    """
    with pypdfium2.PdfDocument(path) as document:
        info = document.get_metadata_dict()
        page_count = len(document)
        for number in range(min(page_count, PAGES_TRIED)):
            lines = _lines(document[number])
            if lines:
                return FrontPage(lines=lines, info=info, page_count=page_count)
        return FrontPage(lines=(), info=info, page_count=page_count)


def _lines(page: pypdfium2.PdfPage) -> tuple[FrontLine, ...]:
    runs: list[_Run] = []
    for glyph in _glyphs(page.get_textpage()):
        if runs and runs[-1].takes(glyph, reach=0.6):
            runs[-1].add(glyph)
        else:
            runs.append(_Run(glyph))
    merged: list[_Run] = []
    for run in sorted(runs, key=lambda run: (-round(run.baseline), run.left)):
        # A line of authors is often drawn in pieces, the next piece starting at the end of the last one's raised mark.
        before = next((other for other in reversed(merged[-8:]) if other.takes(run.glyphs[0], reach=0.6)), None)
        if before is None:
            merged.append(run)
        else:
            before.extend(run)
    return tuple(run.line() for run in merged)


def _glyphs(textpage: pypdfium2.PdfTextPage) -> Iterator[_Glyph]:
    matrix, box = pdfium.FS_MATRIX(), pdfium.FS_RECTF()
    x, y = ctypes.c_double(), ctypes.c_double()
    spaced = False
    for index in range(min(textpage.count_chars(), MAX_CHARACTERS)):
        text = chr(pdfium.FPDFText_GetUnicode(textpage, index))
        text = SOFT_HYPHEN if text in PDFIUM_HYPHENS else text
        if text != SOFT_HYPHEN and (not text.isprintable() or text.isspace()):
            spaced = spaced or text.isspace()
            continue
        pdfium.FPDFText_GetMatrix(textpage, index, matrix)
        size = pdfium.FPDFText_GetFontSize(textpage, index) * (matrix.c**2 + matrix.d**2) ** 0.5
        if not 0 < size < LARGEST_TYPE or abs(pdfium.FPDFText_GetCharAngle(textpage, index)) > 0.01:
            continue
        pdfium.FPDFText_GetLooseCharBox(textpage, index, box)
        pdfium.FPDFText_GetCharOrigin(textpage, index, x, y)
        yield _Glyph(text, size, box.left, box.right, y.value, _is_bold(textpage, index), spaced)
        spaced = False


def _is_bold(textpage: pypdfium2.PdfTextPage, index: int) -> bool:
    name = ctypes.create_string_buffer(96)
    pdfium.FPDFText_GetFontInfo(textpage, index, name, len(name), ctypes.c_int())
    return any(word in name.value.lower() for word in (b"bold", b"black", b"heavy", b".b", b"cmbx", b"sfbx"))


def _spaced(glyphs: Iterable[_Glyph]) -> str:
    pieces: list[str] = []
    for glyph in glyphs:
        if glyph.text == RAISED and pieces and pieces[-1] == RAISED:
            continue
        if glyph.spaced and pieces:
            pieces.append(" ")
        pieces.append(glyph.text)
    return "".join(pieces)
