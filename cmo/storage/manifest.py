"""The manifest of one generation: which files were read, what stands in them, and what of it can be found.

The manifest decides what can be found: a document whose state is not "indexed" does not exist for readers, whatever the
graph's tables beside it hold. `revision` grows with every change of what can be found.

Written with the standard library's sqlite3 in WAL mode: readers in other processes and threads see each commit and
never wait for the writer. Texts are stored once, by page; passages are spans of them, and the full-text index (FTS5)
keeps words only. Vectors of single sentences would be one more table keyed by `chunk_id`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cmo.errors import IndexDamaged
from cmo.storage.sqlite_file import Row, SqliteFile
from cmo.storage.unspaced import search_terms, spaced
from cmo.values import Document, FileStatus, Passage, PassageKind

SCHEMA = "manifest-2"
"""Name of the tables below, part of an index's fingerprint: change it with them."""

_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """
    CREATE TABLE files (
        path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
        sha256 TEXT NOT NULL, status TEXT NOT NULL, reason TEXT, pages INTEGER NOT NULL, passages INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
    "CREATE INDEX files_sha256 ON files (sha256)",
    """
    CREATE TABLE documents (
        doc_id TEXT PRIMARY KEY, sha256 TEXT NOT NULL UNIQUE, title TEXT NOT NULL, authors TEXT NOT NULL, year INTEGER,
        doi TEXT, pages INTEGER NOT NULL, passages INTEGER NOT NULL, state TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE pages (
        doc_id TEXT NOT NULL, page INTEGER NOT NULL, text TEXT NOT NULL, layout TEXT NOT NULL,
        PRIMARY KEY (doc_id, page)
    )
    """,
    """
    CREATE TABLE passages (
        id INTEGER PRIMARY KEY, chunk_id TEXT NOT NULL UNIQUE, doc_id TEXT NOT NULL, page INTEGER NOT NULL,
        start INTEGER NOT NULL, stop INTEGER NOT NULL, section TEXT NOT NULL, kind TEXT NOT NULL
    )
    """,
    "CREATE INDEX passages_document ON passages (doc_id)",
    """
    CREATE VIEW searchable AS
        SELECT passages.id AS id, passages.doc_id AS doc_id,
               substr(pages.text, passages.start + 1, passages.stop - passages.start) AS text,
               passages.section AS section, documents.title AS title
        FROM passages
        JOIN pages ON pages.doc_id = passages.doc_id AND pages.page = passages.page
        JOIN documents ON documents.doc_id = passages.doc_id
        WHERE passages.kind = 'body'
    """,
    """
    CREATE VIRTUAL TABLE passages_fts USING fts5 (
        text, section, title, content = 'searchable', content_rowid = 'id',
        tokenize = 'porter unicode61 remove_diacritics 2'
    )
    """,
)

# The document as readers see it; its file is the first of its copies in the folder.
_DOCUMENT = """
    documents.doc_id, coalesce((SELECT min(path) FROM files WHERE files.sha256 = documents.sha256), ''),
    documents.title, documents.authors, documents.year, documents.doi, documents.pages
"""
_FILE = "path, size, mtime_ns, inode, sha256, status, reason, pages, passages"
_PASSAGE = """
    passages.chunk_id, passages.doc_id, passages.page, passages.start, passages.stop,
    substr(pages.text, passages.start + 1, passages.stop - passages.start), passages.section, passages.kind
"""
_PASSAGE_COLUMNS = 8
_PAGE_OF_PASSAGE = "JOIN pages ON pages.doc_id = passages.doc_id AND pages.page = passages.page"

_INDEX_WORDS = "INSERT INTO passages_fts (rowid, text, section, title) VALUES (?, ?, ?, ?)"


class DocumentState(StrEnum):
    """Whether a document can be found: only INDEXED ones can."""

    PENDING = "pending"
    INDEXED = "indexed"
    REMOVING = "removing"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRow:
    """What is known of one file of the papers folder since it was last looked at.

    `path` is relative to the folder. `size` in bytes, `mtime_ns` and `inode` as stat(2) told them: while they stay the
    same the file is not opened again. `sha256` is of its content, "" when it could not be read. `status` is INDEXED or
    why not.
    """

    path: str
    size: int
    mtime_ns: int
    inode: int
    sha256: str
    status: FileStatus
    reason: str | None = None
    pages: int = 0
    passages: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPage:
    """One page: its text, and in `layout` whatever the reader of the file wants to find again beside it."""

    text: str
    layout: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDocument:
    """Everything the manifest holds of one document. `document.title` is "" when none was found."""

    document: Document
    sha256: str
    pages: tuple[StoredPage, ...]
    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnWeights:
    """How much a word counts in a passage's text, its section's heading and its document's title, for BM25."""

    text: float = 1.0
    section: float = 0.5
    title: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFaults:
    """What an audit of the manifest alone found.

    `documents` are incomplete or have lost their file; `files` say "indexed" and their document is not; `search` tells
    that the full-text index and the passages differ.
    """

    documents: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    search: bool = False

    def __bool__(self) -> bool:
        """Whether anything is wrong."""
        return bool(self.documents or self.files or self.search)


class Manifest:
    """One generation's manifest, usable from any thread.

    A read-only manifest never changes the file and works while another process writes it.

    Raises (opening and every method):
        IndexDamaged: the file is no manifest, of another version, or cannot be read any more.
        LibraryError: it cannot be opened or written (missing, no permission, disk full, locked too long).
    """

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        """Open the manifest at `path`; a writable one is created where there is none."""
        self._file = SqliteFile(path, writable=writable)
        if writable:
            with self._file.writing() as connection:
                _create_tables(connection)
        if self.meta("schema") != SCHEMA:
            self.close()
            raise IndexDamaged(f"{path} was written by another version of this program: index the papers again.")

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    # Reading: what can be found.

    def revision(self) -> int:
        """A number that grows with every change of what can be found."""
        return int(self.meta("revision") or 0)

    def is_empty(self) -> bool:
        """Whether no document can be found."""
        return not self._file.rows("SELECT 1 FROM documents WHERE state = 'indexed' LIMIT 1")

    def documents(self) -> tuple[Document, ...]:
        """The documents that can be found, by file."""
        rows = self._file.rows(f"SELECT {_DOCUMENT} FROM documents WHERE state = 'indexed' ORDER BY 2")
        return tuple(_document(row) for row in rows)

    def passages(self, chunk_ids: Sequence[str]) -> list[tuple[Passage, Document]]:
        """The passages asked for with their documents, in the order asked; those that cannot be found are left out."""
        rows = self._file.rows(
            f"SELECT {_PASSAGE}, {_DOCUMENT} FROM json_each(?) AS asked"
            f" JOIN passages ON passages.chunk_id = asked.value {_PAGE_OF_PASSAGE}"
            " JOIN documents ON documents.doc_id = passages.doc_id"
            " WHERE documents.state = 'indexed' ORDER BY asked.key",
            (json.dumps(list(chunk_ids)),),
        )
        return [(_passage(row[:_PASSAGE_COLUMNS]), _document(row[_PASSAGE_COLUMNS:])) for row in rows]

    def page_text(self, doc_id: str, page: int) -> str | None:
        """The text of one page, or None when there is no such page to be found."""
        rows = self._file.rows(
            "SELECT text FROM pages JOIN documents USING (doc_id) WHERE doc_id = ? AND page = ? AND state = 'indexed'",
            (doc_id, page),
        )
        return rows[0][0] if rows else None

    def document_pages(self, doc_id: str) -> tuple[str, ...]:
        """The texts of all pages of a document that can be found, first page first."""
        rows = self._file.rows(
            "SELECT text FROM pages JOIN documents USING (doc_id) WHERE doc_id = ? AND state = 'indexed' ORDER BY page",
            (doc_id,),
        )
        return tuple(row[0] for row in rows)

    def find_file(self, doc_id: str) -> str | None:
        """The path of a document that can be found, relative to the papers folder; the first of several copies."""
        files = self.find_files(doc_id)
        return files[0] if files else None

    def find_files(self, doc_id: str) -> tuple[str, ...]:
        """The paths of all copies of a document that can be found, in order."""
        rows = self._file.rows(
            "SELECT path FROM files JOIN documents USING (sha256) WHERE doc_id = ? AND state = 'indexed' ORDER BY path",
            (doc_id,),
        )
        return tuple(row[0] for row in rows)

    def search(
        self, words: Sequence[str], *, limit: int, weights: ColumnWeights | None = None
    ) -> list[tuple[str, float]]:
        """The passages that hold any of `words`, best first: their chunk ids and BM25 scores, higher is better.

        A word may be anything a person typed; one of several parts ("beta-alanine") is looked for as a phrase.
        BM25 with k1 = 1.2 and b = 0.75, https://sqlite.org/fts5.html#the_bm25_function.
        """
        match = _match_any(words)
        if not match:
            return []
        weights = weights or ColumnWeights()
        # Ranking first and looking up after keeps common words cheap; the few hidden passages are allowed for.
        rows = self._file.rows(
            "WITH ranked AS ("
            "  SELECT rowid AS id, bm25(passages_fts, ?, ?, ?) AS cost FROM passages_fts WHERE passages_fts MATCH ?"
            "  ORDER BY cost, rowid"
            "  LIMIT ? + (SELECT coalesce(sum(passages), 0) FROM documents WHERE state <> 'indexed'))"
            " SELECT chunk_id, -cost FROM ranked JOIN passages USING (id) JOIN documents USING (doc_id)"
            " WHERE state = 'indexed' ORDER BY cost, id LIMIT ?",
            (weights.text, weights.section, weights.title, match, limit, limit),
        )
        return [(chunk_id, score) for chunk_id, score in rows]

    # Reading: what is known.

    def meta(self, key: str) -> str | None:
        """One fact about the generation, or None."""
        rows = self._file.rows("SELECT value FROM meta WHERE key = ?", (key,))
        return rows[0][0] if rows else None

    def files(self) -> tuple[FileRow, ...]:
        """All files known, by path."""
        return tuple(_file(row) for row in self._file.rows(f"SELECT {_FILE} FROM files ORDER BY path"))

    def file_with(self, sha256: str) -> FileRow | None:
        """A file known to have this content, or None; not one that failed, for that may have had other reasons."""
        rows = self._file.rows(
            f"SELECT {_FILE} FROM files WHERE sha256 = ? AND status <> 'failed' ORDER BY path LIMIT 1", (sha256,)
        )
        return _file(rows[0]) if rows else None

    def state(self, doc_id: str) -> DocumentState | None:
        """The state of one document, or None when nothing of it is held."""
        rows = self._file.rows("SELECT state FROM documents WHERE doc_id = ?", (doc_id,))
        return DocumentState(rows[0][0]) if rows else None

    def states(self) -> Mapping[str, DocumentState]:
        """The state of every document held, found or not."""
        rows = self._file.rows("SELECT doc_id, state FROM documents")
        return {doc_id: DocumentState(state) for doc_id, state in rows}

    def chunk_ids(self, kind: PassageKind) -> Mapping[str, tuple[str, ...]]:
        """The chunk ids of one kind of passage, in order, by document that can be found."""
        rows = self._file.rows(
            "SELECT doc_id, chunk_id FROM passages JOIN documents USING (doc_id)"
            " WHERE state = 'indexed' AND kind = ? ORDER BY passages.id",
            (kind,),
        )
        found: dict[str, list[str]] = {}
        for doc_id, chunk_id in rows:
            found.setdefault(doc_id, []).append(chunk_id)
        return {doc_id: tuple(chunks) for doc_id, chunks in found.items()}

    def stored(self, doc_id: str) -> StoredDocument | None:
        """Everything held of a document in any state, or None."""
        with self._file.reading() as connection:
            row = connection.execute(
                f"SELECT sha256, {_DOCUMENT} FROM documents WHERE doc_id = ?", (doc_id,)
            ).fetchone()
            if row is None:
                return None
            pages = connection.execute("SELECT text, layout FROM pages WHERE doc_id = ? ORDER BY page", (doc_id,))
            passages = connection.execute(
                f"SELECT {_PASSAGE} FROM passages {_PAGE_OF_PASSAGE} WHERE passages.doc_id = ? ORDER BY passages.id",
                (doc_id,),
            )
            return StoredDocument(
                sha256=row[0],
                document=_document(row[1:], named_after_file=False),
                pages=tuple(StoredPage(text=text, layout=layout) for text, layout in pages),
                passages=tuple(_passage(values) for values in passages),
            )

    # Writing.

    def set_meta(self, facts: Mapping[str, str]) -> None:
        """Note facts about the generation."""
        with self._file.writing() as connection:
            connection.executemany("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", facts.items())

    def add(self, stored: StoredDocument) -> None:
        """Hold a document as pending: it is all here and cannot be found.

        Raises:
            ValueError: a passage is not the text of its page at its place.
        """
        _check_spans(stored)
        document = stored.document
        doc_id = document.doc_id
        with self._file.writing() as connection:
            _forget(connection, doc_id)
            connection.execute(
                "INSERT INTO documents (doc_id, sha256, title, authors, year, doi, pages, passages, state)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'pending')",
                (
                    *(doc_id, stored.sha256, document.title, json.dumps(document.authors, ensure_ascii=False)),
                    *(document.year, document.doi, len(stored.pages), len(stored.passages)),
                ),
            )
            connection.executemany(
                "INSERT INTO pages (doc_id, page, text, layout) VALUES (?, ?, ?, ?)",
                [(doc_id, number, page.text, page.layout) for number, page in enumerate(stored.pages, start=1)],
            )
            connection.executemany(
                "INSERT INTO passages (chunk_id, doc_id, page, start, stop, section, kind)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(p.chunk_id, doc_id, p.page, p.start, p.end, p.section, p.kind) for p in stored.passages],
            )
            connection.executemany(_INDEX_WORDS, _searchable(connection, " WHERE doc_id = ?", (doc_id,)))

    def publish(self, doc_id: str, *files: FileRow) -> None:
        """Let a pending document be found as the content of `files`, and what stood there before no more."""
        with self._file.writing() as connection:
            connection.execute("UPDATE documents SET state = 'indexed' WHERE doc_id = ?", (doc_id,))
            _put_files(connection, files)
            _retire_orphans(connection)
            _count_revision(connection)

    def hide(self, doc_id: str) -> None:
        """Let a document not be found until it is published again."""
        with self._file.writing() as connection:
            connection.execute("UPDATE documents SET state = 'pending' WHERE doc_id = ?", (doc_id,))
            _count_revision(connection)

    def record(self, files: Sequence[FileRow] = (), *, gone: Sequence[str] = ()) -> None:
        """Note what is known of files; documents that no file holds any more cannot be found from this instant on."""
        with self._file.writing() as connection:
            connection.executemany("DELETE FROM files WHERE path = ?", [(path,) for path in gone])
            _put_files(connection, files)
            _retire_orphans(connection)
            _count_revision(connection)

    def forget(self, doc_id: str) -> None:
        """Drop a document and everything held of it; files that hold it are then not known any more."""
        with self._file.writing() as connection:
            connection.execute(
                "DELETE FROM files WHERE status = 'indexed'"
                " AND sha256 = (SELECT sha256 FROM documents WHERE doc_id = ?)",
                (doc_id,),
            )
            _forget(connection, doc_id)
            _count_revision(connection)

    # Checking.

    def check_file(self) -> None:
        """Look through the whole file for damage, which takes seconds per gigabyte.

        Raises:
            IndexDamaged: there is some.
        """
        rows = self._file.rows("PRAGMA quick_check(1)")
        if rows != [("ok",)]:
            raise IndexDamaged(f"{self._file.path} is damaged ({rows[0][0] if rows else 'no answer'}).")

    def audit(self) -> ManifestFaults:
        """What in the manifest does not agree with itself."""
        return ManifestFaults(
            documents=_texts(
                self._file,
                "SELECT doc_id FROM documents WHERE state = 'indexed' AND ("
                " pages <> (SELECT count(*) FROM pages WHERE pages.doc_id = documents.doc_id)"
                " OR passages <> (SELECT count(*) FROM passages WHERE passages.doc_id = documents.doc_id)"
                " OR NOT EXISTS (SELECT 1 FROM files WHERE files.sha256 = documents.sha256))",
            ),
            files=_texts(
                self._file,
                "SELECT path FROM files WHERE status = 'indexed' AND NOT EXISTS"
                " (SELECT 1 FROM documents WHERE documents.sha256 = files.sha256 AND state = 'indexed')",
            ),
            search=bool(
                self._file.rows(
                    "SELECT id FROM passages WHERE kind = 'body' AND id NOT IN (SELECT id FROM passages_fts_docsize)"
                    " UNION ALL SELECT id FROM passages_fts_docsize"
                    " WHERE id NOT IN (SELECT id FROM passages WHERE kind = 'body') LIMIT 1"
                )
            ),
        )

    def rebuild_search(self) -> None:
        """Make the full-text index again from the pages."""
        with self._file.writing() as connection:
            connection.execute("INSERT INTO passages_fts (passages_fts) VALUES ('delete-all')")
            connection.executemany(_INDEX_WORDS, _searchable(connection))


def _texts(file: SqliteFile, sql: str) -> tuple[str, ...]:
    return tuple(row[0] for row in file.rows(sql))


def _create_tables(connection: sqlite3.Connection) -> None:
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
        return
    for statement in _TABLES:
        connection.execute(statement)
    connection.executemany("INSERT INTO meta VALUES (?, ?)", (("schema", SCHEMA), ("revision", "0")))


def _put_files(connection: sqlite3.Connection, files: Sequence[FileRow]) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO files (path, size, mtime_ns, inode, sha256, status, reason, pages, passages)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [(f.path, f.size, f.mtime_ns, f.inode, f.sha256, f.status, f.reason, f.pages, f.passages) for f in files],
    )


