"""Numbers, markers, quotes and the bibliography."""

from hypothesis import given
from hypothesis import strategies as st

from cmo.citations import MARKER, bibliography, cite, marked_sentences, page_url
from cmo.values import Document, EvidenceSentence, Passage

SENTENCES = ("Glucose rose.", "Lactate fell.", "Nothing else changed.", "Urea stayed.")
PAGE = " ".join(SENTENCES)


def document(number: int = 1) -> Document:
    return Document(doc_id=f"doc-{number:016x}", file=f"{number}.pdf", title=f"Paper {number}", pages=9)


def sentence(text: str, *, paper: int = 1, page: int = 1, start: int | None = None) -> EvidenceSentence:
    of = document(paper)
    at = PAGE.index(text) if start is None else start
    passage = Passage(
        chunk_id=f"{of.doc_id}-p{page:04d}-c00", doc_id=of.doc_id, page=page, start=0, end=len(PAGE), text=PAGE
    )
    return EvidenceSentence(text=text, passage=passage, document=of, start=at, end=at + len(text), score=1.0)


def test_pages_are_numbered_in_the_order_of_first_use() -> None:
    found = [sentence("Glucose rose.", page=4), sentence("Lactate fell.", paper=2), sentence("Urea stayed.", page=4)]

    assert [(citation.number, citation.document, citation.page) for citation in cite(found)] == [
        (1, "1.pdf", 4),
        (2, "2.pdf", 1),
    ]


def test_the_same_page_number_of_two_papers_is_two_citations() -> None:
    assert len(cite([sentence("Glucose rose."), sentence("Glucose rose.", paper=2)])) == 2


def test_a_quote_holds_the_sentences_of_its_page_in_page_order() -> None:
    [citation] = cite([sentence("Lactate fell."), sentence("Glucose rose.")])

    assert citation.quote == "Glucose rose. Lactate fell."


def test_what_was_left_out_of_a_quote_is_marked() -> None:
    [citation] = cite([sentence("Glucose rose."), sentence("Urea stayed.")])

    assert citation.quote == "Glucose rose. … Urea stayed."


def test_nothing_cited_is_no_citation() -> None:
    assert cite([]) == ()
    assert bibliography([]) == []


def test_each_sentence_carries_the_marker_of_its_page() -> None:
    found = [sentence("Glucose rose.", page=4), sentence("Lactate fell.", paper=2), sentence("Urea stayed.", page=4)]

    assert marked_sentences(found, cite(found)) == ["Glucose rose. [1]", "Lactate fell. [2]", "Urea stayed. [1]"]


def test_an_address_names_document_and_page() -> None:
    assert page_url("doc-00ff", 12) == "/papers/doc-00ff.pdf#page=12"


def test_an_address_cannot_leave_its_folder() -> None:
    assert page_url("../secret", 1).count("/") == 2


def test_a_reference_of_the_paper_itself_is_no_marker() -> None:
    quoted = "Glucose rose as before [12], and so on."

    assert MARKER.findall(f"{quoted} [1]") == ["1"]


def test_the_bibliography_has_a_line_for_each_citation() -> None:
    assert bibliography(cite([sentence("Glucose rose.", page=4)])) == ["[1] Paper 1, p. 4"]


@given(st.lists(st.tuples(st.sampled_from(SENTENCES), st.integers(1, 3), st.integers(1, 3)), max_size=12))
def test_every_marker_has_a_citation_and_every_citation_a_marker(places: list[tuple[str, int, int]]) -> None:
    found = [sentence(text, paper=paper, page=page) for text, paper, page in places]
    citations = cite(found)

    marked = " ".join(marked_sentences(found, citations))

    assert {int(number) for number in MARKER.findall(marked)} == {citation.number for citation in citations}
    assert [citation.number for citation in citations] == list(range(1, len(citations) + 1))
