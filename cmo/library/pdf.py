"""Text of PDF and plain-text files, page by page.

`read_pdf` and `read_text` depend on the file alone: no settings, no network, nothing kept. PDFium is a C library that
can crash or hang on a hostile file, so the caller runs this in a process of its own. Lines, columns and paragraphs are
worked out in `layout`, word breaks at line ends in `hyphens`.
"""

from __future__ import annotations

import ctypes
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pypdfium2  # type: ignore[import-untyped]
import pypdfium2.raw as pdfium  # type: ignore[import-untyped]

from cmo.errors import UnreadableDocument
from cmo.library import directions, glyphs, hyphens, layout
from cmo.library.layout import BlockKind, Paragraph
from cmo.library.lines import PageWords, Word
from cmo.phrases import Phrase
from cmo.values import FileStatus

READER_VERSION = "2"
"""Changes whenever the same file may give another text; part of the index fingerprint."""

TEXT_LETTERS_PER_PAGE = 25
"""A file with fewer letters a page than this, whose pages show images, is taken for a scan."""

STAMP_LETTERS = 300
"""An image of a page with no more letters beside it than this may only be stamped ("Downloaded from ... by ...")."""

STAMPED_SHARE = 0.8
"""It is, when at least this share of all pages says the same."""

SCAN_SHARE = 0.5
"""And when images take up at least this share of them."""

READABLE_SHARE = 0.5
"""A file with a smaller share of known characters has fonts that do not say what their glyphs mean."""

_WRONG_PASSWORD = 4  # FPDF_ERR_PASSWORD of fpdfview.h
_SECURITY_HANDLER = 5  # FPDF_ERR_SECURITY of fpdfview.h
_LISTED = re.compile(r"(?:[-*+•] |\d{1,3}[.)] |#{1,6} |\|)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One heading, paragraph or table of a page: `text[start:end]`."""

    start: int
    end: int
    kind: BlockKind


@dataclass(frozen=True, slots=True, kw_only=True)
class PageText:
    """The text of one page in reading order.

    Blocks are two line feeds apart. The rows of a table are one line feed apart and its cells a tab; nothing else holds
    a line feed. `blocks` cover the text in order.
    """

    text: str
    blocks: tuple[Block, ...]


def read_pdf(path: Path, *, on_page: Callable[[int, int], None] | None = None) -> tuple[PageText, ...]:
    """The pages of a PDF, without running heads, page numbers, line numbers and stamps in the margin.

    A PDF that is encrypted but opens without a password is read. A page that cannot be loaded is an empty one.
    `on_page` is called with the number of pages done and the number of all pages.

    Raises:
        UnreadableDocument: encrypted, corrupt, without pages or text, or nothing but images.
    """
    if path.stat().st_size == 0:
        raise UnreadableDocument(FileStatus.EMPTY, Phrase("The file is empty (0 bytes). Copy it again."))
    document = _open(path)
    try:
        pages = tuple(_words_of_pages(document, on_page))
    finally:
        document.close()
    return _texts(layout.paragraphs_of_pages(pages))


def read_text(path: Path) -> tuple[PageText, ...]:
    """A .txt or .md file as one page; lines of a paragraph are joined, headings and list items stay by themselves.

    Raises:
        UnreadableDocument: there is no text in it.
    """
    text = _decode(path.read_bytes())
    paragraphs = [part for chunk in re.split(r"\n\s*\n", text) for part in _unwrapped(chunk)]
    if not paragraphs:
        reason = Phrase("The file holds no text. Open it to see whether it is the right one.")
        raise UnreadableDocument(FileStatus.EMPTY, reason)
    return (_page([(_text_kind(part), part.lstrip("# ")) for part in paragraphs]),)


def _open(path: Path) -> pypdfium2.PdfDocument:
    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        if error.err_code in (_WRONG_PASSWORD, _SECURITY_HANDLER):
            reason = Phrase("The file is protected by a password. Save it without one and index again.")
            raise UnreadableDocument(FileStatus.ENCRYPTED, reason) from error
        reason = Phrase("The file is damaged or is no PDF. Download it again, or print it to a new PDF.")
        raise UnreadableDocument(FileStatus.CORRUPT, reason) from error
    if len(document) == 0:
        document.close()
        raise UnreadableDocument(
            FileStatus.EMPTY, Phrase("The PDF has no pages. Download it again, or print it to a new PDF.")
        )
    return document


def _words_of_pages(document: pypdfium2.PdfDocument, on_page: Callable[[int, int], None] | None) -> Iterator[PageWords]:
    """The words of every page; raises when the whole file turns out to be unreadable."""
    total = len(document)
    letters = unknown = images = loaded = 0
    stamps: Counter[str] = Counter()  # what images of pages show besides, by its letters
    for index in range(total):
        try:
            page = document[index]
            reader = _PageReader(page)
        except pypdfium2.PdfiumError:
            yield PageWords(streams=(), bottom=0.0, top=0.0)
        else:
            loaded += 1
            words = reader.words()
            yield words
            letters += reader.letters
            unknown += reader.unknown
            shown = _image_share(page) if reader.letters < STAMP_LETTERS else 0.0
            images += shown > 0 and reader.letters < TEXT_LETTERS_PER_PAGE
            if shown >= SCAN_SHARE:
                stamps[_letters_of(words)] += 1
            page.close()
        if on_page is not None:
            on_page(index + 1, total)
    stamped = loaded > 1 and max(stamps.values(), default=0) >= STAMPED_SHARE * loaded
    _require_text(letters=letters, unknown=unknown, images=images, loaded=loaded, stamped=stamped)


def _letters_of(page: PageWords) -> str:
    return "".join(letter for words in page.streams for word in words for letter in word.text if letter.isalpha())


def _require_text(*, letters: int, unknown: int, images: int, loaded: int, stamped: bool) -> None:
    if loaded == 0:
        raise UnreadableDocument(FileStatus.CORRUPT, Phrase("None of the pages can be read. Download the file again."))
    if stamped or (images and letters < TEXT_LETTERS_PER_PAGE * loaded):
        raise UnreadableDocument(
            FileStatus.NEEDS_OCR, Phrase("The pages are images without text. Run OCR on the file first.")
        )
    if letters + unknown == 0:
        reason = Phrase("There is no text on any page. Open the file to see whether it is the right one.")
        raise UnreadableDocument(FileStatus.EMPTY, reason)
    if letters < READABLE_SHARE * (letters + unknown):
        reason = Phrase("The fonts of the file do not say which letters they show. Run OCR on the file first.")
        raise UnreadableDocument(FileStatus.NEEDS_OCR, reason)


def _image_share(page: pypdfium2.PdfPage) -> float:
    """How much of a page its images take up; those that overlap or stick out may make more than all of it."""
    area = 0.0
    for image in page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE], max_depth=3):
        left, bottom, right, top = image.get_bounds()
        area += max(1.0, (right - left) * (top - bottom))
    return area / max(1.0, float(page.get_width() * page.get_height()))


