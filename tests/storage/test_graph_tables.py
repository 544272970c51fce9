import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cmo.errors import IndexDamaged, LibraryError
from cmo.storage.graph_rows import LINKS_SHOWN, pack_vectors, unpack_vectors
from cmo.storage.graph_tables import (
    GraphTables,
    copy_extraction_cache,
    drop_duplicate_rows,
    entity_vector_id,
    forget_document,
    incomplete_documents,
    relation_key,
    relation_vector_ids,
)

PAPER, OTHER = "doc-000000000000000a", "doc-000000000000000b"


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[GraphTables]:
    opened = GraphTables(tmp_path / "index.sqlite", writable=True)
    yield opened
    opened.close()


def state(status: str = "processed", **more: object) -> dict[str, object]:
    return {"status": status, "created_at": "2025-01-01", "chunks_list": [], **more}


def add_document(tables: GraphTables, doc_id: str, names: tuple[str, ...]) -> list[str]:
    """A document of one passage as LightRAG would store it, naming things which are all related to the first."""
    chunk_id = f"{doc_id}-p0001-c00"
    pairs = [tuple(sorted((names[0], name))) for name in names[1:]]
    tables.values("text_chunks").write({chunk_id: {"content": "x"}})
    tables.values("full_entities").write({doc_id: {"entity_names": list(names)}})
    tables.values("full_relations").write({doc_id: {"relation_pairs": [list(pair) for pair in pairs]}})
    [packed] = pack_vectors(np.ones((1, 4), np.float32))
    tables.vectors("chunks").write({chunk_id: {"content": "x"}}, {chunk_id: packed}, now=1)
    for name in names:
        _link(tables, "entity_chunks", name, chunk_id)
        key = entity_vector_id(name)
        tables.vectors("entities").write({key: {"content": name, "entity_name": name}}, {key: packed}, now=1)
    for source, target in pairs:
        _link(tables, "relation_chunks", relation_key(source, target), chunk_id)
        key = relation_vector_ids(source, target)[0]
        fields = {"content": "x", "src_id": source, "tgt_id": target}
        tables.vectors("relationships").write({key: fields}, {key: packed}, now=1)
    attribution = {"source_id": chunk_id, "file_path": doc_id}
    nodes = {name: {"entity_id": name, **attribution} for name in names}
    tables.graph.write(nodes, {(source, target): {"weight": 1.0, **attribution} for source, target in pairs})
    tables.statuses.write({doc_id: state()})
    return [chunk_id]


def test_a_long_list_of_links_shows_its_oldest_and_counts_them_all(tables: GraphTables) -> None:
    links = tables.links("entity_chunks")
    many = [f"{PAPER}-p{number:04d}-c00" for number in range(LINKS_SHOWN + 50)]
    links.write({"glucose": {"chunk_ids": many}})
    record = links.get(["glucose"])["glucose"]
    assert (record["chunk_ids"], record["count"]) == (many[:LINKS_SHOWN], len(many))


def test_a_long_list_of_links_is_added_to_and_never_cut_by_what_was_shown_of_it(tables: GraphTables) -> None:
    links = tables.links("entity_chunks")
    many = [f"{PAPER}-p{number:04d}-c00" for number in range(LINKS_SHOWN + 50)]
    links.write({"glucose": {"chunk_ids": many}})
    shown = links.get(["glucose"])["glucose"]["chunk_ids"]
    links.write({"glucose": {"chunk_ids": [*shown, f"{OTHER}-p0001-c00"]}})
    assert links.get(["glucose"])["glucose"]["count"] == len(many) + 1


def test_the_links_of_a_forgotten_document_make_room_for_others(tables: GraphTables) -> None:
    links = tables.links("entity_chunks")
    mine = [f"{PAPER}-p{number:04d}-c00" for number in range(LINKS_SHOWN)]
    links.write({"glucose": {"chunk_ids": mine}})
    links.write({"glucose": {"chunk_ids": [*mine, f"{OTHER}-p0001-c00"]}})
    tables.values("full_entities").write({PAPER: {"entity_names": ["glucose"]}})
    forget_document(tables, PAPER)
    assert links.get(["glucose"])["glucose"] == {"chunk_ids": [f"{OTHER}-p0001-c00"], "count": 1}


