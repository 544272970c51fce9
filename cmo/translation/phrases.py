"""Our own sentences in the languages of the people who ask. phrases/<language>.po holds them, as translators know it.

What has no translation is said in English. `make phrases` brings the files up to date with the code.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import polib

from cmo.phrases import Phrase

LANGUAGES: Final = ("ar", "de", "es", "fr", "hi", "it", "ja", "ko", "nl", "pl", "pt", "ru", "tr", "zh")
"""ISO 639-1 codes of the languages with translations, English apart."""
RIGHT_TO_LEFT: Final = frozenset({"ar"})
_UNSPACED: Final = frozenset({"ja", "zh"})
"""Languages without a space between sentences."""

_FOLDER: Final = Path(__file__).with_name("phrases")


def in_language(text: str, language: str) -> str:
    """A text of ours in a language (ISO 639-1); other texts, and what nobody has translated, as they are.

    Of a text that was stored nothing is left but its English: it is known again when it has no values.
    """
    if language not in LANGUAGES:
        return text
    if not isinstance(text, Phrase):
        return catalogue(language).get(text, text)
    said = _said(text, language)
    return said.replace("。 ", "。") if language in _UNSPACED else said


def read_catalogues() -> None:
    """Read all translations, so that nobody waits for one later. Takes a tenth of a second: call it in a thread."""
    for language in LANGUAGES:
        catalogue(language)


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """The translations into one of the languages by their English templates. The first time takes some 5 ms."""
    entries = polib.pofile(str(_FOLDER / f"{language}.po"))
    return {entry.msgid: entry.msgstr for entry in entries if entry.msgstr and not entry.fuzzy}


def _said(phrase: Phrase, language: str) -> str:
    values = {
        name: _said(value, language) if isinstance(value, Phrase) else value for name, value in phrase.values.items()
    }
    return catalogue(language).get(phrase.template, phrase.template).format(**values)
