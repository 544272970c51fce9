"""What LightRAG may expect of its storages, run against its own (JSON, NanoVectorDB, NetworkX) and against ours."""

import uuid
from collections.abc import AsyncIterator, Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cmo.engines.lightrag_runtime import load_lightrag
from cmo.storage.graph_tables import GraphTables
from tests.engines.fakes import WordEmbedder

load_lightrag()
base = import_module("lightrag.base")
shared_storage = import_module("lightrag.kg.shared_storage")

THEIRS = {
    "kv": ("lightrag.kg.json_kv_impl", "JsonKVStorage"),
    "vector": ("lightrag.kg.nano_vector_db_impl", "NanoVectorDBStorage"),
    "graph": ("lightrag.kg.networkx_impl", "NetworkXStorage"),
    "status": ("lightrag.kg.json_doc_status_impl", "JsonDocStatusStorage"),
}
OURS = {
    "kv": ("cmo.engines.lightrag_storages", "SqliteKVStorage"),
    "vector": ("cmo.engines.lightrag_storages", "SqliteVectorStorage"),
    "graph": ("cmo.engines.lightrag_storages", "SqliteGraphStorage"),
    "status": ("cmo.engines.lightrag_statuses", "SqliteDocStatusStorage"),
}
Open = Callable[..., Any]


