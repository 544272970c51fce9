"""LightRAG's rows in the index file, and what they mean to a document: taking one out, and auditing them all.

Refuses to know LightRAG itself, models, or the manifest's tables in the same file.

Writes are short transactions: after kill -9 the file holds a prefix of them, after a power cut perhaps a shorter one,
never a part of one (https://www.sqlite.org/wal.html). Readers in other processes see what is committed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from hashlib import md5
from pathlib import Path
from typing import Any, Self

from cmo.storage.graph_rows import (
    EDGE_OF_PAIR,
    IN_ARRAY,
    LINKS_SHOWN,
    GraphFile,
    GraphTable,
    LinkTable,
    Pair,
    Record,
    StatusTable,
    ValueTable,
    VectorTable,
    array,
    drop_edges,
    drop_nodes,
    of_document,
    to_json,
)

SCHEMA = "graph-1"
"""Name of the tables, part of an index's fingerprint: change it with them."""

SEPARATOR = "<SEP>"
"""LightRAG's separator inside `source_id`."""

EXTRACTION_CACHE = "llm_response_cache"
LINK_NAMESPACES = ("entity_chunks", "relation_chunks")


class GraphTables:
    """The graph's tables in an index file."""

    def __init__(self, database: Path, *, writable: bool) -> None:
        """Open the file; a writer creates it and the tables when they are missing.

        Raises:
            IndexDamaged: the file is no database, or (for a reader) holds no graph yet.
            LibraryError: it cannot be opened.
        """
        self.file = GraphFile(database, writable=writable)
        self.writable = writable
        self.statuses = StatusTable(self.file)
        self.graph = GraphTable(self.file)

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """Itself: LightRAG copies its whole configuration for every question, and this is a part of it."""
        return self

    def close(self) -> None:
        """Let go of the file."""
        self.file.close()

    def values(self, namespace: str) -> ValueTable | LinkTable:
        """The records of a namespace by id."""
        return self.links(namespace) if namespace in LINK_NAMESPACES else ValueTable(self.file, namespace)

    def links(self, namespace: str) -> LinkTable:
        """The passages that name the entities or relations of a namespace."""
        return LinkTable(self.file, namespace)

    def vectors(self, namespace: str) -> VectorTable:
        """The vectors of a namespace."""
        return VectorTable(self.file, namespace)

    def identity(self) -> dict[str, str]:
        """What the rows were made with, by name; empty in a new file."""
        return dict(self.file.rows("SELECT name, value FROM lr_identity"))

    def set_identity(self, identity: Mapping[str, str]) -> None:
        """Record what the rows are made with."""
        with self.file.transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO lr_identity VALUES (?, ?)", identity.items())


def forget_document(tables: GraphTables, doc_id: str) -> None:
    """Take a document, finished or not, and all it gave to the graph out of the index, in one transaction.

    Entities and relations which other documents name too stay, without this document's passages: their descriptions
    say nothing of any document, so nothing has to be rebuilt. What was extracted from its passages stays cached.
    """
    names, pairs = _named_by(tables, doc_id)
    keys = [relation_key(*pair) for pair in pairs]
    entities, relations = tables.links("entity_chunks"), tables.links("relation_chunks")
    with tables.file.transaction() as connection:
        entities.release(connection, names, doc_id)
        relations.release(connection, keys, doc_id)
        left_names = _left(connection, "entity_chunks", names)
        left_keys = _left(connection, "relation_chunks", keys)
        lost_pairs = [pair for pair in pairs if relation_key(*pair) not in left_keys]
        _drop_relations(tables, connection, lost_pairs)
        _drop_entities(tables, connection, [name for name in names if name not in left_names])
        for name, sources in left_names.items():
            _reattribute_node(connection, name, sources)
        for pair in pairs:
            if relation_key(*pair) in left_keys:
                _reattribute_edge(connection, pair, left_keys[relation_key(*pair)])
        _drop_own_rows(tables, connection, doc_id)


def drop_duplicate_rows(tables: GraphTables) -> None:
    """Drop the rows which LightRAG writes for documents it refused as duplicates."""
    duplicates = [doc_id for doc_id in tables.statuses.states() if doc_id.startswith("dup-")]
    if duplicates:
        tables.statuses.delete(duplicates)


def incomplete_documents(tables: GraphTables, expected: Mapping[str, Collection[str]]) -> list[str]:
    """Documents whose rows are not all there, and documents which should not be there, sorted.

    `expected` holds the passages of every document that should be there. A document is whole when it is processed,
    has these passages, a vector for each, and a node or edge with its vector and a link back for all it named.
    """
    states = tables.statuses.states()
    stored = _Stored(tables.file)
    whole = {
        doc_id
        for doc_id, chunk_ids in expected.items()
        if states.get(doc_id) == "processed" and stored.has_all_of(doc_id, chunk_ids)
    }
    return sorted((expected.keys() | states.keys() | stored.documents()) - whole)


