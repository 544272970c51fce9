"""A translation that lost or gained a name, a number, a unit, a sign or a sentence is not believed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmo.translation.protect import mask, restored
from cmo.translation.verify import Loss, loss, serves_search, strayed
from tests.translation.trial import names_in

SENTENCE = mask("Lactate rose from 3.4 to 6.1 mM in controls (p < 0.01) after the meal.", names_in)
RIGHT = "Le XQ0X a augmenté de XQ1X à XQ2X chez les témoins (XQ3X) après le repas."


def test_a_translation_with_everything_in_its_place_is_believed() -> None:
    assert SENTENCE.text == "XQ0X rose from XQ1X to XQ2X in controls (XQ3X) after the meal."
    assert loss(SENTENCE, RIGHT, "fr") is None


PIECES = st.sampled_from(
    [
        *RIGHT.split(),
        *"XQ0X XQ1X XQ2X XQ3X xq1x XQ4X XQX 7 ٣ ² mg % - − , . / : ( ) [1] < millions fach 毫克 le a s XQ Q1".split(),
    ]
)


@given(st.lists(st.tuples(PIECES, st.sampled_from(["", " ", " ", " "])), min_size=8, max_size=24), st.data())
def test_whatever_comes_back_the_numbers_that_are_shown_are_those_that_were_there(
    pieces: list[tuple[str, str]], data: st.DataObject
) -> None:
    """By another way of reading than the module's own: as plain text, after everything has been put back."""
    at = data.draw(st.integers(0, len(RIGHT)))
    spoilt = RIGHT[:at] + "".join("".join(pair) for pair in pieces[: data.draw(st.integers(0, 3))]) + RIGHT[at:]
    for translated in (spoilt, "".join("".join(pair) for pair in pieces)):
        if loss(SENTENCE, translated, "fr") is None:
            shown = restored(SENTENCE, translated, "fr")
            assert re.findall(r"\w*\d+(?:[.,]+\d+)*\w*", shown) == ["3.4", "6.1", "0.01"]
            assert re.search(r"(?<![-−<>/.,\w])3\.4(?! ?(?:m|%|fach|毫|[-−/:.,²]\w))", shown)
            assert re.search(r"(?<![-−<>/.,\w])6\.1 mM(?!\w| ?%)", shown)
            assert re.search(r"(?<!\w)p < 0\.01(?!\w| ?%)", shown)
            assert shown.lower().index("lactate") < shown.index("3.4") < shown.index("6.1") < shown.index("0.01")


@pytest.mark.parametrize("written", ["xq1x", "XQ 1 X", "ＸＱ１Ｘ", "XQ١X", "Xq1x"])
def test_a_placeholder_may_be_written_a_little_differently(written: str) -> None:
    translated = RIGHT.replace("XQ1X", written)

    assert loss(SENTENCE, translated, "fr") is None
    assert restored(SENTENCE, translated, "fr") == restored(SENTENCE, RIGHT, "fr")


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (RIGHT, "", Loss.EMPTY),
        (RIGHT, SENTENCE.text, Loss.UNTRANSLATED),
        ("augmenté de", "augmenté from", Loss.UNTRANSLATED),
        (" (XQ3X)", "", Loss.PLACEHOLDER),
        ("XQ3X", "XQ3X, XQ3X", Loss.PLACEHOLDER),
        ("XQ3X", "XQ7X", Loss.PLACEHOLDER),
        ("XQ1X à XQ2X", "XQ2X à XQ1X", Loss.ORDER),
        ("Le XQ0X a augmenté de XQ1X", "De XQ1X le XQ0X a augmenté", Loss.ORDER),
        ("XQ1X à", "XQ1X mg à", Loss.TOUCHED),
        ("XQ1X à", "XQ1X millions à", Loss.TOUCHED),
        ("XQ1X à", "XQ1X pour cent à", Loss.TOUCHED),
        ("XQ1X à", "-XQ1X à", Loss.TOUCHED),
        ("XQ1X à", "XQ1Xs à", Loss.TOUCHED),
        ("XQ1X à XQ2X", "XQ1X,XQ2X à", Loss.TOUCHED),
        ("XQ1X à XQ2X", "XQ1XXQ2X à", Loss.TOUCHED),
        ("XQ0X a", "di-XQ0Xa a", Loss.TOUCHED),
        ("témoins", "7 témoins", Loss.DIGIT),
        ("témoins", "témoins²", Loss.DIGIT),
        ("témoins", "témoins %", Loss.SIGN),
        ("(XQ3X)", "(<XQ3X)", Loss.SIGN),
        ("témoins", "**témoins**", Loss.SIGN),
        ("témoins", "témoins [a]", Loss.SIGN),
        ("témoins", "\u202etémoins", Loss.SIGN),
        ("témoins", "té\u200bmoins", Loss.SIGN),
        ("témoins", "témoins\n", Loss.SIGN),
        ("témoins", "témoins de example.org", Loss.ADDRESS),
        ("témoins", "témoins http://a", Loss.ADDRESS),
        ("repas.", "repas. Buvez de l'eau.", Loss.SENTENCE),
        ("témoins", 12 * "témoins ", Loss.LENGTH),
        (RIGHT, "XQ0X XQ1X XQ2X XQ3X", Loss.LENGTH),
        ("chez les témoins", "在对照组中", Loss.SCRIPT),
    ],
)
def test_a_translation_that_lost_or_gained_something_is_not_believed(before: str, after: str, why: Loss) -> None:
    assert before in RIGHT
    assert loss(SENTENCE, RIGHT.replace(before, after), "fr") is why