class _PageReader:
    """Gathers the characters of one page into words, one stream for each of the four upright directions of text."""

    def __init__(self, page: pypdfium2.PdfPage) -> None:
        self.letters = 0
        self.unknown = 0
        self._page = page
        self._text = page.get_textpage()
        self._fonts: dict[bytes, str] = {}
        self._font_name = ctypes.create_string_buffer(128)
        self._flags = ctypes.c_int()
        self._x, self._y = ctypes.c_double(), ctypes.c_double()
        self._matrix = pdfium.FS_MATRIX()

    def words(self) -> PageWords:
        left, bottom, right, top = self._page.get_bbox()
        streams: list[list[Word]] = [[], [], [], []]
        for turn, run in self._runs():
            streams[turn].append(self._word(turn, run))
        self._text.close()
        corners = [(left, bottom), (right, top)]
        most = max(range(4), key=lambda turn: len(streams[turn]))
        main = most if len(streams[most]) > TURNED_PAGE * len(streams[0]) else 0
        heights = [_turned(main, x, y)[1] for x, y in corners]
        order = [main, *(turn for turn in range(4) if turn != main)]
        return PageWords(streams=tuple(tuple(streams[turn]) for turn in order), bottom=min(heights), top=max(heights))

    def _runs(self) -> Iterator[tuple[int, _Run]]:
        """The characters of each word, with their direction in quarter turns."""
        run, turn, spaced = _Run(), 0, "\n"
        for character in self._characters():
            if isinstance(character, str):
                spaced = " " if " " in (character, spaced) else character
                if run.characters:
                    yield turn, run
                    run = _Run()
                continue
            if run.characters and (character.turn != turn or run.ends_before(character)):
                yield turn, run
                run = _Run()
                spaced = "\n" if character.turn != turn else spaced
            if not run.characters:
                turn = character.turn
                run.spaced = spaced
                spaced = ""
            run.add(character)
        if run.characters:
            yield turn, run

    def _characters(self) -> Iterator[_Character | str]:
        """Every character in the order of the page's content; " " or "\\n" where PDFium sees a space or line break."""
        box = pdfium.FS_RECTF()
        reference = ctypes.byref(box)
        for index, code in self._codes():
            if code in glyphs.SPACES:
                yield "\n" if code in (0x0A, 0x0D) else " "
                continue
            text = self._shown(index, code)
            turn = self._turn(index) if text else None
            if turn is None or not pdfium.FPDFText_GetLooseCharBox(self._text.raw, index, reference):
                continue
            self.letters += text.isalpha()
            yield _Character(index, text, turn, _turned_box(turn, box))

    def _codes(self) -> Iterator[tuple[int, int]]:
        """Index and code point of every character; PDFium hands out those past U+FFFF in two halves."""
        handle, high = self._text.raw, 0
        for index in range(self._text.count_chars()):
            code = pdfium.FPDFText_GetUnicode(handle, index)
            if 0xD800 <= code < 0xDC00:
                high = code
            elif 0xDC00 <= code < 0xE000 and high:
                yield index, 0x10000 + ((high - 0xD800) << 10) + code - 0xDC00
                high = 0
            else:
                yield index, code

    def _shown(self, index: int, code: int) -> str:
        """The text of a character; nothing when it shows none or nobody knows which."""
        text = glyphs.plain(code)
        if text == glyphs.UNKNOWN:
            text = glyphs.symbol(code) if "symbol" in self._font(index).lower() else None
        self.unknown += text is None and code != 0
        return text or ""

    def _turn(self, index: int) -> int | None:
        """Direction of a character in quarter turns clockwise; None for slanted lines (watermarks, axis labels)."""
        turn = _quarter_turns(pdfium.FPDFText_GetCharAngle(self._text.raw, index))
        if turn is None:  # PDFium also calls sheared letters slanted, which stand in for italics
            pdfium.FPDFText_GetMatrix(self._text.raw, index, ctypes.byref(self._matrix))
            turn = _quarter_turns(-math.atan2(self._matrix.b, self._matrix.a))
        return turn

    def _word(self, turn: int, run: _Run) -> Word:
        first = run.characters[0]
        handle = self._text.raw
        pdfium.FPDFText_GetCharOrigin(handle, first.index, ctypes.byref(self._x), ctypes.byref(self._y))
        pdfium.FPDFText_GetMatrix(handle, first.index, ctypes.byref(self._matrix))
        scale = math.hypot(self._matrix.c, self._matrix.d)
        text = unicodedata.normalize("NFC", run.text())
        return Word(
            text=text,
            left=run.left,
            right=run.right,
            baseline=_turned(turn, self._x.value, self._y.value)[1],
            size=pdfium.FPDFText_GetFontSize(handle, first.index) * scale,
            font=self._font(first.index),
            spaced=run.spaced,
        )

    def _font(self, index: int) -> str:
        pdfium.FPDFText_GetFontInfo(self._text.raw, index, self._font_name, 128, ctypes.byref(self._flags))
        name = self._font_name.value
        if name not in self._fonts:
            self._fonts[name] = re.sub(r"^[A-Z]{6}\+", "", name.decode("utf-8", "replace"))
        return self._fonts[name]


