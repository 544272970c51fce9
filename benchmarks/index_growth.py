"""Seconds that adding one small document takes in a library of 10, 100, 300 documents: ours beside LightRAG's storages.

One document has 2 pages and 6 passages of about 200 words, naming some things of its own and some which other documents
name too. Both sides get the same documents, the same extractor, and an embedder made of hashed words that costs next to
nothing: what is measured is LightRAG and its storages. Each figure is the median of five additions.

    python benchmarks/index_growth.py [--sizes 10 100 300]
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import statistics
import tempfile
import time
import zlib
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from cmo.engines.lightrag import Embedding, GraphIndex, lightrag_arguments, lightrag_text
from cmo.engines.lightrag_runtime import LoopThread, load_lightrag
from cmo.interfaces import Vectors
from cmo.values import Document, Entity, Extraction, Keywords, Passage, Relation

DIMENSION = 384
PASSAGES = 6
WORDS = 200
SHARED_NAMES = 500
REPETITIONS = 5

Add = Callable[[int], Awaitable[None]]


class HashEmbedder:
    """A vector by the hash of each word."""

    dimension = DIMENSION
    fingerprint = "hash"

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Counts of words, by hash."""
        vectors = np.zeros((len(texts), DIMENSION), np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in text.split():
                row[zlib.crc32(word.encode()) % DIMENSION] += 1
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


class CapitalExtractor:
    """Every word that begins with a capital is a thing; neighbours are related."""

    fingerprint = "capitals"

    async def extract(self, text: str) -> Extraction:
        """The capitalised words of a text."""
        names = list(dict.fromkeys(word for word in text.split() if word[0].isupper()))
        relations = tuple(Relation(source=a, target=b, sentence=text) for a, b in pairwise(names))
        return Extraction(entities=tuple(Entity(name=name, type="Thing") for name in names), relations=relations)

    def keywords(self, question: str) -> Keywords:
        """The question itself."""
        return Keywords(high=(question,), low=())


def small_document(number: int) -> tuple[Document, list[Passage]]:
    chance = random.Random(number)
    doc_id = f"doc-{number:016x}"
    passages = []
    for index in range(PASSAGES):
        words = [f"w{chance.randrange(5_000)}" for _ in range(WORDS - 8)]
        # Names are drawn so that a few are in nearly every document and most are in few, as in papers.
        shared = [f"NAME{int(SHARED_NAMES * chance.random() ** 3)}" for _ in range(6)]
        text = " ".join([*shared, f"OWN{number}X{index}", f"OWN{number}", *words]) + "."
        page = index // 3 + 1
        chunk_id = f"{doc_id}-p{page:04d}-c{index % 3:02d}"
        passages.append(Passage(chunk_id=chunk_id, doc_id=doc_id, page=page, start=0, end=len(text), text=text))
    return Document(doc_id=doc_id, file=f"{number}.pdf", title=str(number), pages=2), passages


async def seconds_at(sizes: Sequence[int], add: Add) -> dict[int, float]:
    taken: dict[int, float] = {}
    number = 0
    for size in sizes:
        while number < size:
            await add(number)
            number += 1
        samples = []
        for _ in range(REPETITIONS):
            start = time.perf_counter()
            await add(number)
            samples.append(time.perf_counter() - start)
            number += 1
        taken[size] = statistics.median(samples)
    return taken


async def ours(folder: Path, sizes: Sequence[int]) -> dict[int, float]:
    database = folder / "index.sqlite"
    index = GraphIndex(
        database, generation="g0001", embedder=HashEmbedder(), extractor=CapitalExtractor(), writable=True
    )
    await index.open()

    async def add(number: int) -> None:
        await index.insert(*small_document(number))

    try:
        return await seconds_at(sizes, add)
    finally:
        await index.close()


async def defaults(folder: Path, sizes: Sequence[int]) -> dict[int, float]:
    lightrag = load_lightrag()
    at_hand: dict[str, list[Passage]] = {}
    embedder = HashEmbedder()
    embedding = Embedding(name="hash", dimension=DIMENSION, embed=embedder.embed)
    arguments = lightrag_arguments(lightrag, embedding, CapitalExtractor(), at_hand)
    rag = lightrag.LightRAG(**arguments, working_dir=str(folder), workspace="json")
    await rag.initialize_storages()

    async def add(number: int) -> None:
        document, at_hand[document_id(number)] = small_document(number)
        await rag.ainsert(lightrag_text(document.doc_id), ids=[document.doc_id], file_paths=[document.doc_id])

    try:
        return await seconds_at(sizes, add)
    finally:
        await rag.finalize_storages()


def document_id(number: int) -> str:
    return f"doc-{number:016x}"


async def measure(sizes: Sequence[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        mine = await ours(Path(folder), sizes)
        thread = LoopThread.borrow()
        theirs = await thread.run(defaults(Path(folder), sizes))
        thread.give_back()
    print("documents | SQLite: s/document | ratio | JSON, Nano, NetworkX: s/document | ratio")
    for size in sizes:
        own, other = mine[size], theirs[size]
        print(f"{size:9} | {own:19.4f} | {own / mine[sizes[0]]:5.2f} | {other:32.4f} | {other / theirs[sizes[0]]:5.2f}")


def main() -> None:
    logging.getLogger("nano-vectordb").setLevel(logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 100, 300])
    asyncio.run(measure(sorted(parser.parse_args().sizes)))


if __name__ == "__main__":
    main()
