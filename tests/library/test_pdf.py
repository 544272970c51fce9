from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from fpdf import FPDF
from fpdf.enums import AccessPermission, EncryptionMethod
from hypothesis import given
from hypothesis import strategies as st

from cmo.errors import UnreadableDocument
from cmo.library import glyphs, hyphens
from cmo.library.layout import BlockKind
from cmo.library.pdf import PageText, read_pdf, read_text
from cmo.values import FileStatus

LEADING = 12.0
LATIN = [
    "Lorem ipsum dolor sit amet, consectetur adipiscing",
    "elit, sed do eiusmod tempor incididunt ut labore et dolore magna aliqua, ut enim ad minim veniam,",
    "quis nostrud exercitation ullamco laboris nisi ut aliquip ex ea commodo consequat, duis aute irure",
    "dolor in reprehenderit in voluptate velit esse cillum dolore eu fugiat nulla pariatur.",
]
NASTY = {
    "pypdf__r2-user-password.pdf": FileStatus.ENCRYPTED,
    "pypdf__r6-user-password.pdf": FileStatus.ENCRYPTED,
    "sample-files__libreoffice-writer-password.pdf": FileStatus.ENCRYPTED,
    "sample-files__unreadablemetadata.pdf": FileStatus.CORRUPT,
}


class Sheet:
    """A PDF in the making, measured in points from the top left."""

    def __init__(self) -> None:
        self.pdf = FPDF(unit="pt", format=(600, 800))
        self.pdf.set_auto_page_break(False)
        self.pdf.set_font("Times", size=10)

    def page(self) -> Sheet:
        self.pdf.add_page()
        return self

    def lines(self, lines: Iterable[str], *, x: float = 60, y: float = 100, style: str = "", size: float = 10) -> Sheet:
        self.pdf.set_font("Times", style=style, size=size)
        for number, line in enumerate(lines):
            self.pdf.text(x, y + number * LEADING, line)
        return self


@pytest.fixture
def save(tmp_path: Path) -> Callable[[Sheet], Path]:
    def written(sheet: Sheet) -> Path:
        path = tmp_path / "paper.pdf"
        sheet.pdf.output(str(path))
        return path

    return written


def column(name: str, lines: int = 12) -> list[str]:
    """Lines of prose that break off in mid-sentence, except the last one."""
    body = [f"the {name} column goes on with line {number} of its text and" for number in range(1, lines)]
    return [f"The {name} column begins here with quite a few words", *body, "there it ends."]


def kinds(page: PageText) -> list[tuple[BlockKind, str]]:
    return [(block.kind, page.text[block.start : block.end]) for block in page.blocks]


def refused(path: Path) -> UnreadableDocument:
    with pytest.raises(UnreadableDocument) as refusal:
        read_pdf(path)
    return refusal.value


def test_lines_become_a_paragraph(save: Callable[[Sheet], Path]) -> None:
    (page,) = read_pdf(save(Sheet().page().lines(["Glucose rose in all", "of the patients."])))

    assert page.text == "Glucose rose in all of the patients."


def test_columns_are_read_one_after_the_other(save: Callable[[Sheet], Path]) -> None:
    sheet = Sheet().page().lines(column("left")).lines(column("right"), x=320)

    text = read_pdf(save(sheet))[0].text

    assert text.index("the left column goes on with line 11") < text.index("The right column begins")


def test_columns_written_line_by_line_are_read_one_after_the_other(save: Callable[[Sheet], Path]) -> None:
    sheet = Sheet().page()
    for number, (left, right) in enumerate(zip(column("left"), column("right"), strict=True)):
        sheet.lines([left], y=100 + number * LEADING).lines([right], x=320, y=100 + number * LEADING)

    text = read_pdf(save(sheet))[0].text

    assert text.index("the left column goes on with line 11") < text.index("The right column begins")


def test_columns_written_backwards_are_read_forwards_below_what_spans_them(save: Callable[[Sheet], Path]) -> None:
    title = ["This abstract runs across both of the columns below it, from the left margin to the right one,", "twice."]
    sheet = Sheet().page().lines(column("right"), x=320, y=160).lines(column("left"), y=160).lines(title)

    text = read_pdf(save(sheet))[0].text

    assert text.index("This abstract") < text.index("The left column") < text.index("The right column")


def test_a_sentence_goes_on_below_the_figure_that_interrupts_it(save: Callable[[Sheet], Path]) -> None:
    before = ["The concentration of lactate in the plasma of the patients was", "far higher than in the group of the"]
    after = ["controls at all of the times that we looked at, and it stayed so."]
    caption = ["Figure 1. Lactate in plasma."]
    sheet = Sheet().page().lines(before).lines(caption, y=300, size=8).lines(after, y=400)

    assert "the group of the controls at all" in read_pdf(save(sheet))[0].text


