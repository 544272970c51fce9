import pytest

from cmo.library.abbreviations import find_abbreviations


@pytest.mark.parametrize(
    ("text", "short", "long"),
    [
        ("patients with coronary artery disease (CAD) were asked", "CAD", "coronary artery disease"),
        ("the oxidation product trimethylamine N-oxide (TMAO) rose", "TMAO", "trimethylamine N-oxide"),
        ("TMAO (trimethylamine N-oxide) rose", "TMAO", "trimethylamine N-oxide"),
        (
            "we used liquid chromatography-mass spectrometry (LC-MS).",
            "LC-MS",
            "liquid chromatography-mass spectrometry",
        ),
        ("all branched-chain amino acids (BCAAs) fell", "BCAAs", "branched-chain amino acids"),
        ("oral N-acetylcysteine (NAC) was given", "NAC", "N-acetylcysteine"),
        ("the metabolic syndrome (MetS; three criteria)", "MetS", "metabolic syndrome"),
        ("in Duchenne muscular dystrophy [DMD] of boys", "DMD", "Duchenne muscular dystrophy"),
    ],
)
def test_a_short_form_gets_the_words_that_spell_it(text: str, short: str, long: str) -> None:
    assert find_abbreviations(text) == {short: long}


@pytest.mark.parametrize(
    "text",
    [
        "half of them (n = 34) were men",
        "the difference (P < 0.05) was small",
        "mean glucose (mg/dL) and leucine (g/L)",
        "as others found (Smith)",
        "the samples (see Table 2) were thawed",
        "patients (CAD) were asked",
        "no brackets here",
        "an open bracket (never closed",
        "",
    ],
)
def test_other_things_in_brackets_are_no_definition(text: str) -> None:
    assert find_abbreviations(text) == {}


def test_the_first_definition_of_a_short_form_stands() -> None:
    text = "Mass spectrometry (MS) was used. In multiple sclerosis (MS) it was not."
    assert find_abbreviations(text) == {"MS": "Mass spectrometry"}


def test_a_long_form_does_not_reach_into_the_sentence_before() -> None:
    assert find_abbreviations("There was no disease. Arteries (CAD) were open.") == {}


def test_line_ends_within_a_definition_do_not_matter() -> None:
    assert find_abbreviations("with chronic\nkidney disease (CKD)")["CKD"].split() == ["chronic", "kidney", "disease"]
