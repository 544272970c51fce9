"""200 sentences full of names, numbers, units and markers through a service that spoils them, by HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cmo.translation.answers import SentenceTranslator
from cmo.translation.libretranslate import LibreTranslate
from tests.servers.libretranslate import HARMLESS, UNSEEN, FakeLibreTranslate, Mangling
from tests.translation.fakes import no_calls, question
from tests.translation.trial import Trial, judged, names_in, trials

COUNTS = {"fr": 200, "zh": 60}
"""Sentences by language; the benchmark takes as many of both."""
SEEN = [mangling for mangling in Mangling if mangling not in UNSEEN]


@pytest.fixture
async def server() -> AsyncIterator[FakeLibreTranslate]:
    async with FakeLibreTranslate() as fake:
        yield fake


async def shown(server: FakeLibreTranslate, sentences: list[Trial], language: str) -> list[str]:
    async with LibreTranslate(url=server.url) as service:
        translator = SentenceTranslator(service, names=names_in)
        answer = "\n\n".join(sentence.english for sentence in sentences)
        translated = await translator.translate(answer, question(language), 30.0, no_calls)
    return translated.text.split("\n\n")


@pytest.mark.parametrize("language", list(COUNTS))
@pytest.mark.parametrize("mangling", SEEN)
async def test_nothing_wrong_is_ever_shown_as_right(
    server: FakeLibreTranslate, mangling: Mangling, language: str
) -> None:
    sentences = trials(server, language, count=COUNTS[language])
    server.mangle(mangling)
    translated, wrong = judged(sentences, await shown(server, sentences, language))

    assert wrong == []
    assert server.mangled == (0 if mangling is Mangling.NONE else COUNTS[language])
    assert (translated > 0) == (mangling in HARMLESS)


@pytest.mark.parametrize(("language", "least"), [("fr", 200), ("zh", 48)])
async def test_most_good_translations_are_shown(server: FakeLibreTranslate, language: str, least: int) -> None:
    """Two of the ten Chinese patterns put numbers elsewhere, which cannot be told from a swap."""
    sentences = trials(server, language, count=COUNTS[language])
    translated, _ = judged(sentences, await shown(server, sentences, language))

    assert translated >= least


@pytest.mark.parametrize("mangling", sorted(UNSEEN))
async def test_what_no_placeholder_can_show_is_not_seen(server: FakeLibreTranslate, mangling: Mangling) -> None:
    """Known blind spots; were they seen, the documentation would have to say so."""
    sentences = trials(server, "fr", count=COUNTS["fr"])
    server.mangle(mangling)
    _, wrong = judged(sentences, await shown(server, sentences, "fr"))

    assert len(wrong) == server.mangled > 0