def test_a_forgotten_document_takes_what_only_it_named(tables: GraphTables) -> None:
    add_document(tables, PAPER, ("glucose", "own"))
    add_document(tables, OTHER, ("glucose", "urea"))
    forget_document(tables, PAPER)
    assert tables.graph.names() == ["glucose", "urea"]
    assert tables.vectors("entities").get([entity_vector_id("own")]) == {}
    assert tables.vectors("relationships").get(relation_vector_ids("glucose", "own")) == {}
    assert tables.statuses.states() == {OTHER: "processed"}
    assert tables.values("full_entities").get([PAPER]) == {}


def test_what_two_documents_name_is_attributed_to_the_one_left(tables: GraphTables) -> None:
    add_document(tables, PAPER, ("glucose", "urea"))
    kept = add_document(tables, OTHER, ("glucose", "urea"))
    forget_document(tables, PAPER)
    node = tables.graph.nodes(["glucose"])["glucose"]
    [edge] = tables.graph.edges([("urea", "glucose")]).values()
    assert (node["source_id"], node["file_path"]) == (kept[0], OTHER)
    assert (edge["source_id"], edge["weight"]) == (kept[0], 1.0)
    [record] = tables.vectors("entities").get([entity_vector_id("glucose")]).values()
    assert record["source_id"] == kept[0]


def test_forgetting_touches_no_document_whose_id_begins_alike(tables: GraphTables) -> None:
    longer = add_document(tables, f"{PAPER}0", ("glucose",))
    add_document(tables, PAPER, ("glucose",))
    forget_document(tables, PAPER)
    assert incomplete_documents(tables, {f"{PAPER}0": longer}) == []


def test_forgetting_what_is_unknown_changes_nothing(tables: GraphTables) -> None:
    chunk_ids = add_document(tables, PAPER, ("glucose",))
    forget_document(tables, OTHER)
    assert incomplete_documents(tables, {PAPER: chunk_ids}) == []


@pytest.mark.parametrize("committed", range(5))
def test_a_half_written_document_is_forgotten_whole(tables: GraphTables, committed: int) -> None:
    """The order in which LightRAG commits: passages, names, links, graph, vectors."""
    other = add_document(tables, OTHER, ("glucose", "urea"))
    chunk_id = f"{PAPER}-p0001-c00"
    [packed] = pack_vectors(np.ones((1, 4), np.float32))
    steps = (
        lambda: tables.values("text_chunks").write({chunk_id: {"content": "x"}}),
        lambda: tables.values("full_entities").write({PAPER: {"entity_names": ["glucose", "own"]}}),
        lambda: [_link(tables, "entity_chunks", name, chunk_id) for name in ("glucose", "own")],
        lambda: tables.graph.write({"own": {"source_id": chunk_id}, "glucose": {"source_id": chunk_id}}, {}),
        lambda: tables.vectors("chunks").write({chunk_id: {"content": "x"}}, {chunk_id: packed}, now=1),
    )
    tables.statuses.write({PAPER: state("processing")})
    for step in steps[: committed + 1]:
        step()
    forget_document(tables, PAPER)
    assert incomplete_documents(tables, {OTHER: other}) == []
    assert tables.graph.names() == ["glucose", "urea"]
    assert tables.graph.nodes(["glucose"])["glucose"]["source_id"] == other[0]


