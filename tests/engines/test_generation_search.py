"""A generation tried out: its own search, and a count of its vectors."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cmo.engines.generation_search import open_generation
from cmo.engines.lightrag import GraphIndex
from cmo.errors import IndexDamaged
from tests.engines.fakes import WordEmbedder, WordExtractor, document, passages

TEXTS = ("Glucose and lactate rise in sepsis.", "Citrate is high in prostate fluid.", "Urea rises with glucose.")


def graph(database: Path, *, writable: bool, dimension: int = 64) -> GraphIndex:
    return GraphIndex(
        database, generation="g1", embedder=WordEmbedder(dimension), extractor=WordExtractor(), writable=writable
    )


@pytest.fixture
async def database(tmp_path: Path) -> Path:
    """An index of one document of three passages."""
    writer = graph(tmp_path / "index.sqlite", writable=True)
    await writer.open()
    await writer.insert(document(1), passages(document(1), *TEXTS))
    await writer.close()
    return tmp_path / "index.sqlite"


@pytest.mark.parametrize("mode", ["naive", "mix"])
async def test_passages_are_found_best_first(database: Path, mode: str) -> None:
    first, *_ = passages(document(1), *TEXTS)
    async with open_generation(graph(database, writable=False), database, WordExtractor()) as search:
        found = await search.find(TEXTS[0], mode=mode, top_k=2)

    assert found[0] == first.chunk_id
    assert len(found) <= 2


async def test_vectors_are_counted_by_kind_and_zero_or_damaged_ones_are_bad(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        blobs = connection.execute(
            "SELECT slot, length(vector), vector FROM lr_chunks_vectors ORDER BY slot"
        ).fetchall()
        not_a_number = b"\x00\x00\xc0\x7f" + blobs[1][2][4:]
        for slot, blob in ((blobs[0][0], bytes(blobs[0][1])), (blobs[1][0], not_a_number)):
            connection.execute("UPDATE lr_chunks_vectors SET vector = ? WHERE slot = ?", (blob, slot))
        (entities,) = connection.execute("SELECT count(*) FROM lr_entities_vectors").fetchone()

    async with open_generation(graph(database, writable=False), database, WordExtractor()) as search:
        counts = {count.kind: (count.vectors, count.bad) for count in await search.vectors()}

    assert counts["chunks"] == (3, 2)
    assert counts["entities"] == (entities, 0)
    assert entities > 0


async def test_a_document_taken_out_leaves_no_vector_to_count(database: Path) -> None:
    writer = graph(database, writable=True)
    await writer.open()
    await writer.delete(document(1).doc_id)
    await writer.close()

    async with open_generation(graph(database, writable=False), database, WordExtractor()) as search:
        assert {(count.vectors, count.bad) for count in await search.vectors()} == {(0, 0)}


async def test_a_graph_of_another_model_is_not_opened(database: Path) -> None:
    with pytest.raises(IndexDamaged, match="another dimension, embedder"):
        async with open_generation(graph(database, writable=False, dimension=32), database, WordExtractor()):
            pass
