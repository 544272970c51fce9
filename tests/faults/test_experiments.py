"""An experiment in the running application: its flag, its people, and what is observed of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cmo.dispatch.experiment_file import experiment_in
from cmo.policy.analysis import analyse
from cmo.policy.experiment import Recommendation
from cmo.policy.experiment_in_service import flag_of
from cmo.policy.flags import MAIN_ROLLOUT
from cmo.storage.database import Database
from cmo.storage.experiments import SqlExperiments
from cmo.storage.flags import Authorship
from tests.faults.test_checked_answers import answer_of, world
from tests.faults.world import World
from tests.servers.faults import Fault

SECONDS = 5.0
"""How soon a start has to be in force."""

DEFINITION = """
name = "papers_first"
hypothesis = "The papers fail less."
duration_days = 28
planned_users_per_arm = 100

[primary]
name = "error"
kind = "proportion"
better = "lower"

[[arms]]
name = "web"
weight = 50
overrides = { engine = "perplexity" }

[[arms]]
name = "papers"
weight = 50
overrides = { mode = "hybrid" }
"""


@asynccontextmanager
async def experiment_in_force(opened: World) -> AsyncIterator[SqlExperiments]:
    """Start it as another process does, and wait until the application has seen that."""
    database = Database(f"sqlite+aiosqlite:///{opened.database}")
    store = SqlExperiments(database)
    by = Authorship(author="ann", reason="a test", at=datetime.now(UTC))
    try:
        await store.create("papers_first", DEFINITION, by)
        await store.start("papers_first", flag_of(experiment_in(DEFINITION, start=by.at)), by)
        async with asyncio.timeout(SECONDS):
            while MAIN_ROLLOUT not in opened.application.flags.snapshot.flags:  # noqa: ASYNC110  # it tells nobody
                await asyncio.sleep(0.05)
        yield store
    finally:
        await database.close()


async def test_an_arm_whose_engine_fails_is_seen_failing_although_people_get_the_other_ones_answer(
    library: Path, tmp_path: Path
) -> None:
    async with world(library, tmp_path) as opened, experiment_in_force(opened) as store:
        opened.web.always(Fault.UNAVAILABLE)
        answers = [await answer_of(opened) for _ in range(6)]
        now = datetime.now(UTC) + timedelta(minutes=1)
        seen = await store.observations("papers_first", now=now)

    assert all(answer.answered for answer in answers)
    assert {each.arm for each in seen} == {"web", "papers"}
    for each in seen:
        assert each.weights == {"web": 50, "papers": 50}
        assert each.metrics["error"] == (each.arm == "web")
        assert each.metrics["conversion"] == 1
    found = analyse(experiment_in(DEFINITION, start=now), seen, now=now)
    assert found.recommendation is Recommendation.INSUFFICIENT_DATA
    assert (found.primary[0].values[0], found.primary[0].values[1]) == (1, 0)
