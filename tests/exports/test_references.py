"""The references of answers: one per source, with all its pages."""

from dataclasses import replace

import pytest

from cmo.exports import Exchange
from cmo.exports.references import Name, Reference, ReferenceKind, notes, references
from cmo.values import Citation
from tests.exports.samples import ANSWER, EXCHANGE, PAPER, WEB


def reference(citation: Citation) -> Reference:
    """The only reference of an answer that cites this alone."""
    [found] = references([Exchange(question="What?", answer=replace(ANSWER, citations=(citation,)))])
    return found


def test_pages_of_one_paper_stand_under_one_reference_in_the_order_of_citation() -> None:
    paper, page = references([EXCHANGE])

    assert [(evidence.number, evidence.page) for evidence in paper.evidence] == [(1, 3), (3, 7)]
    assert [(evidence.number, evidence.page) for evidence in page.evidence] == [(2, 0)]


def test_each_quote_stands_with_the_sentences_that_rest_on_it_as_they_read() -> None:
    paper, page = references([EXCHANGE])

    assert [evidence.claims for evidence in paper.evidence] == [("TMAO rises with age.",), ("Later it falls.",)]
    assert page.evidence[0].claims == ("TMAO rises with age.", "It is an oxide.")


def test_verbatim_sentences_are_their_own_quotes_and_claim_nothing_else() -> None:
    exchange = replace(EXCHANGE, answer=replace(ANSWER, written=False))

    assert {evidence.claims for found in references([exchange]) for evidence in found.evidence} == {()}


def test_notes_tell_page_quote_claim_and_question() -> None:
    paper, page = references([EXCHANGE])

    assert next(notes(paper)) == (
        "p. 3: “Plasma TMAO was higher in 1,876 patients.” – cited as [1] for “TMAO rises with age.” "
        "(question: Does TMAO rise?)"
    )
    assert next(notes(page)).startswith("no quote – cited as [2] for “TMAO rises with age.”; “It is an oxide.”")


def test_the_nearest_passages_are_not_told_as_support() -> None:
    refused = replace(ANSWER, answered=False, written=False, citations=(PAPER,))
    [found] = references([replace(EXCHANGE, answer=refused)])

    assert "a nearest passage, no answer" in next(notes(found))


def test_a_conversation_shares_its_sources() -> None:
    found = references([EXCHANGE, Exchange(question="And later?", answer=replace(ANSWER, citations=(PAPER,)))])

    assert [len(source.evidence) for source in found] == [3, 1]
    assert found[0].evidence[-1].question == "And later?"


@pytest.mark.parametrize(
    ("citation", "kind"),
    [
        (PAPER, ReferenceKind.ARTICLE),
        (replace(PAPER, doi=None), ReferenceKind.DOCUMENT),
        (replace(PAPER, doi="10.1101/2020.01.01.123456"), ReferenceKind.DOCUMENT),
        (replace(PAPER, doi="10.1101/gr.123.1"), ReferenceKind.ARTICLE),
        (replace(PAPER, doi="no DOI"), ReferenceKind.DOCUMENT),
        (WEB, ReferenceKind.WEB_PAGE),
    ],
)
def test_only_what_a_journal_printed_is_called_an_article(citation: Citation, kind: ReferenceKind) -> None:
    assert reference(citation).kind is kind


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Ada Núñez", Name(family="Núñez", given="Ada")),
        ("Núñez, Ada B.", Name(family="Núñez", given="Ada B.")),
        ("Jan van der Berg", Name(family="van der Berg", given="Jan")),
        ("John Smith Jr.", Name(family="Smith Jr.", given="John")),
        ("Consortium", Name(family="Consortium", given="")),
        (", Ada", Name(family="Ada", given="")),
        ("van Berg", Name(family="Berg", given="van")),
    ],
)
def test_names_are_taken_apart(written: str, name: Name) -> None:
    assert reference(replace(PAPER, authors=(written,))).authors == (name,)


def test_names_without_letters_are_left_out() -> None:
    assert reference(replace(PAPER, authors=("", " ", ","))).authors == ()


@pytest.mark.parametrize(
    ("date", "parts"),
    [
        ("2025-03-01", (2025, 3, 1)),
        ("2025-03-01T12:00:00Z", (2025, 3, 1)),
        ("2025-03", (2025, 3)),
        ("2025-13-01", (2025,)),
        ("2025", (2025,)),
        ("20251", ()),
        ("yesterday", ()),
    ],
)
def test_dates_of_the_web_are_read_as_far_as_they_are_dates(date: str, parts: tuple[int, ...]) -> None:
    assert reference(replace(WEB, date=date)).date == parts


def test_keys_are_plain_and_different() -> None:
    others = [replace(PAPER, doc_id=f"doc-{number}") for number in range(3)]
    nameless = replace(PAPER, doc_id="doc-9", title="代谢", authors=(), year=None)
    exchange = replace(EXCHANGE, answer=replace(ANSWER, citations=(*others, nameless)))

    assert [found.key for found in references([exchange])] == [
        "vandernunez2019tmao",
        "vandernunez2019tmao-2",
        "vandernunez2019tmao-3",
        "source",
    ]


def test_papers_lead_to_their_doi_and_never_to_an_address_only_this_application_knows() -> None:
    assert reference(PAPER).url == "https://doi.org/10.1000/tmao.1"
    assert reference(replace(PAPER, doi=None)).url == ""


@pytest.mark.parametrize("url", ["javascript:alert(1)", "file:///etc/passwd", "data:text/html,x", "//evil.example"])
def test_addresses_that_are_none_of_the_web_are_left_out(url: str) -> None:
    assert reference(replace(WEB, url=url)).url == ""
