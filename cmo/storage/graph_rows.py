"""The tables behind LightRAG's storages: values, links, document states, vectors and the graph.

Each class is one table or a few that belong together, over a `GraphFile`. Every write is one short transaction. Nothing
here knows LightRAG, or what the rows mean to a document.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cmo.errors import IndexDamaged
from cmo.interfaces import Vectors
from cmo.storage.sqlite_file import SqliteFile

Record: TypeAlias = dict[str, Any]
Pair: TypeAlias = tuple[str, str]

LINKS_SHOWN = 100
"""Passages shown of one entity or relation, the oldest ones; the others are kept, and only counted."""

VECTOR_NAMESPACES = ("chunks", "entities", "relationships")

IN_ARRAY = "IN (SELECT value FROM json_each(?))"

_SCALE_BYTES = 4

_TABLES = (
    "CREATE TABLE IF NOT EXISTS lr_identity (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE IF NOT EXISTS lr_values (
        namespace TEXT NOT NULL, id TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (namespace, id))""",
    "CREATE TABLE IF NOT EXISTS lr_passages (passage INTEGER PRIMARY KEY, chunk_id TEXT NOT NULL UNIQUE)",
    """CREATE TABLE IF NOT EXISTS lr_owners (
        owner INTEGER PRIMARY KEY, namespace TEXT NOT NULL, id TEXT NOT NULL, UNIQUE (namespace, id))""",
    """CREATE TABLE IF NOT EXISTS lr_links (
        owner INTEGER NOT NULL, passage INTEGER NOT NULL, PRIMARY KEY (owner, passage)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS lr_documents (
        id TEXT PRIMARY KEY, status TEXT NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
        file_path TEXT, track_id TEXT, content_hash TEXT, duplicate INTEGER NOT NULL, value TEXT NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS lr_documents_status ON lr_documents (status, created_at, id)",
    "CREATE INDEX IF NOT EXISTS lr_documents_file ON lr_documents (file_path)",
    "CREATE INDEX IF NOT EXISTS lr_documents_track ON lr_documents (track_id)",
    "CREATE INDEX IF NOT EXISTS lr_documents_hash ON lr_documents (content_hash, created_at, id)",
    """CREATE TABLE IF NOT EXISTS lr_nodes (
        node INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, properties TEXT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS lr_edges (
        edge INTEGER PRIMARY KEY, a INTEGER NOT NULL, b INTEGER NOT NULL, weight REAL NOT NULL,
        properties TEXT NOT NULL, UNIQUE (a, b))""",
    # Both ends by weight: a node's strongest edges and its degree are index scans, whatever the properties weigh.
    "CREATE INDEX IF NOT EXISTS lr_edges_a ON lr_edges (a, weight, b)",
    "CREATE INDEX IF NOT EXISTS lr_edges_b ON lr_edges (b, weight, a)",
)

_VECTOR_TABLES = (
    "CREATE TABLE IF NOT EXISTS lr_{0}_vectors"
    " (slot INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, change INTEGER NOT NULL, vector BLOB)",
    "CREATE INDEX IF NOT EXISTS lr_{0}_vectors_change ON lr_{0}_vectors (change)",
    # Apart from the vectors, which are read all at once.
    "CREATE TABLE IF NOT EXISTS lr_{0}_fields"
    " (slot INTEGER PRIMARY KEY, content TEXT NOT NULL, fields TEXT NOT NULL, created_at INTEGER NOT NULL)",
)


class GraphFile:
    """The index file as the tables use it. Errors are those of `SqliteFile`."""

    def __init__(self, database: Path, *, writable: bool) -> None:
        """Open the file; a writer creates it and the tables when they are missing.

        Raises:
            IndexDamaged: the file is no database, or (for a reader) holds no graph yet.
            LibraryError: it cannot be opened.
        """
        self.path = database
        self.writable = writable
        self._file = SqliteFile(database, writable=writable)
        if writable:
            with self.transaction() as connection:
                vectors = (statement.format(name) for name in VECTOR_NAMESPACES for statement in _VECTOR_TABLES)
                for statement in (*_TABLES, *vectors):
                    connection.execute(statement)
        elif not self.rows("SELECT 1 FROM sqlite_master WHERE name = 'lr_identity'"):
            raise IndexDamaged(f"There is no graph in {database} yet: index the papers first.")

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def rows(self, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
        """All rows of one statement."""
        return self._file.rows(statement, parameters)

    def pages(self, statement: str, parameters: Sequence[object], *, size: int) -> Iterator[list[Any]]:
        """The rows of one statement, `size` at a time, as of one instant."""
        with self._file.reading() as connection, closing(connection.execute(statement, parameters)) as cursor:
            while page := cursor.fetchmany(size):
                yield page

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction, committed at the end or rolled back by an exception."""
        with self._file.writing() as connection:
            yield connection


class ValueTable:
    """JSON records of one namespace by id."""

    def __init__(self, file: GraphFile, namespace: str) -> None:
        self._file = file
        self._namespace = namespace

    def get(self, ids: Collection[str]) -> dict[str, Record]:
        """The records that exist, by id."""
        found = self._file.rows(
            f"SELECT id, value FROM lr_values WHERE namespace = ? AND id {IN_ARRAY}",
            (self._namespace, array(ids)),
        )
        return {key: json.loads(value) for key, value in found}

    def write(self, records: Mapping[str, Record], *, deleted: Collection[str] = ()) -> None:
        """Store records and drop others, in one transaction."""
        with self._file.transaction() as connection:
            put_values(connection, self._namespace, records)
            connection.executemany(
                "DELETE FROM lr_values WHERE namespace = ? AND id = ?", ((self._namespace, key) for key in deleted)
            )

    def is_empty(self) -> bool:
        """Whether nothing is stored."""
        return not self._file.rows("SELECT 1 FROM lr_values WHERE namespace = ? LIMIT 1", (self._namespace,))

    def clear(self) -> None:
        """Drop every record."""
        with self._file.transaction() as connection:
            connection.execute("DELETE FROM lr_values WHERE namespace = ?", (self._namespace,))


class LinkTable:
    """Which passages name an entity or a relation, as records with `chunk_ids` and `count`.

    A record shows the LINKS_SHOWN oldest passages; a common thing has ten thousands, which LightRAG would read and
    write again for every new relation. So a record of a longer list can be added to and not be shortened by writing it.
    """

    def __init__(self, file: GraphFile, namespace: str) -> None:
        self._file = file
        self._namespace = namespace

    def get(self, ids: Collection[str]) -> dict[str, Record]:
        """The records that exist, by id."""
        found = self._file.rows(
            "SELECT o.id, (SELECT COUNT(*) FROM lr_links WHERE owner = o.owner),"
            " (SELECT json_group_array(chunk_id) FROM (SELECT chunk_id FROM lr_links JOIN lr_passages USING (passage)"
            "   WHERE owner = o.owner ORDER BY passage LIMIT ?))"
            f" FROM lr_owners o WHERE o.namespace = ? AND o.id {IN_ARRAY}",
            (LINKS_SHOWN, self._namespace, array(ids)),
        )
        return {key: {"chunk_ids": json.loads(chunk_ids), "count": count} for key, count, chunk_ids in found}

    def write(self, records: Mapping[str, Record], *, deleted: Collection[str] = ()) -> None:
        """Store the passages of records and drop other records, in one transaction."""
        with self._file.transaction() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO lr_passages (chunk_id) VALUES (?)",
                ((chunk_id,) for record in records.values() for chunk_id in record["chunk_ids"]),
            )
            connection.executemany(
                "INSERT OR IGNORE INTO lr_owners (namespace, id) VALUES (?, ?)",
                ((self._namespace, key) for key in records),
            )
            for key, record in records.items():
                self._link(connection, key, array(record["chunk_ids"]))
            self.drop(connection, deleted)

    def drop(self, connection: sqlite3.Connection, ids: Collection[str]) -> None:
        """Drop records, inside a transaction."""
        chosen = f"SELECT owner FROM lr_owners WHERE namespace = ? AND id {IN_ARRAY}"
        for table in ("lr_links", "lr_owners"):
            connection.execute(f"DELETE FROM {table} WHERE owner IN ({chosen})", (self._namespace, array(ids)))

    def release(self, connection: sqlite3.Connection, ids: Collection[str], doc_id: str) -> None:
        """Take the passages of a document out of records, and drop those left without any, inside a transaction."""
        chosen = f"SELECT owner FROM lr_owners WHERE namespace = ? AND id {IN_ARRAY}"
        connection.execute(
            f"DELETE FROM lr_links WHERE owner IN ({chosen})"
            f" AND passage IN (SELECT passage FROM lr_passages WHERE {of_document('chunk_id')})",
            (self._namespace, array(ids), doc_id, doc_id),
        )
        connection.execute(
            f"DELETE FROM lr_owners WHERE owner IN ({chosen})"
            " AND NOT EXISTS (SELECT 1 FROM lr_links WHERE lr_links.owner = lr_owners.owner)",
            (self._namespace, array(ids)),
        )

    def is_empty(self) -> bool:
        """Whether nothing is stored."""
        return not self._file.rows("SELECT 1 FROM lr_owners WHERE namespace = ? LIMIT 1", (self._namespace,))

    def clear(self) -> None:
        """Drop every record."""
        with self._file.transaction() as connection:
            chosen = "SELECT owner FROM lr_owners WHERE namespace = ?"
            connection.execute(f"DELETE FROM lr_links WHERE owner IN ({chosen})", (self._namespace,))
            connection.execute("DELETE FROM lr_owners WHERE namespace = ?", (self._namespace,))

    def _link(self, connection: sqlite3.Connection, key: str, chunk_ids: str) -> None:
        [owner] = connection.execute(
            "SELECT owner FROM lr_owners WHERE namespace = ? AND id = ?", (self._namespace, key)
        ).fetchone()
        chosen = f"SELECT passage FROM lr_passages WHERE chunk_id {IN_ARRAY}"
        connection.execute(
            f"DELETE FROM lr_links WHERE owner = ? AND passage NOT IN ({chosen})"
            " AND (SELECT COUNT(*) FROM lr_links WHERE owner = ?) <= ?",
            (owner, chunk_ids, owner, LINKS_SHOWN),
        )
        connection.execute(
            f"INSERT OR IGNORE INTO lr_links SELECT ?, passage FROM lr_passages WHERE chunk_id {IN_ARRAY}",
            (owner, chunk_ids),
        )


