"""LightRAG's storages of values, vectors and the graph, over the tables of one index file.

Imported by `lightrag_runtime`, which shuts LightRAG off from the environment first, and by nobody else. Each storage
finds its tables in `global_config["vector_db_storage_cls_kwargs"]["tables"]`.

What a writer adds to values, vectors and graph is held back until LightRAG commits it (`index_done_callback`), then
written in one transaction per storage; LightRAG commits a document's list of entities and relations before anything of
the graph, and its state "processed" after everything. So after kill -9 an unfinished document can be told by its state
and taken out again by its lists. Searches and readers see what is committed, and never write. No locks are needed: one
process writes, and its storages belong to one event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
from lightrag.base import BaseGraphStorage, BaseKVStorage, BaseVectorStorage  # type: ignore[import-untyped]
from lightrag.constants import DEFAULT_QUERY_PRIORITY  # type: ignore[import-untyped]
from lightrag.types import KnowledgeGraph, KnowledgeGraphEdge, KnowledgeGraphNode  # type: ignore[import-untyped]

from cmo.engines.vector_matrix import VectorMatrix
from cmo.interfaces import Vectors
from cmo.storage.graph_rows import Pair, Record, pack_vectors, unpack_vectors
from cmo.storage.graph_tables import EXTRACTION_CACHE, GraphTables, entity_vector_id

Answer: TypeAlias = dict[str, str]

EDGES_PER_ENTITY = 15
"""Edges followed from one entity during a search, the heaviest first. A hub such as glucose has thousands."""

TEXTS_PER_BATCH = 32
DROPPED: Answer = {"status": "success", "message": "data dropped"}

_searching: ContextVar[bool] = ContextVar("searching", default=False)


@contextmanager
def following_few_edges() -> Iterator[None]:
    """Within this a search runs: what is committed is shown, and only the heaviest edges of an entity."""
    token = _searching.set(True)
    try:
        yield
    finally:
        _searching.reset(token)


class _Held:
    """Records of a writer that are read or held back since the last commit. None stands for "there is none"."""

    def __init__(self, read: Callable[[Collection[Any]], Mapping[Any, Record]]) -> None:
        self._read = read
        self.records: dict[Any, Record | None] = {}
        self.changed: set[Any] = set()

    def get(self, keys: Iterable[Any]) -> dict[Any, Record | None]:
        """The records of these keys, as they will be after the commit."""
        wanted = list(keys)
        missing = [key for key in wanted if key not in self.records]
        if missing:
            found = self._read(missing)
            self.records.update((key, found.get(key)) for key in missing)
        return {key: self.records[key] for key in wanted}

    def put(self, key: Any, record: Record | None) -> None:
        """Hold a record back, or a deletion."""
        self.records[key] = record
        self.changed.add(key)

    def pending(self) -> tuple[dict[Any, Record], list[Any]]:
        """What is to be stored and what is to be deleted."""
        stored = {key: record for key in self.changed if (record := self.records[key]) is not None}
        return stored, [key for key in self.changed if self.records[key] is None]

    def clear(self) -> None:
        """Forget everything held."""
        self.records.clear()
        self.changed.clear()


@dataclass
class SqliteKVStorage(BaseKVStorage):  # type: ignore[misc]  # lightrag carries no types
    """Values by id. The prompts of cached extractions are not kept: they would be half of the file."""

    supports_strict_point_reads: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Find the table."""
        tables = tables_of(self.global_config)
        self._table = tables.values(self.namespace)
        self._writable = tables.writable
        self._held = _Held(self._table.get)

    async def get_by_id(self, id: str) -> Record | None:
        """The record, as the caller's own copy."""
        return (await self.get_by_ids([id]))[0]

    async def get_by_id_strict(self, id: str) -> Record | None:
        """The record; None is certain, since a failing read raises."""
        return await self.get_by_id(id)

    async def get_by_ids(self, ids: list[str]) -> list[Record | None]:
        """The records in the order asked for, None where there is none."""
        found = self._read(ids)
        return [self._finished(key, found.get(key)) for key in ids]

    async def filter_keys(self, keys: set[str]) -> set[str]:
        """Those keys which have no record."""
        found = self._read(keys)
        return {key for key in keys if found.get(key) is None}

    async def upsert(self, data: dict[str, Record]) -> None:
        """Hold records back until the commit."""
        now = int(time.time())
        existing = self._held.get(data)
        for key, value in data.items():
            before = existing[key]
            created = before.get("create_time", now) if before else now
            record = {name: item for name, item in value.items() if name != "_id"}
            record |= {"create_time": created, "update_time": now}
            if self.namespace == "text_chunks":
                record.setdefault("llm_cache_list", [])
            if self.namespace == EXTRACTION_CACHE:
                record.pop("original_prompt", None)
            self._held.put(key, record)

    async def delete(self, ids: list[str]) -> None:
        """Hold deletions back until the commit."""
        for key in ids:
            self._held.put(key, None)

    async def is_empty(self) -> bool:
        """Whether nothing is stored."""
        await self.index_done_callback()
        return self._table.is_empty()

    async def index_done_callback(self) -> None:
        """Write what was held back."""
        if _searching.get():
            return
        if self._held.changed:
            stored, deleted = self._held.pending()
            self._table.write(stored, deleted=deleted)
        self._held.clear()

    async def drop_pending_index_ops(self) -> None:
        """Forget what was held back."""
        self._held.clear()

    async def finalize(self) -> None:
        """Keep what was extracted before the storage closes, whatever became of its document."""
        if self.namespace == EXTRACTION_CACHE:
            await self.index_done_callback()

    async def drop(self) -> Answer:
        """Remove everything."""
        self._held.clear()
        self._table.clear()
        return DROPPED

    def _read(self, ids: Collection[str]) -> Mapping[str, Record | None]:
        return self._held.get(ids) if self._writable and not _searching.get() else self._table.get(ids)

    def _finished(self, key: str, record: Record | None) -> Record | None:
        if record is None:
            return None
        return (_copy(record) if key in self._held.records else record) | {"_id": key}


