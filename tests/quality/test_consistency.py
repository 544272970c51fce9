import pytest

from cmo.quality.consistency import consistency
from cmo.values import SentenceSupport, Verdict


def sentence(text: str, verdict: Verdict = Verdict.SUPPORTED) -> SentenceSupport:
    return SentenceSupport(text=text, verdict=verdict, score=0.9, quote="")


GLYCINE = sentence("Glycine was lower in 12 mice.")


def test_sentences_nobody_disputes_are_consistent() -> None:
    assert consistency([GLYCINE, sentence("Lactate rose in sepsis.", Verdict.NOT_FOUND)]) == 1.0


def test_a_sentence_its_source_contradicts_counts_as_disputed() -> None:
    assert consistency([GLYCINE, sentence("Lactate rose in sepsis.", Verdict.CONTRADICTED)]) == 0.5


def test_two_sentences_that_contradict_each_other_are_both_disputed() -> None:
    other = sentence("Glycine was higher in 12 mice.")

    assert consistency([GLYCINE, other, sentence("Lactate rose in sepsis.")]) == pytest.approx(1 / 3)


def test_an_answer_without_sentences_has_no_consistency() -> None:
    assert consistency([]) == 0.0
