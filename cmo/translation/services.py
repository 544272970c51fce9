"""What a translation service is asked, and the rest it gets after a failure. Knows no service by name.

Services get to read what they translate and may send anything back. What is believed of that is decided in protect.py.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from cmo.errors import TranslationUnavailable
from cmo.interfaces import Book
from cmo.logs import fields
from cmo.phrases import Phrase

REST_SECONDS: Final = 60.0
"""How long a service that failed is left alone, so that a machine without network does not wait at each question."""
LONGEST_REST_SECONDS: Final = 900.0
"""The rest doubles with each failure up to this."""

_log = logging.getLogger(__name__)


class Declined(TranslationUnavailable):
    """A service cannot take this order, though others may go well: a language it does not know, no money left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Texts of one line each, to be translated between languages (ISO 639-1) within `seconds` for a person."""

    texts: tuple[str, ...]
    source: str
    target: str
    seconds: float
    user_id: str


class TranslationService(Protocol):
    """Somebody who translates."""

    @property
    def name(self) -> str:
        """Its name as shown to people."""

    async def translate(self, order: Order, book: Book) -> tuple[str, ...]:
        """The translation of each text, in order; "" for one that is too long for it.

        Raises:
            Declined: it cannot take this order.
            TranslationUnavailable: it does not answer, or nothing that can be used.
        """


class RestingService:
    """Keeps a service to its time, and leaves it alone for a while after a failure. A `TranslationService`.

    Being late counts as a failure the second time in a row.
    """

    def __init__(self, service: TranslationService, *, now: Callable[[], float] = time.monotonic) -> None:
        """`now` is in seconds, from any start."""
        self._service = service
        self._now = now
        self._until = float("-inf")
        self._failures = 0
        self._late = False

    @property
    def name(self) -> str:
        """The service's."""
        return self._service.name

    async def translate(self, order: Order, book: Book) -> tuple[str, ...]:
        """The translation of each text, in order.

        Raises:
            Declined: the service cannot take this order.
            TranslationUnavailable: it does not answer, not in time, or is resting.
        """
        if self._now() < self._until:
            raise TranslationUnavailable(
                Phrase("{service} did not answer a moment ago and is not asked for a while.", service=self.name)
            )
        try:
            async with asyncio.timeout(order.seconds):
                texts = await self._service.translate(order, book)
            if len(texts) != len(order.texts):
                raise TranslationUnavailable(Phrase("{service} sent something unexpected.", service=self.name))
        except TimeoutError as error:
            if self._late:  # once it may only have been slow, for a question that could not wait
                self._rest("late")
            self._late = True
            raise TranslationUnavailable(Phrase("{service} did not answer in time.", service=self.name)) from error
        except Declined:
            raise
        except TranslationUnavailable as error:
            self._rest(str(error))
            raise
        self._failures, self._late = 0, False
        return texts

    def _rest(self, reason: str) -> None:
        if self._now() < self._until:
            return  # others were asking it at the same time
        seconds = min(REST_SECONDS * 2**self._failures, LONGEST_REST_SECONDS)
        self._until = self._now() + seconds
        self._failures += 1
        _log.warning("translation_rests", extra=fields(service=self.name, reason=reason, seconds=seconds))


def batches(texts: Sequence[str], most_characters: int) -> Iterator[list[int]]:
    """The places of texts that go together into one call; a text that is too long for any is left out."""
    batch: list[int] = []
    length = 0
    for place, text in enumerate(texts):
        if len(text) > most_characters:
            continue
        if batch and length + len(text) > most_characters:
            yield batch
            batch, length = [], 0
        batch.append(place)
        length += len(text) + 1  # and a line break
    if batch:
        yield batch
