"""English answers in the asker's language, sentence by sentence. Knows neither who translates nor how it is checked.

White space, paragraph breaks and marks of lists between sentences stay. Sentences of our own are said in their own
translation. A sentence whose translation is not believed stays English.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cmo.citations import answer_sentences
from cmo.interfaces import Book
from cmo.library.wordlists import COMPOUND_TYPES, EntityType
from cmo.logs import fields
from cmo.models.extraction import DictionaryExtractor
from cmo.translation.phrases import in_language
from cmo.translation.protect import Masked, Names, Span, mask, no_names, restored
from cmo.translation.services import Order, TranslationService
from cmo.translation.verify import loss, strayed
from cmo.values import Question, Translated

_MARKERS: Final = re.compile(r"(?:\s*\[\d{1,3}\])*$")

_KEPT_ENGLISH: Final = (*COMPOUND_TYPES, EntityType.GENE)

_log = logging.getLogger(__name__)


def scientific_names(extractor: DictionaryExtractor) -> Names:
    """Where a text names compounds and genes. Diseases, specimens and methods have names in every language."""

    def names(text: str) -> Iterator[Span]:
        found = (mention for mention in extractor.mentions(text) if mention.entity.type in _KEPT_ENGLISH)
        return ((mention.start, mention.end) for mention in found)

    return names


class SentenceTranslator:
    """Has a service translate answers. An `AnswerTranslator`.

    `names` finds the names that stay as they are; it is called in a thread. `own` are sentences of ours that stand in
    answers, as their templates.
    """

    def __init__(self, service: TranslationService, *, names: Names = no_names, own: Collection[str] = ()) -> None:
        self._service = service
        self._names = names
        self._own = frozenset(own)

    async def translate(self, answer: str, question: Question, seconds: float, book: Book) -> Translated:
        """An English answer in the question's language, within `seconds`.

        Raises:
            TranslationUnavailable: nobody could translate; the message can be shown.
        """
        language = question.language
        pieces = await asyncio.to_thread(self._pieces, answer, language)
        asked = [piece for piece in pieces if piece.masked is not None]
        if asked:
            texts = tuple(piece.masked.text for piece in asked if piece.masked is not None)
            order = Order(texts=texts, source="en", target=language, seconds=seconds, user_id=question.user_id)
            translations = await self._service.translate(order, book)
            said = await asyncio.to_thread(_believed, asked, translations, language)
        else:
            said = {}
        kept = len(asked) - len(said)
        if kept:
            _log.info("sentences_kept_english", extra=fields(service=self._service.name, kept=kept, of=len(asked)))
        return _put_together(answer, pieces, said, service=self._service.name if asked else "", kept=kept)

    def _pieces(self, answer: str, language: str) -> list[_Piece]:
        pieces: list[_Piece] = []
        first = 0
        for start, end in answer_sentences(answer):
            sentence = answer[start:end]
            ours = self._ours(sentence, language)
            masked = mask(sentence, self._names, first=first) if ours is None else None
            if masked is not None:
                first += len(masked.things)
                masked = masked if masked.has_words else None
            pieces.append(_Piece(start=start, end=end, ours=ours, masked=masked))
        return pieces

    def _ours(self, sentence: str, language: str) -> str | None:
        """A sentence of our own in the language; None for others, and where nobody has translated it."""
        markers = _MARKERS.search(sentence)
        body = sentence[: markers.start()] if markers else sentence
        if body not in self._own:
            return None
        said = in_language(body, language)
        return said + sentence[len(body) :] if said != body else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """A sentence at [start, end) of the answer: one of `ours` in translation, or `masked` for a service, or neither."""

    start: int
    end: int
    ours: str | None
    masked: Masked | None


def _believed(asked: Sequence[_Piece], translations: Sequence[str], language: str) -> dict[int, str]:
    """The sentences whose translations are believed, by where they begin.

    Where one came back with what belongs to another, the order of all is in doubt: then no sentence is believed that
    has nothing by which it could be told from others.
    """
    pairs = [(piece.start, piece.masked, text) for piece, text in zip(asked, translations, strict=True) if piece.masked]
    mixed_up = any(strayed(masked, text) for _, masked, text in pairs)
    return {
        start: restored(masked, text, language)
        for start, masked, text in pairs
        if loss(masked, text, language) is None and (masked.things or not mixed_up)
    }


def _put_together(
    answer: str, pieces: Sequence[_Piece], said: dict[int, str], *, service: str, kept: int
) -> Translated:
    text, at = "", 0
    spans: dict[int, tuple[int, int]] = {}
    for piece in pieces:
        text += answer[at : piece.start]
        sentence = piece.ours or said.get(piece.start) or answer[piece.start : piece.end]
        spans[piece.start] = (len(text), len(text) + len(sentence))
        text += sentence
        at = piece.end
    return Translated(text=text + answer[at:], service=service, spans=spans, kept=kept)
