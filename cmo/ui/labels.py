"""The words of the page's elements in a person's language. An element of the page has no words of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from cmo.phrases import Phrase
from cmo.translation.phrases import RIGHT_TO_LEFT, in_language

Labels: TypeAlias = dict[str, str]
"""Words by the name an element knows them by, in JSON."""

PASSAGE = {
    "passage": Phrase("Quoted passage"),
    "close": Phrase("Close the source"),
    "back": Phrase("Back to the evidence"),
    "newTab": Phrase("open in a new tab"),
    "loading": Phrase("Loading …"),
    "unreadable": Phrase("This document cannot be shown."),
    "unmarked": Phrase("Not marked on the page: these words cannot be found there with certainty."),
}
"""What the passage in the side panel needs, whoever opens it."""


def labelled(labels: Mapping[str, Phrase], language: str) -> Labels:
    """The words in a language (ISO 639-1)."""
    return {name: in_language(words, language) for name, words in labels.items()}


def direction(language: str) -> Literal["rtl", "ltr"]:
    """Which way a language is written, as HTML calls it."""
    return "rtl" if language in RIGHT_TO_LEFT else "ltr"