def test_running_heads_and_page_numbers_are_left_out(save: Callable[[Sheet], Path]) -> None:
    sheet = Sheet()
    for number in range(1, 5):
        sheet.page().lines([f"Smith et al. A Journal 2014, 12:{number}"], y=30).lines([str(number)], x=300, y=780)
        sheet.lines([f"This is the text of page {number}."])

    assert [page.text for page in read_pdf(save(sheet))] == [f"This is the text of page {n}." for n in range(1, 5)]


def test_pages_that_differ_by_a_number_only_keep_their_text(save: Callable[[Sheet], Path]) -> None:
    sheet = Sheet()
    for number in range(1, 41):
        sheet.page().lines([f"This is page {number} of the test document. {LATIN[0]}", *LATIN[1:]], y=40)

    pages = read_pdf(save(sheet))

    assert [page.text for page in pages] == [
        f"This is page {number} of the test document. {' '.join(LATIN)}" for number in range(1, 41)
    ]


@pytest.mark.parametrize("y", [40, 780])
def test_a_line_that_is_all_there_is_on_a_page_is_no_running_head(save: Callable[[Sheet], Path], y: float) -> None:
    sheet = Sheet()
    for number in range(1, 5):
        sheet.page().lines([f"This is page {number} of the test document"], y=y)

    assert [page.text for page in read_pdf(save(sheet))] == [
        f"This is page {number} of the test document" for number in range(1, 5)
    ]


@pytest.mark.parametrize("y", [40, 770])
def test_a_short_paragraph_at_the_margin_is_no_running_head(save: Callable[[Sheet], Path], y: float) -> None:
    paragraph = ["Fasting plasma samples were taken from all of the patients in the", "morning, and kept on ice."]
    sheet = Sheet()
    for number in range(1, 5):
        sheet.page().lines(paragraph, y=y).lines(column(f"{number}th"), y=200)

    assert all(" ".join(paragraph) in page.text for page in read_pdf(save(sheet)))


def test_running_heads_of_two_lines_above_the_same_text_are_left_out(save: Callable[[Sheet], Path]) -> None:
    sheet = Sheet()
    for number in range(1, 5):
        sheet.page().lines([f"Smith et al. A Journal 2014, 12:{number}", "http://journal.example/12"], y=30, size=8)
        sheet.lines(column("only"), y=66).lines(["A Journal, volume 12"], y=780, size=8)

    assert [page.text for page in read_pdf(save(sheet))] == [" ".join(column("only"))] * 4


def test_a_page_with_a_figure_alone_shows_no_running_head(save: Callable[[Sheet], Path]) -> None:
    sheet = Sheet()
    for number in range(1, 6):
        sheet.page().lines([f"Smith et al. A Journal 2014, 12:{number}"], y=30)
        if number != 3:
            sheet.lines(column(f"{number}th"))

    assert read_pdf(save(sheet))[2].text == ""


def test_line_numbers_in_the_margin_are_left_out(save: Callable[[Sheet], Path]) -> None:
    lines = [f"metabolite {word} was found in most of the samples and" for word in "abcdefghijkl"]
    sheet = Sheet().page()
    for number, line in enumerate(lines, start=1):
        x = 30 - 5 * len(str(number))
        sheet.lines([str(number)], x=x, y=100 + number * LEADING).lines([line], y=100 + number * LEADING)

    assert read_pdf(save(sheet))[0].text == " ".join(lines)


def test_numbers_within_lines_are_no_line_numbers(save: Callable[[Sheet], Path]) -> None:
    lines = [f"The sample {number} was taken from the patient of that number and" for number in range(1, 20)]

    assert read_pdf(save(Sheet().page().lines(lines)))[0].text == " ".join(lines)


def test_text_up_the_margin_is_left_out(save: Callable[[Sheet], Path]) -> None:
    sheet = Sheet().page().lines(["Glucose rose."])
    with sheet.pdf.rotation(90, x=20, y=500):
        sheet.lines(["Downloaded from a publisher"], x=20, y=500)

    assert read_pdf(save(sheet))[0].text == "Glucose rose."


def test_headings_stand_apart_from_the_text_below_them(save: Callable[[Sheet], Path]) -> None:
    text = ["Glucose rose in all of the patients, but it did so more slowly", "than it had in the controls."]
    sheet = Sheet().page().lines(["Data extraction"], style="B").lines(text, y=112)
    sheet.lines(["2. Results"], y=200, size=13).lines(text, y=214)

    prose = (BlockKind.PARAGRAPH, " ".join(text))
    assert kinds(read_pdf(save(sheet))[0]) == [
        (BlockKind.HEADING, "Data extraction"),
        prose,
        (BlockKind.HEADING, "2. Results"),
        prose,
    ]


