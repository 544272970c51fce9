"""A short run of benchmarks/load.py against the real server, on the sample papers."""

from __future__ import annotations

import asyncio
import signal

import pytest

from benchmarks.load import PROJECT, Library, all_ask, is_alive, library_of, people, run_is_over, serving, until

pytestmark = pytest.mark.soak


async def use(library: Library) -> None:
    async with serving(library) as server, people(server, 3) as present:
        await until(lambda: bool(server.children()))
        replies = await all_ask(present, each=2, until=asyncio.create_task(run_is_over(server)))
        assert [reply.failure for reply in replies if reply.failure] == []
        booked = library.booked()
        assert len(booked) == len(replies)
        assert {generation for _, generation in booked} == {library.serving()}

        library.change(2)
        await present[0].press("index_papers")
        await until(lambda: bool(server.children()))
        (run,) = server.children()
        assert await server.stop(signal.SIGTERM) < 15
        assert not is_alive(run)


async def test_three_people_are_answered_while_papers_are_indexed_and_nothing_outlives_the_server() -> None:
    with library_of(PROJECT / "papers") as library:
        await use(library)
