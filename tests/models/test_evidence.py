from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmo.models.evidence import (
    PASSAGES_PER_PAPER,
    UNIT_WORDS,
    RankedPage,
    Rules,
    best_sentences,
    candidates,
    leans_back,
    paper_scores,
    prepare,
    rank_pages,
    read,
    units,
)
from cmo.values import Document, Passage, ScoredPassage
from tests.models.word_tokens import WordEmbedder


def found(text: str, *, page: int = 1, paper: str = "a", number: int = 1) -> ScoredPassage:
    doc_id = f"doc-{paper * 16}"
    passage = Passage(
        chunk_id=f"{doc_id}-p{page:04d}-c{number:02d}",
        doc_id=doc_id,
        page=page,
        start=10,
        end=10 + len(text),
        text=text,
    )
    return ScoredPassage(passage=passage, document=Document(doc_id=doc_id, file=f"{paper}.pdf", title=paper), score=1.0)


def ranked(
    question: str,
    passages: Sequence[ScoredPassage],
    embedder: WordEmbedder | None = None,
    *,
    rules: Rules | None = None,
) -> list[RankedPage]:
    embedder = embedder or WordEmbedder()
    prepared = []
    for each in passages:
        spans = units(each.passage.text)
        prepared.append(prepare(each.passage.text, spans, [embedder.tokens(each.passage.text[a:b]) for a, b in spans]))
    rules = rules or Rules()
    readings = read(question, embedder.tokens(question), passages, prepared, rules=rules)
    return rank_pages(readings, paper_scores(passages), rules=rules)


def pages(order: Sequence[RankedPage]) -> list[int]:
    return [page.reading.found.passage.page for page in order]


PAPER = [
    found("Naringin was given to rats by mouth. Naringin appeared in serum within minutes.", page=1),
    found("Naringin serum samples were incubated with an enzyme before extraction.", page=2),
    found("Naringin reached its highest level in rats after an hour.", page=3),
]


def test_the_page_with_the_words_that_are_rare_in_its_paper_comes_first() -> None:
    assert pages(ranked("Why was naringin treated with an enzyme?", PAPER))[0] == 2


def test_a_word_on_every_page_of_a_paper_decides_nothing() -> None:
    first = ranked("naringin naringin enzyme", PAPER)
    assert pages(first)[0] == 2
    assert first[0].reading.weights[0] < first[0].reading.weights[2]


def test_a_word_of_like_meaning_is_met_as_well() -> None:
    embedder = WordEmbedder(("peaked", "highest"))
    assert pages(ranked("When had naringin peaked?", PAPER, embedder))[0] == 3


def test_a_literal_word_counts_even_where_the_model_sees_no_likeness() -> None:
    reading = ranked("enzymes", PAPER)[0].reading
    assert reading.matches.max() >= Rules().literal ** Rules().sharpness - 1e-6


def test_each_page_is_ranked_once_by_its_best_passage() -> None:
    twice = [*PAPER, found("Nothing of the kind is said here at all.", page=2, number=2)]
    order = ranked("enzyme", twice)
    assert sorted(pages(order)) == [1, 2, 3]
    assert "enzyme" in order[0].reading.found.passage.text


def test_nothing_read_gives_no_pages() -> None:
    assert ranked("enzyme", []) == []


def test_only_the_best_three_papers_are_read_and_each_only_so_far() -> None:
    many = [found(f"Text {n} of {paper}.", paper=paper, page=n) for n in range(1, 30) for paper in "abcd"]
    chosen = candidates(many)
    counts = [sum(each.document.file == f"{paper}.pdf" for each in chosen) for paper in "abcd"]
    assert counts == [*PASSAGES_PER_PAPER, 0]


def test_papers_rank_by_their_three_best_passages() -> None:
    order = [found("x", paper="b"), found("x", paper="a"), found("x", paper="a", page=2), found("x", paper="a", page=3)]
    assert next(iter(paper_scores(order))) == "doc-aaaaaaaaaaaaaaaa"


def test_the_sentence_that_meets_the_question_is_chosen_verbatim_with_its_place_on_the_page() -> None:
    reading = ranked("When did naringin appear in serum?", PAPER[:1])[0].reading
    (sentence,) = best_sentences(reading, most=1)
    passage = reading.found.passage
    assert sentence.text == "Naringin appeared in serum within minutes."
    assert passage.text[sentence.start - passage.start : sentence.end - passage.start] == sentence.text


def test_a_second_sentence_is_taken_only_for_what_the_first_one_lacks() -> None:
    text = (
        "The enzyme frees naringenin from its sugar. Rats were fasted overnight before. The enzyme was kept cold then."
    )
    reading = ranked(
        "Which enzyme, and were the rats fasted?", [found(text), found("Other words stand here.", page=2)]
    )[0].reading
    texts = [sentence.text for sentence in best_sentences(reading, most=3)]
    assert "Rats were fasted overnight before." in texts
    assert len(texts) == 2


def test_incomplete_sentences_are_never_chosen() -> None:
    reading = ranked("enzyme activity", [found("and the enzyme activity of the")])[0].reading
    assert best_sentences(reading, most=2) == []


@pytest.mark.parametrize("text", ["They rose.", "This was seen.", "However, it fell.", "In addition, more came."])
def test_a_sentence_that_points_back_leans_on_the_one_before(text: str) -> None:
    assert leans_back(text)


@pytest.mark.parametrize("text", ["Thisbe rose.", "Items were counted.", "Naringin fell."])
def test_a_sentence_with_a_subject_of_its_own_does_not_lean(text: str) -> None:
    assert not leans_back(text)


@given(st.lists(st.integers(min_value=1, max_value=90), min_size=1, max_size=12))
def test_units_cover_all_sentences_in_order_and_stay_short(lengths: list[int]) -> None:
    text = " ".join("Word " + " ".join(["word"] * (length - 1)) + "." if length > 1 else "Word." for length in lengths)
    spans = units(text)
    assert " ".join(text[start:end] for start, end in spans) == text
    assert all(len(text[a:b].split()) <= max(UNIT_WORDS, *lengths) for a, b in spans)


@given(st.text(max_size=200), st.text(max_size=300))
def test_any_question_and_any_passage_give_matches_between_0_and_1(question: str, text: str) -> None:
    for page in ranked(question, [found(text), found("Naringin was measured in serum.", page=2)]):
        assert np.all((page.reading.matches >= 0) & (page.reading.matches <= 1))
        assert np.isfinite(page.score)
