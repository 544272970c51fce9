"""The sentence shown beside each citation of a written answer."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmo.engines.quotes import citations_of, place_of
from cmo.values import Citation, Document, Passage, ScoredPassage

GLUCOSE = "Glucose was higher in the patients with diabetes."
LACTATE = "Lactate predicted death in the patients with sepsis."
SAMPLES = "Samples of all patients were stored at minus eighty degrees."


def passage(text: str, *, page: int = 1, paper: str = "a", number: int = 0) -> ScoredPassage:
    doc_id = f"doc-{paper * 16}"
    return ScoredPassage(
        passage=Passage(
            chunk_id=f"{doc_id}-p{page:04d}-c{number:02d}", doc_id=doc_id, page=page, start=0, end=len(text), text=text
        ),
        document=Document(doc_id=doc_id, file=f"{paper}.pdf", title=f"Paper {paper}"),
        score=1.0,
    )


def cited(text: str, *passages: ScoredPassage) -> tuple[Citation, ...]:
    """The citations of an answer whose markers count the pages of `passages` in order."""
    return citations_of(text, list(dict.fromkeys(map(place_of, passages))), passages)


def test_a_citation_names_paper_page_and_address() -> None:
    [citation] = cited("Glucose rises [1].", passage(GLUCOSE, page=7))

    assert citation == Citation(
        number=1,
        document="a.pdf",
        title="Paper a",
        page=7,
        quote=GLUCOSE,
        url="/papers/doc-aaaaaaaaaaaaaaaa.pdf#page=7",
        doc_id="doc-aaaaaaaaaaaaaaaa",
        passage=GLUCOSE,
    )


def test_a_citation_carries_what_is_known_of_its_paper() -> None:
    found = passage(GLUCOSE)
    known = replace(found.document, authors=("Ada Núñez", "B. Li"), year=2019, doi="10.1000/glucose")

    [citation] = cited("Glucose rises [1].", replace(found, document=known))

    assert (citation.authors, citation.year, citation.doi) == (("Ada Núñez", "B. Li"), 2019, "10.1000/glucose")


@pytest.mark.parametrize(
    "text",
    [
        "Glucose was high in diabetes [1]. In sepsis, lactate told who died [2].",
        "Glucose was high in diabetes. [1] In sepsis, lactate told who died. [2]",
        "Glucose was high in diabetes.[1] In sepsis, lactate told who died.[2]",
        "Glucose was high in diabetes.\n[1]\n\nIn sepsis, lactate told who died.\n[2]",
        "In sepsis, lactate told who died. [2]\n\nGlucose was high in diabetes. [1]",
        "glucose 高于 diabetes。[1] sepsis 中 lactate 与 death 有关。[2]",
        "glucose 高于 diabetes [1]。sepsis 中 lactate 与 death 有关 [2]。",
    ],
)
def test_the_sentence_that_fits_the_claim_of_its_own_marker_is_quoted(text: str) -> None:
    page = f"{SAMPLES} {LACTATE} {GLUCOSE}"

    quotes = [citation.quote for citation in cited(text, passage(page, page=1), passage(page, page=2))]

    assert quotes == [GLUCOSE, LACTATE]


def test_a_claim_with_several_markers_counts_for_each_of_them() -> None:
    page = f"{SAMPLES} {LACTATE}"

    quotes = [
        citation.quote for citation in cited("Lactate told who died. [1] [2]", passage(page), passage(page, page=2))
    ]

    assert quotes == [LACTATE, LACTATE]


def test_numbers_of_markers_are_no_words_of_the_claim() -> None:
    page = f"{GLUCOSE} In group 1 there were 1 man and 2 women."

    assert cited("Glucose rises [1].", passage(page))[0].quote == GLUCOSE


def test_passages_of_one_page_are_looked_through_together() -> None:
    [citation] = cited("Lactate in sepsis [1].", passage(GLUCOSE), passage(LACTATE, number=1))

    assert citation.quote == LACTATE


def test_all_the_model_read_of_the_page_goes_with_the_citation() -> None:
    after = passage(LACTATE, number=1)
    after = replace(after, passage=replace(after.passage, start=100, end=100 + len(LACTATE)))

    first, second = cited("Lactate in sepsis [1], glucose [2].", after, passage(GLUCOSE, page=2), passage(SAMPLES))

    assert (first.passage, second.passage) == (f"{SAMPLES}\n\n{LACTATE}", GLUCOSE)


def test_no_other_page_is_quoted_however_well_it_fits() -> None:
    first, second = cited("Lactate predicted death in sepsis [1].", passage(GLUCOSE), passage(LACTATE, page=2))

    assert (first.quote, second.quote) == (GLUCOSE, LACTATE)


def test_a_whole_sentence_is_preferred_to_a_piece_of_one() -> None:
    page = f"of lactate in patients with sepsis who died early\n{GLUCOSE}"

    assert cited("Lactate in patients with sepsis [1].", passage(page))[0].quote == GLUCOSE


def test_without_a_whole_sentence_the_best_piece_is_quoted() -> None:
    page = "Table 2 glucose\tdiabetes\t7.1\nlactate\tsepsis\t4.2"

    assert cited("Lactate in sepsis was 4.2 [1].", passage(page))[0].quote == "lactate\tsepsis\t4.2"


def test_an_answer_that_shares_no_word_is_given_the_first_sentence() -> None:
    assert cited("血糖升高 [1]。", passage(f"{GLUCOSE} {LACTATE}"))[0].quote == GLUCOSE


def test_a_passage_without_a_word_has_nothing_to_quote() -> None:
    assert cited("Nothing [1].", passage("  \n "))[0].quote == ""


answers = st.lists(st.sampled_from(["Glucose", "lactate", "sepsis", ".", "[1]", "[2]", "。", "\n", " "]), max_size=30)


@given(answers, st.lists(st.text(alphabet="abc .\n[1]", min_size=1), min_size=1, max_size=4))
def test_a_quote_stands_verbatim_in_a_passage_of_its_page(words: list[str], texts: list[str]) -> None:
    passages = [passage(text, page=1 + number % 2, number=number) for number, text in enumerate(texts)]

    for citation in cited("".join(words), *passages):
        assert any(citation.quote in found.passage.text for found in passages if found.passage.page == citation.page)
