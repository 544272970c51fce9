"""Rules for finding title, authors, year and DOI, and how often they are right on real papers."""

import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from cmo.library.front_lines import RAISED, SOFT_HYPHEN, FrontLine, clean
from cmo.library.metadata import Metadata, find_metadata
from cmo.library.reader import DocumentReader, ReadDocument

TITLE = "Alanine after a glucose load in healthy volunteers"
BODY = "Plasma alanine was measured in nine volunteers before and after a glucose load."


def page(*lines: tuple[float, str] | tuple[float, str, str]) -> list[FrontLine]:
    """Lines of (size, text) or (size, text, marked), one below the other from the head of a page 800 points high."""
    made: list[FrontLine] = []
    baseline = 780.0
    for size, text, *marked in lines:
        baseline -= 1.3 * size
        right = 50 + 0.5 * size * len(text)
        made.append(
            FrontLine(
                text=text, marked=marked[0] if marked else text, size=size, left=50, right=right, baseline=baseline
            )
        )
    return made


def body(count: int = 10) -> list[tuple[float, str]]:
    return [(10.0, "Abstract"), *[(10.0, BODY)] * count]


def found(
    *lines: tuple[float, str] | tuple[float, str, str], info: dict[str, str] | None = None, later: Sequence[str] = ()
) -> Metadata:
    """What is found on a page of these lines, followed by an abstract."""
    front = page(*lines, *body())
    texts = ["\n".join(line.text for line in front), *later]
    return find_metadata(front, texts=texts, info=info or {}, file_name="smith_2015_final.pdf")


def article(authors: str = "Ada Baker^, Carl Dorn^", *, info: dict[str, str] | None = None) -> Metadata:
    return found((18.0, TITLE), (12.0, authors.replace(RAISED, "1"), authors), info=info)


# titles


def test_the_largest_text_near_the_top_is_the_title() -> None:
    assert found(
        (9.0, "Some header"), (18.0, "Alanine after a glucose"), (18.0, "load in men"), (12.0, "Ada Baker")
    ).title == ("Alanine after a glucose load in men")


@pytest.mark.parametrize(
    "label",
    [
        "RESEARCH ARTICLE",
        "R E S EAR CH A R TIC L E",
        "Open Access",
        "Review Article",
        "metabolites",
        "HHS Public Access",
    ],
)
def test_a_label_of_the_journal_is_not_the_title_however_large(label: str) -> None:
    assert found((30.0, label), (18.0, TITLE)).title == TITLE


def test_a_word_broken_at_the_end_of_a_line_is_made_whole() -> None:
    assert found((18.0, "Alanine after a glu" + SOFT_HYPHEN), (18.0, "cose load in men")).title == (
        "Alanine after a glucose load in men"
    )


def test_a_hyphen_that_belongs_to_the_word_stays() -> None:
    assert found((18.0, "Targeted liquid-"), (18.0, "chromatography of lipids")).title == (
        "Targeted liquid-chromatography of lipids"
    )


def test_accents_printed_before_their_letter_are_put_on_it() -> None:
    assert found((18.0, "Saliva in Sj¨ogren’s syndrome of women")).title == "Saliva in Sjögren’s syndrome of women"


def test_a_footnote_mark_is_no_part_of_the_title() -> None:
    assert found((18.0, TITLE + " *")).title == TITLE


@pytest.mark.parametrize(
    "stored",
    [
        "untitled",
        "Microsoft Word - thesis_v7.doc",
        "9217567.dvi",
        "Layout 1",
        "smith_2015_final",
        "Elsevier template",
        "pone.0123456 1..12",
    ],
)
def test_a_title_left_behind_by_a_program_is_not_believed(stored: str) -> None:
    assert found(info={"Title": stored}).title == "smith 2015 final"


def test_the_stored_title_stands_in_when_the_page_shows_none() -> None:
    assert found(info={"Title": TITLE}).title == TITLE


