"""The application's own database: connections, transactions and migrations. Nothing here knows a table.

The database is one SQLite file, reached through SQLAlchemy's async Core. Python's driver opens transactions lazily and
as readers, which makes concurrent writers fail with "database is locked" instead of waiting their turn. So the driver's
own transactions are switched off and ours say at their start whether they write (SQLAlchemy documentation, "Dialects:
SQLite", "Enabling Non-Legacy SQLite Transactional Modes").
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from cmo.errors import SettingsError, StorageUnavailable
from cmo.phrases import Phrase

DRIVER = "sqlite+aiosqlite"

BUSY_SECONDS = 30
"""How long a writer waits for its turn before SQLite says that the database is locked."""

BOOK_SECONDS = 10
"""The same for a writer that people wait for; what it has to write takes a millisecond."""

LEAST_SECONDS = 0.2
"""How long it waits for others when it has stood in line for all that time."""

T = TypeVar("T")

_BEGIN = "cmo_begin"
_MIGRATIONS = Path(__file__).parent / "migrations"
_one_migration = threading.Lock()  # alembic keeps the migration under way in a module


class Database:
    """Transactions on one database file. Built once, closed at the end; safe to use concurrently."""

    def __init__(self, url: str) -> None:
        """Opens nothing yet.

        Raises:
            SettingsError: `url` is not "sqlite+aiosqlite:///" and a path.
        """
        engine = create_async_engine(_checked(url))
        _set_up(engine.sync_engine)
        self._reader = engine
        self._writer = engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
        self._looker = _plain_engine(_checked(url), sa.QueuePool)
        self._booker = _plain_engine(_checked(url), sa.QueuePool).execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database")

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that sees one state of the database and changes nothing."""
        async with self._reader.connect() as connection, connection.begin():
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that waits for its turn to write; committed at the end, rolled back on an error."""
        async with self._writer.begin() as connection:
            yield connection

    async def book(self, work: Callable[[sa.Connection], T]) -> T:
        """What `work` returns after a transaction that waits for its turn to write, done as a whole in one thread.

        For short writes that people wait for. Going to a thread and back for each statement, as `write` does, takes
        many times as long as SQLite does; and those of one process stand in line here in order, without polling. Time
        spent in line counts as waiting, or the last of many would wait many times BOOK_SECONDS.
        """
        until = time.monotonic() + BOOK_SECONDS
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._book, work, until)

    async def look(self, work: Callable[[sa.Connection], T]) -> T:
        """What `work` returns after a transaction that changes nothing, done as a whole in a thread.

        For short looks that people wait for; see `book`.
        """
        return await asyncio.to_thread(self._look, work)

    def _look(self, work: Callable[[sa.Connection], T]) -> T:
        with self._looker.begin() as connection:
            return work(connection)

    def _book(self, work: Callable[[sa.Connection], T], until: float) -> T:
        with self._booker.connect() as connection:
            _be_patient(connection.connection, max(until - time.monotonic(), LEAST_SECONDS))
            with connection.begin():
                return work(connection)

    async def ping(self) -> None:
        """Returns when the database answers.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: it does not.
        """
        async with self.read() as connection:
            await connection.execute(sa.text("SELECT 1"))

    async def close(self) -> None:
        """Closes every connection."""
        await asyncio.to_thread(self._thread.shutdown)
        self._booker.dispose()
        self._looker.dispose()
        await self._reader.dispose()


async def migrate(url: str) -> None:
    """Brings the database up to this version's tables, making file and folder where they are missing.

    Several processes may do so at once: one works, the others wait for it and find the work done.

    Raises:
        SettingsError: `url` is not "sqlite+aiosqlite:///" and a path.
        StorageUnavailable: the file is no database of ours, cannot be written, or belongs to a later version.
    """
    await asyncio.to_thread(_migrate, _checked(url))


@contextmanager
def as_unavailable(message: str) -> Iterator[None]:
    """Turns errors of the database into StorageUnavailable with this message.

    That a row breaks the rules of its table is a bug of whoever wrote it, and stays what it is.
    """
    try:
        yield
    except IntegrityError:
        raise
    except (DatabaseError, NoConnection) as error:
        raise StorageUnavailable(message) from error


def _migrate(url: sa.URL) -> None:
    # Alembic logs when it is imported, which must not come before logging is set up.
    from alembic import command
    from alembic.config import Config

    assert url.database is not None
    with _unusable(url.database):
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    config = Config(attributes={})
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    with (
        _unusable(url.database),
        _one_migration,
        _plain_engine(url, sa.NullPool).execution_options(**{_BEGIN: "BEGIN IMMEDIATE"}).begin() as connection,
    ):
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextmanager
def _unusable(file: str) -> Iterator[None]:
    """Turns what keeps a migration from its database into StorageUnavailable that says what it is."""
    from alembic.util import CommandError

    unusable = Phrase("The database {file} cannot be used: check that the file is one, and its permissions.", file=file)
    try:
        with as_unavailable(unusable):
            yield
    except OSError as error:
        raise StorageUnavailable(unusable) from error
    except CommandError as error:  # it knows no such version
        raise StorageUnavailable(
            f"The database {file} was made by a later version of the program: use that one, or set DATABASE_URL to "
            "another file."
        ) from error
    except StorageUnavailable as error:
        if not _is_locked(error.__cause__):
            raise
        raise StorageUnavailable(
            f"The database {file} has been locked by another program for {BUSY_SECONDS} s: try again, or see which "
            "program does not let go of it."
        ) from error.__cause__


def _is_locked(error: BaseException | None) -> bool:
    """Whether somebody else is writing, or keeps everybody out."""
    code = getattr(error.orig, "sqlite_errorcode", 0) if isinstance(error, DatabaseError) else 0
    return code & 0xFF == sqlite3.SQLITE_BUSY  # the rest of it tells more of why


def _checked(text: str) -> sa.URL:
    try:
        url = sa.make_url(text)
    except ArgumentError as error:
        raise SettingsError(f"DATABASE_URL cannot be read. Allowed: {DRIVER}:///PATH.") from error
    if url.drivername != DRIVER or url.host or url.database in (None, "", ":memory:"):
        raise SettingsError(f"DATABASE_URL is {url.render_as_string(hide_password=True)}. Allowed: {DRIVER}:///PATH.")
    return url


def _plain_engine(url: sa.URL, pool: type[sa.Pool]) -> sa.Engine:
    """For use in a thread of one's own, without asyncio."""
    engine = sa.create_engine(url.set(drivername="sqlite"), poolclass=pool)
    _set_up(engine)
    return engine


def _set_up(engine: sa.Engine) -> None:
    sa.event.listen(engine, "connect", _prepare)
    sa.event.listen(engine, "begin", _begin)


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    _be_patient(connection, BUSY_SECONDS)
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA secure_delete = ON")  # what a person has deleted is no longer in the file
    cursor.close()


def _be_patient(connection: Any, seconds: float) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")
    cursor.close()


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))
