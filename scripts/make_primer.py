"""Writes the sample primer: one PDF in papers/ for each Markdown file in scripts/primer/.

The files come out the same byte for byte on every machine: fixed date, built-in fonts, no compression. That it is a
sample stands in the footer, which is on every page and no part of the text.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from fpdf import FPDF

ROOT = Path(__file__).resolve().parents[1]
TEXTS = ROOT / "scripts" / "primer"
PAPERS = ROOT / "papers"

DATE = datetime(2026, 1, 1, tzinfo=UTC)
AUTHOR = "The Clinical Metabolomics Oracle project"
NOTE = "Sample document - general textbook knowledge, not medical advice"

INK = (32, 38, 46)
ACCENT = (15, 94, 102)
FAINT = (110, 118, 128)


class Primer(FPDF):
    """A page layout: A4, one column, the note and the page number at the foot."""

    def __init__(self, *, part: int, parts: int) -> None:
        super().__init__(format="A4")
        self._part = f"Primer, part {part} of {parts}"
        self.set_compression(False)
        self.set_creation_date(DATE)
        self.set_producer(AUTHOR)
        self.set_author(AUTHOR)
        self.set_subject(NOTE)
        self.set_lang("en")
        self.set_margins(left=25, top=22, right=25)
        self.set_auto_page_break(auto=True, margin=24)

    def footer(self) -> None:
        """The part, the note and the page number."""
        self.set_y(-15)
        self.set_font("Helvetica", size=8)
        self.set_text_color(*FAINT)
        self.cell(0, 5, f"{self._part}. {NOTE}. Page {self.page_no()}", align="C")

    def title_line(self, text: str) -> None:
        """The document's title, on the page and in its metadata."""
        self.set_title(text)
        self.set_font("Helvetica", "B", 20)
        self.set_text_color(*ACCENT)
        self.multi_cell(0, 9, text, align="L", new_x="LMARGIN", new_y="NEXT")
        self.ln(3)

    def heading(self, text: str) -> None:
        """A section's heading, on the page and in the outline."""
        self.set_font("Helvetica", "B", 13)
        self.set_text_color(*ACCENT)
        if self.will_page_break(24):  # a heading never stands alone at the foot of a page
            self.add_page()
        self.start_section(text)
        self.ln(3)
        self.multi_cell(0, 7, text, align="L", new_x="LMARGIN", new_y="NEXT")
        self.ln(1)

    def paragraph(self, text: str) -> None:
        """Running text."""
        self.set_font("Times", size=11.5)
        self.set_text_color(*INK)
        self.multi_cell(0, 5.4, text, align="L", new_x="LMARGIN", new_y="NEXT")
        self.ln(2)


def make(text: Path, *, part: int, parts: int) -> bytes:
    """The PDF of one text: "# " is its title, "## " a heading, everything else a paragraph."""
    pdf = Primer(part=part, parts=parts)
    pdf.add_page()
    for block in text.read_text(encoding="utf-8").split("\n\n"):
        mark, _, rest = block.strip().partition(" ")
        if mark == "#":
            pdf.title_line(rest)
        elif mark == "##":
            pdf.heading(rest)
        elif mark:
            pdf.paragraph(" ".join(block.split()))
    return bytes(pdf.output())


def primer() -> dict[str, bytes]:
    """File name and content of every part."""
    texts = sorted(TEXTS.glob("*.md"))
    return {f"{text.stem}.pdf": make(text, part=part, parts=len(texts)) for part, text in enumerate(texts, start=1)}


if __name__ == "__main__":
    PAPERS.mkdir(exist_ok=True)
    for name, content in primer().items():
        (PAPERS / name).write_bytes(content)
