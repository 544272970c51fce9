"""An embedder and an extractor that are quick, need no files, and behave the same every time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from cmo.errors import ModelUnavailable
from cmo.interfaces import Vectors
from cmo.values import Document, Entity, Extraction, Keywords, Passage, Relation

_WORD = re.compile(r"[\w-]+")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_KNOWN = {
    "glucose": Entity(name="glucose", type="Metabolite", identifiers=("CHEBI:17234",)),
    "lactate": Entity(name="lactate", type="Metabolite", identifiers=("CHEBI:24996",)),
    "citrate": Entity(name="citrate", type="Metabolite", identifiers=("CHEBI:16947",)),
    "urea": Entity(name="urea", type="Metabolite", identifiers=("CHEBI:16199",)),
    "diabetes": Entity(name="type 2 diabetes", type="Disease"),
    "sepsis": Entity(name="sepsis", type="Disease"),
}


class WordEmbedder:
    """Vectors whose similarity is the number of words in common: each word has a random direction of its own."""

    def __init__(self, dimension: int = 64) -> None:
        self.dimension = dimension
        self.fingerprint = f"words-{dimension}"
        self.embedded: list[str] = []
        self.broken = False
        self._directions: dict[str, Vectors] = {}

    async def embed(self, texts: Sequence[str]) -> Vectors:
        if self.broken:
            raise ModelUnavailable("the model is broken")
        self.embedded += texts
        sums = np.stack([self._sum(text) for text in texts])
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        return np.divide(sums, lengths, out=sums, where=lengths > 0)

    def _sum(self, text: str) -> Vectors:
        words = _WORD.findall(text.lower())
        return sum((self._direction(word) for word in words), np.zeros(self.dimension, np.float32))

    def _direction(self, word: str) -> Vectors:
        if word not in self._directions:
            seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest())
            self._directions[word] = np.random.default_rng(seed).standard_normal(self.dimension).astype(np.float32)
        return self._directions[word]


class WordExtractor:
    """Finds a handful of known names, and every word written like ENT-X1; names of one sentence are related."""

    def __init__(self, fingerprint: str = "names-1") -> None:
        self.fingerprint = fingerprint
        self.texts: list[str] = []

    async def extract(self, text: str) -> Extraction:
        self.texts.append(text)
        entities: dict[str, Entity] = {}
        relations: list[Relation] = []
        for sentence in _SENTENCE.split(text):
            found = [entity for word in _WORD.findall(sentence) if (entity := _entity(word))]
            entities |= {entity.name: entity for entity in found}
            names = sorted({entity.name for entity in found})
            relations += [Relation(source=a, target=b, sentence=sentence) for a, b in combinations(names, 2)]
        return Extraction(entities=tuple(entities.values()), relations=tuple(relations))

    def keywords(self, question: str) -> Keywords:
        names = {entity.name for word in _WORD.findall(question) if (entity := _entity(word))}
        return Keywords(high=tuple(_WORD.findall(question)), low=tuple(sorted(names)))


def _entity(word: str) -> Entity | None:
    if word.startswith("ENT-"):
        return Entity(name=word, type="Thing")
    return _KNOWN.get(word.lower())


def document(number: int) -> Document:
    """A document whose id ends in `number`."""
    doc_id = f"doc-{number:016x}"
    return Document(doc_id=doc_id, file=f"{number}.pdf", title=f"Paper {number}", pages=1)


def passages(of: Document, *texts: str) -> list[Passage]:
    """Passages of a document, one for each text, two on a page."""
    return [
        Passage(
            chunk_id=f"{of.doc_id}-p{number // 2 + 1:04d}-c{number % 2:02d}",
            doc_id=of.doc_id,
            page=number // 2 + 1,
            start=0,
            end=len(text),
            text=text,
        )
        for number, text in enumerate(texts)
    ]