def test_an_audit_finds_nothing_wrong_in_whole_documents(tables: GraphTables) -> None:
    expected = {PAPER: add_document(tables, PAPER, ("glucose", "urea")), OTHER: add_document(tables, OTHER, ("urea",))}
    assert incomplete_documents(tables, expected) == []


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM lr_values WHERE namespace = 'text_chunks'",
        "DELETE FROM lr_values WHERE namespace = 'full_entities'",
        "DELETE FROM lr_values WHERE namespace = 'full_relations'",
        "UPDATE lr_chunks_vectors SET vector = NULL",
        "UPDATE lr_entities_vectors SET vector = NULL",
        "UPDATE lr_relationships_vectors SET vector = NULL",
        "DELETE FROM lr_nodes WHERE name = 'urea'",
        "DELETE FROM lr_edges",
        "DELETE FROM lr_links",
        "UPDATE lr_documents SET status = 'processing'",
        "DELETE FROM lr_documents",
    ],
)
def test_an_audit_finds_what_is_missing(tables: GraphTables, damage: str) -> None:
    chunk_ids = add_document(tables, PAPER, ("glucose", "urea"))
    with tables.file.transaction() as connection:
        connection.execute(damage)
    assert incomplete_documents(tables, {PAPER: chunk_ids}) == [PAPER]


def test_an_audit_finds_documents_that_should_not_be_there(tables: GraphTables) -> None:
    add_document(tables, PAPER, ("glucose",))
    tables.values("text_chunks").write({f"{OTHER}-p0001-c00": {"content": "x"}})
    assert incomplete_documents(tables, {}) == [PAPER, OTHER]


def test_an_audit_finds_a_passage_too_many(tables: GraphTables) -> None:
    chunk_ids = add_document(tables, PAPER, ("glucose",))
    assert incomplete_documents(tables, {PAPER: [*chunk_ids, f"{PAPER}-p0001-c01"]}) == [PAPER]


def test_rows_of_refused_duplicates_are_dropped(tables: GraphTables) -> None:
    tables.statuses.write({"dup-1": state("failed"), PAPER: state()})
    drop_duplicate_rows(tables)
    assert tables.statuses.states() == {PAPER: "processed"}


def test_interrupted_documents_count_as_failed(tables: GraphTables) -> None:
    tables.statuses.write({PAPER: state("processing"), OTHER: state()})
    tables.statuses.fail_unfinished("interrupted")
    assert tables.statuses.states() == {PAPER: "failed", OTHER: "processed"}
    assert tables.statuses.get([PAPER])[PAPER]["error_msg"] == "interrupted"


def test_cached_extractions_are_carried_over_and_nothing_else(tmp_path: Path) -> None:
    old, new = tmp_path / "old.sqlite", tmp_path / "new.sqlite"
    tables = GraphTables(old, writable=True)
    tables.values("llm_response_cache").write({"a": {"return": "1"}, "b": {"return": "2"}})
    tables.values("full_docs").write({PAPER: {"content": "x"}})
    tables.close()
    assert copy_extraction_cache(old, new) == 2
    assert copy_extraction_cache(old, new) == 0
    copied = GraphTables(new, writable=False)
    assert copied.values("llm_response_cache").get(["a", "b"]).keys() == {"a", "b"}
    assert copied.values("full_docs").get([PAPER]) == {}
    copied.close()


def test_nothing_is_carried_over_from_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LibraryError):
        copy_extraction_cache(tmp_path / "old.sqlite", tmp_path / "new.sqlite")


def test_a_reader_needs_tables(tmp_path: Path) -> None:
    database = tmp_path / "index.sqlite"
    GraphTables(database, writable=True).close()
    GraphTables(database, writable=False).close()
    with pytest.raises(LibraryError):
        GraphTables(tmp_path / "none.sqlite", writable=False)
    (tmp_path / "text.sqlite").write_text("no database" * 100)
    with pytest.raises(IndexDamaged):
        GraphTables(tmp_path / "text.sqlite", writable=False)


def test_what_a_writer_commits_a_reader_sees_at_once(tables: GraphTables) -> None:
    reader = GraphTables(tables.file.path, writable=False)
    vectors = reader.vectors("chunks")
    assert vectors.latest_change() == 0
    assert vectors.get(["x"]) == {}
    add_document(tables, PAPER, ("glucose",))
    assert reader.graph.names() == ["glucose"]
    assert vectors.latest_change() == 1
    reader.close()


