"""How well the text of papers is read: `python benchmarks/pdf_text.py FOLDER`.

For every PDF of the folder: seconds, pages, words; the share of its running words (four letters or more, no names)
that also stand in another paper, in our text and in PDFium's raw text; hyphens at line ends, joined and kept; blocks at
the edge of a page that repeat (running heads left over); the share of our whole sentences found in the raw text when
white space and hyphens are ignored, so that another order than PDFium's shows; the share of the words that is body.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pypdfium2  # type: ignore[import-untyped]

from cmo.errors import UnreadableDocument
from cmo.library import hyphens
from cmo.library.passages import split_passages
from cmo.library.pdf import PageText, read_pdf
from cmo.sentences import is_complete, split_sentences
from cmo.values import PassageKind

WORD = re.compile(r"(?<![\w-])[a-z]{4,}(?![\w-])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One paper, read by us and by PDFium alone."""

    name: str
    seconds: float
    pages: tuple[PageText, ...]
    raw: tuple[str, ...]
    joined: tuple[str, ...]
    kept: tuple[str, ...]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hyphens", action="store_true", help="list the hyphens at line ends and what became of them")
    arguments = parser.parse_args()
    readings = [reading for path in sorted(arguments.folder.glob("*.pdf")) if (reading := read(path)) is not None]
    print(f"{'paper':34}  sec pages   words  known  raw   joined  kept heads  in raw  body  whole sentences")
    for reading in readings:
        others = {word for other in readings if other is not reading for word in words_of(other.pages)}
        print(row(reading, others))
    print(f"{sum(reading.seconds for reading in readings):.2f} s in all")
    if arguments.hyphens:
        for reading in readings:
            print(f"\n{reading.name}\n  joined: {' '.join(reading.joined)}\n  kept: {' '.join(reading.kept)}")
    return 0


def read(path: Path) -> Reading | None:
    started = time.process_time()
    try:
        pages = read_pdf(path)
    except UnreadableDocument as error:
        print(f"{path.name[:34]:34}  {error.status}: {error}", file=sys.stderr)
        return None
    split_passages("doc-0000000000000000", pages)
    seconds = time.process_time() - started
    joined, kept = breaks(path)
    return Reading(
        name=path.stem[:34],
        seconds=seconds,
        pages=pages,
        raw=raw_text(path),
        joined=tuple(joined),
        kept=tuple(kept),
    )


def raw_text(path: Path) -> tuple[str, ...]:
    with pypdfium2.PdfDocument(path) as document:
        return tuple(page.get_textpage().get_text_range() for page in document)


def breaks(path: Path) -> tuple[list[str], list[str]]:
    """The words at whose hyphen a line ended: those put together and those that kept it."""
    joined: list[str] = []
    kept: list[str] = []
    decide = hyphens.keeps_hyphen

    def watched(before: str, after: str, known: hyphens.Vocabulary) -> bool:
        keeps = decide(before, after, known)
        (kept if keeps else joined).append(f"{before.split()[-1]}-{after.split()[0]}")
        return keeps

    hyphens.keeps_hyphen = watched
    try:
        read_pdf(path)
    finally:
        hyphens.keeps_hyphen = decide
    return joined, kept


def row(reading: Reading, others: set[str]) -> str:
    passages = split_passages("doc-0000000000000000", reading.pages)
    body = [passage for passage in passages if passage.kind is PassageKind.BODY]
    sentences = [
        (passage.page, passage.text[start:end])
        for passage in body
        for start, end in split_sentences(passage.text)
        if is_complete(passage.text[start:end])
    ]
    raw = [squeezed(text) for text in reading.raw]
    found = sum(squeezed(sentence) in raw[page - 1] for page, sentence in sentences)
    words = sum(len(page.text.split()) for page in reading.pages)
    share = sum(len(passage.text.split()) for passage in body) / words
    return (
        f"{reading.name:34} {reading.seconds:4.2f} {len(reading.pages):5} {words:7}"
        f"  {known(words_of(reading.pages), others):.3f}  {known(raw_words(reading.raw), others):.3f}"
        f" {len(reading.joined):5} {len(reading.kept):5} {leftover_heads(reading.pages):5}"
        f"  {found / max(1, len(sentences)):.3f} {share:6.2f} {len(sentences):6}"
    )


def words_of(pages: tuple[PageText, ...]) -> list[str]:
    return [word for page in pages for word in WORD.findall(page.text)]


def raw_words(pages: tuple[str, ...]) -> list[str]:
    return [word for text in pages for word in WORD.findall(text)]


def known(words: list[str], others: set[str]) -> float:
    """Share of the words that stand in another paper too."""
    return sum(word in others for word in words) / max(1, len(words))


def squeezed(text: str) -> str:
    """The text without white space, hyphens and marks for them."""
    return re.sub(r"[\s\-\u00ad\u2010\u2011\ufffe\x02]+", "", text)


def leftover_heads(pages: tuple[PageText, ...]) -> int:
    """Pages whose first or last block stands at the same edge of at least two others, but for numbers."""
    count = 0
    for edge in (0, -1):
        blocks = [(page, page.blocks[edge]) for page in pages if page.blocks]
        keys = [re.sub(r"\d+", "#", page.text[block.start : block.end]) for page, block in blocks]
        count += sum(number for number in Counter(keys).values() if number > 2)
    return count


if __name__ == "__main__":
    sys.exit(main())