def _retire_orphans(connection: sqlite3.Connection) -> None:
    connection.execute(
        "UPDATE documents SET state = 'removing' WHERE state = 'indexed'"
        " AND NOT EXISTS (SELECT 1 FROM files WHERE files.sha256 = documents.sha256)"
    )


def _count_revision(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'revision'")


def _forget(connection: sqlite3.Connection, doc_id: str) -> None:
    # FTS5 does not keep the texts: it has to be told the words it is to forget, before they are gone.
    connection.executemany(
        "INSERT INTO passages_fts (passages_fts, rowid, text, section, title) VALUES ('delete', ?, ?, ?, ?)",
        _searchable(connection, " WHERE doc_id = ?", (doc_id,)),
    )
    for table in ("passages", "pages", "documents"):
        connection.execute(f"DELETE FROM {table} WHERE doc_id = ?", (doc_id,))


def _searchable(connection: sqlite3.Connection, where: str = "", values: Sequence[object] = ()) -> Iterator[Row]:
    """What the full-text index holds of each passage: its id, and its words with spaces between them."""
    rows = connection.execute(f"SELECT id, text, section, title FROM searchable{where}", values)
    return ((number, *map(spaced, texts)) for number, *texts in rows)


def _check_spans(stored: StoredDocument) -> None:
    if any("\0" in page.text for page in stored.pages):
        raise ValueError(f"{stored.document.doc_id} has a page with a NUL character")
    for passage in stored.passages:
        if stored.pages[passage.page - 1].text[passage.start : passage.end] != passage.text:
            raise ValueError(f"passage {passage.chunk_id} is not what stands on its page")


def _match_any(words: Sequence[str]) -> str:
    """An FTS5 query for any of the words, each quoted, so that nothing in them is taken for syntax."""
    cleaned = [term.replace("\0", " ").replace('"', " ").strip() for word in words for term in search_terms(word)]
    return " OR ".join(f'"{word}"' for word in dict.fromkeys(cleaned) if word)


def _file(row: Row) -> FileRow:
    path, size, mtime_ns, inode, sha256, status, reason, pages, passages = row
    return FileRow(
        path=path,
        size=size,
        mtime_ns=mtime_ns,
        inode=inode,
        sha256=sha256,
        status=FileStatus(status),
        reason=reason,
        pages=pages,
        passages=passages,
    )


def _document(row: Row, *, named_after_file: bool = True) -> Document:
    doc_id, file, title, authors, year, doi, pages = row
    title = title or (Path(file).stem if named_after_file else "")
    return Document(
        doc_id=doc_id, file=file, title=title, authors=tuple(json.loads(authors)), year=year, doi=doi, pages=pages
    )


def _passage(row: Row) -> Passage:
    chunk_id, doc_id, page, start, stop, text, section, kind = row
    return Passage(
        chunk_id=chunk_id,
        doc_id=doc_id,
        page=page,
        start=start,
        end=stop,
        text=text,
        section=section,
        kind=PassageKind(kind),
    )