class StatusTable:
    """LightRAG's state of every document, as JSON records with the columns that are searched for."""

    def __init__(self, file: GraphFile) -> None:
        self._file = file

    def get(self, ids: Collection[str]) -> dict[str, Record]:
        """The records that exist, by document."""
        return self._records(f"id {IN_ARRAY}", (array(ids),))

    def write(self, records: Mapping[str, Record]) -> None:
        """Store records whole."""
        with self._file.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO lr_documents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (_status_row(key, record) for key, record in records.items()),
            )

    def delete(self, ids: Collection[str]) -> None:
        """Drop records."""
        with self._file.transaction() as connection:
            connection.executemany("DELETE FROM lr_documents WHERE id = ?", ((key,) for key in ids))

    def clear(self) -> None:
        """Drop every record."""
        with self._file.transaction() as connection:
            connection.execute("DELETE FROM lr_documents")

    def states(self) -> dict[str, str]:
        """Status by document."""
        return dict(self._file.rows("SELECT id, status FROM lr_documents"))

    def counts(self) -> dict[str, int]:
        """Number of documents by status."""
        return dict(self._file.rows("SELECT status, COUNT(*) FROM lr_documents GROUP BY status"))

    def with_status(self, statuses: Collection[str]) -> dict[str, Record]:
        """Records in any of the statuses, oldest first."""
        return self._records(f"status {IN_ARRAY}", (array(statuses),))

    def page(self, statuses: Collection[str], *, after: Pair, limit: int) -> dict[str, Record]:
        """The next `limit` records in any of the statuses with (created_at, id) beyond `after`, in that order."""
        condition = "status IN (SELECT value FROM json_each(?)) AND (created_at, id) > (?, ?)"
        return self._records(condition, (array(statuses), *after), limit=limit)

    def with_track(self, track_id: str) -> dict[str, Record]:
        """Records of one insertion."""
        return self._records("track_id = ?", (track_id,))

    def with_file(self, file_path: str, *, limit: int = -1) -> dict[str, Record]:
        """Records of one file path, duplicates included, oldest first."""
        return self._records("file_path = ?", (file_path,), limit=limit)

    def owners_of_file(self, file_path: str, *, limit: int) -> dict[str, Record]:
        """Records of one file path which are no duplicates of another, oldest first."""
        return self._records("file_path = ? AND NOT duplicate", (file_path,), limit=limit)

    def with_hash(self, content_hash: str) -> dict[str, Record]:
        """Records of one content hash, oldest first."""
        return self._records("content_hash = ?", (content_hash,))

    def fail_unfinished(self, message: str) -> None:
        """Mark every document that is not processed as failed, so that LightRAG does not resume it on its own."""
        unfinished = {
            key: record | {"status": "failed", "error_msg": message}
            for key, record in self._records("status NOT IN ('processed', 'failed')", ()).items()
        }
        if unfinished:
            self.write(unfinished)

    def _records(self, condition: str, parameters: Sequence[object], *, limit: int = -1) -> dict[str, Record]:
        found = self._file.rows(
            f"SELECT id, value FROM lr_documents WHERE {condition} ORDER BY created_at, id LIMIT ?",
            (*parameters, limit),
        )
        return {key: json.loads(value) for key, value in found}


