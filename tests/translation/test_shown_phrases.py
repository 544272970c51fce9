"""The sentences that the fake translator knows for showing come through with the real dictionary of names."""

from __future__ import annotations

import pytest

from cmo.library.lexicon import open_lexicon
from cmo.models.extraction import DictionaryExtractor
from cmo.translation.answers import SentenceTranslator, scientific_names
from cmo.translation.libretranslate import LibreTranslate
from cmo.translation.protect import Names
from tests.servers.libretranslate import PHRASES, FakeLibreTranslate, phrase
from tests.translation.fakes import no_calls, question


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Names:
    return scientific_names(DictionaryExtractor(open_lexicon(tmp_path_factory.getbasetemp() / "lexicon")))


@pytest.mark.parametrize("language", list(PHRASES))
async def test_every_sentence_to_be_shown_is_translated(language: str, names: Names) -> None:
    known = [phrase(*pair) for pair in PHRASES[language]]
    answer = " ".join(
        each.english.replace(".", " [1].") if index == 0 else each.english for index, each in enumerate(known)
    )
    async with FakeLibreTranslate() as server, LibreTranslate(url=server.url) as service:
        translated = await SentenceTranslator(service, names=names).translate(
            answer, question(language), 30.0, no_calls
        )

    assert translated.kept == 0
    assert translated.service == "LibreTranslate"
    assert "[1]" in translated.text


def test_names_of_compounds_and_genes_are_kept_and_those_of_diseases_and_specimens_are_not(names: Names) -> None:
    text = "Plasma lactate and insulin rose in diabetes."

    assert [text[start:end] for start, end in names(text)] == ["lactate", "insulin"]
