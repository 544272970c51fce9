"""What is exported, read back by the libraries of other people."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import bibtexparser
import jsonschema
import pytest
import rispy
from bibtexparser import middlewares
from hypothesis import given, settings
from markdown_it import MarkdownIt
from pylatexenc.latex2text import LatexNodes2Text

from cmo.exports import FORMATS, Exchange, ExportFormat, format_of
from cmo.exports.references import references
from tests.exports.samples import ANSWER, EXCHANGE, PAPER, QUALITY, hostile_exchanges

SCHEMA = json.loads(Path(__file__).with_name("csl").joinpath("csl-data.json").read_text(encoding="utf-8"))


def exported(form: ExportFormat, *exchanges: Exchange) -> str:
    return FORMATS[form].write(exchanges or [EXCHANGE])


def bibtex_entries(text: str) -> list[Any]:
    """The entries as bibtexparser reads them, its authors taken apart; nothing else may be in the file."""
    library = bibtexparser.parse_string(
        text, append_middleware=[middlewares.SeparateCoAuthors(), middlewares.SplitNameParts()]
    )
    assert [*library.failed_blocks, *library.comments, *library.strings, *library.preambles] == []
    return list(library.entries)


def in_plain_words(latex: str) -> str:
    """What LaTeX prints."""
    return str(LatexNodes2Text().latex_to_text(latex))


def ris_entries(text: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = rispy.loads(text)
    return entries


def csl_items(text: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(text)
    jsonschema.validate(items, SCHEMA)
    return items


def test_bibtex_is_read_back_as_it_was_meant() -> None:
    paper, page = bibtex_entries(exported(ExportFormat.BIBTEX))

    fields = {field.key: field.value for field in paper.fields}
    assert (paper.entry_type, paper.key) == ("article", "vandernunez2019tmao")
    assert in_plain_words(fields["title"]) == PAPER.title
    assert [(name.first, name.von, name.last) for name in fields["author"]] == [
        (["Ada"], ["van", "der"], ["Núñez"]),
        (["Bo"], [], ["Li"]),
        ([], [], ["{Consortium}"]),
    ]
    assert (fields["year"], fields["doi"]) == ("2019", "10.1000/tmao.1")
    assert "p. 7: “It fell again.” – cited as [3] for “Later it falls.”" in in_plain_words(fields["annote"])
    assert (page.entry_type, page["pmid"], page["date"]) == ("misc", "23193287", "2025-03-01")


def test_a_name_stays_one_name_whatever_words_and_commas_it_has() -> None:
    authors = (
        "Rhythm and Blues Group",
        "Smith, John, Jr, III",
        "others",
        "and",
        "Health {and} Sons AND Daughters",
        "Smith, 100 %",
        "}, {}",
    )
    exchange = replace(EXCHANGE, answer=replace(ANSWER, citations=(replace(PAPER, authors=authors),)))

    [paper] = bibtex_entries(exported(ExportFormat.BIBTEX, exchange))

    assert len(paper["author"]) == len(authors)


def test_ris_is_read_back_as_it_was_meant() -> None:
    paper, page = ris_entries(exported(ExportFormat.RIS))

    assert (paper["type_of_reference"], paper["title"], paper["year"]) == ("JOUR", PAPER.title, "2019")
    assert paper["authors"] == ["van der Núñez, Ada", "Li, Bo", "Consortium"]
    assert paper["doi"] == "10.1000/tmao.1"
    assert paper["notes"][1].startswith("p. 7: “It fell again.” – cited as [3]")
    assert (page["type_of_reference"], page["accession_number"]) == ("ELEC", "PMID 23193287")


def test_csl_json_fits_its_schema_and_tells_programs_each_claim_with_page_and_quote() -> None:
    paper, page = csl_items(exported(ExportFormat.CSL_JSON))

    assert (paper["type"], paper["DOI"], paper["issued"]) == (
        "article-journal",
        "10.1000/tmao.1",
        {"date-parts": [[2019]]},
    )
    assert paper["author"][0] == {"family": "van der Núñez", "given": "Ada"}
    assert paper["custom"]["evidence"][1] == {
        "question": "Does TMAO rise?",
        "answered": True,
        "citation": 3,
        "page": 7,
        "quote": "It fell again.",
        "claims": ["Later it falls."],
    }
    assert (page["type"], page["PMID"], page["issued"]) == ("webpage", "23193287", {"date-parts": [[2025, 3, 1]]})


def test_markdown_has_the_answer_with_its_markers_and_below_it_each_source_with_page_and_quote() -> None:
    text = exported(ExportFormat.MARKDOWN)

    assert text.startswith("# Does TMAO rise?\n\nTMAO **rises** with age \\[1\\]\\[2\\].")
    assert "> The graph could not be searched." in text
    assert (
        "1. Ada van der Núñez, Li, Bo, Consortium (2019), *TMAO \\& risk: 50 % of {a} cohort*, p. 3, cohorts/tmao.pdf, "
        "[doi:10.1000/tmao.1](<https://doi.org/10.1000/tmao.1>)\n   > “Plasma TMAO was higher in 1,876 patients.”\n"
    ) in text
    assert "For research, not for diagnosis" in text


def test_markdown_has_the_quality_and_each_sentence_with_its_verdict_page_and_quote() -> None:
    text = exported(ExportFormat.MARKDOWN, replace(EXCHANGE, answer=replace(ANSWER, quality=QUALITY)))

    assert (
        "## Quality\n\n**Good, 0.85:** relevance 0.90, accuracy 0.80, consistency 0.85, house\\_style 0.50. "
        "Sentences supported by their sources: 1 of 3.\n\nOne source has no text here.\n\n"
        "1. **Supported** (0.93): TMAO **rises** with age \\[1\\]\\[2\\].\n"
        "   > \\[1\\] p. 3 “Plasma TMAO was higher in 1,876 patients.”\n"
        "2. **Not found** (0.12): Later it falls \\[3\\].\n"
        "3. **Unchecked**: It is an oxide \\[2\\].\n"
    ) in text


def test_markdown_says_why_an_answer_was_not_assessed() -> None:
    text = exported(ExportFormat.MARKDOWN, replace(EXCHANGE, answer=replace(ANSWER, not_assessed="It took too long.")))

    assert "## Quality\n\nNot assessed: It took too long.\n" in text
    assert "## Quality" not in exported(ExportFormat.MARKDOWN)


def test_markdown_has_the_english_original_of_a_translated_answer() -> None:
    translated = replace(ANSWER, text="Il augmente [1].", language="fr", original="It *rises* [1].")
    text = exported(ExportFormat.MARKDOWN, replace(EXCHANGE, answer=translated))

    assert text.index("Il augmente") < text.index("## Sources") < text.index("## English original\n\nIt *rises* \\[1")
    assert "## English original" not in exported(ExportFormat.MARKDOWN)


@pytest.mark.parametrize(
    "text", ["# Sources", "Sources\n===", "Sources\n---", "- # Sources", "> quoted", "    ", "***", "1) # Sources"]
)
def test_a_model_makes_no_headings_and_no_quotations_in_markdown(text: str) -> None:
    exported_text = exported(ExportFormat.MARKDOWN, replace(EXCHANGE, answer=replace(ANSWER, text=text, citations=())))

    types = [token.type for token in MarkdownIt("commonmark").parse(exported_text)]
    assert (types.count("heading_open"), types.count("blockquote_open")) == (1, 1)


def test_a_refusal_lists_its_passages_as_the_nearest() -> None:
    text = exported(ExportFormat.MARKDOWN, replace(EXCHANGE, answer=replace(ANSWER, answered=False)))

    assert "## Nearest passages" in text
    assert "## Sources" not in text


@pytest.mark.parametrize("form", ExportFormat)
def test_an_answer_without_sources_can_be_exported_too(form: ExportFormat) -> None:
    text = exported(form, replace(EXCHANGE, answer=replace(ANSWER, citations=())))

    assert {ExportFormat.CSL_JSON: "[]\n", ExportFormat.MARKDOWN: text}.get(form, "") == text


def test_files_are_known_by_their_endings() -> None:
    assert [format_of(suffix) for suffix in (".md", ".BIB", ".ris", ".json", ".docx", "")] == [
        *ExportFormat,
        None,
        None,
    ]


@settings(max_examples=40, deadline=None)
@given(hostile_exchanges())
def test_no_text_breaks_or_adds_a_bibtex_entry(exchanges: Sequence[Exchange]) -> None:
    meant = references(exchanges)
    entries = bibtex_entries(FORMATS[ExportFormat.BIBTEX].write(exchanges))

    assert [entry.key for entry in entries] == [reference.key for reference in meant]
    for entry, reference in zip(entries, meant, strict=True):
        fields = {field.key: field.value for field in entry.fields}
        assert len(fields.get("author", [])) == len(reference.authors)
        assert fields.keys() <= set(
            "title author year date howpublished doi pmid pmcid eprint archiveprefix url note annote".split()
        )


@settings(max_examples=40, deadline=None)
@given(hostile_exchanges())
def test_braces_balance_in_every_bibtex_field_however_they_are_counted(exchanges: Sequence[Exchange]) -> None:
    for line in FORMATS[ExportFormat.BIBTEX].write(exchanges).splitlines():
        if line.startswith("  "):
            depths = [line[:end].count("{") - line[:end].count("}") for end in range(1, len(line) + 1)]
            assert min(depths) >= 0
            assert depths[-1] == 0


@settings(max_examples=40, deadline=None)
@given(hostile_exchanges())
def test_no_text_breaks_or_adds_a_ris_entry_or_field(exchanges: Sequence[Exchange]) -> None:
    meant = references(exchanges)
    entries = ris_entries(FORMATS[ExportFormat.RIS].write(exchanges))

    assert [entry["id"] for entry in entries] == [reference.key for reference in meant]
    for entry, reference in zip(entries, meant, strict=True):
        assert entry["title"] == reference.title
        assert len(entry["notes"]) == len(reference.evidence) + bool(reference.file)
        assert "unknown_tag" not in entry


@settings(max_examples=40, deadline=None)
@given(hostile_exchanges())
def test_csl_json_fits_its_schema_whatever_stands_in_it(exchanges: Sequence[Exchange]) -> None:
    meant = references(exchanges)
    items = csl_items(FORMATS[ExportFormat.CSL_JSON].write(exchanges))

    assert [(item["id"], item["title"]) for item in items] == [(found.key, found.title) for found in meant]


@settings(max_examples=40, deadline=None)
@given(hostile_exchanges())
def test_no_text_makes_markdown_active(exchanges: Sequence[Exchange]) -> None:
    text = FORMATS[ExportFormat.MARKDOWN].write(exchanges)

    tokens = [*_flat(MarkdownIt("commonmark").enable("table").parse(text))]
    links = [str(token.attrs["href"]) for token in tokens if token.type == "link_open"]
    headings = [token for token in tokens if token.type == "heading_open"]
    assert {token.type for token in tokens} & {"image", "html_block", "html_inline", "fence", "table_open"} == set()
    assert all(link.startswith(("https://site.example/", "https://doi.org/")) for link in links)
    assert len(headings) == sum(map(_headings, exchanges))


@settings(max_examples=40, deadline=None)
@given(hostile_exchanges())
def test_whatever_is_exported_can_be_written_as_utf_8(exchanges: Sequence[Exchange]) -> None:
    for form in FORMATS.values():
        assert form.write(exchanges).encode("utf-8")


def _headings(exchange: Exchange) -> int:
    """The question, the sources, and what there is below them."""
    answer = exchange.answer
    return 2 + bool(answer.quality or answer.not_assessed) + bool(answer.original)


def _flat(tokens: Sequence[Any]) -> Sequence[Any]:
    return [inner for token in tokens for inner in (token, *_flat(token.children or []))]
