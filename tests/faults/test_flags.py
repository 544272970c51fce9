"""Flags that the running application obeys, changed while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cmo.errors import StorageUnavailable
from cmo.policy.flag_documents import flag_from
from cmo.storage.database import Database
from cmo.storage.emergency import EmergencyFile
from cmo.storage.flags import Authorship, SqlFlags
from cmo.values import Decision
from tests.faults.test_checked_answers import answer_of, world
from tests.faults.world import World

NOW = datetime(2026, 11, 21, tzinfo=UTC)
SECONDS = 5.0
"""How soon a change made elsewhere has to be in force."""


async def put(opened: World, name: str, document: Mapping[str, Any]) -> None:
    """Write a flag as another process does, and wait until the application has seen it."""
    database = Database(f"sqlite+aiosqlite:///{opened.database}")
    try:
        by = Authorship(author="ann", reason="a test", at=datetime.now(UTC))
        await SqlFlags(database).create(flag_from(name, document), by)
    finally:
        await database.close()
    async with asyncio.timeout(SECONDS):
        while name not in opened.application.flags.snapshot.flags:  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.05)


async def decision_for(opened: World) -> Decision:
    return await opened.application.pipeline.decide(opened.question(opened.new_user()))


async def test_the_rollouts_flag_moves_people_within_seconds(library: Path, tmp_path: Path) -> None:
    async with world(library, tmp_path, rollout_percentage=100.0) as opened:
        before = await decision_for(opened)
        await put(opened, "lightrag_rollout", {"status": "gradual_rollout", "rollout_percentage": 0})
        after = await decision_for(opened)

    assert (before.engine, after.engine) == ("lightrag", "perplexity")
    assert before.reason == after.reason == "rollout"
    assert after.configuration.startswith(f"{before.configuration}-")


async def test_the_variant_of_an_experiment_is_the_reason(library: Path, tmp_path: Path) -> None:
    variants = [{"name": "balanced", "weight": 1}, {"name": "nobody", "weight": 0}]
    async with world(library, tmp_path) as opened:
        await put(opened, "lightrag_rollout", {"status": "ab_test", "rollout_percentage": 100, "variants": variants})
        decision = await decision_for(opened)

    assert (decision.engine, decision.reason, decision.rule) == ("lightrag", "variant:balanced", "balanced")


async def test_changed_weights_move_nobody_out_of_their_variant(library: Path, tmp_path: Path) -> None:
    before = [{"name": "balanced", "weight": 1}, {"name": "aggressive", "weight": 0}]
    after = [{"name": "balanced", "weight": 0}, {"name": "aggressive", "weight": 1}]
    test = {"status": "ab_test", "rollout_percentage": 100}
    async with world(library, tmp_path) as opened:
        await put(opened, "lightrag_rollout", {**test, "variants": before})
        asked = opened.question("somebody")
        first = await opened.application.pipeline.decide(asked)
        database = Database(f"sqlite+aiosqlite:///{opened.database}")
        store = SqlFlags(database)
        by = Authorship(author="ann", reason="a test", at=datetime.now(UTC))
        changed = store.update(flag_from("lightrag_rollout", {**test, "variants": after}), by, version=1)
        await opened.application.flags.change(changed)
        await database.close()
        again = await opened.application.pipeline.decide(asked)
        newcomer = await decision_for(opened)

    assert (first.rule, again.rule, newcomer.rule) == ("balanced", "balanced", "aggressive")


async def test_the_check_of_sentences_can_be_switched_off_and_says_so(library: Path, tmp_path: Path) -> None:
    async with world(library, tmp_path, web=False) as opened:
        assert (await answer_of(opened)).quality is not None
        await put(opened, "quality_assessment", {"status": "disabled"})
        answer = await answer_of(opened)

    assert (answer.quality, answer.not_assessed) == (None, "The check of sentences is switched off.")


async def test_kept_answers_can_be_switched_off(library: Path, tmp_path: Path) -> None:
    async with world(library, tmp_path, web=False, response_cache=True) as opened:
        await answer_of(opened)
        assert (await answer_of(opened)).cached_seconds is not None
        await put(opened, "response_caching", {"status": "disabled"})

        assert (await answer_of(opened)).cached_seconds is None


async def test_an_emergency_stop_is_obeyed_by_the_next_question_while_the_database_is_locked(
    library: Path, tmp_path: Path
) -> None:
    storage = tmp_path / "storage"
    shutil.copytree(library / "storage", storage)
    engines = ("lightrag", "perplexity")
    async with world(library, tmp_path, rollout_percentage=100.0, storage_dir=storage) as opened:
        assert (await decision_for(opened)).engine == "lightrag"
        with contextlib.closing(sqlite3.connect(opened.database)) as other:
            other.execute("BEGIN EXCLUSIVE")
            EmergencyFile(storage, engines=engines).stop(["lightrag"], author="ann", reason="a test", at=NOW)
            stopped = await decision_for(opened)
            EmergencyFile(storage, engines=engines).lift(author="ann", reason="mended", at=NOW)
            lifted = await decision_for(opened)

    assert (stopped.engine, stopped.reason, stopped.fallbacks) == ("perplexity", "emergency_stop", ())
    assert lifted.engine == "lightrag"


async def test_a_database_that_is_gone_leaves_the_last_flags_in_force(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(library, tmp_path, rollout_percentage=100.0) as opened:
        await put(opened, "lightrag_rollout", {"status": "disabled"})
        source = opened.application.flags._source
        monkeypatch.setattr(source, "revision", _unreadable)
        await opened.application.flags.refresh()

        assert opened.application.flags.counts.failed_reads >= 1
        assert (await decision_for(opened)).engine == "perplexity"


async def _unreadable() -> str:
    raise StorageUnavailable("The disk is gone.")


def rows_of(opened: World, query: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(opened.database)) as database:
        return database.execute(query).fetchall()


async def test_a_share_of_people_is_exposed_and_what_came_of_it_is_measured(library: Path, tmp_path: Path) -> None:
    async with world(library, tmp_path, rollout_percentage=0.0) as opened:
        await put(opened, "lightrag_rollout", {"status": "gradual_rollout", "rollout_percentage": 100})
        answer = await answer_of(opened)

    assert (answer.engine, answer.reason) == ("lightrag", "rollout")
    assert rows_of(opened, "SELECT flag, flag_version, variant, engine FROM exposures") == [
        ("lightrag_rollout", 1, "", "lightrag")
    ]
    assert answer.quality is not None
    assert rows_of(opened, "SELECT failed, quality FROM measurements") == [(0, answer.quality.composite)]


async def test_the_arms_of_an_experiment_are_served_by_their_engines_in_their_ways(
    library: Path, tmp_path: Path
) -> None:
    arms = [
        {"name": "control", "weight": 1, "config_overrides": {"engine": "perplexity"}},
        {"name": "local", "weight": 1, "config_overrides": {"mode": "local", "top_k": 5}},
    ]
    async with world(library, tmp_path) as opened:
        await put(opened, "lightrag_rollout", {"status": "ab_test", "rollout_percentage": 100, "variants": arms})
        answers = [await answer_of(opened) for _ in range(8)]

    assert {(each.reason, each.engine, each.mode) for each in answers} == {
        ("variant:control", "perplexity", ""),
        ("variant:local", "lightrag", "local"),
    }
    exposed = rows_of(opened, "SELECT variant, engine FROM exposures")
    assert sorted(set(exposed)) == [("control", "perplexity"), ("local", "lightrag")]
    assert len(exposed) == len(rows_of(opened, "SELECT id FROM measurements")) == 8


async def test_people_of_whom_nothing_is_collected_leave_no_trace_in_rollouts(library: Path, tmp_path: Path) -> None:
    async with world(library, tmp_path) as opened:
        await put(opened, "lightrag_rollout", {"status": "gradual_rollout", "rollout_percentage": 100})
        await put(opened, "analytics_collection", {"status": "disabled"})
        answer = await answer_of(opened)

    assert answer.engine == "lightrag"
    assert rows_of(opened, "SELECT * FROM exposures") == rows_of(opened, "SELECT * FROM measurements") == []
