"""The free services of Google and MyMemory, by deep-translator.

It passes no timeout to anything, so a server that hangs would hold its caller for ever. Its calls are made in threads
that nobody waits for longer than agreed, that do not keep the process from ending, and of which few may hang at once.
"""

from __future__ import annotations

import asyncio
import html
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar, cast

from cmo.errors import TranslationUnavailable
from cmo.interfaces import Book
from cmo.phrases import Phrase
from cmo.translation.services import Declined, Order, batches

MOST_CALLS: Final = 4
"""Calls under way at once. Google allows five a second."""

GOOGLE: Final = "Google Translate"
GOOGLE_CHARACTERS: Final = 4_500
"""In one call; it takes up to 5,000."""
GOOGLE_CODES: Final[Mapping[str, str]] = MappingProxyType({"zh": "zh-CN"})

MY_MEMORY: Final = "MyMemory"
MY_MEMORY_CHARACTERS: Final = 499
"""In one call: fewer than 500."""
MY_MEMORY_CODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ar": "ar-SA", "de": "de-DE", "en": "en-GB", "es": "es-ES", "fr": "fr-FR", "hi": "hi-IN", "it": "it-IT",
        "ja": "ja-JP", "ko": "ko-KR", "nl": "nl-NL", "pl": "pl-PL", "pt": "pt-PT", "ru": "ru-RU", "tr": "tr-TR",
        "zh": "zh-CN",
    }
)  # fmt: skip
_MY_MEMORY_WARNING: Final = "MYMEMORY WARNING"
"""What it writes in place of a translation when a day's share is used up, with status 200."""

_LONGEST_ANSWER: Final = 10
"""Times as long as its question: a longer one is none."""

T = TypeVar("T")


class Translator(Protocol):
    """A translator of deep-translator, for one pair of languages. It blocks."""

    def translate(self, text: str) -> str | None:
        """The translation of one text."""


class DaemonCalls:
    """Blocking calls in threads of their own, at most `most` of them at once. For one event loop."""

    def __init__(self, *, most: int = MOST_CALLS) -> None:
        self._most = most
        self._slots = asyncio.Semaphore(most)
        self._left_behind = 0

    async def run(self, work: Callable[[], T]) -> T:
        """What the work returns or raises. Cancelled, it goes on unwatched, and keeps its place until it ends.

        Raises:
            TranslationUnavailable: all places are taken by calls that nobody waits for any more.
        """
        if self._left_behind >= self._most:
            raise TranslationUnavailable(Phrase("Earlier calls to the translation service still hang."))
        await self._slots.acquire()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def call() -> None:
            try:
                result, error = work(), None
            except BaseException as raised:  # all of it belongs to whoever waits
                result, error = None, raised
            with suppress(RuntimeError):  # the loop ended before this call
                loop.call_soon_threadsafe(self._ended, done, result, error)

        threading.Thread(target=call, name="translation", daemon=True).start()
        try:
            return await done
        except asyncio.CancelledError:
            self._left_behind += done.cancelled()
            raise

    def _ended(self, done: asyncio.Future[T], result: Any, error: BaseException | None) -> None:
        self._slots.release()
        if done.cancelled():
            self._left_behind -= 1
        elif error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)


