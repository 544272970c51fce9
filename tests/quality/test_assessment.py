import threading
from collections.abc import Sequence

import pytest

from cmo.interfaces import TokenVectors
from cmo.quality.assessment import Assessor, badge, claims, composed, reweighed, scored
from cmo.values import Badge, CustomScore, SentenceSupport, Verdict
from tests.models.word_tokens import WordEmbedder

LACTATE = "Lactate rose by 12% in 88 septic patients during the first day."
GLYCINE = "Glycine fell by 9% in the livers of twelve fasting mice."


async def test_an_answer_of_verbatim_sentences_is_accurate_and_consistent() -> None:
    quality = await Assessor(WordEmbedder()).assess("Did lactate rise?", f"{LACTATE} {GLYCINE}", [LACTATE, GLYCINE])

    assert [each.verdict for each in quality.sentences] == [Verdict.SUPPORTED, Verdict.SUPPORTED]
    assert quality.accuracy > 0.95
    assert quality.consistency == 1.0
    assert quality.composite == composed(quality.relevance, quality.accuracy, quality.consistency)
    assert quality.badge is badge(quality.composite)


async def test_a_sentence_is_held_against_the_source_it_cites_only() -> None:
    right = await Assessor(WordEmbedder()).assess("Did lactate rise?", f"{LACTATE} [1]", [LACTATE, GLYCINE])
    wrong = await Assessor(WordEmbedder()).assess("Did lactate rise?", f"{LACTATE} [2]", [LACTATE, GLYCINE])

    assert right.sentences[0].verdict is Verdict.SUPPORTED
    assert wrong.sentences[0].verdict is not Verdict.SUPPORTED


async def test_a_marker_that_names_no_source_stands_for_all_of_them() -> None:
    quality = await Assessor(WordEmbedder()).assess("Did lactate rise?", f"{LACTATE} [9]", [GLYCINE, LACTATE])

    assert quality.sentences[0].verdict is Verdict.SUPPORTED


@pytest.mark.parametrize("answer", ["", " \n", "[1]", "## Results"])
async def test_an_answer_that_says_nothing_is_worth_nothing(answer: str) -> None:
    quality = await Assessor(WordEmbedder()).assess("Did lactate rise?", answer, [LACTATE])

    assert (quality.sentences, quality.composite, quality.badge) == ((), 0.0, Badge.LOW)


async def test_without_sources_nothing_is_found() -> None:
    quality = await Assessor(WordEmbedder()).assess("", LACTATE, [])

    assert [each.verdict for each in quality.sentences] == [Verdict.NOT_FOUND]
    assert (quality.relevance, quality.accuracy) == (0.0, 0.0)


async def test_each_text_is_embedded_once_and_verbatim_sources_not_at_all() -> None:
    embedder = WordEmbedder()

    await Assessor(embedder).assess("Did lactate rise?", f"{LACTATE} {LACTATE}", [LACTATE + " " + GLYCINE])

    assert sorted(embedder.embedded) == sorted(["Did lactate rise?", LACTATE])


async def test_texts_are_compared_off_the_loop() -> None:
    seen: list[int] = []

    class Watching(WordEmbedder):
        async def embed_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
            return [Watched(tokens) for tokens in await super().embed_tokens(texts)]

    class Watched:
        def __init__(self, tokens: TokenVectors) -> None:
            self._tokens = tokens

        @property
        def vectors(self):  # type: ignore[no-untyped-def]
            seen.append(threading.get_ident())
            return self._tokens.vectors

        @property
        def offsets(self) -> Sequence[tuple[int, int]]:
            return self._tokens.offsets

    await Assessor(Watching()).assess("Did lactate rise?", "Lactate went up in sepsis.", [LACTATE])

    assert seen
    assert threading.get_ident() not in seen


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Lactate rose. [1] Glycine fell. [2][3]", [("Lactate rose.", (1,)), ("Glycine fell.", (2, 3))]),
        ("Lactate rose [1]. Glycine fell.", [("Lactate rose.", (1,)), ("Glycine fell.", ())]),
        ("## Findings\n- **Lactate** rose. [1]\n2. Glycine fell.", [("Lactate rose.", (1,)), ("Glycine fell.", ())]),
        ("Lactate rose.\n[4]", [("Lactate rose.", (4,))]),
    ],
)
def test_claims_are_sentences_without_their_markers(answer: str, expected: list[tuple[str, tuple[int, ...]]]) -> None:
    assert [(claim.text, claim.cited) for claim in claims(answer)] == expected


def test_a_claim_stands_where_its_sentence_stands_with_its_markers() -> None:
    answer = "Lactate rose. [1] It fell later. [2]\n[3]\n\nRelated passages: [4]"

    assert [answer[claim.start : claim.end] for claim in claims(answer)] == [
        "Lactate rose. [1]",
        "It fell later. [2]\n[3]",
    ]


async def test_a_quote_names_the_source_it_stands_in() -> None:
    quality = await Assessor(WordEmbedder()).assess(
        "Did lactate rise?", f"{LACTATE} [1][2] Zebras.", [GLYCINE, LACTATE]
    )

    sentence, other = quality.sentences
    assert (sentence.source, sentence.quote, sentence.cited) == (2, LACTATE, (1, 2))
    assert (other.source, other.quote, other.cited) == (0, "", ())


@pytest.mark.parametrize(
    ("composite", "word"),
    [
        (1.0, Badge.EXCELLENT),
        (0.9, Badge.EXCELLENT),
        (0.899, Badge.GOOD),
        (0.8, Badge.GOOD),
        (0.7, Badge.ACCEPTABLE),
        (0.699, Badge.LOW),
        (0.0, Badge.LOW),
    ],
)
def test_a_badge_begins_at_its_threshold(composite: float, word: Badge) -> None:
    assert badge(composite) is word


def test_the_composite_weighs_relevance_most() -> None:
    assert composed(1, 0, 0) == 0.4
    assert composed(0, 1, 0) == composed(0, 0, 1) == 0.3
    assert composed(1, 1, 1) == 1.0


def test_scores_of_others_count_by_their_weight_beside_ours() -> None:
    custom = [CustomScore(name="tone", score=0.0, weight=1.0), CustomScore(name="shown only", score=0.0, weight=0.0)]

    assert composed(1, 1, 1, custom) == 0.5


def test_sentences_that_cannot_be_checked_count_for_nothing() -> None:
    good = SentenceSupport(text="Lactate rose.", verdict=Verdict.SUPPORTED, score=0.9, quote="Lactate rose.")
    unread = SentenceSupport(text="Glycine fell.", verdict=Verdict.UNCHECKED, score=0.0, quote="")

    assert scored(1.0, [good, unread]).accuracy == 0.9
    assert scored(1.0, [unread]).accuracy == 0.0


def test_weighing_the_same_sentences_anew_is_scoring_them() -> None:
    good = SentenceSupport(text="Lactate rose.", verdict=Verdict.SUPPORTED, score=0.9, quote="Lactate rose.")
    unread = SentenceSupport(text="Glycine fell.", verdict=Verdict.UNCHECKED, score=0.0, quote="")
    custom, notes = [CustomScore(name="tone", score=0.2, weight=0.5)], ["A note."]

    again = reweighed(scored(1.0, [good, unread]), 0.4, custom=custom, notes=notes)

    assert again == scored(0.4, [good, unread], custom=custom, notes=notes)
