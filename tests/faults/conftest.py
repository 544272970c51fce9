from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.faults.cells import Worlds, open_worlds
from tests.faults.world import index


@pytest.fixture(scope="package")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few papers and their index."""
    folder = tmp_path_factory.mktemp("library")
    asyncio.run(index(folder))
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worlds(library: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Worlds]:
    async with open_worlds(library, tmp_path_factory.mktemp("worlds")) as opened:
        yield opened