def copy_extraction_cache(source: Path, target: Path) -> int:
    """Carry what was extracted from passages over to another index file; returns the number of rows copied.

    The cache's keys hold the extractor's fingerprint: rows of another extractor are copied in vain and do no harm.

    Raises:
        IndexDamaged: a file is no index.
        LibraryError: a file cannot be opened or written.
    """
    copied = 0
    statement = "SELECT namespace, id, value FROM lr_values WHERE namespace = ?"
    with (
        closing(GraphFile(source, writable=False)) as old,
        closing(GraphFile(target, writable=True)) as new,
    ):
        for page in old.pages(statement, (EXTRACTION_CACHE,), size=1_000):
            with new.transaction() as connection:
                copied += connection.executemany("INSERT OR IGNORE INTO lr_values VALUES (?, ?, ?)", page).rowcount
    return copied


def entity_vector_id(name: str) -> str:
    """LightRAG's id of an entity's vector."""
    return f"ent-{_digest(name)}"


def relation_vector_ids(source: str, target: str) -> tuple[str, str]:
    """LightRAG's ids of a relation's vector, either way round."""
    return f"rel-{_digest(source + target)}", f"rel-{_digest(target + source)}"


def relation_key(source: str, target: str) -> str:
    """LightRAG's id of a relation's links."""
    return SEPARATOR.join(sorted((source, target)))


class _Stored:
    """What an audit has to know of all rows, read once."""

    def __init__(self, file: GraphFile) -> None:
        self._chunks = _by_document(file.rows("SELECT id FROM lr_values WHERE namespace = 'text_chunks'"))
        self._vectors = _by_document(_live(file, "chunks"))
        self._ids = {key for namespace in ("entities", "relationships") for (key,) in _live(file, namespace)}
        self._named = _lists(file, "full_entities", "entity_names")
        self._related = _lists(file, "full_relations", "relation_pairs")
        self._linked = _linked_documents(file)
        self._nodes = {name for (name,) in file.rows("SELECT name FROM lr_nodes")}
        ends = file.rows(
            "SELECT s.name, t.name FROM lr_edges e JOIN lr_nodes s ON s.node = e.a JOIN lr_nodes t ON t.node = e.b"
        )
        self._edges = {relation_key(*pair) for pair in ends}

    def documents(self) -> set[str]:
        """Every document that owns a row."""
        owners = self._chunks.keys() | self._vectors.keys() | self._named.keys() | self._related.keys()
        return owners.union(*self._linked.values())

    def has_all_of(self, doc_id: str, chunk_ids: Collection[str]) -> bool:
        """Whether a document's rows are exactly its passages' and all it named is linked back to it."""
        wanted = set(chunk_ids)
        if self._chunks.get(doc_id, set()) != wanted or self._vectors.get(doc_id, set()) != wanted:
            return False
        if wanted and not (doc_id in self._named and doc_id in self._related):
            return False
        named, related = self._named.get(doc_id, ()), self._related.get(doc_id, ())
        return all(self._has_entity(doc_id, name) for name in named) and all(
            self._has_relation(doc_id, source, target) for source, target in related
        )

    def _has_entity(self, doc_id: str, name: str) -> bool:
        linked = doc_id in self._linked.get(("entity_chunks", name), ())
        return linked and name in self._nodes and entity_vector_id(name) in self._ids

    def _has_relation(self, doc_id: str, source: str, target: str) -> bool:
        key = relation_key(source, target)
        linked = doc_id in self._linked.get(("relation_chunks", key), ())
        return linked and key in self._edges and not self._ids.isdisjoint(relation_vector_ids(source, target))


def _named_by(tables: GraphTables, doc_id: str) -> tuple[list[str], list[Pair]]:
    """The entities and relations LightRAG noted for a document before it touched the graph."""
    entities = tables.values("full_entities").get([doc_id]).get(doc_id, {})
    relations = tables.values("full_relations").get([doc_id]).get(doc_id, {})
    pairs = [(source, target) for source, target in relations.get("relation_pairs", [])]
    return list(entities.get("entity_names", [])), pairs


def _left(connection: sqlite3.Connection, namespace: str, ids: Sequence[str]) -> dict[str, list[str]]:
    """The oldest passages of those records which still have some, by id."""
    found = connection.execute(
        "SELECT o.id, (SELECT group_concat(chunk_id, ' ') FROM (SELECT chunk_id FROM lr_links"
        "   JOIN lr_passages USING (passage) WHERE owner = o.owner ORDER BY passage LIMIT ?))"
        f" FROM lr_owners o WHERE o.namespace = ? AND o.id {IN_ARRAY}",
        (LINKS_SHOWN + 1, namespace, array(ids)),
    )
    return {key: chunk_ids.split(" ") for key, chunk_ids in found}


