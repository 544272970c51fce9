"""What brings questions into English and answers into the language of the question."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

from cmo.dispatch.spending import Spending
from cmo.dispatch.translating import BudgetedService
from cmo.engines.library import NEAREST, NOT_ANSWERED, SEE_ALSO
from cmo.engines.perplexity_answer import NOT_ANSWERED as NOT_ANSWERED_BY_WEB
from cmo.interfaces import AnswerTranslator, ChatModel, QuestionTranslator
from cmo.models.extraction import DictionaryExtractor
from cmo.settings import Settings, Translation
from cmo.translation.answers import SentenceTranslator, scientific_names
from cmo.translation.by_model import ModelService
from cmo.translation.free import google, my_memory
from cmo.translation.glossary import Glossary
from cmo.translation.libretranslate import LibreTranslate
from cmo.translation.questions import ServiceQuestions, WordListQuestions
from cmo.translation.services import RestingService, TranslationService

OWN_SENTENCES = (NOT_ANSWERED, NEAREST, SEE_ALSO, NOT_ANSWERED_BY_WEB)
"""Sentences of ours that stand in answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Languages:
    """How languages are dealt with. Without `answers` they stay in English."""

    questions: QuestionTranslator
    answers: AnswerTranslator | None


async def open_languages(
    settings: Settings,
    stack: AsyncExitStack,
    extractor: DictionaryExtractor,
    chat: ChatModel | None,
    spending: Spending,
) -> Languages:
    """The translators that these settings ask for."""
    by_words = WordListQuestions(Glossary())
    service = await _service(settings, stack, chat, spending)
    if service is None:
        return Languages(questions=by_words, answers=None)

    return Languages(
        questions=ServiceQuestions(service, otherwise=by_words),
        answers=SentenceTranslator(service, names=scientific_names(extractor), own=OWN_SENTENCES),
    )


async def _service(
    settings: Settings, stack: AsyncExitStack, chat: ChatModel | None, spending: Spending
) -> TranslationService | None:
    match settings.translation:
        case Translation.OFF:
            return None
        case Translation.GOOGLE:
            return RestingService(google())
        case Translation.MYMEMORY:
            return RestingService(my_memory())
        case Translation.LIBRETRANSLATE:
            assert settings.libretranslate_url is not None, "load_settings asks for it"
            key = settings.libretranslate_api_key
            server = LibreTranslate(
                url=settings.libretranslate_url, api_key=key.get_secret_value() if key is not None else None
            )
            return RestingService(await stack.enter_async_context(server))
        case Translation.MODEL:
            assert chat is not None, "load_settings asks for it"
            return RestingService(BudgetedService(ModelService(chat), spending=spending))
