"""Following an indexing run in another process: its progress, its end, and how it is stopped."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cmo.library import process
from cmo.library.process import IndexingProcess, progress_from
from cmo.values import IndexProgress

FAKE = Path(__file__).with_name("fake_run.py")
NOT_STARTED = IndexProgress(files_done=0, files_total=0, pages=0, passages=0, seconds_left=None)

Running = Callable[..., IndexingProcess]


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    """Makes a process that takes the steps given (see fake_run.py)."""
    made: list[IndexingProcess] = []

    def make(*steps: str) -> IndexingProcess:
        made.append(IndexingProcess((sys.executable, str(FAKE), *steps)))
        return made[-1]

    yield make
    for one in made:
        await one.close()


async def reach(run: IndexingProcess, files_done: int) -> IndexProgress:
    """Wait until the run has told that it is so far."""
    async with asyncio.timeout(20):
        while (now := run.progress) is None or now.files_done < files_done:  # noqa: ASYNC110 - as a screen looks
            await asyncio.sleep(0.01)
    return now


def test_a_run_is_this_pythons_index_command(tmp_path: Path) -> None:
    arguments = IndexingProcess.for_folders(papers=tmp_path / "p", storage=tmp_path / "s")._arguments

    assert arguments[:5] == (sys.executable, "-m", "cmo", "index", "--json")
    assert arguments[-4:] == ("--papers", str(tmp_path / "p"), "--storage", str(tmp_path / "s"))


async def test_nothing_is_under_way_before_the_start(running: Running) -> None:
    run = running()
    await run.wait()
    await run.cancel()

    assert (run.progress, run.error) == (None, None)


async def test_from_the_start_on_a_run_is_under_way(running: Running) -> None:
    run = running("finish-on-term", "wait")
    await run.start()

    assert run.progress == NOT_STARTED


async def test_progress_is_what_the_run_says_last(running: Running) -> None:
    run = running("finish-on-term", "progress 1 9", "progress 2 9", "wait")
    await run.start()

    assert await reach(run, 2) == IndexProgress(
        files_done=2, files_total=9, pages=3, passages=7, seconds_left=1.5, file="a.pdf"
    )


async def test_a_run_that_is_over_has_no_progress_and_no_error(running: Running) -> None:
    run = running("progress 1 1", 'print {"files": [], "cancelled": false}')
    await run.start()
    await run.wait()

    assert (run.progress, run.error) == (None, None)


async def test_the_reason_of_a_failed_run_is_its_own_sentence(running: Running) -> None:
    run = running('print {"error": "The papers folder is not there."}', "exit 1")
    await run.start()
    await run.wait()

    assert run.error == "The papers folder is not there."


async def test_a_run_that_breaks_down_says_what_to_do(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    run = running("complain Traceback: out of luck", "exit 3")
    with caplog.at_level(logging.ERROR):
        await run.start()
        await run.wait()

    assert run.error is not None
    assert "exit code 3" in run.error
    assert "cmo index" in run.error
    assert "Traceback" not in run.error
    assert "index_process_failed" in caplog.text


async def test_a_command_that_is_not_there_is_an_error_and_no_exception(tmp_path: Path) -> None:
    run = IndexingProcess((str(tmp_path / "nothing"),))
    await run.start()
    await run.wait()

    assert run.error is not None
    assert "cannot be started" in run.error


async def test_what_is_no_json_is_passed_over(running: Running) -> None:
    run = running("finish-on-term", "print Warning: something", "print [1]", "progress 3 4", "wait")
    await run.start()

    assert (await reach(run, 3)).files_total == 4


async def test_a_line_too_long_ends_the_run(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LINE_LIMIT_BYTES", 1000)
    run = running("many 100000", "wait")
    await run.start()
    async with asyncio.timeout(20):
        await run.wait()

    assert run.error is not None


async def test_a_talkative_run_is_not_held_up(running: Running) -> None:
    run = running(*["complain " + "x" * 20_000] * 20)
    await run.start()
    async with asyncio.timeout(20):
        await run.wait()

    assert run.error is None


async def test_starting_twice_is_one_run(running: Running) -> None:
    run = running("finish-on-term", "progress 1 9", "wait")
    await run.start()
    await reach(run, 1)
    await run.start()

    assert run.progress is not None
    assert run.progress.files_done == 1


async def test_a_run_can_follow_a_run_and_forgets_its_error(running: Running) -> None:
    run = running("exit 1")
    await run.start()
    await run.wait()
    before = run.error
    run._arguments = (sys.executable, str(FAKE), "exit 0")
    await run.start()
    await run.wait()

    assert before is not None
    assert run.error is None


async def test_only_the_run_that_is_allowed_to_cost_money_is_told_so() -> None:
    told = "import json, sys; print(json.dumps({'error': ' '.join(sys.argv[1:])})); sys.exit(1)"
    run = IndexingProcess((sys.executable, "-c", told, "--json"))
    errors = []
    for paid in (False, True, False):
        await run.start(paid=paid)
        await run.wait()
        errors.append(run.error)

    assert errors == ["--json", "--json --yes", "--json"]


async def test_a_cancelled_run_ends_itself_and_is_no_failure(running: Running) -> None:
    run = running("finish-on-term", "progress 1 9", "wait")
    await run.start()
    await reach(run, 1)
    await run.cancel()

    assert (run.progress, run.error) == (None, None)


async def test_a_run_cancelled_before_it_is_there_ends_too(running: Running) -> None:
    run = running("wait")
    await run.start()
    async with asyncio.timeout(20):
        await run.cancel()

    assert (run.progress, run.error) == (None, None)


async def test_at_the_end_a_run_that_does_not_stop_is_killed(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "PATIENCE_SECONDS", 0.05)
    run = running("ignore-term", "progress 1 9", "wait")
    await run.start()
    await reach(run, 1)
    async with asyncio.timeout(20):
        await run.close()

    assert run.progress is None


@pytest.mark.parametrize("malformed", [{}, {"files_done": "3", "seconds_left": "soon", "file": 7}])
def test_malformed_progress_is_none_at_all(malformed: dict[str, object]) -> None:
    assert progress_from(malformed) == NOT_STARTED
