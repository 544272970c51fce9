"""A token embedder for tests: a word is a direction of its own, and words of one group lie close together."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cmo.interfaces import Vectors

_WORD = re.compile(r"\w+")
_DIMENSION = 96


@dataclass(frozen=True, slots=True)
class WordTokens:
    """The words of a text as tokens."""

    vectors: Vectors
    offsets: tuple[tuple[int, int], ...]


class WordEmbedder:
    """Embeds each word by itself. `alike` are groups of words with nearly the same meaning."""

    def __init__(self, *alike: Sequence[str]) -> None:
        self.embedded: list[str] = []
        self._group = {word: f"group {number}" for number, words in enumerate(alike) for word in words}

    async def embed_tokens(self, texts: Sequence[str]) -> list[WordTokens]:
        """One token per word."""
        self.embedded += texts
        return [self.tokens(text) for text in texts]

    def tokens(self, text: str) -> WordTokens:
        """The words of one text."""
        found = list(_WORD.finditer(text))
        rows = [self._vector(match.group().lower()) for match in found]
        vectors = np.stack(rows) if rows else np.zeros((0, _DIMENSION), dtype=np.float32)
        return WordTokens(vectors=vectors, offsets=tuple(match.span() for match in found))

    def _vector(self, word: str) -> Vectors:
        own = _direction(word)
        if word not in self._group:
            return own
        together = _direction(self._group[word]) + 0.3 * own
        return np.asarray(together / np.linalg.norm(together), dtype=np.float32)


def _direction(word: str) -> Vectors:
    seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
    vector = np.random.default_rng(seed).standard_normal(_DIMENSION).astype(np.float32)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)