class FreeService:
    """One of the free services. A `TranslationService`; make it on the event loop that will use it.

    `open_translator` gets the two languages as the service calls them. Texts that fit into `most_characters` go
    together, a line each, where it `keeps_lines`; should they come back in another number, each goes alone.
    """

    def __init__(
        self,
        open_translator: Callable[[str, str], Translator],
        *,
        name: str,
        codes: Mapping[str, str],
        most_characters: int,
        keeps_lines: bool,
    ) -> None:
        self._open = open_translator
        self._name = name
        self._codes = codes
        self._most_characters = most_characters
        self._keeps_lines = keeps_lines
        self._calls = DaemonCalls()

    @property
    def name(self) -> str:
        """Its name as shown to people."""
        return self._name

    async def translate(self, order: Order, book: Book) -> tuple[str, ...]:
        """The translation of each text, in order; "" for one that is too long for it.

        Raises:
            Declined: it does not know one of the languages.
            TranslationUnavailable: it does not answer, or nothing that can be used.
        """
        groups = list(batches(order.texts, self._most_characters))
        if not self._keeps_lines:
            groups = [[place] for group in groups for place in group]
        done = await asyncio.gather(*(self._together(order, group) for group in groups))
        found = {
            place: text
            for group, texts in zip(groups, done, strict=True)
            for place, text in zip(group, texts, strict=True)
        }
        return tuple(found.get(place, "") for place in range(len(order.texts)))

    async def _together(self, order: Order, places: list[int]) -> list[str]:
        texts = [order.texts[place] for place in places]
        lines = (await self._one(order, "\n".join(texts))).split("\n")
        if len(texts) == 1:
            return [" ".join(lines)]
        if len(lines) == len(texts):
            return [line.strip() for line in lines]
        return list(await asyncio.gather(*(self._one(order, text) for text in texts)))

    async def _one(self, order: Order, text: str) -> str:
        source, target = (self._codes.get(code, code) for code in (order.source, order.target))
        translated = await self._calls.run(lambda: _translated(self._open, self._name, source, target, text))
        return translated if len(translated) <= _LONGEST_ANSWER * len(text) + 100 else ""


def google() -> FreeService:
    """The free service of Google."""

    def open_translator(source: str, target: str) -> Translator:
        from deep_translator import GoogleTranslator  # type: ignore[import-untyped]  # 0.2 s, for who translates at all

        return cast("Translator", GoogleTranslator(source=source, target=target))

    return FreeService(
        open_translator, name=GOOGLE, codes=GOOGLE_CODES, most_characters=GOOGLE_CHARACTERS, keeps_lines=True
    )


def my_memory() -> FreeService:
    """The free service of MyMemory: 5,000 characters a day from one address."""

    def open_translator(source: str, target: str) -> Translator:
        from deep_translator import MyMemoryTranslator  # as above

        return _Unescaped(MyMemoryTranslator(source=source, target=target))

    return FreeService(
        open_translator, name=MY_MEMORY, codes=MY_MEMORY_CODES, most_characters=MY_MEMORY_CHARACTERS, keeps_lines=False
    )


class _Unescaped:
    """MyMemory's translator, whose answers may be escaped for web pages, or be a warning instead."""

    def __init__(self, translator: Translator) -> None:
        self._translator = translator

    def translate(self, text: str) -> str | None:
        translated = html.unescape(self._translator.translate(text) or "")
        if translated.startswith(_MY_MEMORY_WARNING):
            raise TranslationUnavailable(Phrase("{service} translates no more today.", service=MY_MEMORY))
        return translated


def _translated(
    open_translator: Callable[[str, str], Translator], name: str, source: str, target: str, text: str
) -> str:
    """One call to deep-translator, in whatever thread.

    Its errors carry the text or an address with it, so they are not passed on, not even as causes. It reads pages and
    JSON without looking whether they are what it expects, so the errors of that are failures of the service, too.
    """
    import requests  # comes with deep-translator, and is loaded as late
    from deep_translator import exceptions

    theirs = (kind for kind in vars(exceptions).values() if isinstance(kind, type) and issubclass(kind, Exception))
    failures: tuple[type[Exception], ...] = (*theirs, requests.exceptions.RequestException, *_MISREADINGS)
    try:
        return open_translator(source, target).translate(text) or ""
    except exceptions.LanguageNotSupportedException:
        raise Declined(Phrase("{service} does not know this language.", service=name)) from None
    except exceptions.TooManyRequests:
        raise TranslationUnavailable(Phrase("{service} takes no more requests for now.", service=name)) from None
    except requests.exceptions.ConnectionError:
        raise TranslationUnavailable(Phrase("{service} cannot be reached.", service=name)) from None
    except failures:
        raise TranslationUnavailable(Phrase("{service} sent something unexpected.", service=name)) from None


_MISREADINGS: Final = (AttributeError, KeyError, TypeError, ValueError, StopIteration)
