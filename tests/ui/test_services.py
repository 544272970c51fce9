import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cmo.errors import ModelUnavailable
from cmo.settings import Settings
from cmo.ui.services import Services


class Opener:
    def __init__(self, *, failures: int = 0) -> None:
        self.opened = 0
        self.closed = 0
        self.ready = 0
        self._failures = failures

    @asynccontextmanager
    async def __call__(self, settings: Settings) -> AsyncIterator[Any]:
        await asyncio.sleep(0)
        if self._failures:
            self._failures -= 1
            raise ModelUnavailable("The weights are missing.")
        self.opened += 1
        yield SimpleNamespace(pipeline="pipeline", library="library", get_ready=self._get_ready)
        self.closed += 1

    async def _get_ready(self) -> None:
        await asyncio.sleep(0)
        self.ready += 1


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(papers_dir=tmp_path, storage_dir=tmp_path)


async def test_everybody_gets_the_same_application(settings: Settings) -> None:
    opener = Opener()
    services = Services(settings, opener)
    one, two = await asyncio.gather(services.get(), services.get())
    assert one is two
    assert opener.opened == 1


async def test_the_application_gets_ready_once_without_being_waited_for(settings: Settings) -> None:
    opener = Opener()
    services = Services(settings, opener)
    await services.get()
    await services.get()
    assert opener.ready == 0
    await services.close()
    assert opener.ready == 1


async def test_what_was_opened_is_closed_once(settings: Settings) -> None:
    opener = Opener()
    services = Services(settings, opener)
    await services.library()
    await services.close()
    await services.close()
    assert opener.closed == 1


async def test_a_failed_start_is_tried_again(settings: Settings) -> None:
    services = Services(settings, Opener(failures=1))
    with pytest.raises(ModelUnavailable):
        await services.get()
    assert (await services.get()).library == "library"