class VectorTable:
    """Vectors of one namespace with their texts and fields, under a slot number that never changes hands.

    A vector is kept as signed bytes and one scale (a quarter of float32; measured error of a cosine below 0.002 on
    384 dimensions). A deleted row keeps its slot without a vector, so that readers learn of it. `change` grows with
    every write: what a reader has not seen has a larger one.
    """

    def __init__(self, file: GraphFile, namespace: str) -> None:
        if namespace not in VECTOR_NAMESPACES:
            raise ValueError(f"{namespace!r} is none of {VECTOR_NAMESPACES}")
        self._file = file
        self._name = f"lr_{namespace}"

    def latest_change(self) -> int:
        """The number of the last write; 0 before the first."""
        return int(self._file.rows(f"SELECT COALESCE(MAX(change), 0) FROM {self._name}_vectors")[0][0])

    def changed_since(self, change: int, *, size: int) -> Iterator[list[tuple[int, bytes | None]]]:
        """Slots written after `change` with their packed vector, None when deleted; by slot, `size` at a time."""
        condition = "WHERE change > ?" if change else "WHERE ? = 0"
        statement = f"SELECT slot, vector FROM {self._name}_vectors {condition} ORDER BY slot"
        return self._file.pages(statement, (change,), size=size)

    def in_slots(self, slots: Collection[int]) -> dict[int, Record]:
        """Records by slot, of those that still have a vector."""
        return {slot: record for slot, _, record in self._records("v.slot", slots)}

    def get(self, ids: Collection[str]) -> dict[str, Record]:
        """Records by id: the fields, `content`, `id` and `created_at`."""
        return {key: record for _, key, record in self._records("v.id", ids)}

    def packed(self, ids: Collection[str]) -> dict[str, bytes]:
        """Packed vectors by id."""
        return dict(
            self._file.rows(
                f"SELECT id, vector FROM {self._name}_vectors WHERE vector IS NOT NULL AND id {IN_ARRAY}",
                (array(ids),),
            )
        )

    def texts(self, ids: Collection[str]) -> dict[str, str]:
        """What the stored vectors of these ids were made from, by id."""
        found = self._file.rows(
            f"SELECT v.id, f.content FROM {self._name}_vectors v JOIN {self._name}_fields f USING (slot)"
            f" WHERE v.vector IS NOT NULL AND v.id {IN_ARRAY}",
            (array(ids),),
        )
        return dict(found)

    def write(self, records: Mapping[str, Record], vectors: Mapping[str, bytes], *, now: int) -> None:
        """Store fields, and the packed vectors of those records whose text is another than before."""
        with self._file.transaction() as connection:
            change = self._next_change(connection)
            connection.executemany(
                f"INSERT INTO {self._name}_vectors (id, change, vector) VALUES (?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET change = excluded.change, vector = excluded.vector",
                ((key, change, vector) for key, vector in vectors.items()),
            )
            connection.executemany(
                f"INSERT INTO {self._name}_fields (slot, content, fields, created_at)"
                f" SELECT slot, ?, ?, ? FROM {self._name}_vectors WHERE id = ?"
                " ON CONFLICT (slot) DO UPDATE SET content = excluded.content, fields = excluded.fields,"
                " created_at = excluded.created_at",
                ((_field(record, "content"), to_json(_fields(record)), now, key) for key, record in records.items()),
            )

    def delete(self, ids: Collection[str]) -> None:
        """Take the vectors away."""
        with self._file.transaction() as connection:
            self.bury(connection, f"id {IN_ARRAY}", (array(ids),))

    def delete_ends(self, name: str) -> None:
        """Take the vectors of every relation of an entity away."""
        ends = "json_extract(fields, '$.src_id') = ?1 OR json_extract(fields, '$.tgt_id') = ?1"
        with self._file.transaction() as connection:
            self.bury(connection, f"slot IN (SELECT slot FROM {self._name}_fields WHERE {ends})", (name,))

    def clear(self) -> None:
        """Take every vector away."""
        with self._file.transaction() as connection:
            self.bury(connection, "TRUE", ())

    def bury(self, connection: sqlite3.Connection, condition: str, parameters: Sequence[object]) -> None:
        """Take the vectors which meet a condition away, inside a transaction."""
        buried = connection.execute(
            f"SELECT slot FROM {self._name}_vectors WHERE vector IS NOT NULL AND ({condition})", parameters
        ).fetchall()
        if not buried:
            return
        change = self._next_change(connection)
        connection.executemany(
            f"UPDATE {self._name}_vectors SET vector = NULL, change = ? WHERE slot = ?",
            ((change, slot) for (slot,) in buried),
        )
        connection.executemany(f"DELETE FROM {self._name}_fields WHERE slot = ?", buried)

    def _records(self, column: str, keys: Collection[object]) -> Iterator[tuple[int, str, Record]]:
        found = self._file.rows(
            f"SELECT v.slot, v.id, f.content, f.fields, f.created_at FROM {self._name}_vectors v"
            f" JOIN {self._name}_fields f USING (slot)"
            f" WHERE v.vector IS NOT NULL AND {column} {IN_ARRAY}",
            (array(keys),),
        )
        for slot, key, content, fields, created_at in found:
            yield slot, key, json.loads(fields) | {"content": content, "id": key, "created_at": created_at}

    def _next_change(self, connection: sqlite3.Connection) -> int:
        latest = connection.execute(f"SELECT COALESCE(MAX(change), 0) FROM {self._name}_vectors").fetchone()
        return int(latest[0]) + 1


