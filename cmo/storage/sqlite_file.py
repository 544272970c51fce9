"""One SQLite file in WAL mode, used from many threads, with its errors told as ours.

Readers see each commit of a writer and never wait for it, in this process or another. Knows nothing of what is stored.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from cmo.errors import IndexDamaged, LibraryError

BUSY_SECONDS = 30.0
"""How long a writer waits for another one; the graph's tables are written through connections of their own."""

Row: TypeAlias = tuple[Any, ...]


class SqliteFile:
    """A file whose connections are lent to one thread at a time and used again.

    Raises (every method):
        IndexDamaged: the file is no database, or cannot be read any more.
        LibraryError: it cannot be opened or written (missing, no permission, disk full, locked too long).
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        """Open nothing yet; a writable file is created by its first use."""
        self.path = path
        self._open = _open_writable if writable else _open_readable
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closed = False

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """The rows one statement gives."""
        with self._connection() as connection:
            return connection.execute(sql, tuple(values)).fetchall()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Several questions answered from one instant."""
        with self._connection() as connection:
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it or nothing."""
        with self._connection() as connection:
            # IMMEDIATE, because a transaction that begins by reading cannot wait for its turn to write.
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    def close(self) -> None:
        """Let go of the file. Connections in use at this moment are closed when they come back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with _told_as_ours(self.path):
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            connection = connection or self._open(self.path)
            try:
                yield connection
            except BaseException:
                # Closing rolls back whatever was begun, also where SQLite has done so already.
                connection.close()
                raise
            self._give_back(connection)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()


def _open_writable(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    # NORMAL in WAL mode: a power cut may lose the last commits, never the file (https://sqlite.org/pragma.html#pragma_synchronous).
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _open_readable(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise LibraryError(f"There is no index at {path}: index the papers first.")
    connection = _probe(f"file:{quote(str(path))}?mode=ro")
    if connection is None and not path.with_name(path.name + "-wal").exists():
        # A reader of a WAL file needs a file beside it. Where it cannot have one, and no writer left one, nobody
        # writes here: the file can be read as it is.
        connection = _probe(f"file:{quote(str(path))}?mode=ro&immutable=1")
    if connection is None:
        raise LibraryError(f"{path} cannot be opened: check the permissions of its folder.")
    return connection


def _probe(uri: str) -> sqlite3.Connection | None:
    """A connection that has been read from, since opening alone proves nothing; None where that is not permitted."""
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
    except sqlite3.OperationalError as error:
        connection.close()
        if _code(error) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            return None
        raise
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


@contextmanager
def _told_as_ours(path: Path) -> Iterator[None]:
    """SQLite's errors as ours."""
    try:
        yield
    except sqlite3.Error as error:
        message = _SENTENCES.get(_code(error), "{path} cannot be used ({error}).")
        kind = IndexDamaged if _is_damage(error) else LibraryError
        raise kind(message.format(path=path, error=error)) from error


_SENTENCES = {
    sqlite3.SQLITE_FULL: "The disk of {path} is full: free some space and index again.",
    sqlite3.SQLITE_READONLY: "{path} cannot be written: check the permissions of its folder.",
    sqlite3.SQLITE_CANTOPEN: "{path} cannot be opened: check the permissions of its folder.",
    sqlite3.SQLITE_BUSY: "{path} stayed locked by another program: stop it and index again.",
    sqlite3.SQLITE_IOERR: "{path} cannot be read or written ({error}): check the disk and its free space.",
}


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code, https://sqlite.org/rescode.html; 0 for errors of the Python module itself."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def _is_damage(error: sqlite3.Error) -> bool:
    missing_table = _code(error) == sqlite3.SQLITE_ERROR and "no such table" in str(error)
    return missing_table or _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
