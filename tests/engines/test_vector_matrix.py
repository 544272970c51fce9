from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmo.engines.vector_matrix import ROWS_PER_BLOCK, VectorMatrix
from cmo.storage.graph_rows import VectorTable, pack_vectors
from cmo.storage.graph_tables import GraphTables

DIMENSION = 16


def vectors(rows: int, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((rows, DIMENSION)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def store(table: VectorTable, rows: dict[str, np.ndarray]) -> None:
    packed = pack_vectors(np.stack(list(rows.values())))
    table.write({key: {"content": str(row)} for key, row in rows.items()}, dict(zip(rows, packed, strict=True)), now=1)


def found(matrix: VectorMatrix, table: VectorTable, query: np.ndarray, top_k: int = 10) -> list[str]:
    nearest = matrix.nearest(query, top_k=top_k, at_least=-1.0)
    names = table.in_slots([slot for slot, _ in nearest])
    return [names[slot]["id"] for slot, _ in nearest]


@pytest.fixture
def table(tmp_path: Path) -> VectorTable:
    return GraphTables(tmp_path / "index.sqlite", writable=True).vectors("chunks")


def test_the_nearest_of_many_blocks_are_the_nearest_of_all(table: VectorTable) -> None:
    rows = vectors(2 * ROWS_PER_BLOCK + 7)
    store(table, {f"{number}": row for number, row in enumerate(rows)})
    matrix = VectorMatrix(DIMENSION)
    matrix.refresh(table)
    for query in vectors(5, seed=1):
        nearest = matrix.nearest(query, top_k=10, at_least=-1.0)
        assert [cosine for _, cosine in nearest] == pytest.approx(sorted(rows @ query, reverse=True)[:10], abs=0.01)


def test_the_query_need_not_be_a_unit_vector(table: VectorTable) -> None:
    [row] = vectors(1)
    store(table, {"a": row})
    matrix = VectorMatrix(DIMENSION)
    matrix.refresh(table)
    [(_, cosine)] = matrix.nearest(7 * row, top_k=1, at_least=0.9)
    assert cosine == pytest.approx(1.0, abs=0.01)


def test_a_threshold_keeps_the_rest_away(table: VectorTable) -> None:
    one, two = np.eye(2, DIMENSION, dtype=np.float32)
    store(table, {"one": one, "two": two})
    matrix = VectorMatrix(DIMENSION)
    matrix.refresh(table)
    assert len(matrix.nearest(one, top_k=5, at_least=0.2)) == 1
    assert len(matrix.nearest(one, top_k=5, at_least=-1.0)) == 2


@pytest.mark.parametrize("query", [np.zeros(DIMENSION), np.ones(DIMENSION)])
def test_an_empty_matrix_and_an_empty_query_find_nothing(query: np.ndarray) -> None:
    assert VectorMatrix(DIMENSION).nearest(query, top_k=5, at_least=-1.0) == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(
        st.tuples(st.lists(st.integers(0, 30), min_size=1, max_size=12, unique=True), st.booleans(), st.booleans()),
        max_size=12,
    )
)
def test_a_matrix_that_follows_changes_equals_one_read_anew(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[list[int], bool, bool]]
) -> None:
    tables = GraphTables(tmp_path_factory.mktemp("matrix") / "index.sqlite", writable=True)
    table = tables.vectors("chunks")
    following = VectorMatrix(DIMENSION)
    alive: dict[str, np.ndarray] = {}
    for step, (numbers, deleting, looking) in enumerate(changes):
        keys = [f"{number}" for number in numbers]
        if deleting:
            table.delete(keys)
            alive = {key: row for key, row in alive.items() if key not in keys}
        else:
            fresh = dict(zip(keys, vectors(len(keys), seed=step), strict=True))
            store(table, fresh)
            alive |= fresh
        if looking:
            following.refresh(table)
    following.refresh(table)
    anew = VectorMatrix(DIMENSION)
    anew.refresh(table)
    [query] = vectors(1, seed=99)
    assert found(following, table, query, top_k=50) == found(anew, table, query, top_k=50)
    assert set(found(anew, table, query, top_k=50)) == alive.keys()
    tables.close()