def test_a_reader_learns_what_changed_since_it_looked(tables: GraphTables) -> None:
    vectors = tables.vectors("chunks")
    one, two = pack_vectors(np.eye(2, 4, dtype=np.float32))
    vectors.write({"a": {"content": "a"}, "b": {"content": "b"}}, {"a": one, "b": two}, now=1)
    seen = vectors.latest_change()
    assert [packed for page in vectors.changed_since(0, size=1) for _, packed in page] == [one, two]
    vectors.delete(["a"])
    vectors.write({"c": {"content": "c"}}, {"c": one}, now=1)
    assert [packed for page in vectors.changed_since(seen, size=10) for _, packed in page] == [None, one]
    assert [*vectors.changed_since(vectors.latest_change(), size=10)] == []


def test_changed_fields_alone_are_no_change_of_a_vector(tables: GraphTables) -> None:
    vectors = tables.vectors("chunks")
    [packed] = pack_vectors(np.ones((1, 4), np.float32))
    vectors.write({"a": {"content": "a", "file_path": "1"}}, {"a": packed}, now=1)
    seen = vectors.latest_change()
    vectors.write({"a": {"content": "a", "file_path": "2"}}, {}, now=2)
    assert vectors.latest_change() == seen
    assert vectors.get(["a"])["a"]["file_path"] == "2"
    assert vectors.texts(["a", "b"]) == {"a": "a"}


def test_a_vector_that_comes_back_keeps_its_slot(tables: GraphTables) -> None:
    vectors = tables.vectors("chunks")
    packed = pack_vectors(np.eye(3, 4, dtype=np.float32))
    vectors.write({key: {"content": key} for key in "abc"}, dict(zip("abc", packed, strict=True)), now=1)
    [before] = [page for page in vectors.changed_since(0, size=10)]
    vectors.delete(["a"])
    assert vectors.in_slots([slot for slot, _ in before]).keys() == {slot for slot, _ in before[1:]}
    vectors.write({"a": {"content": "again"}}, {"a": packed[0]}, now=2)
    assert [page for page in vectors.changed_since(0, size=10)] == [before]


def test_an_unknown_namespace_of_vectors_is_refused(tables: GraphTables) -> None:
    with pytest.raises(ValueError, match="none of"):
        tables.vectors("chunks; DROP TABLE lr_nodes")


def test_packing_keeps_cosines_to_two_thousandths() -> None:
    random = np.random.default_rng(1)
    vectors = random.standard_normal((500, 384)).astype(np.float32)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scales, codes = unpack_vectors(pack_vectors(vectors))
    assert np.abs((codes * scales[:, None]) @ units[0] - units @ units[0]).max() < 0.002


def test_a_vector_of_zeros_stays_one() -> None:
    scales, codes = unpack_vectors(pack_vectors(np.zeros((2, 4), np.float32)))
    assert not scales.any()
    assert not codes.any()


def test_the_heaviest_edges_come_first(tables: GraphTables) -> None:
    edges = {("hub", name): {"weight": weight} for name, weight in (("a", 1.0), ("z", 3.0), ("m", 2.0))}
    tables.graph.write({}, {**edges, ("before", "hub"): {"weight": 2.5}})
    assert tables.graph.neighbours("hub") == ["z", "before", "m", "a"]
    assert tables.graph.neighbours("hub", limit=2) == ["z", "before"]
    assert tables.graph.neighbours("unknown") is None


def test_a_node_may_be_its_own_neighbour_once(tables: GraphTables) -> None:
    tables.graph.write({}, {("a", "a"): {"weight": 1.0}})
    assert tables.graph.neighbours("a") == ["a"]


def test_a_failed_write_leaves_nothing(tables: GraphTables) -> None:
    with pytest.raises(TypeError):
        tables.graph.write({"a": {}, "b": {"x": object()}}, {})
    assert tables.graph.names() == []
    tables.graph.write({"a": {}}, {})
    assert tables.graph.names() == ["a"]


def test_a_copy_is_the_same_tables(tables: GraphTables) -> None:
    assert copy.deepcopy({"tables": tables})["tables"] is tables


def _link(tables: GraphTables, namespace: str, key: str, chunk_id: str) -> None:
    links = tables.links(namespace)
    before = links.get([key]).get(key, {"chunk_ids": []})["chunk_ids"]
    links.write({key: {"chunk_ids": [*before, chunk_id]}})