@dataclass
class SqliteVectorStorage(BaseVectorStorage):  # type: ignore[misc]
    """Vectors with their texts. A text that is stored already under the same id is not embedded again."""

    def __post_init__(self) -> None:
        """Find the table."""
        self._validate_embedding_func()
        arguments = self.global_config["vector_db_storage_cls_kwargs"]
        self.cosine_better_than_threshold = arguments["cosine_better_than_threshold"]
        self._tables = tables_of(self.global_config)
        self._table = self._tables.vectors(self.namespace)
        self._matrix = VectorMatrix(self.embedding_func.embedding_dim)
        self._held: dict[str, Record] = {}
        self._gone: set[str] = set()

    async def query(self, query: str, top_k: int, query_embedding: Any = None) -> list[Record]:
        """Records of the most similar texts, best first, with their cosine as `distance`."""
        if query_embedding is None:
            query_embedding = (await self.embedding_func([query], context="query", _priority=DEFAULT_QUERY_PRIORITY))[0]
        self._matrix.refresh(self._table)
        nearest = self._matrix.nearest(query_embedding, top_k=top_k, at_least=self.cosine_better_than_threshold)
        records = self._table.in_slots([slot for slot, _ in nearest])
        return [_shown(records[slot]) | {"distance": cosine} for slot, cosine in nearest if slot in records]

    async def upsert(self, data: dict[str, Record]) -> None:
        """Hold records back until the commit."""
        for key, value in data.items():
            self._held[key] = {name: item for name, item in value.items() if name in self.meta_fields}
            # LightRAG deletes a relation before it stores it anew: an unchanged text then keeps its vector.
            self._gone.discard(key)

    async def delete(self, ids: list[str]) -> None:
        """Hold deletions back until the commit."""
        for key in ids:
            self._held.pop(key, None)
            self._gone.add(key)

    async def delete_entity(self, entity_name: str) -> None:
        """Take an entity's vector away."""
        await self.delete([entity_vector_id(entity_name)])

    async def delete_entity_relation(self, entity_name: str) -> None:
        """Take the vectors of an entity's relations away."""
        await self.index_done_callback()
        self._table.delete_ends(entity_name)

    async def get_by_id(self, id: str) -> Record | None:
        """One record without its vector."""
        return (await self.get_by_ids([id]))[0]

    async def get_by_ids(self, ids: list[str]) -> list[Record | None]:
        """Records in the order asked for, None where there is none."""
        found = self._table.get([key for key in ids if key not in self._held and key not in self._gone])
        found |= {key: self._held[key] | {"id": key} for key in ids if key in self._held}
        return [_shown(found[key]) if key in found else None for key in ids]

    async def get_vectors_by_ids(self, ids: list[str]) -> dict[str, Any]:
        """Vectors by id, as arrays: LightRAG only takes their cosine, and lists of floats are slow to make."""
        if not _searching.get():
            await self.index_done_callback()
        packed = self._table.packed(ids)
        if not packed:
            return {}
        scales, codes = unpack_vectors(list(packed.values()))
        return dict(zip(packed, codes.astype(np.float32) * scales[:, None], strict=True))

    async def index_done_callback(self) -> None:
        """Embed what is new and write what was held back."""
        if self._gone:
            self._table.delete(self._gone)
            self._gone.clear()
        if not self._held:
            return
        held, self._held = self._held, {}
        try:
            vectors = await self._embedded(held)
        except BaseException:
            self._held = held | self._held
            raise
        self._table.write(held, vectors, now=int(time.time()))

    async def drop_pending_index_ops(self) -> None:
        """Forget what was held back."""
        self._held.clear()
        self._gone.clear()

    async def finalize(self) -> None:
        """Let go of the memory, which LightRAG's own references would hold for a while."""
        self._matrix = VectorMatrix(self.embedding_func.embedding_dim)

    async def drop(self) -> Answer:
        """Remove everything."""
        await self.drop_pending_index_ops()
        self._table.clear()
        return DROPPED

    async def _embedded(self, held: Mapping[str, Record]) -> dict[str, bytes]:
        known = self._table.texts(held)
        changed = [key for key, record in held.items() if known.get(key) != record.get("content", "")]
        packed: dict[str, bytes] = {}
        for start in range(0, len(changed), TEXTS_PER_BATCH):
            keys = changed[start : start + TEXTS_PER_BATCH]
            vectors: Vectors = await self.embedding_func(
                [held[key].get("content", "") for key in keys], context="document"
            )
            packed.update(zip(keys, pack_vectors(np.asarray(vectors, np.float32)), strict=True))
        return packed


