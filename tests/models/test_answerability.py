from collections.abc import Sequence

from cmo.models.answerability import judge
from cmo.models.evidence import paper_scores, prepare, rank_pages, read, units
from cmo.values import ScoredPassage
from tests.models.test_evidence import found
from tests.models.word_tokens import WordEmbedder

PAPER = [
    found("Brain glutamate was lower in women with anorexia nervosa than in healthy women.", page=1),
    found("The women with anorexia nervosa were scanned at a field of seven tesla.", page=2),
    found("Glutamate concentration was measured by spectroscopy in all women.", page=3),
]


def answerable(question: str, passages: Sequence[ScoredPassage] = PAPER) -> bool:
    embedder = WordEmbedder()
    prepared = [
        prepare(each.passage.text, spans, [embedder.tokens(each.passage.text[a:b]) for a, b in spans])
        for each in passages
        for spans in [units(each.passage.text)]
    ]
    readings = read(question, embedder.tokens(question), passages, prepared)
    return judge(readings, rank_pages(readings, paper_scores(passages))).answerable


def test_a_question_one_sentence_meets_is_answered() -> None:
    assert answerable("Was brain glutamate lower in women with anorexia nervosa?")


def test_a_question_unlike_all_passages_is_refused() -> None:
    assert not answerable("Which octane rating does a chainsaw engine need?")


SCATTERED = [
    found(f"The {word} was examined by the authors on one of the pages.", page=page)
    for page, word in enumerate("liver plasma lactate enzyme kidney insulin diet muscle".split(), start=1)
]


def test_words_known_to_the_paper_but_never_together_with_one_missing_are_a_near_miss() -> None:
    assert not answerable("liver plasma lactate enzyme kidney insulin diet muscle hippocampus", SCATTERED)


def test_a_question_in_other_words_than_the_papers_gets_the_benefit_of_the_doubt() -> None:
    question = "Was the insulin of the marathon runners shown by the coaches to matter on the hot days?"
    assert answerable(question, SCATTERED)
