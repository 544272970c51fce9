"""Vectors for tests: the word embedder of the models' tests, in the shape the quality part asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cmo.interfaces import TokenVectors
from tests.models.word_tokens import WordEmbedder


def vectors_of(texts: Sequence[str], *alike: Sequence[str]) -> Mapping[str, TokenVectors]:
    """The token vectors of each text; `alike` are groups of words with nearly the same meaning."""
    embedder = WordEmbedder(*alike)
    return {text: embedder.tokens(text) for text in texts}
