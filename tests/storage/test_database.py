import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from cmo.errors import StorageUnavailable
from cmo.storage import database as module
from cmo.storage.database import Database, migrate

PATIENCE_SECONDS = 0.4
DELETE = sa.text("DELETE FROM flags")


@pytest.fixture
async def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(module, "BOOK_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(module, "LEAST_SECONDS", 0.0)
    url = f"sqlite+aiosqlite:///{tmp_path / 'cmo.sqlite3'}"
    await migrate(url)
    return url


@contextmanager
def somebody_writing(url: str) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(url.partition("///")[2], isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


async def test_those_in_line_lose_patience_together(url: str) -> None:
    database, began = Database(url), time.perf_counter()
    with somebody_writing(url):
        bookings = [database.book(lambda connection: connection.execute(DELETE)) for _ in range(8)]
        ended = await asyncio.gather(*bookings, return_exceptions=True)
    took = time.perf_counter() - began
    await database.close()

    assert [type(each) for each in ended] == [OperationalError] * 8
    assert PATIENCE_SECONDS <= took < 5 * PATIENCE_SECONDS


async def test_a_start_that_finds_the_database_locked_says_so(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUSY_SECONDS", 0)

    with somebody_writing(url), pytest.raises(StorageUnavailable, match=r"cmo\.sqlite3 has been locked by another"):
        await migrate(url)

    await migrate(url)


async def test_a_database_of_a_later_version_is_told_as_such_and_left_alone(url: str) -> None:
    with contextlib.closing(sqlite3.connect(url.partition("///")[2])) as later, later:
        later.execute("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(StorageUnavailable, match=r"cmo\.sqlite3 was made by a later version"):
        await migrate(url)

    with contextlib.closing(sqlite3.connect(url.partition("///")[2])) as later:
        assert later.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)


async def test_a_folder_that_cannot_be_made_is_told_of_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("no folder", encoding="utf-8")

    with pytest.raises(StorageUnavailable, match=r"cmo\.sqlite3 cannot be used"):
        await migrate(f"sqlite+aiosqlite:///{tmp_path / 'taken' / 'cmo.sqlite3'}")
