"""A LibreTranslate server, by its HTTP API (https://docs.libretranslate.com/api/operations/translate/).

Texts and key travel in the body of the request, never in its address. Of what a server says when it refuses, only the
status gets into messages.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ValidationError

from cmo.errors import TranslationUnavailable
from cmo.interfaces import Book
from cmo.phrases import Phrase
from cmo.translation.services import Declined, Order, batches

MOST_CHARACTERS: Final = 2_000
"""In one call: what libretranslate.com takes."""
CONNECT_SECONDS: Final = 3.0
_MOST_BYTES: Final = 1_000_000
"""Of an answer."""


class LibreTranslate:
    """A server of LibreTranslate. A `TranslationService`; `async with` opens and closes its connections."""

    def __init__(self, *, url: str, api_key: str | None = None) -> None:
        """`url` is the server's address without the path of a call; not every server wants a key."""
        self._address = f"{url.rstrip('/')}/translate"
        self._host = urlsplit(url).hostname or "?"
        self._key = {"api_key": api_key} if api_key else {}
        self._client = httpx.AsyncClient(
            # Certificates take a twentieth of a second to load. Plain HTTP has none, and redirects are not followed.
            verify=not url.startswith("http://"),
            follow_redirects=False,
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
        )

    @property
    def name(self) -> str:
        """Its name as shown to people."""
        return "LibreTranslate"

    async def __aenter__(self) -> Self:
        """Itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def translate(self, order: Order, book: Book) -> tuple[str, ...]:
        """The translation of each text, in order; "" for one that is too long for one call.

        Raises:
            Declined: it does not know one of the languages.
            TranslationUnavailable: it does not answer, or nothing that can be used.
        """
        found: dict[int, str] = {}
        for places in batches(order.texts, MOST_CHARACTERS):
            texts = await self._batch(order, [order.texts[place] for place in places])
            found |= dict(zip(places, texts, strict=True))
        return tuple(found.get(place, "") for place in range(len(order.texts)))

    async def _batch(self, order: Order, texts: list[str]) -> list[str]:
        body = {"q": texts, "source": order.source, "target": order.target, "format": "text", **self._key}
        try:
            async with self._client.stream("POST", self._address, json=body) as response:
                self._check(response.status_code)
                answer = await self._read(response)
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise TranslationUnavailable(
                Phrase("The translation server {host} cannot be reached.", host=self._host)
            ) from error
        try:
            translated = _Answer.model_validate_json(answer).translatedText
        except ValidationError:
            raise self._unexpected() from None  # its words repeat the answer
        if len(translated) != len(texts):
            raise self._unexpected()
        return translated

    def _check(self, status: int) -> None:
        if status == 400:
            raise Declined(Phrase("The translation server {host} does not know this language.", host=self._host))
        if status != 200:
            raise TranslationUnavailable(_refusal(status, self._host))

    async def _read(self, response: httpx.Response) -> bytes:
        answer = b""
        async for piece in response.aiter_bytes():
            answer += piece
            if len(answer) > _MOST_BYTES:
                raise self._unexpected()
        return answer

    def _unexpected(self) -> TranslationUnavailable:
        return TranslationUnavailable(Phrase("{service} sent something unexpected.", service=self.name))


class _Answer(BaseModel):
    translatedText: list[str]  # noqa: N815 - as the API calls it


def _refusal(status: int, host: str) -> Phrase:
    match status:
        case 403:
            return Phrase("The translation server {host} refuses the key: check LIBRETRANSLATE_API_KEY.", host=host)
        case 404:
            return Phrase("{host} is no translation server: check LIBRETRANSLATE_URL.", host=host)
        case 429:
            return Phrase("The translation server {host} takes no more requests for now.", host=host)
    return Phrase("The translation server {host} answers with an error ({status}).", host=host, status=status)
