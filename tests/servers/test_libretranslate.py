"""The fake translator answers as the real one is documented to, honestly unless told otherwise."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers.calls import plain_http
from tests.servers.faults import Fault
from tests.servers.libretranslate import PHRASES, FakeLibreTranslate, Mangling, phrase

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
async def translator() -> AsyncIterator[FakeLibreTranslate]:
    async with FakeLibreTranslate() as fake:
        yield fake


async def call(fake: FakeLibreTranslate, **body: Any) -> httpx.Response:
    async with plain_http(fake.url) as http:
        return await http.post("/translate", json={"source": "en", "target": "fr", "format": "text"} | body)


async def said(fake: FakeLibreTranslate, *texts: str) -> Any:
    return (await call(fake, q=list(texts))).json()["translatedText"]


async def test_one_text_or_several_are_translated(translator: FakeLibreTranslate) -> None:
    translator.teach("fr", "{Lactate} rose by {5%}.", "Le taux de {0} a augmenté de {1}.")

    assert (await call(translator, q="Lactate rose by 5%.")).json() == {
        "translatedText": "Le taux de Lactate a augmenté de 5%."
    }
    assert await said(translator, "XQ0X rose by XQ1X.", "XQ0X rose by 5%.") == [
        "Le taux de XQ0X a augmenté de XQ1X.",
        "Le taux de XQ0X a augmenté de 5%.",
    ]


async def test_what_it_was_not_taught_is_translated_word_by_word(translator: FakeLibreTranslate) -> None:
    assert await said(translator, "XQ0X in blood") == ["XQ0X in sang"]


@pytest.mark.parametrize("target", list(PHRASES))
async def test_it_knows_sentences_to_be_shown(translator: FakeLibreTranslate, target: str) -> None:
    known = [phrase(*pair) for pair in PHRASES[target]]
    response = await call(translator, q=[each.english for each in known], target=target)

    assert response.json()["translatedText"] == [each.whole for each in known]


async def test_a_question_it_knows_becomes_english(translator: FakeLibreTranslate) -> None:
    response = await call(translator, q="什么是临床代谢组学？", source="zh", target="en")

    assert response.json() == {"translatedText": "What is clinical metabolomics?"}


@pytest.mark.parametrize(
    ("body", "status"), [({"q": "a", "target": "xx"}, 400), ({"q": []}, 400), ({}, 400), ({"q": 5}, 400)]
)
async def test_what_is_wrong_with_a_request_is_told(
    translator: FakeLibreTranslate, body: dict[str, Any], status: int
) -> None:
    response = await call(translator, **body)

    assert response.status_code == status
    assert response.json()["error"]


async def test_a_key_is_asked_for() -> None:
    async with FakeLibreTranslate(key="right") as strict:
        assert (await call(strict, q="a")).status_code == 403
        assert (await call(strict, q="a", api_key="right")).status_code == 200


@pytest.mark.parametrize("fault", [Fault.RATE_LIMIT, Fault.SERVER_ERROR, Fault.BAD_GATEWAY])
async def test_faults_strike_as_planned(translator: FakeLibreTranslate, fault: Fault) -> None:
    translator.then(fault)

    assert [(await call(translator, q="a")).status_code for _ in "12"] == [int(fault), 200]


async def test_another_number_of_texts_can_come_back(translator: FakeLibreTranslate) -> None:
    translator.then(Fault.INCOMPLETE)

    assert len(await said(translator, "a", "b")) == 1


@pytest.mark.parametrize("mangling", [each for each in Mangling if each is not Mangling.NONE])
async def test_every_mangling_changes_what_comes_back_and_is_counted(
    translator: FakeLibreTranslate, mangling: Mangling
) -> None:
    translator.teach("fr", "{A} rose by {5} but did not change {B}.", "{0} a augmenté de {1} mais n'a pas changé {2}.")
    translator.teach("fr", "{A} fell by {5}.", "{0} a baissé de {1}.")
    right = await said(translator, "XQ0X rose by XQ1X but did not change XQ2X.", "XQ3X fell by XQ4X.")
    translator.mangle(mangling)
    spoilt = await said(translator, "XQ0X rose by XQ1X but did not change XQ2X.", "XQ3X fell by XQ4X.")

    assert spoilt[0] != right[0]
    assert translator.mangled >= 1


async def test_it_starts_from_the_command_line_and_says_what_to_set() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.servers", "libretranslate", "--port", "0", "--mangling", Mangling.PARROTS),
        cwd=PROJECT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    lines = [(await process.stdout.readline()).decode() for _ in range(3)]
    given = dict(line.removeprefix("export ").strip().split("=") for line in lines[1:])
    assert given["CMO_TRANSLATION"] == "libretranslate"
    async with plain_http(given["LIBRETRANSLATE_URL"]) as http:
        response = await http.post("/translate", json={"q": "Hello", "source": "en", "target": "fr"})
    assert response.json() == {"translatedText": "Hello"}
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 0
