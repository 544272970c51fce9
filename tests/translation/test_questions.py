"""Questions become English by a service, or else by word lists, and never an error."""

from __future__ import annotations

import pytest

from cmo.errors import TranslationUnavailable
from cmo.translation.glossary import Glossary
from cmo.translation.questions import QUESTION_SECONDS, ServiceQuestions, WordListQuestions
from tests.translation.fakes import FakeService, no_calls, question

FRENCH = "Quels métabolites sont liés à l'IL-6 après 12 semaines ?"
BY_WORDS = Glossary().to_english(FRENCH, "fr")


async def english(service: FakeService, text: str = FRENCH, language: str = "fr") -> str:
    questions = ServiceQuestions(service, otherwise=WordListQuestions(Glossary()))
    return await questions.to_english(question(language), text, no_calls)


def saying(*translations: str) -> FakeService:
    return FakeService(change=lambda texts: translations)


async def test_a_service_translates_a_question_and_codes_and_numbers_come_back() -> None:
    service = saying("Which metabolites are linked to XQ0X after XQ1X weeks?")

    assert await english(service) == "Which metabolites are linked to IL-6 after 12 weeks?"
    (order,) = service.orders
    assert (order.source, order.target, order.seconds) == ("fr", "en", QUESTION_SECONDS)
    assert order.texts == ("Quels métabolites sont liés à l'XQ0X après XQ1X semaines ?",)


async def test_another_word_order_is_right_for_a_search() -> None:
    assert await english(saying("After XQ1X weeks, which metabolites are linked to XQ0X?")) == (
        "After 12 weeks, which metabolites are linked to IL-6?"
    )


@pytest.mark.parametrize(
    "spoilt",
    [
        "Which metabolites are linked to XQ0X?",
        "Quels métabolites sont liés à XQ0X après XQ1X semaines ?",
        "XQ0X XQ1X at www.example.org",
        "",
    ],
)
async def test_a_translation_that_lost_something_gives_way_to_word_lists(spoilt: str) -> None:
    assert await english(saying(spoilt)) == BY_WORDS


async def test_without_the_service_word_lists_do() -> None:
    assert await english(FakeService(error=TranslationUnavailable("gone"))) == BY_WORDS
    assert await WordListQuestions(Glossary()).to_english(question("fr"), FRENCH, no_calls) == BY_WORDS


async def test_an_english_question_is_asked_of_nobody() -> None:
    service = FakeService()

    assert await english(service, "Is TMAO higher?", "en") == "Is TMAO higher?"
    assert service.orders == []


async def test_a_question_of_several_lines_is_one_line_to_the_service() -> None:
    service = saying("What is lactate?")

    assert await english(service, "Qu'est-ce\n\nque le lactate ?") == "What is lactate?"
    assert service.orders[0].texts == ("Qu'est-ce que le lactate ?",)


async def test_a_question_of_nothing_but_codes_is_asked_of_nobody() -> None:
    service = FakeService()

    assert await english(service, "TMAO IL-6 ?") == "TMAO IL-6"
    assert service.orders == []


async def test_codes_are_told_from_the_script_around_them() -> None:
    service = saying("What does a high XQ0X mean?")

    assert await english(service, "血清TMAO水平升高意味着什么？", "zh") == "What does a high TMAO mean?"
    assert service.orders[0].texts == ("血清XQ0X水平升高意味着什么？",)
