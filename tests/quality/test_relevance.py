from cmo.quality.relevance import relevance
from tests.quality.tokens import vectors_of

QUESTION = "Does lactate rise in sepsis?"


def scored(*answer: str) -> float:
    vectors = vectors_of([QUESTION, *answer], ("rise", "rose"))
    return relevance(QUESTION, vectors[QUESTION], [vectors[each] for each in answer])


def test_an_answer_in_the_question_s_words_is_more_relevant_than_another() -> None:
    assert scored("Lactate rose in sepsis.") > scored("Orchids bloom every second spring.")


def test_a_word_met_in_any_sentence_counts() -> None:
    assert scored("Lactate rose.", "That was in sepsis.") > scored("Lactate rose.", "That was in spring.")


def test_an_answer_without_words_is_not_relevant() -> None:
    assert scored() == scored("") == 0.0