class GraphTable:
    """The undirected graph of entities. An edge is stored once, under the smaller node number."""

    def __init__(self, file: GraphFile) -> None:
        self._file = file

    def nodes(self, names: Collection[str]) -> dict[str, Record]:
        """Properties of the nodes that exist, by name."""
        found = self._file.rows(f"SELECT name, properties FROM lr_nodes WHERE name {IN_ARRAY}", (array(names),))
        return {name: json.loads(properties) for name, properties in found}

    def edges(self, pairs: Collection[Pair]) -> dict[Pair, Record]:
        """Properties of the edges that exist, by pair as asked for."""
        found = self._file.rows(
            "SELECT p.value ->> 0, p.value ->> 1, e.properties FROM json_each(?) p"
            " JOIN lr_nodes s ON s.name = p.value ->> 0 JOIN lr_nodes t ON t.name = p.value ->> 1"
            " JOIN lr_edges e ON e.a = MIN(s.node, t.node) AND e.b = MAX(s.node, t.node)",
            (array(pairs),),
        )
        return {(source, target): json.loads(properties) for source, target, properties in found}

    def degrees(self, names: Collection[str]) -> dict[str, int]:
        """Number of edge ends at each node that exists."""
        return dict(
            self._file.rows(
                "SELECT n.name, (SELECT COUNT(*) FROM lr_edges WHERE a = n.node)"
                " + (SELECT COUNT(*) FROM lr_edges WHERE b = n.node)"
                f" FROM lr_nodes n WHERE n.name {IN_ARRAY}",
                (array(names),),
            )
        )

    def neighbours(self, name: str, *, limit: int = -1) -> list[str] | None:
        """Names at the other ends, heaviest edge first, at most `limit`; None when there is no such node."""
        node = self._file.rows("SELECT node FROM lr_nodes WHERE name = ?", (name,))
        if not node:
            return None
        found = self._file.rows(
            "SELECT n.name FROM ("
            " SELECT * FROM (SELECT b AS other, weight FROM lr_edges WHERE a = ?1 ORDER BY weight DESC LIMIT ?2)"
            " UNION ALL"
            " SELECT * FROM (SELECT a, weight FROM lr_edges WHERE b = ?1 AND a <> ?1 ORDER BY weight DESC LIMIT ?2)"
            ") e JOIN lr_nodes n ON n.node = e.other ORDER BY e.weight DESC, n.name LIMIT ?2",
            (node[0][0], limit),
        )
        return [other for (other,) in found]

    def write(self, nodes: Mapping[str, Record], edges: Mapping[Pair, Record]) -> None:
        """Store nodes and edges in one transaction; properties not named keep their values, missing ends are made."""
        with self._file.transaction() as connection:
            connection.executemany(
                "INSERT INTO lr_nodes (name, properties) VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET properties = json_patch(properties, excluded.properties)",
                ((name, to_json(properties)) for name, properties in nodes.items()),
            )
            connection.executemany(
                "INSERT OR IGNORE INTO lr_nodes (name, properties) VALUES (?, '{}')",
                ((name,) for pair in edges for name in pair),
            )
            connection.executemany(
                "INSERT INTO lr_edges (a, b, weight, properties)"
                " SELECT MIN(s.node, t.node), MAX(s.node, t.node), ?, ? FROM lr_nodes s, lr_nodes t"
                " WHERE s.name = ? AND t.name = ?"
                " ON CONFLICT (a, b) DO UPDATE SET weight = excluded.weight,"
                " properties = json_patch(properties, excluded.properties)",
                (
                    (_weight(properties), to_json(properties), source, target)
                    for (source, target), properties in edges.items()
                ),
            )

    def delete_nodes(self, names: Collection[str]) -> None:
        """Remove nodes and their edges."""
        with self._file.transaction() as connection:
            drop_nodes(connection, names)

    def delete_edges(self, pairs: Collection[Pair]) -> None:
        """Remove edges."""
        with self._file.transaction() as connection:
            drop_edges(connection, pairs)

    def clear(self) -> None:
        """Remove everything."""
        with self._file.transaction() as connection:
            connection.execute("DELETE FROM lr_edges")
            connection.execute("DELETE FROM lr_nodes")

    def names(self) -> list[str]:
        """All node names in code point order."""
        return [name for (name,) in self._file.rows("SELECT name FROM lr_nodes ORDER BY name")]

    def names_like(self, text: str) -> list[str]:
        """Node names that contain `text`, given in lower case."""
        return [
            name for (name,) in self._file.rows("SELECT name FROM lr_nodes WHERE instr(LOWER(name), ?) > 0", (text,))
        ]

    def popular(self, limit: int) -> list[str]:
        """Node names by degree, the highest first, ties in code point order."""
        found = self._file.rows(
            "SELECT n.name FROM lr_nodes n LEFT JOIN (SELECT node, COUNT(*) AS degree FROM"
            " (SELECT a AS node FROM lr_edges UNION ALL SELECT b FROM lr_edges) GROUP BY node) d ON d.node = n.node"
            " ORDER BY COALESCE(d.degree, 0) DESC, n.name LIMIT ?",
            (limit,),
        )
        return [name for (name,) in found]

    def all_edges(self) -> list[tuple[str, str, Record]]:
        """Both ends and the properties of every edge."""
        found = self._file.rows(
            "SELECT s.name, t.name, e.properties FROM lr_edges e"
            " JOIN lr_nodes s ON s.node = e.a JOIN lr_nodes t ON t.node = e.b"
        )
        return [(source, target, json.loads(properties)) for source, target, properties in found]

    def edges_among(self, names: Collection[str]) -> list[tuple[str, str, Record]]:
        """Both ends and the properties of every edge between two of the nodes."""
        found = self._file.rows(
            "WITH chosen AS (SELECT node, name FROM lr_nodes WHERE name IN (SELECT value FROM json_each(?)))"
            " SELECT s.name, t.name, e.properties FROM chosen s JOIN lr_edges e ON e.a = s.node"
            " JOIN chosen t ON t.node = e.b",
            (array(names),),
        )
        return [(source, target, json.loads(properties)) for source, target, properties in found]