def test_rows_and_cells_of_a_table_stay_apart(save: Callable[[Sheet], Path]) -> None:
    sheet = Sheet().page()
    for row, cells in enumerate(
        [("Metabolite", "Cases", "Controls"), ("Glucose", "5.1", "4.9"), ("Lactate", "1.2", "1.0")]
    ):
        for place, cell in enumerate(cells):
            sheet.lines([cell], x=60 + 120 * place, y=100 + row * LEADING)

    rows = "Metabolite\tCases\tControls\nGlucose\t5.1\t4.9\nLactate\t1.2\t1.0"
    assert kinds(read_pdf(save(sheet))[0]) == [(BlockKind.TABLE, rows)]


def test_raised_figures_stay_in_their_line(save: Callable[[Sheet], Path]) -> None:
    sheet = Sheet().page().lines(["10"]).lines(["-3"], x=70.5, y=96, size=6).lines(["mol were found."], x=79)

    assert read_pdf(save(sheet))[0].text == "10-3 mol were found."


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["Their meta-", "bolism was slow."], "Their metabolism was slow."),
        (["They used LC-", "MS for it."], "They used LC-MS for it."),
        (["They ate n-", "3 acids."], "They ate n-3 acids."),
        (["They took a beta-", "blocker."], "They took a beta-blocker."),
        (
            ["A meta-analysis was done. This meta-", "analysis was large."],
            "A meta-analysis was done. This meta-analysis was large.",
        ),
        (["Overall it rose. The over-", "all rise was small."], "Overall it rose. The overall rise was small."),
        (
            ["We drank sugar. The sugar-", "sweetened drinks were worse."],
            "We drank sugar. The sugar-sweetened drinks were worse.",
        ),
        (["Ranges from 18.6 -", "25.3 were seen."], "Ranges from 18.6 - 25.3 were seen."),
    ],
)
def test_hyphens_at_line_ends_follow_the_rest_of_the_document(lines: list[str], text: str) -> None:
    assert hyphens.join_lines(lines, hyphens.vocabulary(lines)) == text


@pytest.mark.parametrize(
    ("character", "text"),
    [("ﬁ", "fi"), ("ﬄ", "ffl"), ("\xa0", " "), ("\u2009", " "), ("‑", "-"), ("\x00", None), ("\u200b", None)],
)
def test_compatibility_characters_become_plain(character: str, text: str | None) -> None:
    assert glyphs.plain(ord(character)) == text


@pytest.mark.parametrize("character", list("⁻³²µμβ±≥½Å′™−–"))
def test_characters_with_a_meaning_stay(character: str) -> None:
    assert glyphs.plain(ord(character)) == character


@given(st.integers(0, 0x10FFFF))
def test_every_character_can_be_read(code: int) -> None:
    text = glyphs.plain(code)

    assert text is None or text


@pytest.mark.parametrize(
    ("code", "letter"), [(0xF061, "α"), (0xF062, "β"), (0xF06D, "μ"), (0xF0B1, "±"), (0xF0B3, "≥")]
)
def test_letters_of_the_symbol_font_are_known(code: int, letter: str) -> None:
    assert glyphs.symbol(code) == letter


def test_a_password_keeps_the_file_closed(save: Callable[[Sheet], Path]) -> None:
    sheet = Sheet().page().lines(["Secret."])
    sheet.pdf.set_encryption("owner", user_password="user", encryption_method=EncryptionMethod.AES_128)

    assert refused(save(sheet)).status is FileStatus.ENCRYPTED


def test_an_owner_password_alone_does_not(save: Callable[[Sheet], Path]) -> None:
    sheet = Sheet().page().lines(["Glucose rose."])
    sheet.pdf.set_encryption("owner", encryption_method=EncryptionMethod.AES_128, permissions=AccessPermission.none())

    assert read_pdf(save(sheet))[0].text == "Glucose rose."


def test_a_scan_needs_ocr(save: Callable[[Sheet], Path], tmp_path: Path) -> None:
    image = tmp_path / "scan.ppm"
    image.write_bytes(b"P6 8 8 255\n" + bytes(range(192)))
    sheet = Sheet().page()
    sheet.pdf.image(str(image), x=0, y=0, w=600, h=800)

    assert refused(save(sheet)).status is FileStatus.NEEDS_OCR


