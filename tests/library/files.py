"""Makers of awkward files: everything a papers folder may hold that is no plain readable PDF."""

import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fpdf import FPDF, XPos, YPos
from fpdf.enums import Align
from PIL import Image, ImageDraw

from cmo.values import FileStatus

SENTENCE = "Plasma alanine rose from 310 to 402 micromoles per litre after the glucose load in all nine volunteers. "

AWKWARD_NAMES = (
    "with some spaces.pdf",
    'it\'s a "quoted" name.pdf',
    "Überblick – 代谢组学 α-ketoglutarate.pdf",
    "two\nlines.pdf",
    "100% #1 & [2] ;$(x).pdf",
    "UPPER.PDF",
    "-rf --json.pdf",
    f"{'long ' * 50}.pdf",
)
"""File names that break careless shell commands, URLs and line-based formats."""


def write_pdf(path: Path, pages: Sequence[str] = (SENTENCE * 4,), *, title: str = "", author: str = "") -> Path:
    """A PDF of plain paragraphs, one string a page."""
    pdf = FPDF()
    if title:
        pdf.set_title(title)
    if author:
        pdf.set_author(author)
    pdf.set_font("helvetica", size=11)
    for text in pages:
        pdf.add_page()
        pdf.multi_cell(0, 6, text)
    pdf.output(str(path))
    return path


def write_article(path: Path, *, title: str, authors: str, doi: str, year: int) -> Path:
    """A PDF that begins as journal articles do: journal, title in large type, authors with raised marks, abstract.

    In `authors`, "^" stands before each raised mark: "Ada Baker^1, Carl Dorn^2".
    """
    paragraph: dict[str, Any] = {"align": Align.L, "new_x": XPos.LMARGIN, "new_y": YPos.NEXT}
    pdf = FPDF()
    pdf.add_page()
    pdf.set_font("helvetica", size=8)
    pdf.multi_cell(0, 4, f"Journal of Invented Results {year}, 3, 17-29\nhttps://doi.org/{doi}", **paragraph)
    pdf.set_font("helvetica", style="B", size=18)
    pdf.multi_cell(0, 9, title, **paragraph)
    pdf.set_font("helvetica", size=12)
    pdf.ln(4)
    for position, piece in enumerate(authors.split("^")):
        if position:
            pdf.char_vpos = "SUP"
            pdf.write(6, piece[0])
            pdf.char_vpos = "LINE"
            piece = piece[1:]
        pdf.write(6, piece)
    pdf.ln(12)
    pdf.set_font("helvetica", size=10)
    pdf.multi_cell(0, 5, "1 Department of Examples, University of Nowhere\n\nAbstract\n" + SENTENCE * 12, **paragraph)
    pdf.output(str(path))
    return path


def write_long_pdf(path: Path, pages: int = 500) -> Path:
    """A PDF of many pages, each with two sentences of its own that begin "Sheet <number>"."""
    return write_pdf(path, [_sheet(number) for number in range(1, pages + 1)])


def _sheet(number: int) -> str:
    substances = ("alanine", "citrate", "glycine", "lactate", "proline", "serine", "taurine", "urate")
    places = ("plasma", "urine", "saliva", "liver", "muscle", "brain", "serum")
    changes = ("rose", "fell", "stayed as it was", "doubled", "could not be measured")
    substance, place, change = (words[number % len(words)] for words in (substances, places, changes))
    return f"Sheet {number} is about {substance} in {place}. There {substance} {change} when the {place} was chilled."


def write_monotonous_pdf(path: Path, pages: int = 500) -> Path:
    """A PDF of half pages that differ by their number only, as programs make them that try out other programs."""
    latin = "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore. "
    return write_pdf(path, [f"This is page {n} of the test document. {latin * 6}" for n in range(1, pages + 1)])


def write_reference_list(path: Path) -> Path:
    """A PDF of nothing but references."""
    entry = "{0}. Baker AB, Dorn CD, Veen EF. Plasma alanine in {0} volunteers. J Invent Res 2019;{0}:1{0}-2{0}."
    return write_pdf(path, ["References\n" + "\n".join(entry.format(number) for number in range(11, 41))])


def write_text(path: Path, *, encoding: str = "utf-8", text: str = SENTENCE * 4) -> Path:
    """A text file."""
    path.write_bytes(text.encode(encoding))
    return path


def write_scan(path: Path, pages: int = 1) -> Path:
    """A PDF whose pages are pictures of text, as a scanner makes them."""
    picture = Image.new("L", (1240, 1754), "white")
    draw = ImageDraw.Draw(picture)
    for row in range(12):
        draw.text((120, 140 + 40 * row), SENTENCE, fill="black")
    pdf = FPDF()
    for _ in range(pages):
        pdf.add_page()
        pdf.image(picture, x=0, y=0, w=210)
    pdf.output(str(path))
    return path


def write_encrypted_pdf(path: Path, *, password: str) -> Path:
    """A PDF that asks for the password; an empty one makes it open without asking."""
    pdf = FPDF()
    pdf.set_encryption(owner_password="owner", user_password=password)
    pdf.set_font("helvetica", size=11)
    pdf.add_page()
    pdf.multi_cell(0, 6, SENTENCE * 4)
    pdf.output(str(path))
    return path