def _drop_relations(tables: GraphTables, connection: sqlite3.Connection, pairs: Sequence[Pair]) -> None:
    drop_edges(connection, pairs)
    keys = [key for pair in pairs for key in relation_vector_ids(*pair)]
    tables.vectors("relationships").bury(connection, f"id {IN_ARRAY}", (array(keys),))


def _drop_entities(tables: GraphTables, connection: sqlite3.Connection, names: Sequence[str]) -> None:
    drop_nodes(connection, names)
    keys = [entity_vector_id(name) for name in names]
    tables.vectors("entities").bury(connection, f"id {IN_ARRAY}", (array(keys),))


def _drop_own_rows(tables: GraphTables, connection: sqlite3.Connection, doc_id: str) -> None:
    tables.vectors("chunks").bury(connection, of_document("id"), (doc_id, doc_id))
    connection.execute(
        f"DELETE FROM lr_values WHERE namespace = 'text_chunks' AND {of_document('id')}", (doc_id, doc_id)
    )
    connection.execute(f"DELETE FROM lr_passages WHERE {of_document('chunk_id')}", (doc_id, doc_id))
    for namespace in ("full_docs", "full_entities", "full_relations"):
        connection.execute("DELETE FROM lr_values WHERE namespace = ? AND id = ?", (namespace, doc_id))
    connection.execute("DELETE FROM lr_documents WHERE id = ?", (doc_id,))


def _reattribute_node(connection: sqlite3.Connection, name: str, sources: Sequence[str]) -> None:
    changed = _attribution(sources)
    connection.execute(
        "UPDATE lr_nodes SET properties = json_patch(properties, ?) WHERE name = ?", (to_json(changed), name)
    )
    _patch_fields(connection, "lr_entities", [entity_vector_id(name)], changed)


def _reattribute_edge(connection: sqlite3.Connection, pair: Pair, sources: Sequence[str]) -> None:
    changed = _attribution(sources)
    weight = float(min(len(sources), LINKS_SHOWN))
    connection.execute(
        f"UPDATE lr_edges SET weight = ?, properties = json_patch(properties, ?) WHERE edge IN ({EDGE_OF_PAIR})",
        (weight, to_json(changed | {"weight": weight}), *pair),
    )
    _patch_fields(connection, "lr_relationships", relation_vector_ids(*pair), changed)


def _attribution(sources: Sequence[str]) -> Record:
    """The properties of a node or edge that say which passages name it, as LightRAG writes them."""
    shown = sources[:LINKS_SHOWN]
    return {
        "source_id": SEPARATOR.join(shown),
        "file_path": _document_of(shown[0]),
        "truncate": "KEEP Old" if len(shown) < len(sources) else "",
    }


def _patch_fields(connection: sqlite3.Connection, table: str, ids: Collection[str], changed: Record) -> None:
    wanted = {name: changed[name] for name in ("source_id", "file_path")}
    connection.execute(
        f"UPDATE {table}_fields SET fields = json_patch(fields, ?)"
        f" WHERE slot IN (SELECT slot FROM {table}_vectors WHERE id {IN_ARRAY})",
        (to_json(wanted), array(ids)),
    )


def _lists(file: GraphFile, namespace: str, field: str) -> dict[str, list[Any]]:
    found = file.rows("SELECT id, value FROM lr_values WHERE namespace = ?", (namespace,))
    return {key: json.loads(value)[field] for key, value in found}


def _linked_documents(file: GraphFile) -> dict[tuple[str, str], set[str]]:
    """The documents linked to an entity or relation, by namespace and id."""
    found = file.pages(
        "SELECT o.namespace, o.id, p.chunk_id FROM lr_links l JOIN lr_owners o USING (owner)"
        " JOIN lr_passages p USING (passage)",
        (),
        size=10_000,
    )
    linked: dict[tuple[str, str], set[str]] = {}
    for page in found:
        for namespace, key, chunk_id in page:
            linked.setdefault((namespace, key), set()).add(_document_of(chunk_id))
    return linked


def _live(file: GraphFile, namespace: str) -> list[tuple[str]]:
    return file.rows(f"SELECT id FROM lr_{namespace}_vectors WHERE vector IS NOT NULL")


def _by_document(rows: Iterable[tuple[str]]) -> dict[str, set[str]]:
    grouped: dict[str, set[str]] = {}
    for (chunk_id,) in rows:
        grouped.setdefault(_document_of(chunk_id), set()).add(chunk_id)
    return grouped


def _document_of(chunk_id: str) -> str:
    return chunk_id.rsplit("-", 2)[0]


def _digest(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()
