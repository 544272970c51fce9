"""What two sentences disagree about, seen from outside: which kinds of conflict are named."""

import pytest

from cmo.quality.guards import ConflictKind, conflicts, missing_quantities, quantities

NUMBER, NEGATION, DIRECTION = ConflictKind.NUMBER, ConflictKind.NEGATION, ConflictKind.DIRECTION
SOURCE = "Plasma lactate was significantly increased by 12.4% in 88 patients with sepsis (p < 0.05)."


def test_a_sentence_does_not_disagree_with_itself() -> None:
    assert conflicts(SOURCE, SOURCE) == frozenset()


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("12.4%", "14.2%", NUMBER),
        ("88", "188", NUMBER),
        ("88", "eleven", NUMBER),
        ("was significantly", "was not significantly", NEGATION),
        ("with sepsis", "without sepsis", NEGATION),
        ("increased", "decreased", DIRECTION),
        ("<", ">", DIRECTION),
    ],
)
def test_one_changed_word_is_noticed(old: str, new: str, kind: ConflictKind) -> None:
    assert conflicts(SOURCE.replace(old, new), SOURCE) == {kind}


@pytest.mark.parametrize(
    "same",
    [
        "Plasma lactate was significantly increased by 12.4% in 88 patients.",
        "Plasma lactate was increased by 12% in 88 patients with sepsis.",
        "Plasma lactate was significantly elevated by 12.4 percent in patients with sepsis.",
        "In 88 patients with sepsis, plasma lactate was significantly increased by 12.4%.",
    ],
)
def test_trimmed_rounded_and_reordered_sentences_are_no_conflict(same: str) -> None:
    assert conflicts(same, SOURCE) == frozenset()


@pytest.mark.parametrize(
    ("claim", "evidence", "kinds"),
    [
        ("Each animal got 5 g of feed daily.", "Each animal got 5000 mg of feed daily.", set()),
        ("Each animal got 5 g of feed daily.", "Each animal got 5 mg of feed daily.", {NUMBER}),
        ("Cells were kept in 2 mM glucose overnight.", "Cells were kept in 2000 µM glucose overnight.", set()),
        ("The gene was up-regulated in liver cells.", "The gene was downregulated in liver cells.", {DIRECTION}),
        ("IL-6 rose in all treated animals.", "IL-10 rose in all treated animals.", {NUMBER}),
        ("Acylcarnitines were unaffected by the diet.", "Acylcarnitines were affected by the diet.", {NEGATION}),
        ("The groups didn't differ in body weight.", "The groups did not differ in body weight.", set()),
        ("The mean change was −0.5 kg in men.", "The mean change was 0.5 kg in men.", {NUMBER}),
        ("There were 1,200 men in this cohort.", "There were 1200 men in this cohort.", set()),
        ("It not only lowers glucose in mice but insulin.", "It lowers glucose in mice but insulin.", set()),
        ("Calibration was not carried out for both modes.", "Calibration was performed for both modes.", {NEGATION}),
        ("The groups did not differ in weight at all.", "The groups were similar in weight at all.", set()),
    ],
)
def test_units_names_and_wordings_of_denial_are_understood(claim: str, evidence: str, kinds: set[ConflictKind]) -> None:
    assert conflicts(claim, evidence) == kinds


def test_a_denial_in_a_part_that_was_left_out_is_no_conflict() -> None:
    source = "Lactate rose in septic patients, but not in healthy controls, during the first day of treatment."

    assert conflicts("Lactate rose in septic patients during the first day of treatment.", source) == frozenset()


def test_another_count_of_the_same_thing_is_noticed_in_other_words() -> None:
    claim = "A cohort of 90 patients with sepsis had lactate measured."
    evidence = "We measured lactate in plasma; altogether 88 patients with sepsis entered the cohort."

    assert conflicts(claim, evidence) == {NUMBER}


def test_sentences_about_different_things_are_not_compared() -> None:
    assert conflicts("Glycine was not lower in 12 mice.", "Lactate rose in 88 patients with sepsis.") == frozenset()


@pytest.mark.parametrize("empty", ["", "...", "   "])
def test_a_text_without_words_has_no_conflict(empty: str) -> None:
    assert conflicts(empty, SOURCE) == conflicts(SOURCE, empty) == frozenset()


def test_missing_numbers_are_those_no_source_has_even_rounded_or_in_another_unit() -> None:
    known = quantities("We gave 0.25 g to 88 patients, of whom 41.3% were women.")

    assert missing_quantities(quantities("250 mg, 88 and 41 %"), known) == 0
    assert missing_quantities(quantities("300 mg, 89 and 42 %"), known) == 3


def test_digits_of_names_are_no_numbers() -> None:
    assert quantities("IL-6, p53, HbA1c and omega-3") == ()