def write_blank_pdf(path: Path) -> Path:
    """A PDF of one page with nothing on it."""
    pdf = FPDF()
    pdf.add_page()
    pdf.output(str(path))
    return path


def write_empty_file(path: Path) -> Path:
    """A file of no bytes."""
    path.write_bytes(b"")
    return path


def write_text_named_pdf(path: Path) -> Path:
    """A text file with the wrong suffix."""
    path.write_text(SENTENCE * 20, encoding="utf-8")
    return path


def write_truncated_pdf(path: Path) -> Path:
    """The first hundred bytes of a PDF, as a broken download leaves them."""
    whole = write_pdf(path).read_bytes()
    path.write_bytes(whole[:100])
    return path


def make_folder_named_pdf(path: Path) -> Path:
    """A folder with the suffix of a document, and a document in it."""
    path.mkdir()
    write_pdf(path / "inside.pdf")
    return path


def make_dangling_link(path: Path) -> Path:
    """A link to a file that is not there."""
    path.symlink_to(path.parent / "gone.pdf")
    return path


def make_link_to_itself(path: Path) -> Path:
    """A link that leads to itself."""
    path.symlink_to(path)
    return path


def make_pipe(path: Path) -> Path:
    """A named pipe, which blocks whoever opens it."""
    os.mkfifo(path)
    return path


def make_socket(path: Path) -> Path:
    """A socket's entry in the folder."""
    with socket.socket(socket.AF_UNIX) as listener:
        before = Path.cwd()
        os.chdir(path.parent)  # a socket's path may be no longer than about 100 bytes
        try:
            listener.bind(path.name)
        finally:
            os.chdir(before)
    return path


def make_folder_loop(folder: Path) -> Path:
    """A link inside a folder that leads back to the folder."""
    link = folder / "round and round"
    link.symlink_to(folder, target_is_directory=True)
    return link


UNREADABLE: dict[str, tuple[Callable[[Path], Path], FileStatus]] = {
    "nothing.pdf": (write_empty_file, FileStatus.EMPTY),
    "nothing.txt": (write_empty_file, FileStatus.EMPTY),
    "really text.pdf": (write_text_named_pdf, FileStatus.CORRUPT),
    "cut off.pdf": (write_truncated_pdf, FileStatus.CORRUPT),
    "scan.pdf": (write_scan, FileStatus.NEEDS_OCR),
    "blank.pdf": (write_blank_pdf, FileStatus.EMPTY),
    "secret.pdf": (lambda path: write_encrypted_pdf(path, password="sesame"), FileStatus.ENCRYPTED),
    "folder.pdf": (make_folder_named_pdf, FileStatus.FAILED),
    "dangling.pdf": (make_dangling_link, FileStatus.FAILED),
    "itself.pdf": (make_link_to_itself, FileStatus.FAILED),
    "pipe.pdf": (make_pipe, FileStatus.FAILED),
    "socket.pdf": (make_socket, FileStatus.FAILED),
}
"""By file name, who makes it and what has to become of it."""

READABLE: dict[str, Callable[[Path], Path]] = {
    "utf-8.txt": lambda path: write_text(path, text=f"β-Alanine was measured. {SENTENCE}"),
    "utf-16.txt": lambda path: write_text(
        path, encoding="utf-16", text="Zinc was high in oysters. It was low in their shells."
    ),
    "latin-1.md": lambda path: write_text(
        path, encoding="latin-1", text="# Größe\n\nRats were given 5 µg of biotin. They grew."
    ),
    "one line of many sentences.txt": lambda path: write_text(path, text=" ".join(_sheet(n) for n in range(800))),
    "one line of one word.txt": lambda path: write_text(path, text="acgt" * 250_000),
    "references.pdf": write_reference_list,
    "copy 1.pdf": lambda path: write_pdf(
        path, ["Selenium was low in the hair of miners. It was normal in their nails."]
    ),
    "copy 2.pdf": lambda path: write_pdf(
        path, ["Selenium was low in the hair of miners. It was normal in their nails."]
    ),
    "folder/deeper/inside.pdf": lambda path: write_pdf(
        path, ["Vitamin D was low in the submarine crew. It rose when they came home."]
    ),
    **{name: lambda path: write_pdf(path, [f"{len(path.name)} letters. {SENTENCE}"]) for name in AWKWARD_NAMES},
}
"""By file name, who makes it: awkward files that can be read all the same."""


def write_nasty_folder(folder: Path) -> dict[str, FileStatus]:
    """A folder with everything in it; returns what has to become of each file."""
    expected: dict[str, FileStatus] = {}
    for name, (make, status) in UNREADABLE.items():
        make(folder / name)
        expected[name] = status
    for name, write in READABLE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write(folder / name)
        expected[name] = FileStatus.INDEXED
    (folder / "copy 2.pdf").write_bytes((folder / "copy 1.pdf").read_bytes())
    expected["folder.pdf"] = FileStatus.FAILED
    make_folder_loop(folder / "folder")
    return expected