class _Character:
    """One character with its box, turned so that its line runs to the right."""

    __slots__ = ("bottom", "index", "left", "right", "text", "top", "turn")

    def __init__(self, index: int, text: str, turn: int, box: tuple[float, float, float, float]) -> None:
        self.index, self.text, self.turn = index, text, turn
        self.left, self.bottom, self.right, self.top = box


class _Run:
    """The characters of one word."""

    __slots__ = ("characters", "left", "loosest", "right", "spaced")

    def __init__(self) -> None:
        self.characters: list[_Character] = []
        self.left, self.right, self.spaced = float("inf"), float("-inf"), ""
        self.loosest = 0.0  # widest gap between two of them

    def add(self, character: _Character) -> None:
        if self.characters:
            self.loosest = max(self.loosest, character.left - self.characters[-1].right)
        self.characters.append(character)
        self.left = min(self.left, character.left)
        self.right = max(self.right, character.right)

    def text(self) -> str:
        """The word's letters in reading order."""
        text = "".join(character.text for character in self.characters)
        if not directions.has_right_to_left(text):
            return text
        letters: list[list[_Character]] = []
        for character in self.characters:
            if letters and directions.is_mark(character.text):
                letters[-1].append(character)
            else:
                letters.append([character])
        ordered = directions.in_reading_order(
            letters, text=lambda one: one[0].text, place=lambda one: one[0].left + one[0].right
        )
        return "".join(character.text for letter in ordered for character in letter)

    def ends_before(self, character: _Character) -> bool:
        """Whether a space or another line lies between, though the page's content has no space there."""
        last = self.characters[-1]
        size = last.top - last.bottom
        gap = character.left - last.right
        if last.text in (hyphens.LINE_END, hyphens.SOFT) or gap > WORD_GAP * size or character.bottom > last.top:
            return True
        if character.top < last.bottom or character.right < last.left - size:
            return True
        if gap <= NARROW_GAP * size or not character.text.isalpha():
            return False
        if last.text in ".,;:)]’":
            return True
        return len(self.characters) > 1 and last.text.isalpha() and gap > 4 * self.loosest