@pytest.fixture(params=["theirs", "ours"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    shared_storage.initialize_share_data()
    tables = GraphTables(tmp_path / "index.sqlite", writable=True)
    workspace = uuid.uuid4().hex
    lightrag = load_lightrag()
    embedder = WordEmbedder()

    async def embed(texts: list[str], **_: object) -> Any:
        return await embedder.embed(texts)

    embedding = lightrag.EmbeddingFunc(embedding_dim=64, func=embed, model_name="words")
    configuration = {
        "working_dir": str(tmp_path),
        "embedding_batch_num": 32,
        "max_graph_nodes": 1000,
        "vector_db_storage_cls_kwargs": {"cosine_better_than_threshold": 0.2, "tables": tables},
    }

    async def open_storage(kind: str, namespace: str, **more: object) -> Any:
        module, name = (OURS if request.param == "ours" else THEIRS)[kind]
        made = getattr(import_module(module), name)(
            namespace=namespace, workspace=workspace, global_config=configuration, embedding_func=embedding, **more
        )
        await made.initialize()
        return made

    yield open_storage
    tables.close()
    shared_storage.finalize_share_data()


async def test_a_value_comes_back_with_its_id_and_times(storage: Open) -> None:
    values = await storage("kv", "full_docs")
    await values.upsert({"a": {"content": "x", "deep": {"list": [1, 2]}}})
    record = await values.get_by_id("a")
    assert (record["content"], record["deep"], record["_id"]) == ("x", {"list": [1, 2]}, "a")
    assert record["create_time"] == record["update_time"] > 0


async def test_a_value_is_there_before_and_after_the_commit(storage: Open) -> None:
    values = await storage("kv", "full_docs")
    await values.upsert({"a": {"content": "x"}})
    before = await values.get_by_ids(["a", "b"])
    await values.index_done_callback()
    assert await values.get_by_ids(["a", "b"]) == before
    assert before[1] is None


async def test_changing_what_came_back_changes_nothing(storage: Open) -> None:
    values = await storage("kv", "full_docs")
    await values.upsert({"a": {"list": [1], "deep": [{"x": 1}]}})
    for _ in range(2):
        record = await values.get_by_id("a")
        record["list"].append(2)
        record["deep"][0]["x"] = 2
        await values.index_done_callback()
    record = await values.get_by_id("a")
    assert (record["list"], record["deep"]) == ([1], [{"x": 1}])


async def test_a_value_is_replaced_whole_and_deleted(storage: Open) -> None:
    values = await storage("kv", "full_docs")
    await values.upsert({"a": {"x": 1, "y": 1}, "b": {"x": 1}})
    await values.index_done_callback()
    await values.upsert({"a": {"x": 2}})
    await values.delete(["b", "unknown"])
    for _ in range(2):
        record = await values.get_by_id("a")
        assert (record["x"], record.get("y")) == (2, None)
        assert await values.get_by_id("b") is None
        assert await values.filter_keys({"a", "b", "c"}) == {"b", "c"}
        await values.index_done_callback()
    assert not await values.is_empty()
    assert (await values.drop())["status"] == "success"
    assert await values.is_empty()


async def test_passages_get_a_list_of_their_cached_extractions(storage: Open) -> None:
    values = await storage("kv", "text_chunks")
    await values.upsert({"a": {"content": "x"}})
    assert (await values.get_by_id("a"))["llm_cache_list"] == []


async def test_namespaces_are_apart(storage: Open) -> None:
    one, other = await storage("kv", "full_docs"), await storage("kv", "full_entities")
    await one.upsert({"a": {"x": 1}})
    await one.index_done_callback()
    assert await other.get_by_id("a") is None
    assert await other.is_empty()


@pytest.mark.parametrize("namespace", ["entity_chunks", "relation_chunks"])
async def test_links_are_kept_in_order_and_can_be_shortened(storage: Open, namespace: str) -> None:
    links = await storage("kv", namespace)
    await links.upsert({"a": {"chunk_ids": ["d-p2-c0", "d-p1-c0"], "count": 2}})
    await links.index_done_callback()
    await links.upsert({"a": {"chunk_ids": ["d-p2-c0", "d-p1-c0", "d-p0-c0"], "count": 3}})
    for _ in range(2):
        assert (await links.get_by_id("a"))["chunk_ids"] == ["d-p2-c0", "d-p1-c0", "d-p0-c0"]
        await links.index_done_callback()
    await links.upsert({"a": {"chunk_ids": ["d-p1-c0"], "count": 1}})
    await links.index_done_callback()
    assert (await links.get_by_id("a"))["chunk_ids"] == ["d-p1-c0"]
    await links.delete(["a"])
    await links.index_done_callback()
    assert await links.get_by_id("a") is None
    assert await links.is_empty()


async def _vectors(storage: Open) -> Any:
    vectors = await storage("vector", "chunks", meta_fields={"content", "file_path", "src_id", "tgt_id"})
    await vectors.upsert(
        {
            "a": {"content": "lactate sepsis", "file_path": "1", "dropped": 1},
            "b": {"content": "urea urine", "file_path": "2"},
            "c": {"content": "lactate sepsis death", "file_path": "3"},
        }
    )
    return vectors


async def test_the_most_similar_texts_come_first(storage: Open) -> None:
    vectors = await _vectors(storage)
    await vectors.index_done_callback()
    found = await vectors.query("lactate sepsis", top_k=5)
    assert [record["id"] for record in found] == ["a", "c"]
    assert found[0]["distance"] == pytest.approx(1.0, abs=0.01)
    assert found[1]["distance"] == pytest.approx((2 / 3) ** 0.5, abs=0.15)
    assert (found[0]["content"], found[0]["file_path"]) == ("lactate sepsis", "1")
    assert found[0]["created_at"] > 0
    assert "dropped" not in found[0]


async def test_a_query_takes_a_ready_vector_and_a_limit(storage: Open) -> None:
    vectors = await _vectors(storage)
    await vectors.index_done_callback()
    [ready] = await WordEmbedder().embed(["urea urine"])
    assert [record["id"] for record in await vectors.query("anything", top_k=1, query_embedding=ready)] == ["b"]


async def test_a_record_is_there_before_and_after_the_commit(storage: Open) -> None:
    vectors = await _vectors(storage)
    for _ in range(2):
        [record, missing] = await vectors.get_by_ids(["b", "x"])
        assert (record["id"], record["content"], missing) == ("b", "urea urine", None)
        assert (await vectors.get_by_id("b"))["id"] == "b"
        await vectors.index_done_callback()


async def test_vectors_come_back_by_id(storage: Open) -> None:
    vectors = await _vectors(storage)
    found = await vectors.get_vectors_by_ids(["b", "x"])
    [wanted] = await WordEmbedder().embed(["urea urine"])
    assert list(found) == ["b"]
    assert np.allclose(found["b"], wanted, atol=0.005)


async def test_a_deleted_vector_is_found_no_more_and_can_come_back(storage: Open) -> None:
    vectors = await _vectors(storage)
    await vectors.index_done_callback()
    assert len(await vectors.query("lactate sepsis", top_k=5)) == 2
    await vectors.delete(["a", "unknown"])
    await vectors.index_done_callback()
    assert [record["id"] for record in await vectors.query("lactate sepsis", top_k=5)] == ["c"]
    assert await vectors.get_by_id("a") is None
    await vectors.upsert({"a": {"content": "lactate sepsis", "file_path": "9"}})
    await vectors.index_done_callback()
    assert [record["id"] for record in await vectors.query("lactate sepsis", top_k=5)] == ["a", "c"]
    assert (await vectors.get_by_id("a"))["file_path"] == "9"


async def test_a_changed_text_gets_a_new_vector_and_changed_fields_need_none(storage: Open) -> None:
    vectors = await _vectors(storage)
    await vectors.index_done_callback()
    await vectors.upsert({"a": {"content": "urea urine", "file_path": "1"}})
    await vectors.upsert({"c": {"content": "lactate sepsis death", "file_path": "changed"}})
    await vectors.index_done_callback()
    found = await vectors.query("lactate sepsis", top_k=5)
    assert [(record["id"], record["file_path"]) for record in found] == [("c", "changed")]


async def test_an_entity_and_its_relations_are_deleted_by_name(storage: Open) -> None:
    digest = import_module("lightrag.utils").compute_mdhash_id
    entities = await storage("vector", "entities", meta_fields={"content", "entity_name"})
    relations = await storage("vector", "relationships", meta_fields={"content", "src_id", "tgt_id"})
    await entities.upsert({digest("urea", prefix="ent-"): {"content": "urea", "entity_name": "urea"}})
    await relations.upsert(
        {
            "rel-1": {"content": "urea lactate", "src_id": "lactate", "tgt_id": "urea"},
            "rel-2": {"content": "citrate lactate", "src_id": "citrate", "tgt_id": "lactate"},
        }
    )
    await entities.index_done_callback()
    await relations.index_done_callback()
    await entities.delete_entity("urea")
    await relations.delete_entity_relation("urea")
    await entities.index_done_callback()
    await relations.index_done_callback()
    assert await entities.query("urea", top_k=5) == []
    assert [record["id"] for record in await relations.query("lactate", top_k=5)] == ["rel-2"]


async def test_what_is_given_up_is_never_stored(storage: Open) -> None:
    vectors = await _vectors(storage)
    await vectors.drop_pending_index_ops()
    await vectors.index_done_callback()
    assert await vectors.query("lactate sepsis", top_k=5) == []
    assert (await vectors.drop())["status"] == "success"


async def _graph(storage: Open) -> Any:
    graph = await storage("graph", "chunk_entity_relation")
    for name in ("glucose", "lactate", "urea", "alone", "Glucose 6-phosphate"):
        await graph.upsert_node(name, {"entity_id": name, "entity_type": "metabolite", "source_id": "d-p1-c0"})
    await graph.upsert_edge("lactate", "glucose", {"weight": 2.0, "description": "x"})
    await graph.upsert_edge("glucose", "urea", {"weight": 1.0, "description": "y"})
    return graph


async def test_nodes_and_edges_are_there_before_and_after_the_commit(storage: Open) -> None:
    graph = await _graph(storage)
    for _ in range(2):
        assert (await graph.get_node("urea"))["entity_type"] == "metabolite"
        assert await graph.get_node("x") is None
        assert await graph.has_node("urea")
        assert not await graph.has_node("x")
        assert await graph.has_nodes_batch(["urea", "x"]) == {"urea"}
        assert set(await graph.get_nodes_batch(["urea", "x", "alone"])) == {"urea", "alone"}
        await graph.index_done_callback()


async def test_edges_have_no_direction(storage: Open) -> None:
    graph = await _graph(storage)
    for _ in range(2):
        assert await graph.has_edge("glucose", "lactate")
        assert await graph.get_edge("glucose", "lactate") == await graph.get_edge("lactate", "glucose")
        assert await graph.get_edge("lactate", "urea") is None
        pairs = [{"src": "urea", "tgt": "glucose"}, {"src": "urea", "tgt": "lactate"}]
        assert (await graph.get_edges_batch(pairs)).keys() == {("urea", "glucose")}
        await graph.index_done_callback()


async def test_degrees_count_edges(storage: Open) -> None:
    graph = await _graph(storage)
    assert await graph.node_degree("glucose") == 2
    assert await graph.node_degrees_batch(["glucose", "alone", "x"]) == {"glucose": 2, "alone": 0, "x": 0}
    assert await graph.edge_degree("glucose", "urea") == 3
    assert await graph.edge_degrees_batch([("urea", "glucose"), ("x", "urea")]) == {
        ("urea", "glucose"): 3,
        ("x", "urea"): 1,
    }


async def test_edges_of_a_node_begin_with_it(storage: Open) -> None:
    graph = await _graph(storage)
    assert sorted(await graph.get_node_edges("glucose")) == [("glucose", "lactate"), ("glucose", "urea")]
    assert await graph.get_node_edges("alone") == []
    assert await graph.get_node_edges("x") is None
    batch = await graph.get_nodes_edges_batch(["urea", "x"])
    assert batch == {"urea": [("urea", "glucose")], "x": []}


async def test_properties_not_named_keep_their_values(storage: Open) -> None:
    graph = await _graph(storage)
    for _ in range(2):
        await graph.upsert_node("urea", {"entity_id": "urea", "description": "new"})
        await graph.upsert_edge("urea", "glucose", {"weight": 5.0})
        node, edge = await graph.get_node("urea"), await graph.get_edge("glucose", "urea")
        assert (node["description"], node["entity_type"]) == ("new", "metabolite")
        assert (edge["weight"], edge["description"]) == (5.0, "y")
        await graph.index_done_callback()


async def test_an_edge_makes_its_missing_ends(storage: Open) -> None:
    graph = await _graph(storage)
    await graph.upsert_edge("new", "urea", {"weight": 1.0})
    for _ in range(2):
        assert await graph.has_node("new")
        await graph.index_done_callback()
    assert await graph.node_degree("new") == 1


async def test_removed_nodes_take_their_edges_along(storage: Open) -> None:
    graph = await _graph(storage)
    await graph.delete_node("lactate")
    await graph.remove_nodes(["alone", "unknown"])
    await graph.remove_edges([("urea", "glucose"), ("urea", "unknown")])
    assert await graph.get_all_labels() == ["Glucose 6-phosphate", "glucose", "urea"]
    assert await graph.get_all_edges() == []
    assert await graph.node_degree("glucose") == 0


async def test_all_there_is_can_be_listed(storage: Open) -> None:
    graph = await _graph(storage)
    assert {node["id"] for node in await graph.get_all_nodes()} == set(await graph.get_all_labels())
    edges = {frozenset((edge["source"], edge["target"])) for edge in await graph.get_all_edges()}
    assert edges == {frozenset(("glucose", "lactate")), frozenset(("glucose", "urea"))}
    assert await graph.get_popular_labels(4) == ["glucose", "lactate", "urea", "Glucose 6-phosphate"]


async def test_names_are_searched_the_equal_one_first(storage: Open) -> None:
    graph = await _graph(storage)
    assert await graph.search_labels("GLUCOSE") == ["glucose", "Glucose 6-phosphate"]
    assert await graph.search_labels("phosphate") == ["Glucose 6-phosphate"]
    assert await graph.search_labels(" ") == []
    assert await graph.search_labels("u", limit=1) == ["urea"]


@pytest.mark.parametrize(
    ("label", "depth", "most"),
    [("*", 3, 3), ("*", 3, 100), ("urea", 1, 100), ("urea", 2, 2), ("urea", 2, 100), ("x", 1, 9)],
)
async def test_a_part_of_the_graph_can_be_shown(storage: Open, label: str, depth: int, most: int) -> None:
    wanted = {
        ("*", 3, 3): ({"glucose", "lactate", "urea"}, True),
        ("*", 3, 100): ({"glucose", "lactate", "urea", "alone", "Glucose 6-phosphate"}, False),
        ("urea", 1, 100): ({"urea", "glucose"}, False),
        ("urea", 2, 2): ({"urea", "glucose"}, True),
        ("urea", 2, 100): ({"urea", "glucose", "lactate"}, False),
        ("x", 1, 9): (set(), False),
    }[label, depth, most]
    shown = await (await _graph(storage)).get_knowledge_graph(label, max_depth=depth, max_nodes=most)
    assert ({node.id for node in shown.nodes}, shown.is_truncated) == wanted
    ends = {(edge.source, edge.target) for edge in shown.edges}
    everything = {("glucose", "lactate"), ("glucose", "urea")}
    assert ends == {pair for pair in everything if set(pair) <= wanted[0]}


def _state(number: int, status: Any, **more: object) -> dict[str, Any]:
    return {
        "status": status,
        "content_summary": "x",
        "content_length": 1,
        "created_at": f"2025-01-0{number}T00:00:00+00:00",
        "updated_at": f"2025-01-0{number}T00:00:00+00:00",
        "file_path": f"{number}.pdf",
        "track_id": "t",
        "content_hash": f"h{number}",
        **more,
    }


async def _statuses(storage: Open) -> Any:
    status = base.DocStatus
    duplicate = {"file_path": "1.pdf", "content_hash": "h1", "metadata": {"is_duplicate": True, "original_doc_id": "c"}}
    statuses = await storage("status", "doc_status")
    await statuses.upsert(
        {
            "c": _state(1, status.PROCESSED, chunks_list=["c-1"], chunks_count=1),
            "b": _state(2, status.PENDING),
            "a": _state(3, status.PENDING, track_id="other"),
            "dup": _state(4, status.FAILED, **duplicate),
        }
    )
    return statuses


async def test_documents_are_counted_and_found_by_status(storage: Open) -> None:
    status, statuses = base.DocStatus, await _statuses(storage)
    counts = await statuses.get_status_counts()
    assert (counts["processed"], counts["pending"], counts["failed"], counts["parsing"]) == (1, 2, 1, 0)
    assert (await statuses.get_all_status_counts())["all"] == 4
    assert await statuses.count_docs_by_statuses([status.PENDING, status.FAILED]) == 3
    found = await statuses.get_docs_by_statuses([status.PENDING], strict=True)
    assert {key: record.status for key, record in found.items()} == {"a": "pending", "b": "pending"}
    assert (await statuses.get_docs_by_statuses([status.PROCESSED]))["c"].chunks_list == ["c-1"]
    assert await statuses.get_docs_by_statuses([]) == {}


async def test_documents_are_found_by_track_file_and_content(storage: Open) -> None:
    statuses = await _statuses(storage)
    assert (await statuses.get_docs_by_track_id("other")).keys() == {"a"}
    assert (await statuses.get_doc_by_file_path("2.pdf"))["content_hash"] == "h2"
    assert await statuses.get_doc_by_file_path("x") is None
    assert (await statuses.get_doc_by_file_basename("1.pdf"))[0] == "c"
    assert await statuses.get_doc_by_file_basename("unknown_source") is None
    assert (await statuses.get_doc_by_content_hash("h1"))[0] == "c"
    assert await statuses.get_doc_by_content_hash("h1", exclude_doc_id="c") is None
    assert await statuses.get_doc_by_content_hash("") is None


async def test_a_file_belongs_to_the_document_that_is_no_duplicate(storage: Open) -> None:
    statuses = await _statuses(storage)
    assert (await statuses.resolve_doc_source_strict("1.pdf")).doc_id == "c"
    assert isinstance(await statuses.resolve_doc_source_strict("x"), base.SourceAbsent)
    await statuses.upsert({"z": _state(5, base.DocStatus.PENDING, file_path="2.pdf")})
    assert (await statuses.resolve_doc_source_strict("2.pdf")).sample_doc_ids == ("b", "z")


async def test_documents_come_in_pages_the_oldest_first(storage: Open) -> None:
    status, statuses = base.DocStatus, await _statuses(storage)
    position, pages = base.CURSOR_START, []
    while position is not base.CURSOR_END:
        page = await statuses.get_docs_by_statuses_page(list(status), limit=2, position=position, strict=True)
        pages.append(list(page.docs))
        position = page.next_position
    assert [key for page in pages for key in page] == ["c", "b", "a", "dup"]
    assert all(len(page) <= 2 for page in pages)
    with pytest.raises(ValueError, match="0"):
        await statuses.get_docs_by_statuses_page(list(status), limit=0)


async def test_documents_come_in_pages_for_people(storage: Open) -> None:
    statuses = await _statuses(storage)
    shown, total = await statuses.get_docs_paginated(page=1, page_size=10, sort_field="id", sort_direction="asc")
    assert ([key for key, _ in shown], total) == (["a", "b", "c", "dup"], 4)
    shown, total = await statuses.get_docs_paginated(status_filter=base.DocStatus.PENDING)
    assert ([key for key, _ in shown], total) == (["a", "b"], 2)


async def test_records_of_documents_are_read_and_missing_ones_left_out(storage: Open) -> None:
    statuses = await _statuses(storage)
    assert (await statuses.get_docs_by_ids(["a", "x"], strict=True)).keys() == {"a"}
    assert (await statuses.get_full_docs_by_ids(["c", "x"], strict=True))["c"].chunks_list == ["c-1"]
    assert [record and record["file_path"] for record in await statuses.get_by_ids(["a", "x"])] == ["3.pdf", None]
    assert await statuses.get_by_id("x") is None
    assert await statuses.get_by_id_strict("x") is None
    assert (await statuses.get_by_id("b"))["chunks_list"] == []
    assert await statuses.filter_keys({"a", "x"}) == {"x"}


async def test_fields_of_a_document_are_changed_alone(storage: Open) -> None:
    statuses = await _statuses(storage)
    await statuses.update_doc_status_fields("b", {"status": base.DocStatus.PARSING, "error_msg": "e"})
    record = await statuses.get_by_id("b")
    assert (record["status"], record["error_msg"], record["file_path"]) == ("parsing", "e", "2.pdf")
    assert (await statuses.get_status_counts())["parsing"] == 1
    await statuses.update_doc_status_fields("x", {"error_msg": "e"}, missing_ok=True)
    assert await statuses.get_by_id("x") is None
    with pytest.raises(import_module("lightrag.exceptions").StorageRecordNotFoundError):
        await statuses.update_doc_status_fields("x", {"error_msg": "e"})
    with pytest.raises(ValueError, match="created_at"):
        await statuses.update_doc_status_fields("b", {"created_at": "now"})


async def test_documents_are_deleted(storage: Open) -> None:
    statuses = await _statuses(storage)
    await statuses.delete(["a", "x"])
    assert await statuses.get_by_id("a") is None
    assert not await statuses.is_empty()
    await statuses.drop()
    assert await statuses.is_empty()
