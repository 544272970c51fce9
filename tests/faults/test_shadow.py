"""Shadows of the whole application's answers: what they leave behind, and what they leave alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cmo.policy.budget import MICRODOLLARS, Scope
from cmo.policy.shadow import Outcome, Pair
from cmo.storage.database import Database
from cmo.storage.shadow import SqlShadow
from tests.faults.test_checked_answers import PAGE, SUPPORTED, world
from tests.faults.world import BookedCall, World
from tests.servers.faults import Fault
from tests.servers.replies import reply_to

PARAPHRASE = "A blood lactate over four millimoles signals that septic people die more often. [1]"


@asynccontextmanager
async def shadowed_world(library: Path, folder: Path, **more: Any) -> AsyncIterator[World]:
    """Everybody's questions go to the papers, and in the shadow to the web."""
    settings = {"rollout_percentage": 100.0, "flags_from": "environment", "flags": ("shadow_mode=on",), **more}
    async with world(library, folder, **settings) as opened:
        yield opened


async def shadow_of_the_only_question(opened: World) -> Pair:
    database = Database(f"sqlite+aiosqlite:///{opened.database}")
    store, since = SqlShadow(database, daily_usd=1.0), datetime.now(UTC) - timedelta(hours=1)
    try:
        async with asyncio.timeout(10):
            while True:
                found = await store.pairs(since)
                if found and found[0].shadowed.outcome is not Outcome.UNFINISHED:
                    (only,) = found
                    return only
                await asyncio.sleep(0.02)
    finally:
        await database.close()


async def calls_in_the_shadow(opened: World) -> tuple[BookedCall, ...]:
    """They are booked after the figures of the pair."""
    async with asyncio.timeout(10):
        while not (calls := opened.calls("shadow")):  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.02)
    return calls


async def spent_by_all(opened: World) -> float:
    (day,) = [one for one in await opened.application.budget.status() if one.period.scope is Scope.DAY]
    assert day.reserved == 0
    return day.spent


async def test_the_web_answers_in_the_shadow_of_the_papers_and_is_paid_from_a_budget_of_its_own(
    library: Path, tmp_path: Path
) -> None:
    async with shadowed_world(library, tmp_path, quality_judge="model", second_opinion_below=0.0) as opened:
        opened.model.answer(lambda body: reply_to(body) if "verdicts" in str(body) else f"{SUPPORTED} [1]")
        opened.web.answer(PARAPHRASE, results=[PAGE])
        user = opened.new_user()
        told = await opened.told(opened.question(user))
        pair = await shadow_of_the_only_question(opened)
        in_the_shadow, spent = await calls_in_the_shadow(opened), await spent_by_all(opened)
        views = {view.engine: view for view in opened.application.breakers.views()}

    assert told.answer is not None
    assert (told.answer.engine, pair.given.engine, pair.shadow) == ("lightrag", "lightrag", "perplexity")
    assert pair.user_id == user
    assert pair.shadowed.outcome is Outcome.ANSWERED
    assert pair.given.quality == pytest.approx(told.answer.quality.composite if told.answer.quality else None)
    assert pair.shadowed.quality is not None
    assert pair.shadowed.overlap is not None
    assert sorted(call.stage for call in in_the_shadow) == ["answer", "judge"]
    assert sum(call.microdollars for call in in_the_shadow) == round(pair.shadowed.cost_usd * MICRODOLLARS)
    assert spent == sum(call.microdollars for call in opened.calls(user))
    assert (views["perplexity"].calls, views["perplexity"].quality.answers) == (0, 0)


async def test_a_shadow_that_fails_leaves_breakers_and_budgets_as_they_were(library: Path, tmp_path: Path) -> None:
    async with shadowed_world(library, tmp_path) as opened:
        opened.model.answer(f"{SUPPORTED} [1]")
        opened.web.then(Fault.SERVER_ERROR, Fault.SERVER_ERROR)
        user = opened.new_user()
        told = await opened.told(opened.question(user))
        pair = await shadow_of_the_only_question(opened)
        views = {view.engine: view for view in opened.application.breakers.views()}
        spent = await spent_by_all(opened)

    assert told.answer is not None
    assert (told.answer.engine, told.answer.notice) == ("lightrag", None)
    assert pair.shadowed.outcome is Outcome.FAILED
    assert (views["perplexity"].calls, views["perplexity"].failed) == (0, 0)
    assert spent == sum(call.microdollars for call in opened.calls(user))
