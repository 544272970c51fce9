"""Answers in the shadow and their budget, in a real database."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cmo.errors import StorageUnavailable
from cmo.policy.budget import Limits
from cmo.policy.shadow import Given, Outcome, Shadowed
from cmo.storage.budget import SqlBudget
from cmo.storage.database import Database
from cmo.storage.ledger import SqlLedger
from cmo.storage.shadow import SqlShadow
from cmo.values import Question

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
GIVEN = Given(question_id="q1", engine="lightrag", answered=True, quality=0.8, cost_usd=0.002, seconds=1.5)
ANSWERED = Shadowed(outcome=Outcome.ANSWERED, quality=0.7, overlap=0.4, cost_usd=0.03, seconds=4.0)


class NoonClock:
    def now(self) -> datetime:
        return NOON


@pytest.fixture
def store(database: Database) -> SqlShadow:
    return SqlShadow(database, daily_usd=0.10)


async def begin(store: SqlShadow, ceiling_usd: float = 0.05, *, at: datetime = NOON) -> int | None:
    return await store.begin(GIVEN, "perplexity", ceiling_usd=ceiling_usd, at=at)


async def begun(store: SqlShadow, ceiling_usd: float = 0.05) -> int:
    number = await begin(store, ceiling_usd)
    assert number is not None
    return number


async def outcomes(store: SqlShadow) -> list[Outcome]:
    return [pair.shadowed.outcome for pair in await store.pairs(NOON)]


async def test_what_came_of_a_shadow_stands_beside_the_answer_that_was_given(store: SqlShadow) -> None:
    await store.end(await begun(store), ANSWERED)

    (pair,) = await store.pairs(NOON)
    assert (pair.given, pair.shadow, pair.shadowed) == (GIVEN, "perplexity", ANSWERED)


async def test_whose_question_it_was_comes_from_the_ledger(database: Database, store: SqlShadow) -> None:
    asked = Question(text="?", user_id="ann", thread_id="t", asked_at=NOON, id="q1")
    await SqlLedger(database).record(asked, None, outcome="failed", seconds=1.0)
    await begin(store)
    await store.begin(replace(GIVEN, question_id="q2"), "perplexity", ceiling_usd=0.0, at=NOON)

    assert [pair.user_id for pair in await store.pairs(NOON)] == ["ann", ""]


async def test_what_is_set_aside_counts_until_the_real_cost_is_known(store: SqlShadow) -> None:
    number = await begun(store, 0.08)
    assert await store.spent_usd(NOON) == 0.08
    assert await begin(store, 0.03) is None

    await store.end(number, ANSWERED)
    assert await store.spent_usd(NOON) == 0.03
    assert await begin(store, 0.03) is not None


async def test_what_is_too_dear_is_written_down_and_costs_nothing(store: SqlShadow) -> None:
    assert await begin(store, 0.11) is None

    assert await outcomes(store) == [Outcome.TOO_DEAR]
    assert await store.spent_usd(NOON) == 0.0


async def test_the_last_cent_may_be_spent(store: SqlShadow) -> None:
    assert await begin(store, 0.10) is not None


async def test_without_any_budget_what_is_free_may_still_be_asked(database: Database) -> None:
    broke = SqlShadow(database, daily_usd=0.0)

    assert await begin(broke, 0.0) is not None
    assert await begin(broke, 0.000001) is None


async def test_a_new_day_has_a_budget_of_its_own(store: SqlShadow) -> None:
    tomorrow = NOON + timedelta(hours=12)
    await begin(store, 0.10)

    assert await begin(store, 0.10, at=tomorrow - timedelta(seconds=1)) is None
    assert await begin(store, 0.10, at=tomorrow) is not None


async def test_a_shadow_whose_process_died_goes_on_counting_in_full(store: SqlShadow, file: Path) -> None:
    await begin(store, 0.09)
    restarted = Database(f"sqlite+aiosqlite:///{file}")

    after = SqlShadow(restarted, daily_usd=0.10)
    assert await begin(after, 0.02) is None
    assert await outcomes(after) == [Outcome.UNFINISHED, Outcome.TOO_DEAR]
    await restarted.close()


async def test_it_ends_once(store: SqlShadow) -> None:
    number = await begun(store)
    await store.end(number, ANSWERED)

    await store.end(number, Shadowed(outcome=Outcome.LATE, cost_usd=0.0))

    assert await outcomes(store) == [Outcome.ANSWERED]
    assert await store.spent_usd(NOON) == 0.03


async def test_twenty_at_once_on_two_connections_spend_no_more_than_there_is(
    database: Database, store: SqlShadow, file: Path
) -> None:
    other = Database(f"sqlite+aiosqlite:///{file}")
    stores = (store, SqlShadow(other, daily_usd=0.10))

    numbers = await asyncio.gather(*(begin(stores[turn % 2], 0.03) for turn in range(20)))

    assert sum(number is not None for number in numbers) == 3
    assert await store.spent_usd(NOON) == 0.09
    await other.close()


async def test_peoples_budgets_know_nothing_of_it(database: Database, store: SqlShadow) -> None:
    await begin(store)
    await store.end(await begun(store), ANSWERED)

    limits = Limits(daily_usd=1.0, monthly_usd=1.0, user_daily_usd=1.0)
    budget = SqlBudget(database, limits, clock=NoonClock(), alert_share=0.8)
    assert {(state.spent, state.reserved) for state in await budget.status("ann")} == {(0, 0)}


async def test_only_what_is_not_older_is_told(store: SqlShadow) -> None:
    await begin(store, 0.0, at=NOON - timedelta(days=1))
    await begin(store, 0.0)

    assert len(await store.pairs(NOON)) == 1
    assert len(await store.pairs(NOON - timedelta(days=1))) == 2


async def test_a_database_without_its_tables_is_told_as_such(tmp_path: Path) -> None:
    broken = Database(f"sqlite+aiosqlite:///{tmp_path / 'broken.sqlite3'}")

    with pytest.raises(StorageUnavailable, match="shadow"):
        await begin(SqlShadow(broken, daily_usd=1.0))
    await broken.close()
