"""The emergency stop with the real command and several real processes: timed, without the database, after a restart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.emergency import HOME, OTHER, Decider, Obeyed, command, deciders, lift, locked, served, stop
from benchmarks.load import LOOK_SECONDS, Library, until
from cmo.dispatch.rollouts import TICK_SECONDS
from cmo.policy.flags import MAIN_ROLLOUT, FeatureFlag
from cmo.policy.rollout import EventKind, Phase
from cmo.policy.rollout_plan import linear
from cmo.storage.database import BOOK_SECONDS, Database
from cmo.storage.flags import Authorship, SqlFlags
from cmo.storage.rollouts import SqlRollouts
from tests.faults.world import index

PROCESSES = 3
ELSEWHERE_SECONDS = 5.0
"""How soon other processes have to obey; the one that makes the stop is over with its command."""


@pytest.fixture
async def library(tmp_path: Path) -> Library:
    await index(tmp_path)
    return Library(papers=tmp_path / "papers", storage=tmp_path / "storage")


@pytest.fixture
def database(library: Library) -> Path:
    return library.storage / "cmo.sqlite3"


def assert_obeyed(obeyed: Obeyed) -> None:
    """Everybody in time, and with the first question after the command."""
    assert max(obeyed.from_start) <= ELSEWHERE_SECONDS
    assert obeyed.disobeyed == 0


async def test_another_process_obeys_with_its_next_question_while_the_database_is_locked(
    library: Library, database: Path
) -> None:
    async with served(library) as environment, deciders(environment, 1) as running:
        with locked(database):
            assert_obeyed(await stop(library, running))
            assert_obeyed(await lift(library, running))


@pytest.mark.soak
async def test_three_processes_obey_and_a_killed_one_obeys_from_its_first_question_on(
    library: Library, database: Path
) -> None:
    async with served(library) as environment, deciders(environment, PROCESSES) as running:
        for _ in range(3):
            with locked(database):
                assert_obeyed(await stop(library, running))
            await running.pop(0).kill()
            running.append(await Decider.start(environment))
            assert running[-1].decisions[0].reason == "emergency_stop"
            assert {told.engine for told in running[-1].decisions} == {OTHER}
            with locked(database):
                assert_obeyed(await lift(library, running))
            assert {told.engine for told in (each.decisions[-1] for each in running)} == {HOME}


def put_a_folder_in_place_of(file: Path) -> None:
    file.rename(f"{file}.away")
    file.mkdir()


@pytest.mark.soak
async def test_a_database_that_is_gone_is_in_nobodys_way(library: Library, database: Path) -> None:
    async with served(library) as environment, deciders(environment, PROCESSES) as running:
        put_a_folder_in_place_of(database)
        assert_obeyed(await stop(library, running))
        running[0].ask("ann")
        await until(lambda: bool(running[0].answers))
        assert running[0].answers[0].engine == OTHER
        assert_obeyed(await lift(library, running))


@pytest.mark.soak
async def test_questions_asked_while_the_database_is_locked_are_shown_at_once_and_wait_for_their_booking_together(
    library: Library, database: Path
) -> None:
    people = ("ann", "bob", "eve")
    async with served(library) as environment, deciders(environment, 1) as (decider,):
        with locked(database):
            await stop(library, [decider])
            for person in people:
                decider.ask(person)
            await until(lambda: len(decider.answers) == len(people), seconds=2 * BOOK_SECONDS)
        assert {answer.engine for answer in decider.answers} == {OTHER}
        assert all(0 < answer.shown - answer.began < ELSEWHERE_SECONDS for answer in decider.answers)


@asynccontextmanager
async def opened(database: Path) -> AsyncIterator[Database]:
    found = Database(f"sqlite+aiosqlite:///{database}")
    try:
        yield found
    finally:
        await found.close()


async def phase_of(store: SqlRollouts) -> Phase:
    found = await store.current()
    assert found is not None
    return found.state.phase


async def until_decided_after(moment: float, running: Sequence[Decider]) -> None:
    await until(lambda: all(each.begun_since(moment) for each in running))


async def share(database: Database) -> float:
    flag = (await SqlFlags(database).load()).flags[MAIN_ROLLOUT]
    assert isinstance(flag, FeatureFlag)
    return flag.rollout_percentage


@pytest.mark.soak
async def test_the_rollout_under_way_is_over_for_good_once_the_database_is_back(
    library: Library, database: Path
) -> None:
    async with served(library) as environment, deciders(environment, PROCESSES) as running, opened(database) as own:
        store = SqlRollouts(own)
        started = await store.start(linear(start=50), Authorship(author="bob", reason="to try", at=datetime.now(UTC)))
        await until(lambda: all(each.decisions[-1].engine == OTHER for each in running))
        with locked(database):
            assert_obeyed(await stop(library, running))
            assert await phase_of(store) is Phase.RUNNING
        async with asyncio.timeout(2 * TICK_SECONDS):
            while await phase_of(store) is not Phase.ROLLED_BACK:  # noqa: ASYNC110  # other processes set no event
                await asyncio.sleep(LOOK_SECONDS)
        seen = time.time() + ELSEWHERE_SECONDS
        event, *_ = await store.events(started.id, limit=1)
        assert (event.kind, event.by, event.words) == (EventKind.EMERGENCY, "ann", "Emergency stop. to try it")
        assert await share(own) == 0

        await until_decided_after(seen, running)
        _, lifted = await command(library, "lift")
        await until_decided_after(lifted + TICK_SECONDS + 1, running)
        since = [told for each in running for told in each.decisions if told.began > lifted]
        assert {(told.engine, told.reason) for told in since} == {(OTHER, "rollout")}
        assert (await phase_of(store), await share(own)) == (Phase.ROLLED_BACK, 0)