@dataclass
class SqliteGraphStorage(BaseGraphStorage):  # type: ignore[misc]
    """The graph of entities, never loaded whole."""

    def __post_init__(self) -> None:
        """Find the table."""
        tables = tables_of(self.global_config)
        self._table = tables.graph
        self._writable = tables.writable
        self._nodes = _Held(self._table.nodes)
        self._edges = _Held(self._table.edges)

    async def has_node(self, node_id: str) -> bool:
        """Whether there is such a node."""
        return await self.get_node(node_id) is not None

    async def has_edge(self, source_node_id: str, target_node_id: str) -> bool:
        """Whether the two nodes are connected."""
        return await self.get_edge(source_node_id, target_node_id) is not None

    async def has_nodes_batch(self, node_ids: list[str]) -> set[str]:
        """Those nodes that exist."""
        return set(await self.get_nodes_batch(node_ids))

    async def get_node(self, node_id: str) -> Record | None:
        """A node's properties."""
        return (await self.get_nodes_batch([node_id])).get(node_id)

    async def get_edge(self, source_node_id: str, target_node_id: str) -> Record | None:
        """An edge's properties."""
        pair = source_node_id, target_node_id
        return (await self.get_edges_batch([{"src": pair[0], "tgt": pair[1]}])).get(pair)

    async def get_nodes_batch(self, node_ids: list[str]) -> dict[str, Record]:
        """Properties of the nodes that exist."""
        found = self._table.nodes(node_ids) if self._only_committed() else self._nodes.get(node_ids)
        return {name: dict(record) for name, record in found.items() if record is not None}

    async def get_edges_batch(self, pairs: list[dict[str, str]]) -> dict[Pair, Record]:
        """Properties of the edges that exist, by pair as asked for."""
        asked = [(pair["src"], pair["tgt"]) for pair in pairs]
        if self._only_committed():
            return self._table.edges(asked)
        found = self._edges.get({_sorted(pair) for pair in asked})
        return {pair: dict(record) for pair in asked if (record := found[_sorted(pair)]) is not None}

    async def node_degree(self, node_id: str) -> int:
        """Number of edges at a node, 0 when there is no such node."""
        return (await self.node_degrees_batch([node_id]))[node_id]

    async def node_degrees_batch(self, node_ids: list[str]) -> dict[str, int]:
        """Number of edges at each node, 0 when there is no such node."""
        self._commit()
        found = self._table.degrees(node_ids)
        return {name: found.get(name, 0) for name in node_ids}

    async def edge_degree(self, src_id: str, tgt_id: str) -> int:
        """The degrees of both ends together."""
        return (await self.edge_degrees_batch([(src_id, tgt_id)]))[src_id, tgt_id]

    async def edge_degrees_batch(self, edge_pairs: list[Pair]) -> dict[Pair, int]:
        """The degrees of both ends together, by pair."""
        degrees = await self.node_degrees_batch(sorted({name for pair in edge_pairs for name in pair}))
        return {(source, target): degrees[source] + degrees[target] for source, target in edge_pairs}

    async def get_node_edges(self, source_node_id: str) -> list[Pair] | None:
        """Edges of a node as pairs that begin with it, the heaviest first; None when there is no such node."""
        self._commit()
        limit = EDGES_PER_ENTITY if _searching.get() else -1
        others = self._table.neighbours(source_node_id, limit=limit)
        return None if others is None else [(source_node_id, other) for other in others]

    async def get_nodes_edges_batch(self, node_ids: list[str]) -> dict[str, list[Pair]]:
        """Edges of each node; none when there is no such node."""
        return {name: await self.get_node_edges(name) or [] for name in node_ids}

    async def upsert_node(self, node_id: str, node_data: dict[str, Any]) -> None:
        """Hold a node back until the commit; properties not named keep their values."""
        before = self._nodes.get([node_id])[node_id]
        self._nodes.put(node_id, {**(before or {}), **node_data})

    async def upsert_edge(self, source_node_id: str, target_node_id: str, edge_data: dict[str, Any]) -> None:
        """Hold an edge back until the commit; properties not named keep their values, missing ends are made."""
        pair = _sorted((source_node_id, target_node_id))
        for name, record in self._nodes.get(pair).items():
            if record is None:
                self._nodes.put(name, {})
        before = self._edges.get([pair])[pair]
        self._edges.put(pair, {**(before or {}), **edge_data})

    async def delete_node(self, node_id: str) -> None:
        """Remove a node and its edges."""
        await self.remove_nodes([node_id])

    async def remove_nodes(self, nodes: list[str]) -> None:
        """Remove nodes and their edges."""
        self._commit()
        self._table.delete_nodes(nodes)

    async def remove_edges(self, edges: list[Pair]) -> None:
        """Remove edges."""
        self._commit()
        self._table.delete_edges(edges)

    async def get_all_labels(self) -> list[str]:
        """All entity names in code point order."""
        self._commit()
        return self._table.names()

    async def get_popular_labels(self, limit: int = 300) -> list[str]:
        """Entity names by degree, the highest first."""
        self._commit()
        return self._table.popular(limit)

    async def search_labels(self, query: str, limit: int = 50) -> list[str]:
        """Entity names containing the query: equal ones, then those beginning with it, then the shorter ones."""
        text = query.strip().lower()
        if not text:
            return []
        self._commit()
        return sorted(self._table.names_like(text), key=lambda name: (-_label_score(name, text), name))[:limit]

    async def get_all_nodes(self) -> list[Record]:
        """Properties of every node, with its name as `id`."""
        self._commit()
        return [record | {"id": name} for name, record in self._table.nodes(self._table.names()).items()]

    async def get_all_edges(self) -> list[Record]:
        """Properties of every edge, with its ends as `source` and `target`."""
        self._commit()
        return [record | {"source": source, "target": target} for source, target, record in self._table.all_edges()]

    async def get_knowledge_graph(self, node_label: str, max_depth: int = 3, max_nodes: int = 1000) -> KnowledgeGraph:
        """The nodes around one, or the most connected ones for "*", with the edges among them."""
        self._commit()
        most = min(max_nodes or 1000, self.global_config.get("max_graph_nodes", 1000))
        names = self._table.popular(most + 1) if node_label == "*" else self._around(node_label, max_depth, most + 1)
        chosen = names[:most]
        graph = KnowledgeGraph(is_truncated=len(names) > most)
        for name, record in self._table.nodes(chosen).items():
            graph.nodes.append(KnowledgeGraphNode(id=name, labels=[name], properties=record))
        for source, target, record in self._table.edges_among(chosen):
            low, high = _sorted((source, target))
            graph.edges.append(
                KnowledgeGraphEdge(id=f"{low}-{high}", type="DIRECTED", source=low, target=high, properties=record)
            )
        return graph

    async def index_done_callback(self) -> None:
        """Write what was held back."""
        self._commit()

    async def drop_pending_index_ops(self) -> None:
        """Forget what was held back."""
        self._nodes.clear()
        self._edges.clear()

    async def drop(self) -> Answer:
        """Remove everything."""
        await self.drop_pending_index_ops()
        self._table.clear()
        return DROPPED

    def _only_committed(self) -> bool:
        return not self._writable or _searching.get()

    def _commit(self) -> None:
        if self._only_committed():
            return
        if self._nodes.changed or self._edges.changed:
            self._table.write(self._nodes.pending()[0], self._edges.pending()[0])
        self._nodes.clear()
        self._edges.clear()

    def _around(self, name: str, max_depth: int, most: int) -> list[str]:
        """Nodes by distance from one, those of one distance by degree, at most `most`."""
        if not self._table.nodes([name]):
            return []
        reached, level = [name], [name]
        for _ in range(max_depth):
            fresh = {other for near in level for other in self._table.neighbours(near) or ()} - set(reached)
            degrees = self._table.degrees(fresh)
            level = sorted(fresh, key=lambda other: (-degrees[other], other))[: most - len(reached)]
            reached += level
        return reached


def tables_of(global_config: Mapping[str, Any]) -> GraphTables:
    """The tables LightRAG's configuration was given."""
    tables = global_config["vector_db_storage_cls_kwargs"]["tables"]
    assert isinstance(tables, GraphTables)
    return tables


def _copy(value: Any) -> Any:
    """A copy whose lists and records are the caller's own."""
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) if isinstance(item, dict | list) else item for item in value]
    return value


def _shown(record: Record) -> Record:
    return record | {"__id__": record["id"], "__created_at__": record.get("created_at")}


def _sorted(pair: Pair) -> Pair:
    source, target = pair
    return (source, target) if source <= target else (target, source)


def _label_score(label: str, text: str) -> int:
    """LightRAG's order of search results, https://github.com/HKUDS/LightRAG/blob/main/lightrag/kg/networkx_impl.py."""
    lowered = label.lower()
    if lowered == text:
        return 1000
    if lowered.startswith(text):
        return 500
    return 100 - len(label) + (50 if f" {text}" in lowered or f"_{text}" in lowered else 0)
