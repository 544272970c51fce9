"""Three processes move one rollout, and are killed at any instant: no stage is skipped or repeated, and one acts."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa

from cmo.policy.rollout import Phase
from cmo.policy.rollout_documents import state_from
from cmo.policy.rollout_plan import RolloutPlan, linear
from cmo.storage.database import Database, migrate
from cmo.storage.flags import Authorship
from cmo.storage.rollouts import AUTHOR, LEASE_SECONDS, SqlRollouts
from tests.measured import pour
from tests.soak.ticking import FastClock

PROGRAM = Path(__file__).with_name("ticking.py")
PROCESSES = 3
SPEED = 300.0
"""A lease is a tenth of a second long."""

WATCHES = (
    "CREATE TABLE turns (id INTEGER PRIMARY KEY, before TEXT, before_until TEXT, owner TEXT, until TEXT)",
    "CREATE TRIGGER taken AFTER UPDATE ON leases WHEN OLD.owner != NEW.owner BEGIN "
    "INSERT INTO turns (before, before_until, owner, until) VALUES (OLD.owner, OLD.until, NEW.owner, NEW.until); END",
    "CREATE TABLE acts (event INTEGER, owner TEXT, until TEXT)",
    "CREATE TRIGGER acted AFTER INSERT ON rollout_events "
    "BEGIN INSERT INTO acts SELECT NEW.id, owner, until FROM leases; END",
)
"""Who took over from whom, and whose turn it was when something happened."""


class Look(NamedTuple):
    """Where the rollout stands, and who looks after it, "" for nobody."""

    phase: Phase
    stage: int
    owner: str


def process(url: str, owner: str, begun: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, PROGRAM, url, owner, str(begun), str(SPEED)])


@contextmanager
def processes(url: str, begun: float) -> Iterator[list[subprocess.Popen[bytes]]]:
    running = [process(url, f"{place}-0", begun) for place in range(PROCESSES)]
    try:
        yield running
    finally:
        for each in running:
            each.kill()
            each.wait()


def looked(connection: sa.Connection, now: datetime) -> Look:
    """A look of somebody who has nothing to do with it: stage, share and history agree."""
    state = state_from(connection.execute(sa.text("SELECT state FROM rollouts")).scalar_one())
    flag = json.loads(connection.execute(sa.text("SELECT document FROM flags")).scalar_one())
    event = connection.execute(sa.text("SELECT stage, percentage FROM rollout_events ORDER BY id DESC LIMIT 1")).one()
    assert flag["rollout_percentage"] == state.percentage
    assert tuple(event) == (state.stage, state.percentage)
    lease = connection.execute(sa.text("SELECT owner, until FROM leases")).first()
    owner = lease.owner if lease is not None and time_of(lease.until) > now else ""
    return Look(state.phase, state.stage, owner)


def time_of(text: str) -> datetime:
    """A time of the database."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


async def ridden(database: Database, url: str, plan: RolloutPlan, *, kills: int, every_seconds: float) -> list[int]:
    """The stages at which processes were killed while they carried out the plan, the one that acts more than others.

    One at a time, now and then all at once; each is started again. The seconds are those in which somebody acts.
    """
    chance, begun = random.Random(5), time.time()
    clock = FastClock(begun, SPEED)
    store = SqlRollouts(database)
    await store.start(plan, Authorship(author="ann", reason="to try it", at=clock.now()))
    for statement in WATCHES:
        await database.book(lambda connection, statement=statement: connection.execute(sa.text(statement)))
    killed_at: list[int] = []
    with processes(url, begun) as running:
        before, left = time.time(), every_seconds
        while True:
            await database.book(lambda connection: pour(connection, 3, at=clock.now()))
            look = await database.look(partial(looked, now=clock.now()))
            if look.phase is Phase.COMPLETED:
                return killed_at
            since, before = time.time() - before, time.time()
            left -= since if look.owner else 0.0
            if left <= 0 and len(killed_at) < kills:
                left = chance.uniform(0, 2 * every_seconds)
                acting = int(look.owner.partition("-")[0] or 0)
                victims = range(PROCESSES) if len(killed_at) % 5 == 4 else {chance.choice((acting, acting, 0, 1, 2))}
                for place in victims:
                    running[place].kill()
                    running[place].wait()
                killed_at.append((await database.look(partial(looked, now=clock.now()))).stage)
                for place in victims:
                    running[place] = process(url, f"{place}-{len(killed_at)}", begun)
            await asyncio.sleep(0.005)


async def rows(database: Database, query: str) -> list[Any]:
    return list(await database.look(lambda connection: connection.execute(sa.text(query)).all()))


async def carry_out(file: Path, plan: RolloutPlan, *, kills: int, every_seconds: float) -> None:
    url = f"sqlite+aiosqlite:///{file}"
    await migrate(url)
    database = Database(url)
    killed_at = await ridden(database, url, plan, kills=kills, every_seconds=every_seconds)
    events = await rows(database, "SELECT id, at, kind, stage, author FROM rollout_events ORDER BY id")
    turns = await rows(database, "SELECT * FROM turns")
    acts = {row.event: row for row in await rows(database, "SELECT * FROM acts")}
    flags = await rows(database, "SELECT new FROM flag_changes ORDER BY version")
    await database.close()

    assert len(killed_at) == kills
    assert killed_at == sorted(killed_at)
    assert len(set(killed_at)) > 1
    assert [(row.kind, row.stage) for row in events if row.kind != "held"] == [
        ("started", 0),
        *(("advanced", stage) for stage in range(1, plan.last)),
        ("completed", plan.last),
    ]
    assert [json.loads(row.new)["rollout_percentage"] for row in flags] == [each.percentage for each in plan.stages]

    assert len({turn.owner for turn in turns}) > 1
    a_turn = timedelta(seconds=LEASE_SECONDS)
    for turn in turns:
        assert time_of(turn.until) - a_turn >= time_of(turn.before_until)
    for row in events:
        if row.author == AUTHOR:
            assert abs(time_of(acts[row.id].until) - a_turn - time_of(row.at)) < timedelta(milliseconds=1)


async def test_killed_processes_skip_and_repeat_no_stage(tmp_path: Path) -> None:
    plan = linear(start=20, increment=16, hours=0.04, answers=5)
    await carry_out(tmp_path / "cmo.sqlite3", plan, kills=4, every_seconds=0.2)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_fifty_kills_skip_and_repeat_no_stage(tmp_path: Path) -> None:
    plan = linear(start=2, increment=2, hours=0.06, answers=5)
    await carry_out(tmp_path / "cmo.sqlite3", plan, kills=50, every_seconds=0.3)
