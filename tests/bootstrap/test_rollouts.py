"""The rollout is looked at by an application whose flags something can move."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from cmo.bootstrap.flags import open_flags
from cmo.bootstrap.money import SystemClock, open_database
from cmo.bootstrap.rollouts import open_rollouts
from cmo.dispatch.breakers import Breakers
from cmo.policy.breaker import BreakerRules, QualityRules
from cmo.settings import load_settings
from cmo.storage.emergency import EmergencyFile


@pytest.mark.parametrize(("flags_from", "looking"), [("database", 1), ("environment", 0)])
async def test_only_flags_of_the_database_are_moved(tmp_path: Path, flags_from: str, looking: int) -> None:
    settings = load_settings({"CMO_STORAGE_DIR": str(tmp_path), "CMO_FLAGS_FROM": flags_from}, env_file=None)
    clock = SystemClock()
    breakers = Breakers(
        ["lightrag"],
        rules=BreakerRules(),
        quality=QualityRules(threshold=0.7),
        store=None,
        clock=clock,
        jitter=lambda: 0.0,
    )
    async with AsyncExitStack() as stack:
        database = await open_database(settings, stack)
        flags = await open_flags(settings, database, clock, stack)
        before = asyncio.all_tasks()
        open_rollouts(settings, database, breakers, flags, EmergencyFile(tmp_path, engines=["lightrag"]), clock, stack)
        assert len(asyncio.all_tasks() - before) == looking
    assert asyncio.all_tasks() == {asyncio.current_task()}
