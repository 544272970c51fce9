"""Questions of other languages as search text for English papers, by a service or else by word lists."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from cmo.errors import TranslationUnavailable
from cmo.interfaces import Book
from cmo.logs import fields
from cmo.translation.glossary import Glossary
from cmo.translation.protect import mask, restored
from cmo.translation.services import Order, TranslationService
from cmo.translation.verify import serves_search
from cmo.values import Question

QUESTION_SECONDS: Final = 3.0
"""How long a service is waited for: the person has seen nothing yet, and word lists do nearly as well in a search."""

_log = logging.getLogger(__name__)


class WordListQuestions:
    """Translates word by word. A `QuestionTranslator` that needs nobody."""

    def __init__(self, glossary: Glossary) -> None:
        self._glossary = glossary

    async def to_english(self, question: Question, text: str, book: Book) -> str:
        """English words for the text's words; an English text as it is."""
        return await asyncio.to_thread(self._glossary.to_english, text, question.language)


class ServiceQuestions:
    """Has a service translate questions; `otherwise` steps in when it does not, or not so that it can be believed.

    Metabolites' names are translated, too: they are what is to be found in English papers. Numbers, abbreviations and
    identifiers come out as they went in.
    """

    def __init__(
        self, service: TranslationService, *, otherwise: WordListQuestions, seconds: float = QUESTION_SECONDS
    ) -> None:
        self._service = service
        self._otherwise = otherwise
        self._seconds = seconds

    async def to_english(self, question: Question, text: str, book: Book) -> str:
        """English search text for a question's `text`; an English text as it is."""
        if question.language == "en":
            return text
        masked = mask(" ".join(text.split()))
        if not masked.has_words:
            return await self._otherwise.to_english(question, text, book)
        order = Order(
            texts=(masked.text,),
            source=question.language,
            target="en",
            seconds=self._seconds,
            user_id=question.user_id,
        )
        try:
            (translated,) = await self._service.translate(order, book)
        except TranslationUnavailable as error:
            _log.info("question_not_translated", extra=fields(service=self._service.name, reason=str(error)))
            return await self._otherwise.to_english(question, text, book)
        if not serves_search(masked, translated):
            return await self._otherwise.to_english(question, text, book)
        return restored(masked, translated, "en")
