import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cmo.storage.database import Database, migrate


def _url_of(file: Path) -> str:
    return f"sqlite+aiosqlite:///{file}"


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database that is copied for each test: migrating takes longer than a test."""
    file = tmp_path_factory.mktemp("migrated") / "cmo.sqlite3"
    asyncio.run(migrate(_url_of(file)))
    return file


@pytest.fixture
def file(migrated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(migrated, tmp_path))


@pytest.fixture
async def database(file: Path) -> AsyncIterator[Database]:
    database = Database(_url_of(file))
    yield database
    await database.close()
