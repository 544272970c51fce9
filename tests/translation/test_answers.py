"""Answers are translated sentence by sentence, and nothing that was lost on the way is shown."""

from __future__ import annotations

import re

import pytest

from cmo.errors import TranslationUnavailable
from cmo.sentences import split_sentences
from cmo.translation import answers
from cmo.translation.answers import SentenceTranslator
from cmo.values import Translated
from tests.translation.fakes import FakeService, no_calls, question
from tests.translation.trial import names_in

FRENCH = {
    "rose by": "a augmenté de", "fell by": "a baissé de", "Nothing else changed": "Rien d'autre n'a changé",
    "Plasma": "Dans le plasma,",
}  # fmt: skip
ANSWER = (
    "Plasma lactate rose by 5 mM [1]. Plasma glucose fell by 7% [2].\n\n- Nothing else changed.\n\nMore here: [2] [3]"
)
OWN = "More here:"


async def in_french(answer: str = ANSWER, service: FakeService | None = None) -> Translated:
    translator = SentenceTranslator(service or FakeService(FRENCH), names=names_in, own=[OWN])
    return await translator.translate(answer, question("fr"), 5.0, no_calls)


async def test_sentences_are_translated_and_all_between_them_stays() -> None:
    translated = await in_french()

    assert translated.text == (
        "Dans le plasma, lactate a augmenté de 5 mM [1]. Dans le plasma, glucose a baissé de 7% [2].\n\n"
        "- Rien d'autre n'a changé.\n\nMore here: [2] [3]"
    )
    assert translated.service == "Fake"


async def test_each_english_sentence_has_its_place_in_the_translation() -> None:
    translated = await in_french()

    sentences = {
        ANSWER[start:end]: translated.text[slice(*translated.spans[start])] for start, end in split_sentences(ANSWER)
    }
    assert list(translated.spans) == [start for start, _ in split_sentences(ANSWER)]
    assert sentences["Plasma glucose fell by 7% [2]."] == "Dans le plasma, glucose a baissé de 7% [2]."
    assert sentences["- Nothing else changed."] == "- Rien d'autre n'a changé."


async def test_the_service_gets_all_sentences_at_once_without_names_numbers_and_last_markers() -> None:
    service = FakeService(FRENCH)
    await in_french(service=service)

    (order,) = service.orders
    assert order.texts[:3] == ("Plasma XQ0X rose by XQ1X.", "Plasma XQ2X fell by XQ3X.", "Nothing else changed.")
    assert (order.source, order.target, order.seconds, order.user_id) == ("en", "fr", 5.0, "ann")


async def test_a_sentence_that_lost_a_number_stays_english() -> None:
    translated = await in_french(service=FakeService(FRENCH | {"XQ3X": "beaucoup"}))

    assert "Plasma glucose fell by 7% [2]." in translated.text
    assert "Dans le plasma, lactate a augmenté de 5 mM [1]." in translated.text
    assert translated.kept == 2  # with our own line, which nobody has translated in this test


async def test_sentences_of_ours_are_said_in_their_own_translation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        answers, "in_language", lambda text, language: {(OWN, "fr"): "Voir aussi :"}.get((text, language), text)
    )
    service = FakeService(FRENCH)
    translated = await in_french(service=service)

    assert translated.text.endswith("\n\nVoir aussi : [2] [3]")
    assert not any("More" in text for text in service.orders[0].texts)
    assert translated.kept == 0


async def test_an_answer_of_nothing_but_our_sentences_needs_no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "in_language", lambda text, language: "Voir aussi :")
    service = FakeService(error=TranslationUnavailable("nobody there"))

    assert (await in_french(f"{OWN} [1]", service)).text == "Voir aussi : [1]"
    assert service.orders == []


async def test_texts_that_come_back_mixed_up_are_not_believed_nor_is_one_that_cannot_be_told_from_another() -> None:
    translated = await in_french(
        service=FakeService(
            change=lambda texts: tuple(FakeService(FRENCH)._replaced(text) for text in (*texts[1:], texts[0]))
        )
    )

    assert translated.text == ANSWER


async def test_a_service_that_fails_is_told() -> None:
    with pytest.raises(TranslationUnavailable, match="nobody there"):
        await in_french(service=FakeService(error=TranslationUnavailable("nobody there")))


@pytest.mark.parametrize("answer", ["", "\n\n", "[1]", "5 mM [1]"])
async def test_what_has_no_words_is_left_alone(answer: str) -> None:
    service = FakeService()
    translated = await in_french(answer, service)

    assert (translated.text, translated.kept, service.orders) == (answer, 0, [])


async def test_an_answer_that_looks_like_placeholders_cannot_smuggle_anything() -> None:
    answer = "Plasma XQ1X rose by 5 mM and XQ0X rose by 7 mM."
    translated = await in_french(answer)

    assert re.findall(r"XQ\dX|\d mM", translated.text) == ["XQ1X", "5 mM", "XQ0X", "7 mM"]
