"""Where kept answers lie as bytes: in this process, in Redis (both through cashews), or in a SQLite file.

A store knows keys and bytes, how many it keeps and how long. It refuses to know what they mean. Nothing in a store is
ever unpickled: cashews' backends are used without its serializers, which do that by default (docs/decisions.md).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from cashews.backends.memory import Memory

from cmo.errors import IndexDamaged, LibraryError, SettingsError, StorageUnavailable
from cmo.interfaces import Clock
from cmo.logs import fields
from cmo.storage.sqlite_file import SqliteFile

FILE = "responses.sqlite3"
"""The file of disk:// in the storage folder. It can be deleted whenever the application does not run."""

THREADS = 2
"""For disk://: one may write while another reads."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


class ResponseStore(Protocol):
    """Bytes by key.

    Raises (every method):
        StorageUnavailable: the store cannot be reached, read or written.
    """

    async def open(self) -> None:
        """Get ready."""

    async def close(self) -> None:
        """Let go of files and connections."""

    async def ping(self) -> None:
        """Return when the store answers."""

    async def read(self, key: str) -> bytes | None:
        """The bytes kept under `key`; None when there are none, or not any more."""

    async def write(self, key: str, value: bytes, *, seconds: float) -> None:
        """Keep `value` for so long, in place of what was there. Where that makes too many, others go."""


def store_at(url: str, *, folder: Path, entries: int, clock: Clock) -> ResponseStore:
    """The store a setting names: "mem://", "disk://" (a file in `folder`), or a redis:// or rediss:// URL.

    It holds at most `entries`. In memory those go first that were not read for longest, elsewhere the oldest.

    Raises:
        SettingsError: the URL cannot be used, or the package for it is missing.
    """
    match url.partition("://")[0]:
        case "mem":
            return MemoryStore(entries)
        case "disk":
            return SqliteStore(folder / FILE, entries=entries, clock=clock)
        case "redis" | "rediss":
            return _redis(url, entries=entries, clock=clock)
        case _:
            raise SettingsError("CMO_CACHE_URL cannot be read. Allowed: mem://, disk:// or redis://HOST.")


def _redis(url: str, *, entries: int, clock: Clock) -> ResponseStore:
    if not _is_plain(url):
        # The URL stays unsaid: it may hold a password.
        raise SettingsError("CMO_CACHE_URL cannot be used. Allowed: redis://[[USER]:PASSWORD@]HOST[:PORT][/NUMBER].")
    try:
        # Here, because the package redis is optional.
        from cmo.storage.redis_store import RedisStore
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "redis":
            raise
        raise SettingsError(
            'CMO_CACHE_URL asks for Redis, but the package "redis" is missing: '
            "pip install 'clinical-metabolomics-oracle[redis]'."
        ) from error
    return RedisStore(url, entries=entries, clock=clock)


def _is_plain(url: str) -> bool:
    """Whether it has no query, from which redis-py would take options of all kinds."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0 and not parts.query and not parts.fragment
    except ValueError:
        return False


class MemoryStore:
    """Bytes in this process."""

    def __init__(self, entries: int) -> None:
        # Without an interval: cashews would visit every entry once a second to drop those that have expired.
        self._memory = Memory(size=entries, check_interval=0)

    async def open(self) -> None:
        """Starts empty."""
        await self._memory.init()

    async def close(self) -> None:
        """Forgets everything."""
        await self._memory.clear()
        await self._memory.close()

    async def ping(self) -> None:
        """Always answers."""

    async def read(self, key: str) -> bytes | None:
        """The bytes, or None."""
        value = await self._memory.get(key)
        return value if isinstance(value, bytes) else None

    async def write(self, key: str, value: bytes, *, seconds: float) -> None:
        """Keeps the bytes."""
        await self._memory.set(key, value, expire=seconds)


_TABLE = """
    CREATE TABLE IF NOT EXISTS responses (
        key TEXT PRIMARY KEY,
        value BLOB NOT NULL,
        written REAL NOT NULL, -- seconds since 1970
        expires REAL NOT NULL  -- likewise
    )
"""
_BY_AGE = "CREATE INDEX IF NOT EXISTS responses_by_age ON responses (written)"
_READ = "SELECT value FROM responses WHERE key = ? AND expires > ?"
_WRITE = "INSERT OR REPLACE INTO responses (key, value, written, expires) VALUES (?, ?, ?, ?)"
_FORGET_EXPIRED = "DELETE FROM responses WHERE expires <= ?"
_FORGET_OLDEST = """
    DELETE FROM responses
    WHERE rowid IN (SELECT rowid FROM responses ORDER BY written DESC, rowid DESC LIMIT -1 OFFSET ?)
"""


class SqliteStore:
    """Bytes in a SQLite file, which several processes may share."""

    def __init__(self, file: Path, *, entries: int, clock: Clock) -> None:
        """Open nothing yet."""
        self._file = file
        self._entries = entries
        self._clock = clock
        self._sqlite = SqliteFile(file, writable=True)
        # Threads of its own: on a disk that hangs they hang, and nobody else's work waits behind them.
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="responses")

    async def open(self) -> None:
        """Makes folder and file where they are missing. A damaged file is thrown away: all of it can be made again."""
        await self._run(self._open)

    async def close(self) -> None:
        """Lets go of the file."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._sqlite.close)

    async def ping(self) -> None:
        """Returns when the file can be read."""
        await self.read("")

    async def read(self, key: str) -> bytes | None:
        """The bytes, or None."""
        return await self._run(self._read, key, self._clock.now().timestamp())

    async def write(self, key: str, value: bytes, *, seconds: float) -> None:
        """Keeps the bytes."""
        await self._run(self._write, key, value, self._clock.now().timestamp(), seconds)

    async def _run(self, work: Callable[..., T], *values: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *values)

    def _open(self) -> None:
        with _told_as_ours():
            self._file.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._make_table()
            except IndexDamaged:
                _log.warning("response_file_damaged", extra=fields(file=self._file))
                self._throw_away()
                self._make_table()

    def _make_table(self) -> None:
        with self._sqlite.writing() as connection:
            connection.execute(_TABLE)
            connection.execute(_BY_AGE)

    def _throw_away(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            self._file.with_name(self._file.name + suffix).unlink(missing_ok=True)

    def _read(self, key: str, now: float) -> bytes | None:
        with _told_as_ours():
            rows = self._sqlite.rows(_READ, (key, now))
        return rows[0][0] if rows and isinstance(rows[0][0], bytes) else None

    def _write(self, key: str, value: bytes, now: float, seconds: float) -> None:
        with _told_as_ours(), self._sqlite.writing() as connection:
            connection.execute(_WRITE, (key, value, now, now + seconds))
            connection.execute(_FORGET_EXPIRED, (now,))
            connection.execute(_FORGET_OLDEST, (self._entries,))


@contextmanager
def _told_as_ours() -> Iterator[None]:
    try:
        yield
    except (LibraryError, OSError) as error:
        raise StorageUnavailable(f"The file of kept answers cannot be used: {error}") from error
