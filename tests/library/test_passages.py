from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmo.library.layout import BlockKind
from cmo.library.passages import split_passages
from cmo.library.pdf import Block, PageText
from cmo.sentences import split_sentences
from cmo.values import Passage, PassageKind

DOC = "doc-0123456789abcdef"
SENTENCE = "Plasma levels of the amino acid rose in all of the patients. "
ENTRIES = (
    "1. Smith JA, Doe KL: Plasma metabolites in diabetes. Clin Chem 2012, 58:123–130. "
    "2. Chen Q, Liu Y: Lipids in plasma. J Lipid Res 2013, 54:1–9."
)

heading, paragraph, table = BlockKind.HEADING, BlockKind.PARAGRAPH, BlockKind.TABLE


def page(*parts: tuple[BlockKind, str]) -> PageText:
    blocks: list[Block] = []
    text = ""
    for kind, part in parts:
        text += "\n\n" if text else ""
        blocks.append(Block(start=len(text), end=len(text) + len(part), kind=kind))
        text += part
    return PageText(text=text, blocks=tuple(blocks))


def prose(words: int) -> tuple[BlockKind, str]:
    return paragraph, (SENTENCE * (words // 12)).strip()


def kinds(passages: Sequence[Passage]) -> list[PassageKind]:
    return [kind for kind, _ in groupby(passage.kind for passage in passages)]


def words(passage: Passage) -> int:
    return len(passage.text.split())


def test_a_page_is_split_evenly_into_about_200_words() -> None:
    passages = split_passages(DOC, [page(prose(900))])

    assert len(passages) in (4, 5)
    assert all(120 <= words(passage) <= 260 for passage in passages)


def test_a_short_rest_joins_the_passage_before() -> None:
    passages = split_passages(DOC, [page(prose(240))])

    assert [words(passage) for passage in passages] == [240]


def test_the_number_of_words_can_be_chosen() -> None:
    assert all(words(passage) <= 65 for passage in split_passages(DOC, [page(prose(900))], words=50))


def test_a_passage_begins_with_its_heading() -> None:
    text = page((heading, "Introduction"), prose(180), (heading, "Methods"), prose(180))

    assert [(passage.section, passage.text.split()[0]) for passage in split_passages(DOC, [text])] == [
        ("Introduction", "Introduction"),
        ("Methods", "Methods"),
    ]


def test_a_section_goes_on_over_the_page() -> None:
    passages = split_passages(DOC, [page((heading, "Results"), prose(120)), page(prose(120))])

    assert [(passage.page, passage.section) for passage in passages] == [(1, "Results"), (2, "Results")]


def test_chunk_ids_count_the_passages_of_each_page() -> None:
    passages = split_passages(DOC, [page(prose(400)), page(prose(120))])

    assert [passage.chunk_id for passage in passages] == [f"{DOC}-p0001-c01", f"{DOC}-p0001-c02", f"{DOC}-p0002-c01"]


def test_chunk_ids_stay_unique_with_more_than_99_on_a_page() -> None:
    passages = split_passages(DOC, [page(prose(2400))], words=12)

    assert len({passage.chunk_id for passage in passages}) == len(passages) > 99


def test_references_are_known_by_their_heading_until_the_next_one() -> None:
    first = page((heading, "Discussion"), prose(60), (heading, "References"), (paragraph, "1. Anon. A book."))
    second = page((paragraph, "2. Anon. Another book."), (heading, "Appendix"), prose(60))
    passages = split_passages(DOC, [first, second])

    assert kinds(passages) == [PassageKind.BODY, PassageKind.REFERENCES, PassageKind.BODY]


def test_references_are_known_by_their_look_without_a_heading() -> None:
    passages = split_passages(DOC, [page(prose(60), (paragraph, ENTRIES))])

    assert kinds(passages) == [PassageKind.BODY, PassageKind.REFERENCES]


def test_citations_in_the_text_make_it_no_reference_list() -> None:
    cited = "Glutamate is low in patients (Smith et al. 2012; Chen and Liu 2013), as others have found [12, 13, 15–17]."

    assert kinds(split_passages(DOC, [page((paragraph, cited), prose(60))])) == [PassageKind.BODY]


@pytest.mark.parametrize(
    "text",
    [
        "© 2014 Smith et al.; licensee Some Publisher. This is an Open Access article.",
        "Received: 24 April 2014 Accepted: 26 August 2014",
        "* Correspondence: someone@example.org",
        "1 Department of Chemistry, University of Somewhere, Some City, Some Country",
        "Jane A. Smith1,2, Kim Doe1, Lee Chen3 and Ana Maria Costa2*",
        "Acknowledgements We thank all participants for taking part in the study.",
        "Competing interests: The authors declare that they have no competing interests.",
        "Cite this article as: Smith et al.: A study. A Journal 2014 12:161.",
        "Submit your next manuscript to Some Publisher and take full advantage of it.",
        "Introduction . . . . . . . . . . . . . . . . . 3",
    ],
)
def test_boilerplate_is_known_by_its_look(text: str) -> None:
    assert kinds(split_passages(DOC, [page((paragraph, text))])) == [PassageKind.BOILERPLATE]


@pytest.mark.parametrize(
    "text",
    [
        "received etomidate and chronic corticosteroids were excluded.",
        "Funding bodies in Europe and the University of Oslo set up a biobank of plasma from 200 volunteers in 2010.",
        "Citation counts were not used.",
    ],
)
def test_prose_that_begins_like_boilerplate_is_body(text: str) -> None:
    assert kinds(split_passages(DOC, [page((paragraph, text))])) == [PassageKind.BODY]


@pytest.mark.parametrize("name", ["Acknowledgements", "Authors’ contributions", "5. Conflicts of Interest", "Funding"])
def test_boilerplate_is_known_by_its_heading(name: str) -> None:
    passages = split_passages(DOC, [page((heading, "Results"), prose(60), (heading, name), prose(24))])

    assert kinds(passages) == [PassageKind.BODY, PassageKind.BOILERPLATE]


@pytest.mark.parametrize(
    "name", ["Literature search", "Ethics", "Data collection", "References to other cohorts in use"]
)
def test_other_headings_open_body_text(name: str) -> None:
    assert kinds(split_passages(DOC, [page((heading, name), prose(60))])) == [PassageKind.BODY]


def test_rows_of_a_table_stay_whole() -> None:
    rows = "\n".join(f"metabolite {number}\t5.{number}\t0.0{number}" for number in range(200))
    passages = split_passages(DOC, [page((table, rows))])

    assert len(passages) > 1
    assert [row for passage in passages for row in passage.text.split("\n")] == rows.split("\n")


def test_an_empty_page_has_no_passage() -> None:
    assert split_passages(DOC, [page()]) == ()


sentences = st.sampled_from(
    [
        SENTENCE.strip(),
        "It rose (P < 0.05) [12].",
        "E. coli grew.",
        "A\tB\t5.1",
        "© 2014 Smith et al.",
        ENTRIES,
        "and so",
    ]
)
parts = st.one_of(
    st.tuples(st.just(paragraph), st.lists(sentences, min_size=1, max_size=40).map(" ".join)),
    st.tuples(st.just(table), st.lists(sentences, min_size=1, max_size=40).map("\n".join)),
    st.tuples(st.just(heading), st.sampled_from(["Results", "References", "Acknowledgements", "2.1. Lipids"])),
)
documents = st.lists(st.lists(parts, max_size=6).map(lambda chosen: page(*chosen)), max_size=4)


@settings(max_examples=60)
@given(documents, st.integers(20, 300))
def test_passages_are_verbatim_in_order_and_hold_every_word_once(pages: list[PageText], wanted: int) -> None:
    passages = split_passages(DOC, pages, words=wanted)

    assert all(pages[passage.page - 1].text[passage.start : passage.end] == passage.text for passage in passages)
    assert [word for passage in passages for word in passage.text.split()] == [
        word for each in pages for word in each.text.split()
    ]
    assert len({passage.chunk_id for passage in passages}) == len(passages)


@settings(max_examples=60)
@given(documents, st.integers(20, 300))
def test_passages_never_cut_a_sentence(pages: list[PageText], wanted: int) -> None:
    for passage in split_passages(DOC, pages, words=wanted):
        spans = split_sentences(pages[passage.page - 1].text)
        assert passage.start in {start for start, _ in spans}
        assert passage.end in {end for _, end in spans}
