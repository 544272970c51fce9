"""What is shown about an answer's quality, and the marks in its text."""

import re
from dataclasses import replace

import pytest

from cmo.phrases import Phrase
from cmo.quality.assessment import badge
from cmo.ui import evidence, render
from cmo.values import Answer, Badge, Citation, CustomScore, Quality, SentenceSupport, Verdict

CITATION = Citation(
    number=2,
    document="bcaa.pdf",
    title="Amino acids",
    page=3,
    quote="Leucine rises.",
    url="/papers/doc-0123456789abcdef.pdf#page=3",
    confidence=0.957,
)


def answer(*judged: tuple[str, Verdict], written: bool = True) -> Answer:
    """An answer of these sentences, each on a line of its own."""
    text = ""
    sentences = []
    for words, verdict in judged:
        start = len(text)
        text += words
        sentences.append(
            SentenceSupport(
                text=words.replace(" [2]", ""),
                verdict=verdict,
                score=0.123,
                quote="Leucine rises.",
                source=2,
                start=start,
                end=len(text),
                cited=(2,),
            )
        )
        text += "\n\n"
    quality = Quality(
        relevance=0.9,
        accuracy=0.5,
        consistency=1.0,
        composite=0.812,
        badge=Badge.GOOD,
        sentences=tuple(sentences),
    )
    return Answer(
        text=text.strip(),
        answered=True,
        language="en",
        engine="lightrag",
        model="a-model",
        reason="only_engine",
        citations=(CITATION,),
        cost_usd=0.0,
        seconds=0.84,
        written=written,
        quality=quality,
    )


def text_of(answer: Answer) -> str:
    """The answer's own text as the screen gets it."""
    return render.answer(answer).partition("\n\n**Sources**")[0]


def shown(answer: Answer) -> evidence.EvidenceProps:
    props = evidence.evidence(answer)
    assert props is not None
    return props


def without_marks(text: str) -> str:
    return re.sub(r' \[[^\]]*\]\(<#cmo-\S+> "[^"]*"\)', "", text)


@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (Verdict.RELATED, "only related"),
        (Verdict.NOT_FOUND, "not found on the page"),
        (Verdict.CONTRADICTED, "contradicted by the page"),
        (Verdict.UNCHECKED, "cannot be checked"),
    ],
)
def test_a_sentence_without_support_is_marked_behind_its_markers(
    verdict: Verdict, words: str, *, written: bool
) -> None:
    given = answer(("Leucine rises. [2]", Verdict.SUPPORTED), ("It falls. [2]", verdict), written=written)

    first, second = text_of(given).split("\n\n")

    assert first.endswith(', page 3")')
    assert re.search(rf'^It falls\. \[\\\[2\\\]\]\(\S+ [^)]*\) \[{words}\]\(<#cmo-{verdict}-1> "[^"]+"\)$', second)


def test_without_its_marks_an_answer_is_what_it_is_without_quality() -> None:
    given = answer(
        ("It **rises. [2]", Verdict.NOT_FOUND),
        ("And falls.** [2]", Verdict.CONTRADICTED),
        ("- one [2]\n- two: http://evil.example", Verdict.RELATED),
    )
    assert without_marks(text_of(given)) == text_of(replace(given, quality=None))
    assert len(evidence.marks(given)) == 3


@pytest.mark.parametrize(
    "text",
    ["\ue0000\ue001 Ha", "![x](#cmo-supported-0)", "[fine](<#cmo-supported-0>)", "Ha \ue000 7 \ue001", "\ue0009\ue001"],
)
def test_an_answer_cannot_make_a_mark_of_its_own(text: str) -> None:
    marked = text_of(answer((text, Verdict.NOT_FOUND)))
    assert re.findall(r"(?<!\\)\]\(.{6}", marked) == ["](<#cmo-"]
    assert marked.endswith('](<#cmo-not_found-0> "Nothing that says this was found on the cited pages.")')


@pytest.mark.parametrize(("start", "end"), [(0, 0), (5, 3), (0, 10_000), (-4, 3)])
def test_a_sentence_that_stands_nowhere_gets_no_mark(start: int, end: int) -> None:
    given = answer(("It falls. [2]", Verdict.NOT_FOUND))
    assert given.quality is not None
    lost = replace(given.quality.sentences[0], start=start, end=end)
    given = replace(given, quality=replace(given.quality, sentences=(lost,)))
    assert "#cmo-" not in text_of(given)


def test_the_badge_tells_the_composite_and_how_many_sentences_are_supported() -> None:
    props = shown(answer(("It rises. [2]", Verdict.SUPPORTED), ("It falls. [2]", Verdict.RELATED)))
    assert (props["level"], props["words"], props["summary"]) == ("good", "Good 0.81", "Supported: 1 of 2")


