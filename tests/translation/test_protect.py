"""What must survive a translation is taken out of a sentence, and comes back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmo.translation.protect import mask, restored
from tests.translation.trial import names_in

CODE = re.compile(r"XQ\d+X")


def kept(sentence: str) -> list[str]:
    return [thing.text for thing in mask(sentence, names_in).things.values()]


@pytest.mark.parametrize(
    ("sentence", "pieces"),
    [
        ("TMAO rose from 3.4 ± 0.5 to 6.1 µmol/L.", ["TMAO", "3.4 ± 0.5", "6.1 µmol/L"]),
        ("It fell by −0.3 mmol L−1 (p < 0.001).", ["−0.3 mmol L−1", "p < 0.001"]),
        ("Of 1,204 men, n = 45 took 5 mg/kg/day.", ["1,204", "n = 45", "5 mg/kg/day"]),
        ("IL-6, TNF-α and HbA1c by LC-MS/MS.", ["IL-6", "TNF-α", "HbA1c", "LC-MS/MS"]),
        ("Use CHEBI:17234 or HMDB0000122 or C00031.", ["CHEBI:17234", "HMDB0000122", "C00031"]),
        ("Its key is WQZGKKKJIJFFOK-GASJEMHNSA-N here.", ["WQZGKKKJIJFFOK-GASJEMHNSA-N"]),
        ("See doi:10.1038/s41586-020-1 and PMID 12345678.", ["doi:10.1038/s41586-020-1", "PMID 12345678"]),
        ("See https://example.org/a?b=1.", ["https://example.org/a?b=1"]),
        ("It was 2.5-fold higher than 10 % at 37 °C.", ["2.5-fold", "10 %", "37 °C"]),
        ("About 5 million cells at 1.5 × 10^6 per well.", ["5 million", "1.5 × 10^6"]),
        ("The range was 5–7 mM for 12 weeks.", ["5–7 mM", "12 weeks"]),
        ("At pH > 7 it differed (P=.05).", ["pH > 7", "P=.05"]),
        ("Cer(d18:1/16:0) and 3-hydroxybutyrate rose.", ["Cer(d18:1/16:0)", "3-hydroxybutyrate"]),
        ("It rose [2], then fell.", ["[2]"]),
        ("One hundred and twenty men came.", ["One hundred and twenty"]),
        ("The level was three times higher.", ["3 times"]),
        ("Two of them took four millimoles per litre.", ["2", "4 mmol/L"]),
        ("It took 90 minutes, two days or 12 weeks.", ["90 min", "2 days", "12 weeks"]),
        ("He took five milligrams per day at 37 degrees Celsius.", ["5 mg/day", "37 °C"]),
    ],
)
def test_names_numbers_units_identifiers_and_markers_are_taken_out(sentence: str, pieces: list[str]) -> None:
    assert kept(sentence) == pieces


def test_markers_behind_a_sentence_are_not_sent_and_come_back_where_they_stood() -> None:
    for sentence in ("Lactate rose [1] [2].", "Lactate rose. [1] [2]", "Lactate rose.[1]"):
        masked = mask(sentence)

        assert masked.text == "Lactate rose."
        assert restored(masked, "Le lactate a augmenté.", "fr") == sentence.replace(
            "Lactate rose", "Le lactate a augmenté"
        )


def test_a_stop_of_another_script_stays_behind_the_markers() -> None:
    assert restored(mask("Lactate rose [1]."), "乳酸升高。", "zh") == "乳酸升高 [1]。"


def test_the_mark_of_a_list_is_not_sent() -> None:
    masked = mask("- 2. Lactate rose.")

    assert masked.text == "Lactate rose."
    assert restored(masked, "Le lactate a augmenté.", "fr") == "- 2. Le lactate a augmenté."


def test_what_has_nothing_but_names_and_numbers_has_no_words() -> None:
    assert not mask("TMAO: 5 mM [1]", names_in).has_words
    assert mask("TMAO rose.", names_in).has_words


def test_numbers_go_on_from_sentence_to_sentence() -> None:
    assert mask("5 mg and 7 mg.", first=3).text == "XQ3X and XQ4X."


def test_a_name_that_began_the_sentence_begins_small_elsewhere() -> None:
    masked = mask("Lactate fell.", names_in)

    assert restored(masked, "Le XQ0X a baissé.", "fr") == "Le lactate a baissé."
    assert restored(masked, "XQ0X sank.", "de") == "Lactate sank."


def test_in_arabic_a_number_is_kept_in_its_reading_order() -> None:
    masked = mask("It fell by −5 mM.")

    assert restored(masked, "انخفض بمقدار XQ0X.", "ar") == "انخفض بمقدار \u2066−5 mM\u2069."


@given(st.text(alphabet=st.sampled_from("aB1xXqQ5 .,-–%µ°()[]²½٣<>±/:é中")))
def test_no_digit_is_sent_outside_of_placeholders(sentence: str) -> None:
    assert not any(letter.isnumeric() for letter in CODE.sub("", mask(sentence).text) if letter != "中")


@given(st.text(alphabet=st.sampled_from("aB1xXqQ5 .,-–%µ°()[]²½٣<>±/:é中")))
def test_what_comes_back_as_it_went_is_what_it_was(sentence: str) -> None:
    masked = mask(sentence)

    assert restored(masked, masked.text, "fr").split() == sentence.split()
