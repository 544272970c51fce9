"""Numbers, markers, quotes and the bibliography."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmo.citations import (
    ANY_MARKER,
    MARKER,
    MARKER_CHARACTERS,
    MarkerStream,
    answer_sentences,
    bibliography,
    by_label,
    cite,
    claims,
    identifier_of,
    marked_sentences,
    page_passage,
    page_url,
    paper_citation,
    web_citations,
    without_markers,
)
from cmo.values import Document, EvidenceSentence, Passage, ScoredPassage, WebSource

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


def passage(start: int, end: int, *, paper: int = 1, page: int = 1) -> ScoredPassage:
    """A piece of PAGE as a passage."""
    of = document(paper)
    piece = Passage(
        chunk_id=f"{of.doc_id}-{start}", doc_id=of.doc_id, page=page, start=start, end=end, text=PAGE[start:end]
    )
    return ScoredPassage(passage=piece, document=of, score=1.0)


def test_a_citation_carries_the_passage_its_quote_was_taken_from() -> None:
    [citation] = cite([sentence("Lactate fell.")])

    assert citation.passage == PAGE


def test_what_else_was_found_on_the_page_goes_with_it_in_page_order() -> None:
    last, first = passage(28, len(PAGE)), passage(0, 13)
    quoted = EvidenceSentence(
        text="Lactate fell.", passage=passage(14, 27).passage, document=document(), start=14, end=27, score=1.0
    )

    [citation] = cite([quoted], [last, passage(0, 5, page=2), passage(0, 5, paper=2), first, last])

    assert citation.passage == "Glucose rose.\n\nLactate fell.\n\nNothing else changed. Urea stayed."


@given(st.lists(st.tuples(st.integers(0, len(PAGE) - 1), st.integers(1, 40)), min_size=1, max_size=6))
def test_passages_that_overlap_come_once(places: list[tuple[int, int]]) -> None:
    passages = [passage(start, min(start + length, len(PAGE))).passage for start, length in places]

    text = page_passage(passages)

    assert all(each.text in text for each in passages)
    assert len(text.replace("\n\n", "")) == len({place for each in passages for place in range(each.start, each.end)})


def test_a_passage_has_its_limit_but_for_what_is_quoted() -> None:
    pieces = [
        Passage(chunk_id=str(number), doc_id="d", page=1, start=at, end=at + 3_000, text=str(number) * 3_000)
        for number, at in enumerate(range(0, 15_000, 3_000))
    ]

    assert page_passage(pieces[4:], pieces) == f"{'0' * 3_000}\n\n{'4' * 3_000}"
    assert len(page_passage(pieces)) == 15_000
    assert page_passage([]) == ""


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


@pytest.mark.parametrize("before", ["Glucose rose.", "相关段落：", "血糖升高。", "ग्लूकोज बढ़ा।", "هل ارتفع الجلوكوز؟"])
def test_a_marker_stands_behind_the_ends_of_sentences_of_any_script(before: str) -> None:
    assert MARKER.findall(f"{before} [1] [2]") == ["1", "2"]


def test_a_reference_of_the_paper_itself_is_no_marker() -> None:
    quoted = "Glucose rose as before [12], and so on."

    assert MARKER.findall(f"{quoted} [1]") == ["1"]


@pytest.mark.parametrize(
    ("marked", "bare"),
    [
        ("Alanine rose. [1] [2]", "Alanine rose."),
        ("Alanine rose. [1]\n\nRelated passages: [2] [3]", "Alanine rose."),
        ("These rose: [1]\n\n- alanine [2]", "These rose:\n\n- alanine"),
        ("Alanine rose. It ends: [1]", "Alanine rose. It ends:"),
        ("Related passages: none", "Related passages: none"),
    ],
)
def test_without_its_markers_a_text_keeps_no_list_of_nothing(marked: str, bare: str) -> None:
    assert without_markers(marked) == bare


def test_the_bibliography_has_a_line_for_each_citation() -> None:
    assert bibliography(cite([sentence("Glucose rose.", page=4)])) == ["[1] Paper 1, p. 4"]


def test_a_citation_carries_what_is_known_of_its_paper() -> None:
    known = replace(document(), authors=("Ada Núñez", "B. Li"), year=2019, doi="10.1000/glucose")

    [citation] = cite([replace(sentence("Glucose rose."), document=known)])

    assert (citation.authors, citation.year, citation.doi) == (("Ada Núñez", "B. Li"), 2019, "10.1000/glucose")


@pytest.mark.parametrize(("doi", "label"), [("10.1000/A", "doi:10.1000/a"), ("unknown", None), (None, None)])
def test_a_paper_is_identified_by_its_doi(doi: str | None, label: str | None) -> None:
    found = identifier_of(paper_citation(1, replace(document(), doi=doi), 3, quote=""))

    assert (found and found.label) == label


def test_a_page_of_the_web_is_identified_by_its_address() -> None:
    [citation] = web_citations([web("1", "https://pubmed.ncbi.nlm.nih.gov/23193287/")])

    found = identifier_of(citation)
    assert found is not None
    assert found.label == "PMID 23193287"


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("It rose [1]. It fell [2].", ["It rose."], ["It fell."]),
        ("It rose. [1] It fell.[2]", ["It rose."], ["It fell."]),
        ("It rose [1][2]. Nobody knows why.", ["It rose."], ["It rose."]),
        (
            "It rose [1]. It stayed.\n\nIt fell [2] and rose [1].",
            ["It rose.", "and rose."],
            ["It fell"],
        ),
        ("Nothing was cited.", [], []),
    ],
)
def test_a_claim_is_a_sentence_with_the_marker_and_without_its_sign(
    text: str, first: list[str], second: list[str]
) -> None:
    assert (claims(text, 1), claims(text, 2)) == (first, second)


@given(st.lists(st.tuples(st.sampled_from(SENTENCES), st.integers(1, 3), st.integers(1, 3)), max_size=12))
def test_every_marker_has_a_citation_and_every_citation_a_marker(places: list[tuple[str, int, int]]) -> None:
    found = [sentence(text, paper=paper, page=page) for text, paper, page in places]
    citations = cite(found)

    marked = " ".join(marked_sentences(found, citations))

    assert {int(number) for number in MARKER.findall(marked)} == {citation.number for citation in citations}
    assert [citation.number for citation in citations] == list(range(1, len(citations) + 1))


PAGES = {"1": "a", "2": "b", "3": "a", "6": "c", "12": "d"}
"""Labels and the pages they stand for; 1 and 3 are the same page."""


def rewritten(*pieces: str) -> tuple[str, tuple[str, ...], int]:
    markers = MarkerStream(PAGES)
    text = "".join([*map(markers.feed, pieces), markers.finish()])
    return text, markers.sources_used, markers.dropped


@pytest.mark.parametrize(
    ("written", "shown", "used"),
    [
        ("Glucose rose [2]. Lactate fell [1].", "Glucose rose [1]. Lactate fell [2].", "ba"),
        ("Rose [web:2][web:1].", "Rose [1][2].", "ba"),
        ("Rose [1, 2].", "Rose [1][2].", "ab"),
        ("Rose [2,1, web:6].", "Rose [1][2][3].", "bac"),
        ("Rose [1-3].", "Rose [1][2].", "ab"),
        ("Rose [1–2; 6].", "Rose [1][2][3].", "abc"),
        ("Rose 【12】.", "Rose [1].", "d"),
        ("Rose [^6].", "Rose [1].", "c"),
        ("Rose [Passage 6], [source: 2].", "Rose [1], [2].", "cb"),
        ("Rose [06].", "Rose [1].", "c"),
        ("血糖升高[2]。", "血糖升高[1]。", "b"),
        ("[2] says so.", "[1] says so.", "b"),
        ("Rose[2], fell[1]", "Rose[1], fell[2]", "ba"),
    ],
)
def test_markers_of_all_kinds_are_numbered_by_first_use(written: str, shown: str, used: str) -> None:
    assert rewritten(written) == (shown, tuple(used), 0)


def test_labels_of_one_source_share_its_number() -> None:
    assert rewritten("Rose [3]. Fell [1]. Both [1][3], [1, 3].") == ("Rose [1]. Fell [1]. Both [1], [1].", ("a",), 0)


@pytest.mark.parametrize(
    ("written", "shown", "dropped"),
    [
        ("Rose [9]. Fell [1].", "Rose. Fell [1].", 1),
        ("Rose [8, 9] and fell.", "Rose and fell.", 2),
        ("Rose [9][1].", "Rose [1].", 1),
        ("Rose [9] [1].", "Rose [1].", 1),
        ("Rose [1] [9].", "Rose [1].", 1),
        ("Rose [1, 9].", "Rose [1].", 1),
        ("Rose [7-10]", "Rose", 4),
        ("Rose [0].", "Rose.", 1),
        ("It was 10[9]5.", "It was 10 5.", 1),
        ("血糖[9]升高", "血糖升高", 1),
    ],
)
def test_markers_that_name_nothing_are_left_out_and_counted(written: str, shown: str, dropped: int) -> None:
    text, _, left_out = rewritten(written)

    assert (text, left_out) == (shown, dropped)


@pytest.mark.parametrize(
    "text",
    [
        "[13C]glucose and [U-13C]glutamine, [1,2-13C2]glucose",
        "[M+H]+ at m/z 181, [M-2H]2-",
        "p < 0.05 [95% CI 1-3]",
        "OR 2.1 [1.2, 3.4]",
        "aged [18-65] years, score in [0, 1], [3-1]",
        "[a page](https://a.org) and [1](https://a.org/x)",
        "[6]-gingerol, benzo[1]furan, [1,2,4]triazolo[1,5-a]pyrimidine, cucurbit[6]uril",
        "in [2019] and [1234]",
        "[[1]] and [see 1] and [Table 1]",
        "an open [1 and [ and [] and ]1]",
        "[" + "1, " * MARKER_CHARACTERS + "1]",
    ],
)
def test_brackets_of_the_text_itself_stay(text: str) -> None:
    assert rewritten(text) == (text, (), 0)
    assert not ANY_MARKER.search(text)


def test_text_is_held_back_only_while_it_may_become_a_marker() -> None:
    markers = MarkerStream(PAGES)

    shown = [markers.feed(piece) for piece in ("Rose", " ", "[", "we", "b:2", "]", ".", " [13", "C]", " [see")]

    assert shown == ["Rose", "", "", "", "", "", " [1].", "", " [13C]", " [see"]


def test_what_is_held_back_comes_at_the_end() -> None:
    markers = MarkerStream(PAGES)

    assert (markers.feed("Rose [1"), markers.finish()) == ("Rose", " [1")


def test_sources_may_come_while_the_text_does() -> None:
    sources = {"1": "a"}
    markers = MarkerStream(sources)
    first = markers.feed("Rose [2]. ")
    sources["2"] = "b"

    assert first + markers.feed("Fell [2].") == "Rose. Fell [1]."


_FRAGMENTS = (
    *("[", "]", "1", "2", "9", "3, ", "1-3", "web:1", " ", "[9]", "[1]", "[2, 3]", "[^2]", "-x", "-", " text", "."),
    *("(http://a)", "【", "】", "1, " * 20, "[1" + ", 1" * 26 + "]", "[1" + ", 1" * 25 + "]", "血", "[13C]", "\n"),
)
MODEL_TEXTS = st.lists(st.sampled_from(_FRAGMENTS), max_size=12).map("".join)


@given(MODEL_TEXTS, st.data())
def test_it_makes_no_difference_how_a_text_is_cut_into_pieces(text: str, data: st.DataObject) -> None:
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8))), len(text)]
    whole = rewritten(text)

    assert rewritten(*(text[start:end] for start, end in itertools.pairwise(cuts))) == whole
    assert rewritten(*text) == whole


@given(MODEL_TEXTS)
def test_the_markers_left_are_exactly_the_sources_used(text: str) -> None:
    shown, used, _ = rewritten(text)

    assert {int(number) for number in ANY_MARKER.findall(shown)} == set(range(1, len(used) + 1))


def test_only_so_much_is_held_back() -> None:
    markers = MarkerStream(PAGES)
    text = "[" + "1, " * MARKER_CHARACTERS
    shown = 0
    for number, sign in enumerate(text, start=1):
        shown += len(markers.feed(sign))
        assert number - shown <= MARKER_CHARACTERS + 2
    assert shown > MARKER_CHARACTERS


def web(label: str, url: str) -> WebSource:
    return WebSource(label=label, url=url, title=f"Page {label}", site="a.org", snippet="Quoted.", date="2026-03-01")


def test_labels_of_one_page_share_its_first_source() -> None:
    first = web("1", "https://a.org/x")
    sources = by_label(
        [first, web("2", "https://A.org/x/"), web("3", "http://a.org/x#part"), web("4", "https://a.org")]
    )

    assert [sources[label].label for label in "1234"] == ["1", "1", "1", "4"]


def test_of_a_page_that_was_found_twice_the_result_with_a_snippet_counts() -> None:
    bare = replace(web("1", "https://a.org/x"), snippet="")

    sources = by_label([bare, web("2", "https://a.org/x"), replace(web("3", "https://a.org/x"), snippet="Other.")])

    assert {label: source.snippet for label, source in sources.items()} == dict.fromkeys("123", "Quoted.")


def test_a_label_of_two_pages_names_neither() -> None:
    sources = by_label([web("1", "https://a.org/x"), web("1", "https://b.org/y"), web("2", "https://b.org/y")])

    assert list(sources) == ["2"]


def test_a_result_that_is_told_twice_is_one() -> None:
    assert list(by_label([web("1", "https://a.org/x"), web("1", "https://a.org/x")])) == ["1"]


def test_pages_of_the_web_are_listed_with_site_date_and_address() -> None:
    citations = web_citations([web("7", "https://a.org/x")])

    assert bibliography(citations) == ["[1] Page 7, a.org, 2026-03-01, https://a.org/x"]
    assert (citations[0].page, citations[0].quote) == (0, "Quoted.")


@pytest.mark.parametrize(
    ("answer", "sentences"),
    [
        ("Lactate rose. [1][2] Glycine fell. [3]", ["Lactate rose. [1][2]", "Glycine fell. [3]"]),
        ("Lactate rose. [1] [2]\n\nGlycine fell.", ["Lactate rose. [1] [2]", "Glycine fell."]),
        ("Lactate rose.\n[4]", ["Lactate rose.\n[4]"]),
        ("Lactate rose. [1] p-cresol fell.", ["Lactate rose. [1]", "p-cresol fell."]),
        ("[1] says so.", ["[1] says so."]),
        ("", []),
    ],
)
def test_the_markers_behind_a_sentence_belong_to_it(answer: str, sentences: list[str]) -> None:
    assert [answer[start:end] for start, end in answer_sentences(answer)] == sentences
