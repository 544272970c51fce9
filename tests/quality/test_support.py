import json
from collections.abc import Sequence

import pytest

from cmo.models.minilm import MiniLM
from cmo.quality.support import WEIGHTS_FILE, judge, sift, source_sentences
from cmo.values import SentenceSupport, Verdict
from tests.quality.tokens import vectors_of

SOURCE = (
    "Sepsis was defined by consensus criteria. Plasma lactate was significantly increased by 12.4% in 88 patients "
    "with sepsis. Samples were kept frozen until analysis."
)
SENTENCE = "Plasma lactate was significantly increased by 12.4% in 88 patients with sepsis."


def judged(claim: str, source: str = SOURCE, *, alike: Sequence[Sequence[str]] = ()) -> SentenceSupport:
    sifted = sift(claim, source_sentences(source))
    return judge(sifted, vectors_of(sifted.texts, *alike))


def test_a_verbatim_sentence_is_supported_and_quoted() -> None:
    found = judged(SENTENCE)

    assert (found.verdict, found.quote) == (Verdict.SUPPORTED, SENTENCE)
    assert found.score > 0.95


def test_a_part_of_a_sentence_is_supported_by_the_whole() -> None:
    found = judged("Plasma lactate was significantly increased")

    assert (found.verdict, found.quote) == (Verdict.SUPPORTED, SENTENCE)


def test_a_near_copy_is_supported_without_being_verbatim() -> None:
    found = judged("Plasma lactate was increased by 12.4% in the 88 patients with sepsis.")

    assert (found.verdict, found.quote) == (Verdict.SUPPORTED, SENTENCE)
    assert 0.5 <= found.score < 0.98


@pytest.mark.parametrize(("old", "new"), [("88", "98"), ("was", "was not"), ("increased", "decreased")])
def test_a_sentence_that_says_the_opposite_is_contradicted_with_the_quote(old: str, new: str) -> None:
    found = judged(SENTENCE.replace(old, new, 1))

    assert (found.verdict, found.quote) == (Verdict.CONTRADICTED, SENTENCE)
    assert found.score <= 0.25


def test_what_no_passage_speaks_of_is_not_found_and_has_no_quote() -> None:
    found = judged("The Pretty Things toured Australia in 1965 with Viv Prince.")

    assert (found.verdict, found.quote) == (Verdict.NOT_FOUND, "")
    assert found.score < 0.5


def test_words_of_like_meaning_count_as_met() -> None:
    claim = "Blood lactic acid went up among septic people."
    alike = (("plasma", "blood"), ("lactate", "lactic", "acid"), ("sepsis", "septic"), ("patients", "people"))

    assert judged(claim, alike=alike).score > judged(claim).score


def test_a_number_that_stands_nowhere_counts_against_a_sentence() -> None:
    assert judged("Plasma lactate in sepsis was 7 units.").score < judged("Plasma lactate in sepsis was units.").score


def test_nothing_supports_a_sentence_without_sources() -> None:
    found = judged(SENTENCE, source="")

    assert (found.verdict, found.score, found.quote) == (Verdict.NOT_FOUND, 0.0, "")


def test_one_word_is_not_verbatim_support() -> None:
    assert judged("Sepsis.").score < 0.98


def test_lines_that_break_a_sentence_are_joined() -> None:
    found = judged(SENTENCE, source=SOURCE.replace("increased by", "increased\nby"))

    assert found.verdict is Verdict.SUPPORTED
    assert "increased\nby" in found.quote


def test_every_quote_stands_verbatim_in_the_source() -> None:
    source = SOURCE.replace(" ", "  ")

    assert judged(SENTENCE, source=source).quote in source


def test_the_weights_belong_to_the_embedding_model_and_name_their_making(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    content = json.loads(WEIGHTS_FILE.read_text(encoding="utf-8"))

    assert content["embedder"] == MiniLM(tmp_path_factory.mktemp("cache")).fingerprint
    assert content["made"]["held_out"]["auroc"] >= 0.8
