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