@pytest.mark.parametrize(("composite", "shown_as"), [(0.7999, "0.79"), (0.8, "0.80"), (0.29, "0.29"), (1.0, "1.00")])
def test_a_composite_short_of_a_badge_does_not_look_as_if_it_had_reached_it(composite: float, shown_as: str) -> None:
    given = answer(("It rises. [2]", Verdict.SUPPORTED))
    assert given.quality is not None
    props = shown(replace(given, quality=replace(given.quality, composite=composite)))
    assert props["words"].endswith(shown_as)
    assert any(f"Together {shown_as}." in line for line in props["why"])


def test_each_badge_has_its_words() -> None:
    assert {evidence.BADGES[each] for each in Badge} == {"Excellent", "Good", "Acceptable", "Low quality"}


def test_an_answer_that_was_not_assessed_says_why() -> None:
    given = replace(answer(), quality=None, not_assessed="It took too long.")
    assert (shown(given)["level"], shown(given)["words"], shown(given)["reason"]) == (
        "",
        "Not assessed",
        "It took too long.",
    )


def test_where_there_was_nothing_to_assess_nothing_is_said() -> None:
    assert evidence.evidence(replace(answer(), quality=None)) is None


def test_the_evidence_has_each_sentence_as_it_is_read() -> None:
    sentence = shown(answer(("- **Leucine** rises *much*. [2]", Verdict.SUPPORTED)))["sentences"][0]
    assert (sentence["text"], sentence["word"], sentence["support"]) == (
        "Leucine rises much.",
        "supported",
        "support 12 %",
    )
    assert (sentence["source"], sentence["cited"], sentence["english"]) == (2, [2], "")


def test_a_papers_own_signs_stay_in_the_evidence() -> None:
    sentence = shown(answer(("P* < 0.05 in *E. coli*. [2]", Verdict.SUPPORTED), written=False))["sentences"][0]
    assert sentence["text"] == "P* < 0.05 in *E. coli*."


def test_a_sentence_of_a_translated_answer_comes_with_the_one_that_was_checked() -> None:
    given = answer(("La leucina sube. [2]", Verdict.SUPPORTED))
    assert given.quality is not None
    checked = replace(given.quality.sentences[0], text="Leucine rises.")
    given = replace(
        given, original="Leucine rises. [2]", language="es", quality=replace(given.quality, sentences=(checked,))
    )
    sentence = shown(given)["sentences"][0]
    assert (sentence["text"], sentence["english"]) == ("La leucina sube.", "Leucine rises.")


def test_sources_that_the_answer_does_not_have_are_not_named() -> None:
    given = answer(("It rises. [2]", Verdict.SUPPORTED))
    assert given.quality is not None
    odd = replace(given.quality.sentences[0], source=7, cited=(2, 7))
    sentence = shown(replace(given, quality=replace(given.quality, sentences=(odd,))))["sentences"][0]
    assert (sentence["source"], sentence["cited"]) == (0, [2])


def test_what_cannot_be_checked_has_no_probability() -> None:
    assert shown(answer(("It rises. [2]", Verdict.UNCHECKED)))["sentences"][0]["support"] == ""


def test_why_a_score_is_what_it_is_names_parts_weights_counts_custom_scores_notes_and_limits() -> None:
    given = answer(("It rises. [2]", Verdict.SUPPORTED), ("It falls. [2]", Verdict.NOT_FOUND))
    assert given.quality is not None
    why = "\n".join(
        evidence.explanation(
            replace(
                given.quality,
                custom=(CustomScore(name="House style", score=0.5, weight=0.25),),
                notes=(Phrase("One source cannot be read."),),
            )
        )
    )
    for words in (
        "Relevance 0.90 (weight 0.4)",
        "Accuracy 0.50 (weight 0.3)",
        "Consistency 1.00 (weight 0.3)",
        "House style 0.50 (weight 0.25",
        "Together 0.81",
        "Supported: 1 of 2",
        "Not found: 1 of 2",
        "One source cannot be read.",
        "cannot see",
        "For research, not for diagnosis",
    ):
        assert words in why
    assert "Contradicted" not in why


def test_the_explanation_names_the_floors_that_the_badges_have() -> None:
    floors = {0.9: Badge.EXCELLENT, 0.8: Badge.GOOD, 0.7: Badge.ACCEPTABLE}
    quality = answer(("It rises. [2]", Verdict.SUPPORTED)).quality
    assert quality is not None
    why = "\n".join(evidence.explanation(quality))
    for floor, reached in floors.items():
        assert badge(floor) is reached
        assert badge(floor - 0.001) is not reached
        assert f"{floor:.2f}" in why
        assert evidence.BADGES[reached] in why


def test_sources_tell_how_sure_they_are_where_that_is_known() -> None:
    given = answer(("It rises. [2]", Verdict.SUPPORTED))
    assert render.answer(given).endswith(", p. 3 · support 96 %")
    assert render.answer(replace(given, citations=(replace(CITATION, confidence=None),))).endswith(", p. 3")
    assert render.answer_props(given)["sources"][0]["support"] == "support 96 %"