@pytest.mark.parametrize(
    ("language", "translated"),
    [
        ("de", "XQ0X stieg bei den Kontrollen von XQ1X auf XQ2X (XQ3X) nach der Mahlzeit."),
        ("es", "El XQ0X subió de XQ1X a XQ2X en los controles (XQ3X) después de comer."),
        ("zh", "XQ0X 在对照组中从 XQ1X 升至 XQ2X（XQ3X），时间为餐后。"),
        ("ja", "XQ0Xは対照群で食後にXQ1XからXQ2Xに上昇した（XQ3X）。"),
        ("ru", "Уровень XQ0X вырос с XQ1X до XQ2X в контрольной группе (XQ3X) после еды."),
        ("ar", "ارتفع XQ0X من XQ1X إلى XQ2X في المجموعة الضابطة (XQ3X) بعد الوجبة."),
        ("hi", "भोजन के बाद नियंत्रण समूह में XQ0X XQ1X से XQ2X तक बढ़ा (XQ3X)।"),
        ("pl", "Stężenie XQ0X wzrosło z XQ1X do XQ2X w grupie kontrolnej (XQ3X) po posiłku."),
        ("tr", "XQ0X, kontrol grubunda yemekten sonra XQ1X değerinden XQ2X değerine yükseldi (XQ3X)."),
        ("ko", "XQ0X는 대조군에서 식후 XQ1X에서 XQ2X로 상승했다 (XQ3X)."),
        ("it", "Il XQ0X è aumentato da XQ1X a XQ2X nei controlli (XQ3X) dopo il pasto."),
        ("pt", "O XQ0X aumentou de XQ1X para XQ2X nos controles (XQ3X) após a refeição."),
        ("nl", "XQ0X steeg van XQ1X naar XQ2X bij de controles (XQ3X) na de maaltijd."),
    ],
)
def test_good_translations_of_every_language_are_believed(language: str, translated: str) -> None:
    assert loss(SENTENCE, translated, language) is None


def test_the_same_number_twice_may_stand_for_itself() -> None:
    masked = mask("We gave 5 mg to the mice and 5 mg to the rats.")

    assert loss(masked, "Nous avons donné XQ1X aux souris et XQ0X aux rats.", "fr") is None


def test_a_hyphen_may_join_a_name_to_a_word_but_never_stand_before_a_number() -> None:
    assert loss(mask("Plasma TMAO levels rose."), "Die Plasma-XQ0X-Spiegel stiegen.", "de") is None
    assert loss(mask("Levels rose by 5 mM."), "Die Spiegel stiegen um -XQ0X.", "de") is Loss.TOUCHED


def test_a_unit_of_another_language_behind_a_number_is_not_believed() -> None:
    masked = mask("The dose was 5 in all of them.")
    for language, translated in (("ru", "Доза была XQ0X мг у всех."), ("zh", "所有人的剂量均为 XQ0X 毫克。")):
        assert loss(masked, translated, language) is Loss.TOUCHED


def test_markup_that_was_there_may_stay() -> None:
    assert loss(mask("**Lactate** rose."), "Le **lactate** a augmenté.", "fr") is None


def test_what_belongs_to_another_sentence_is_noticed() -> None:
    assert strayed(mask("It rose by 5 mM."), "XQ8X")
    assert not strayed(mask("It rose by 5 mM."), "XQ0X")


def test_the_blind_spot_a_lost_negation_passes() -> None:
    """As the module says; should it ever be seen, the documentation has to say so as well."""
    assert loss(mask("TMAO did not rise in 5 men."), "XQ0X a augmenté chez XQ1X hommes.", "fr") is None


@pytest.mark.parametrize(
    ("translated", "serves"),
    [
        ("Which metabolites are altered after XQ1X of XQ0X?", True),
        ("Which metabolites are altered?", False),
        ("Quels métabolites sont altérés par XQ0X après XQ1X ?", False),
        ("See www.example.org for XQ0X and XQ1X.", False),
        ("", False),
    ],
)
def test_a_question_may_change_its_order_but_lose_nothing(translated: str, serves: bool) -> None:
    masked = mask("Quels métabolites sont altérés par TMAO après 12 h ?")

    assert serves_search(masked, translated) is serves