def test_the_printed_title_beats_one_left_over_from_another_paper() -> None:
    assert found((18.0, TITLE), info={"Title": "The wing beat of hoverflies in spring"}).title == TITLE


def test_the_stored_title_wins_when_the_page_prints_it_in_another_place() -> None:
    lines = ((24.0, "Annals of Perfectly Ordinary Chemistry"), (10.5, TITLE))
    assert found(*lines, info={"Title": TITLE}).title == TITLE


def test_control_characters_and_absurd_lengths_are_cut() -> None:
    title = found(info={"Title": "Alanine\x00 \u202eafter\ta\nglucose load " + "very " * 400}).title
    assert title.startswith("Alanine after a glucose load very")
    assert title.endswith("…")
    assert len(title) <= 300


@pytest.mark.parametrize("text", ["a\x07b\x9fc\u202e\ue000", "ﬁbre ﬂow", "  two\n\tlines  "])
def test_clean_text_is_printable_and_on_one_line(text: str) -> None:
    cleaned = clean(text, 100)
    assert cleaned.isprintable()
    assert cleaned == " ".join(cleaned.split())
    assert "ﬁ" not in cleaned


# authors


def test_raised_marks_part_the_authors() -> None:
    assert article("Ada Baker^ Carl Dorn^*, Eva van der Veen^ and Li-Wei Chen^").authors == (
        "Ada Baker",
        "Carl Dorn",
        "Eva van der Veen",
        "Li-Wei Chen",
    )


@pytest.mark.parametrize(
    ("printed", "read"),
    [
        ("Ada Baker & Carl Dorn", ("Ada Baker", "Carl Dorn")),
        ("Ada Baker, MD, PhD, Carl Dorn MSc", ("Ada Baker", "Carl Dorn")),
        ("ADA BAKER and CARL DORN", ("Ada Baker", "Carl Dorn")),
        ("R. J. S. Burch, I. Kati Löffler", ("R. J. S. Burch", "I. Kati Löffler")),
        ("Ada Baker (ada@example.org)", ("Ada Baker",)),
        ("Ada Baker^ and for the GLUCOSE Trial Group", ("Ada Baker", "GLUCOSE Trial Group")),
        ("Jos´e Nu˜nez, M¨uge D’Angelo", ("José Nuñez", "Müge D’Angelo")),
    ],
)
def test_names_are_read_as_people_print_them(printed: str, read: tuple[str, ...]) -> None:
    assert article(printed).authors == read


def test_a_name_broken_at_the_end_of_a_line_is_made_whole() -> None:
    read = found((18.0, TITLE), (12.0, "Ada Baker1, Zhihe", "Ada Baker^, Zhihe"), (12.0, "Zhang2", "Zhang^"))
    assert read.authors == ("Ada Baker", "Zhihe Zhang")


def test_names_on_lines_of_their_own_are_parted() -> None:
    read = found((18.0, TITLE), (12.0, "Ada Baker (ada@example.org)"), (12.0, "Carl Dorn (dorn@example.org)"))
    assert read.authors == ("Ada Baker", "Carl Dorn")


def test_affiliations_and_dates_are_not_authors() -> None:
    lines = ((18.0, TITLE), (10.0, "Department of Chemistry, University of Nowhere"), (10.0, "January 3, 2024"))
    assert found(*lines).authors == ()


def test_the_journal_printed_again_below_the_title_is_no_author() -> None:
    read = found((12.0, "Critical Care"), (18.0, TITLE), (12.0, "Critical Care Forum"), (12.0, "Ada Baker"))
    assert read.authors == ("Ada Baker",)


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ("Ada Baker and Carl Dorn *", ("Ada Baker", "Carl Dorn")),
        ("Baker, Ada; Dorn, Carl", ("Ada Baker", "Carl Dorn")),
        ("DSI", ()),
        ("admin", ()),
    ],
)
def test_stored_authors_stand_in_when_the_page_names_none(stored: str, read: tuple[str, ...]) -> None:
    assert found((18.0, TITLE), info={"Author": stored}).authors == read


