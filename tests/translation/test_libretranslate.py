"""A LibreTranslate server is asked politely, and whatever it does comes out as texts or as one error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from cmo.errors import TranslationUnavailable
from cmo.translation.libretranslate import MOST_CHARACTERS, LibreTranslate
from cmo.translation.services import Declined, Order, RestingService
from tests.servers import Fault
from tests.servers.libretranslate import FakeLibreTranslate
from tests.translation.fakes import ORDER, no_calls

KEY = "canary-7f3d-key"
TEXT = "Clinical metabolomics is the study of small molecules in samples from patients."
FRENCH = "La métabolomique clinique est l'étude des petites molécules dans les échantillons de patients."


@pytest.fixture
async def server() -> AsyncIterator[FakeLibreTranslate]:
    async with FakeLibreTranslate() as fake:
        yield fake


@pytest.fixture
async def service(server: FakeLibreTranslate) -> AsyncIterator[LibreTranslate]:
    async with LibreTranslate(url=f"{server.url}/", api_key=KEY) as libre:
        yield libre


def order(*texts: str, target: str = "fr") -> Order:
    return replace(ORDER, texts=texts, target=target)


async def test_texts_come_back_in_order(service: LibreTranslate) -> None:
    assert await service.translate(order(TEXT, "7", TEXT), no_calls) == (FRENCH, "7", FRENCH)


async def test_texts_and_key_travel_in_the_body_and_never_in_the_address(
    server: FakeLibreTranslate, service: LibreTranslate
) -> None:
    await service.translate(order(TEXT), no_calls)

    (request,) = server.requests
    assert request.json == {"q": [TEXT], "source": "en", "target": "fr", "format": "text", "api_key": KEY}
    assert request.path == "/translate"


async def test_long_answers_go_in_several_calls_and_an_endless_sentence_not_at_all(
    server: FakeLibreTranslate, service: LibreTranslate
) -> None:
    long = "7" * (MOST_CHARACTERS - 10)
    assert await service.translate(order(long, "x" * (MOST_CHARACTERS + 1), TEXT), no_calls) == (long, "", FRENCH)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault.RATE_LIMIT, "takes no more requests"),
        (Fault.SERVER_ERROR, "an error (500)"),
        (Fault.BAD_GATEWAY, "an error (502)"),
        (Fault.UNAVAILABLE, "an error (503)"),
        (Fault.RETIRED, "check LIBRETRANSLATE_API_KEY"),
        (Fault.MALFORMED_JSON, "something unexpected"),
        (Fault.ENDS_EARLY, "something unexpected"),
        (Fault.FAILED, "something unexpected"),
        (Fault.INCOMPLETE, "something unexpected"),
        (Fault.CUT_BEFORE_BYTE, "cannot be reached"),
        (Fault.CUT_MIDWAY, "cannot be reached"),
    ],
)
async def test_every_trouble_is_an_error_that_can_be_shown(
    server: FakeLibreTranslate, service: LibreTranslate, fault: Fault, says: str
) -> None:
    server.always(fault)
    with pytest.raises(TranslationUnavailable) as caught:
        await service.translate(order(TEXT, TEXT), no_calls)

    assert says in str(caught.value)
    assert not isinstance(caught.value, Declined)
    assert KEY not in str(caught.value)
    assert TEXT not in str(caught.value)


async def test_a_wrong_key_is_told_without_the_key(server: FakeLibreTranslate) -> None:
    async with FakeLibreTranslate(key="another") as strict, LibreTranslate(url=strict.url, api_key=KEY) as libre:
        with pytest.raises(TranslationUnavailable, match="LIBRETRANSLATE_API_KEY") as caught:
            await libre.translate(order(TEXT), no_calls)
    assert KEY not in str(caught.value)


async def test_a_language_the_server_does_not_know_is_declined(service: LibreTranslate) -> None:
    with pytest.raises(Declined, match="does not know this language"):
        await service.translate(order(TEXT, target="fi"), no_calls)


async def test_nobody_there_is_unavailable() -> None:
    async with FakeLibreTranslate() as gone:
        url = gone.url
    async with LibreTranslate(url=url) as libre:
        with pytest.raises(TranslationUnavailable, match=r"127\.0\.0\.1 cannot be reached"):
            await libre.translate(order(TEXT), no_calls)


async def test_a_server_that_hangs_is_left_at_the_deadline(server: FakeLibreTranslate, service: LibreTranslate) -> None:
    server.always(Fault.HANG_BEFORE_BYTE)
    async with asyncio.timeout(5):
        with pytest.raises(TranslationUnavailable, match="in time"):
            await RestingService(service).translate(replace(order(TEXT), seconds=0.2), no_calls)
    await server.until(lambda: server.abandoned == 1)