WORD_GAP = 0.3
"""A gap wider than this many times the font size parts two words that no space character parts."""

TURNED_PAGE = 4
"""A page is read sideways when it has so many times more words that way than upright."""

NARROW_GAP = 0.11
"""A narrower one parts them after closing punctuation, and where the letters before stand without any gap."""


def _quarter_turns(angle: float) -> int | None:
    """An angle in radians as quarter turns from 0 to 3; None when it is none."""
    turns = angle / 1.5707963
    nearest = round(turns)
    return nearest % 4 if abs(turns - nearest) < 0.03 else None


def _turned(turn: int, x: float, y: float) -> tuple[float, float]:
    """A point in coordinates in which text of that direction runs to the right."""
    return ((x, y), (-y, x), (-x, -y), (y, -x))[turn]


def _turned_box(turn: int, box: pdfium.FS_RECTF) -> tuple[float, float, float, float]:
    x1, y1 = _turned(turn, box.left, box.bottom)
    x2, y2 = _turned(turn, box.right, box.top)
    return (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))


def _texts(pages: Sequence[Sequence[Paragraph]]) -> tuple[PageText, ...]:
    vocabulary = hyphens.vocabulary(line for page in pages for paragraph in page for line in paragraph.lines)
    return tuple(
        _page([(paragraph.kind, _paragraph_text(paragraph, vocabulary)) for paragraph in page]) for page in pages
    )


def _paragraph_text(paragraph: Paragraph, vocabulary: hyphens.Vocabulary) -> str:
    if paragraph.kind is BlockKind.TABLE:
        return "\n".join(hyphens.visible(line) for line in paragraph.lines)
    return hyphens.join_lines(paragraph.lines, vocabulary)


def _page(parts: Sequence[tuple[BlockKind, str]]) -> PageText:
    texts: list[str] = []
    blocks: list[Block] = []
    position = 0
    for kind, text in parts:
        if not text:
            continue
        texts.append(text)
        blocks.append(Block(start=position, end=position + len(text), kind=kind))
        position += len(text) + 2
    return PageText(text="\n\n".join(texts), blocks=tuple(blocks))


def _decode(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", "replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
    text = re.sub(r"\r\n?|[\f\v\u2028\u2029]", "\n", text)
    return hyphens.visible("".join(c if c in "\n\t" else glyphs.plain(ord(c)) or "" for c in text))


def _unwrapped(chunk: str) -> Iterator[str]:
    """The paragraphs of a piece of text without blank lines; a list item or heading begins a new one."""
    lines: list[str] = []
    for line in (" ".join(line.split()) for line in chunk.splitlines()):
        if lines and (_LISTED.match(line) or lines[-1].startswith("#")):
            yield " ".join(lines)
            lines = []
        if line:
            lines.append(line)
    if lines:
        yield " ".join(lines)


def _text_kind(paragraph: str) -> BlockKind:
    if paragraph.startswith("#") or layout.names_section(paragraph):
        return BlockKind.HEADING
    return BlockKind.PARAGRAPH