# years


@pytest.mark.parametrize(
    ("line", "year"),
    [
        ("Received: 4 August 2016 /Accepted: 28 October 2016 /Published online: 1 December 2017", 2017),
        ("Received 21 December 2016; Accepted 22 February 2017; Published 16 March 2018", 2018),
        ("published: 05 June 2018", 2018),
        ("© 2015 Baker et al.; licensee Example Ltd.", 2015),
        ("Copyright: © 2013 Baker, Dorn. This is an open-access article", 2013),
        ("Cite this article: Baker A et al. 2015", 2015),
        ("Metabolites 2012, 2, 337-365; doi: 10.3390/metabo2020337", 2012),
        ("Baker et al. Annals of Examples (2016) 16:642", 2016),
        ("Journal of Examples 123 (2011) 45–50", 2011),
        ("Volume 2017, Article ID 9217567, 13 pages", 2017),
        ("bioRxiv preprint; this version posted March 5, 2020.", 2020),
        ("arXiv:1706.03762v5 [cs.CL] 6 Dec 2017", 2017),
        ("Accepted 15 December 2014", 2014),
    ],
)
def test_the_year_of_publication_is_read_from_any_usual_line(line: str, year: int) -> None:
    assert found((18.0, TITLE), (9.0, line)).year == year


def test_the_year_of_publication_goes_before_those_of_receipt_and_copyright() -> None:
    lines = ((9.0, "Received: 1 March 2011"), (9.0, "© 2013 The Authors"), (9.0, "Published: 20 April 2012"))
    assert found((18.0, TITLE), *lines).year == 2012


@pytest.mark.parametrize(
    "line", ["studies published between 1995 and 2003 were read", "(Smith et al., 2015; Doe 2014)"]
)
def test_a_year_in_running_text_is_not_the_paper_s(line: str) -> None:
    assert found((18.0, TITLE), (10.0, line)).year is None


def test_a_date_that_stands_for_none_is_not_the_year() -> None:
    assert found((18.0, TITLE), (9.0, "Published: 01 January 1970")).year is None


def test_a_year_long_after_the_file_was_made_belongs_to_something_else() -> None:
    assert found((18.0, TITLE), (9.0, "Published: 3 May 2031"), info={"CreationDate": "D:20120423095321Z"}).year is None


def test_the_file_s_age_is_the_year_of_a_paper_but_not_of_anything_else() -> None:
    made = {"CreationDate": "D:20120423095321+08'00'"}
    assert article(info=made).year == 2012
    assert found(info=made).year is None


# DOIs


@pytest.mark.parametrize(
    ("printed", "doi"),
    [
        ("doi:10.1186/s12885-016-2685-3.", "10.1186/s12885-016-2685-3"),
        ("(https://doi.org/10.1016/S0140-6736(05)66870-5)", "10.1016/S0140-6736(05)66870-5"),
        ("DOI 10.1007/s00213-016-4477-5, in press", "10.1007/s00213-016-4477-5"),
        ("http://dx.doi.org/10.1371/journal.pone.0123456.g001", "10.1371/journal.pone.0123456"),
        ("<10.1186/s12976-015-0009-\ny>.", "10.1186/s12976-015-0009-y"),
        ("https://doi.org/\n10.1038/s41586-020-2649-2", "10.1038/s41586-020-2649-2"),
        ("DOI: 10.xxxxxx/draft", None),
        ("data at https://doi.org/10.5281/zenodo.1234567", None),
    ],
)
def test_a_doi_is_read_without_what_stands_around_it(printed: str, doi: str | None) -> None:
    text = f"{TITLE}\n{printed}\n{BODY}"
    assert find_metadata([], texts=[text], info={}, file_name="a.pdf").doi == doi


def test_a_doi_in_the_list_of_references_is_not_the_paper_s() -> None:
    text = f"{TITLE}\n{BODY}\nReferences\n1. Smith J. Other work. doi:10.1000/other.1"
    assert find_metadata([], texts=[text], info={}, file_name="a.pdf").doi is None