def pack_vectors(vectors: Vectors) -> list[bytes]:
    """Each row, made a unit vector, as one float32 scale and signed bytes."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = np.divide(vectors, lengths, out=np.zeros_like(vectors, dtype=np.float32), where=lengths > 0)
    scales = (np.abs(units).max(axis=1, keepdims=True) / 127).astype("<f4")
    codes = np.rint(np.divide(units, scales, out=np.zeros_like(units), where=scales > 0)).astype(np.int8)
    return [scale.tobytes() + code.tobytes() for scale, code in zip(scales, codes, strict=True)]


def unpack_vectors(packed: Sequence[bytes]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int8]]:
    """Scales, shape (n,), and signed bytes, shape (n, dimension), of packed vectors of one dimension."""
    rows = np.frombuffer(b"".join(packed), dtype=np.uint8).reshape(len(packed), -1)
    scales = np.ascontiguousarray(rows[:, :_SCALE_BYTES]).view("<f4").reshape(-1)
    return scales, rows[:, _SCALE_BYTES:].view(np.int8)


def drop_nodes(connection: sqlite3.Connection, names: Collection[str]) -> None:
    """Remove nodes and their edges, inside a transaction."""
    chosen = f"SELECT node FROM lr_nodes WHERE name {IN_ARRAY}"
    connection.execute(f"DELETE FROM lr_edges WHERE a IN ({chosen})", (array(names),))
    connection.execute(f"DELETE FROM lr_edges WHERE b IN ({chosen})", (array(names),))
    connection.execute(f"DELETE FROM lr_nodes WHERE node IN ({chosen})", (array(names),))


def drop_edges(connection: sqlite3.Connection, pairs: Collection[Pair]) -> None:
    """Remove edges, inside a transaction."""
    connection.executemany(f"DELETE FROM lr_edges WHERE edge IN ({EDGE_OF_PAIR})", pairs)


EDGE_OF_PAIR = (
    "SELECT e.edge FROM lr_nodes s, lr_nodes t"
    " JOIN lr_edges e ON e.a = MIN(s.node, t.node) AND e.b = MAX(s.node, t.node)"
    " WHERE s.name = ? AND t.name = ?"
)


def put_values(connection: sqlite3.Connection, namespace: str, records: Mapping[str, Record]) -> None:
    """Store records, inside a transaction."""
    connection.executemany(
        "INSERT INTO lr_values VALUES (?, ?, ?) ON CONFLICT (namespace, id) DO UPDATE SET value = excluded.value",
        ((namespace, key, to_json(record)) for key, record in records.items()),
    )


def of_document(column: str) -> str:
    """A condition on passage ids, with the document's id as its two parameters."""
    # "." follows "-": this is the range of all ids that begin with the document's.
    return f"{column} >= ? || '-' AND {column} < ? || '.'"


def _status_row(key: str, record: Record) -> tuple[object, ...]:
    metadata = record.get("metadata")
    duplicate = isinstance(metadata, dict) and bool(metadata.get("is_duplicate"))
    created_at = record.get("created_at") or ""
    return (
        key,
        str(record["status"]),
        created_at,
        record.get("updated_at") or created_at,
        record.get("file_path"),
        record.get("track_id"),
        record.get("content_hash"),
        duplicate,
        to_json(record),
    )


def _fields(record: Record) -> Record:
    return {name: value for name, value in record.items() if name != "content"}


def _field(record: Record, name: str) -> str:
    return str(record.get(name, ""))


def _weight(properties: Record) -> float:
    return float(properties.get("weight", 1.0))


def array(items: Iterable[object]) -> str:
    """Items as one parameter, for json_each."""
    return json.dumps(list(items))


def to_json(record: Record) -> str:
    """A record as it is stored."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))