def test_a_scan_with_a_stamp_on_every_page_needs_ocr(save: Callable[[Sheet], Path], tmp_path: Path) -> None:
    image = tmp_path / "scan.ppm"
    image.write_bytes(b"P6 8 8 255\n" + bytes(range(192)))
    sheet = Sheet()
    for number in range(1, 6):
        sheet.page().lines([f"Downloaded from a publisher by a library on 1 May; page {number} of 5"], y=790, size=6)
        sheet.pdf.image(str(image), x=0, y=0, w=600, h=780)

    assert refused(save(sheet)).status is FileStatus.NEEDS_OCR


def test_short_pages_under_the_same_logo_are_read(save: Callable[[Sheet], Path], tmp_path: Path) -> None:
    image = tmp_path / "logo.ppm"
    image.write_bytes(b"P6 8 8 255\n" + bytes(range(192)))
    sheet = Sheet()
    for number in range(1, 6):
        sheet.page().lines([f"This is page {number} of the test document, and that is all."], y=200)
        sheet.pdf.image(str(image), x=20, y=20, w=80, h=40)

    assert "page 3 of the test" in read_pdf(save(sheet))[2].text


def test_figures_with_captions_of_their_own_are_read(save: Callable[[Sheet], Path], tmp_path: Path) -> None:
    image = tmp_path / "figure.ppm"
    image.write_bytes(b"P6 8 8 255\n" + bytes(range(192)))
    sheet = Sheet()
    for name in ("alanine", "citrate", "lactate"):
        sheet.page().lines([f"The picture shows how {name} rose after the meal."], y=700)
        sheet.pdf.image(str(image), x=0, y=0, w=600, h=600)

    assert "citrate rose" in read_pdf(save(sheet))[1].text


def test_a_page_without_anything_is_empty(save: Callable[[Sheet], Path]) -> None:
    assert refused(save(Sheet().page())).status is FileStatus.EMPTY


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"", FileStatus.EMPTY), (b"Not a PDF at all.", FileStatus.CORRUPT), (b"%PDF-1.7\n1 0 obj", FileStatus.CORRUPT)],
)
def test_what_is_no_pdf_is_refused(tmp_path: Path, content: bytes, status: FileStatus) -> None:
    path = tmp_path / "paper.pdf"
    path.write_bytes(content)

    assert refused(path).status is status


def test_progress_is_told_page_by_page(save: Callable[[Sheet], Path]) -> None:
    told: list[tuple[int, int]] = []
    read_pdf(save(Sheet().page().lines(["One."]).page().lines(["Two."])), on_page=lambda *step: told.append(step))

    assert told == [(1, 2), (2, 2)]


def test_blocks_cover_the_text_in_order(save: Callable[[Sheet], Path]) -> None:
    (page,) = read_pdf(save(Sheet().page().lines(["Results"], style="B").lines(column("only"), y=112)))

    assert "\n\n".join(text for _, text in kinds(page)) == page.text


@pytest.mark.parametrize(
    "data",
    [
        "β-alanine rose.".encode(),
        b"\xef\xbb\xbf" + "β-alanine rose.".encode(),
        "β-alanine rose.".encode("utf-16"),
    ],
)
def test_text_files_are_read_in_their_encoding(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes(data)

    assert read_text(path)[0].text == "β-alanine rose."


def test_a_text_file_in_no_unicode_encoding_is_latin_1(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes("5 µg".encode("latin-1"))

    assert read_text(path)[0].text == "5 µg"


def test_wrapped_lines_of_a_text_file_are_joined_and_its_headings_kept_apart(tmp_path: Path) -> None:
    path = tmp_path / "note.md"
    path.write_text("# Lipids\nThey are\r\nfats.\n\n- one\n- two\n\nMethods\n\nWe looked.\n", encoding="utf-8")

    assert kinds(read_text(path)[0]) == [
        (BlockKind.HEADING, "Lipids"),
        (BlockKind.PARAGRAPH, "They are fats."),
        (BlockKind.PARAGRAPH, "- one"),
        (BlockKind.PARAGRAPH, "- two"),
        (BlockKind.HEADING, "Methods"),
        (BlockKind.PARAGRAPH, "We looked."),
    ]


def test_a_text_file_without_text_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes(b" \n\n")
    with pytest.raises(UnreadableDocument) as refusal:
        read_text(path)

    assert refusal.value.status is FileStatus.EMPTY


@pytest.mark.parametrize("name", sorted(NASTY))
def test_awkward_files_get_their_status(shared: Path, name: str) -> None:
    assert refused(shared / "nasty_pdfs" / name).status is NASTY[name]


def test_the_other_awkward_files_are_read(shared: Path) -> None:
    for path in sorted((shared / "nasty_pdfs").glob("*.pdf")):
        if path.name not in NASTY:
            assert any(page.text for page in read_pdf(path)), path.name


def test_letters_for_formulas_become_plain() -> None:
    assert glyphs.plain(0x1D6FD) == "β"