def test_a_cited_doi_on_a_later_page_is_not_the_paper_s() -> None:
    assert found((18.0, TITLE), later=["as shown before (doi:10.1000/other.1)"]).doi is None


def test_the_doi_beside_the_wish_to_be_cited_is_the_paper_s() -> None:
    last = "9. Smith J. Other work. doi:10.1000/other.1.\ndoi:10.1234/own.1\nCite this article as: Baker et al."
    assert found((18.0, TITLE), later=[BODY, last]).doi == "10.1234/own.1"


def test_the_stored_doi_decides_between_several_printed_ones() -> None:
    lines = ((9.0, "Comment on doi:10.1000/other.1"), (9.0, "doi:10.1234/own.1"), (18.0, TITLE))
    assert found(*lines, info={"Subject": "Annals, doi:10.1234/own.1"}).doi == "10.1234/own.1"


# plain texts


def test_a_markdown_heading_is_the_title() -> None:
    read = find_metadata([], texts=[f"<!-- draft -->\n\n# {TITLE} #\n\n{BODY}"], info={}, file_name="a.md")
    assert read.title == TITLE


def test_a_first_line_that_stands_alone_is_the_title() -> None:
    assert find_metadata([], texts=[f"{TITLE}.\n\n{BODY}"], info={}, file_name="a.txt").title == TITLE + "."


def test_a_first_line_that_begins_a_paragraph_is_not_the_title() -> None:
    assert find_metadata([], texts=[f"{BODY}\n{BODY}"], info={}, file_name="my_notes.txt").title == "my notes"


def test_labelled_lines_are_believed() -> None:
    text = f'---\ntitle: "{TITLE}"\nauthors: Ada Baker, Carl Dorn\ndate: 2019-05-02\ndoi: 10.1234/own.1\n---\n{BODY}'
    assert find_metadata([], texts=[text], info={}, file_name="a.md") == Metadata(
        title=TITLE, authors=("Ada Baker", "Carl Dorn"), year=2019, doi="10.1234/own.1"
    )


def test_nothing_at_all_still_has_a_title() -> None:
    assert find_metadata([], texts=[], info={}, file_name="__.pdf").title


# real papers


def words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.findall(r"[a-z0-9]+", plain)


def token_f1(one: str, other: str) -> float:
    left, right = Counter(words(one)), Counter(words(other))
    return 2 * (left & right).total() / (left.total() + right.total())


def first_family_name(authors: str) -> list[str]:
    """Of "de Jong MFC; Molenaar N": the words of the first name that are not initials."""
    return words(" ".join(word for word in authors.split(";")[0].split() if not word.isupper()))


def right(read: ReadDocument, row: dict[str, str]) -> dict[str, bool]:
    family = first_family_name(row["authors"])
    named = row["authors"].split(";")
    return {
        "title": token_f1(read.title, row["title"]) >= 0.9,
        "first author": bool(read.authors) and words(read.authors[0])[-len(family) :] == family,
        "number of authors": "et al." in row["authors"] or len(read.authors) == len(named),
        "year": str(read.year) == row["year"],
        "doi": (read.doi or "") == (row["doi"] if row["doi"].startswith("10.") else ""),
    }


async def test_real_papers_are_described_as_their_manifest_says_in_eleven_of_twelve(shared: Path) -> None:
    with (shared / "papers" / "MANIFEST.tsv").open(encoding="utf-8", newline="") as manifest:
        rows = list(csv.DictReader(manifest, delimiter="\t"))
    scores: Counter[str] = Counter()
    async with DocumentReader() as reader:
        for row in rows:
            verdict = right(await reader.read(shared / "papers" / row["file"]), row)
            scores.update(field for field, is_right in verdict.items() if is_right)
    print(dict(scores), "of", len(rows))
    assert min(scores.values()) >= len(rows) - 1
