"""The real server under load and under the signals that end it, on real papers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.load import (
    BLOCKED_SECONDS,
    PROJECT,
    Library,
    Server,
    in_process,
    is_alive,
    library_of,
    people,
    questions,
    run_is_over,
    serving,
    under_load,
    until,
)

pytestmark = pytest.mark.soak

CROWD = 10


@pytest.fixture(scope="module")
def indexed(shared: Path) -> Iterator[Library]:
    with library_of(shared / "papers") as library:
        library.index()
        yield library


@pytest.fixture
def library(indexed: Library, tmp_path: Path) -> Library:
    copy = Library(papers=tmp_path / "papers", storage=tmp_path / "storage")
    # With their times, or every paper would be a changed one.
    shutil.copytree(indexed.papers, copy.papers)
    shutil.copytree(indexed.storage, copy.storage)
    return copy


async def run_of(server: Server) -> int:
    """The indexing run of the server, once it has put a first paper into the generation it builds."""
    await until(lambda: papers_in_newest(server.library) > 0)
    (run,) = server.children()
    return run


def papers_in_newest(library: Library) -> int:
    """How many papers the newest generation has, the serving one left out."""
    newest = max((library.storage / "generations").iterdir())
    if newest.name == library.serving() or not (newest / "index.sqlite").exists():
        return 0
    with contextlib.closing(sqlite3.connect(newest / "index.sqlite")) as database:
        try:
            return int(database.execute("SELECT count(*) FROM documents WHERE state = 'indexed'").fetchone()[0])
        except sqlite3.OperationalError:  # its tables are being made
            return 0


def assert_complete(library: Library) -> None:
    """Everything is in, and an audit finds nothing to repair."""
    command = [sys.executable, "-m", "cmo", "index", "--json"]
    done = subprocess.run(command, cwd=PROJECT, env=library.environment, check=True, capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert {file["status"] for file in report["files"]} == {"unchanged"}
    assert len(report["files"]) == len(list(library.papers.glob("*.pdf")))
    assert report["notices"] == []


async def test_everybody_is_answered_while_changed_papers_are_indexed(library: Library) -> None:
    async with serving(library) as server:
        await run_is_over(server)
        library.change(5)
        report = await under_load(server, "changed", crowd=CROWD, each=3, button="index_papers")
    assert report.failures == []
    assert [pause for pause in report.pauses if pause.own > BLOCKED_SECONDS] == []


async def test_everybody_is_answered_from_one_whole_generation_while_a_new_one_takes_over(library: Library) -> None:
    library.age()
    before = library.serving()
    async with serving(library) as server:
        report = await under_load(server, "new generation", crowd=CROWD, each=3)
    assert report.failures == []
    assert report.generations.keys() == {before, library.serving()}
    assert [pause for pause in report.pauses if pause.own > BLOCKED_SECONDS] == []


async def test_the_pipeline_answers_many_at_once_beside_a_run(library: Library) -> None:
    library.age()
    report = await in_process(library, crowd=CROWD)
    assert report.failures == []
    assert [pause for pause in report.pauses if pause.own > BLOCKED_SECONDS] == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
async def test_a_server_that_is_asked_to_end_ends_its_run(library: Library, how: signal.Signals) -> None:
    library.age()
    async with serving(library) as server:
        run = await run_of(server)
        assert await server.stop(how) < 15
        assert not is_alive(run)


async def test_a_killed_server_leaves_an_index_that_its_next_start_completes(library: Library) -> None:
    library.age()
    before = library.serving()
    async with serving(library) as server:
        run = await run_of(server)
        await server.stop(signal.SIGKILL)
        await until(lambda: not is_alive(run))
    async with serving(library) as server:
        async with people(server, 1) as (person,):
            assert (await person.ask(questions()[0])).failure == ""
        await run_is_over(server)
        assert library.serving() != before
    assert_complete(library)


async def test_a_server_and_its_run_killed_together_leave_an_index_that_the_next_start_completes(
    library: Library,
) -> None:
    library.age()
    before = library.serving()
    async with serving(library) as server:
        run = await run_of(server)
        os.kill(run, signal.SIGKILL)
        await server.stop(signal.SIGKILL)
    async with serving(library) as server:
        await run_is_over(server)
        assert library.serving() != before
    assert_complete(library)
