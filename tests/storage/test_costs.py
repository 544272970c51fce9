"""Sums over a real ledger, exact to the microdollar."""

import dataclasses
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from cmo.errors import StorageUnavailable
from cmo.policy.budget import Limits
from cmo.policy.costs import CostGroup, CostRow
from cmo.storage.budget import SqlBudget
from cmo.storage.costs import CostSpan, SqlCosts
from cmo.storage.database import Database, migrate
from cmo.storage.ledger import SqlLedger
from cmo.values import Answer, CallOutcome, CallStage, ModelCall, Question

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
THAT_DAY = CostSpan(since=NOON.date(), until=NOON.date())
WEB = ModelCall(
    engine="perplexity",
    model="perplexity/sonar",
    stage=CallStage.ANSWER,
    outcome=CallOutcome.OK,
    tokens_in=1_000,
    tokens_cached=100,
    tokens_out=200,
    cost_usd=0.003,
)
LUNA = dataclasses.replace(WEB, engine="lightrag", model="gpt-6-luna", cost_usd=0.001)
FAILED = dataclasses.replace(WEB, outcome=CallOutcome.FAILED, cost_usd=0.0005, estimated=True)
STOPPED = dataclasses.replace(LUNA, outcome=CallOutcome.STOPPED, cost_usd=0.0002)
REWRITE = dataclasses.replace(LUNA, stage=CallStage.REWRITE, cost_usd=0.0001)
EXTRACT = dataclasses.replace(LUNA, stage=CallStage.EXTRACT, cost_usd=0.01)


class Noon:
    """A clock that stands still."""

    def now(self) -> datetime:
        return NOON


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite+aiosqlite:///{tmp_path / 'cmo.sqlite3'}"
    await migrate(url)
    database = Database(url)
    yield database
    await database.close()


async def record(
    database: Database,
    *calls: ModelCall,
    user_id: str = "ann",
    at: datetime = NOON,
    engine: str | None = None,
    cached: bool = False,
) -> None:
    """Book a question; it was answered when `engine` is given."""
    question = Question(text="?", user_id=user_id, thread_id="t", asked_at=at)
    answer = None
    if engine:
        answer = Answer(
            text="Yes [1].",
            answered=True,
            language="en",
            engine=engine,
            model="perplexity/sonar" if engine == "perplexity" else "gpt-6-luna",
            reason="rollout",
            citations=(),
            cost_usd=sum(call.cost_usd for call in calls),
            seconds=1.0,
            cached_seconds=60.0 if cached else None,
        )
    outcome = "answered" if answer else "failed"
    await SqlLedger(database).record(question, answer, outcome=outcome, seconds=1.0, calls=calls)


@pytest.fixture
async def a_day(database: Database) -> Database:
    """Five questions and one indexing run."""
    await record(database, REWRITE, FAILED, LUNA, engine="lightrag")
    await record(database, WEB, user_id="ben", engine="perplexity")
    await record(database, engine="perplexity", cached=True)
    await record(database, STOPPED)
    await record(database, user_id="ben")
    await SqlLedger(database).record_calls([EXTRACT, EXTRACT], user_id="index", at=NOON)
    return database


async def test_the_total_counts_questions_answers_calls_and_every_microdollar(a_day: Database) -> None:
    assert await SqlCosts(a_day).total(THAT_DAY) == CostRow(
        key="total",
        questions=5,
        answers=3,
        cached=1,
        calls=7,
        tokens_in=7_000,
        tokens_cached=700,
        tokens_out=1_400,
        cost=24_800,
        asking=4_800,
        wasted=700,
        estimated=500,
    )


@pytest.mark.parametrize(
    ("by", "rows"),
    [
        (CostGroup.DAY, [("2026-11-20", 5, 3, 24_800)]),
        (CostGroup.ENGINE, [("lightrag", 1, 1, 21_300), ("perplexity", 2, 2, 3_500), ("", 2, 0, 0)]),
        (CostGroup.MODEL, [("gpt-6-luna", 1, 1, 21_300), ("perplexity/sonar", 2, 2, 3_500), ("", 2, 0, 0)]),
        (CostGroup.USER, [("index", 0, 0, 20_000), ("ben", 2, 1, 3_000), ("ann", 3, 2, 1_800)]),
        (CostGroup.STAGE, [("extract", 0, 0, 20_000), ("answer", 0, 0, 4_700), ("rewrite", 0, 0, 100)]),
    ],
)
async def test_costs_are_broken_down_by(a_day: Database, by: CostGroup, rows: list[tuple[str, int, int, int]]) -> None:
    found = await SqlCosts(a_day).rows(by, THAT_DAY)

    assert [(row.key, row.questions, row.answers, row.cost) for row in found] == rows


@pytest.mark.parametrize("by", CostGroup)
async def test_every_breakdown_adds_up_to_the_total(a_day: Database, by: CostGroup) -> None:
    costs = SqlCosts(a_day)
    rows, total = await costs.rows(by, THAT_DAY), await costs.total(THAT_DAY)

    for name in ("calls", "tokens_in", "tokens_cached", "tokens_out", "cost", "asking", "wasted", "estimated"):
        assert sum(getattr(row, name) for row in rows) == getattr(total, name)


async def test_one_persons_costs_are_theirs_alone(a_day: Database) -> None:
    span = dataclasses.replace(THAT_DAY, user_id="ben")
    total = await SqlCosts(a_day).total(span)

    assert (total.questions, total.answers, total.cost) == (2, 1, 3_000)
    assert [row.key for row in await SqlCosts(a_day).rows(CostGroup.USER, span)] == ["ben"]


async def test_both_days_of_a_span_belong_to_it_whole_and_days_are_those_of_utc(database: Database) -> None:
    midnight = datetime(2026, 11, 20, tzinfo=UTC)
    for at in (midnight - timedelta(microseconds=1), midnight, midnight + timedelta(days=2, microseconds=-1)):
        await record(database, WEB, at=at, engine="perplexity")
    await record(database, WEB, at=midnight + timedelta(days=2), engine="perplexity")

    rows = await SqlCosts(database).rows(CostGroup.DAY, CostSpan(since=date(2026, 11, 20), until=date(2026, 11, 21)))

    assert [(row.key, row.calls) for row in rows] == [("2026-11-20", 1), ("2026-11-21", 1)]


async def test_an_empty_ledger_has_no_rows_and_a_total_of_zero(database: Database) -> None:
    assert await SqlCosts(database).rows(CostGroup.DAY, THAT_DAY) == ()
    assert await SqlCosts(database).total(THAT_DAY) == CostRow(key="total")


async def test_questions_calls_and_budget_agree_to_the_microdollar_after_many_small_sums(database: Database) -> None:
    budget = SqlBudget(database, Limits(daily_usd=100.0), clock=Noon(), alert_share=0.8)
    for number in range(150):
        cost_usd = 0.1 + number * 0.000001
        reservation = await budget.reserve("ann", 0.2)
        await record(database, dataclasses.replace(WEB, cost_usd=cost_usd), engine="perplexity")
        await budget.settle(reservation, cost_usd)

    exactly = 150 * 100_000 + sum(range(150))
    assert (await SqlCosts(database).total(THAT_DAY)).cost == exactly
    assert round((await SqlLedger(database).totals()).cost_usd * 1_000_000) == exactly
    assert [state.spent for state in await budget.status("ann")] == [exactly] * 3


async def test_a_database_without_its_tables_is_unavailable(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'empty.sqlite3'}")
    try:
        with pytest.raises(StorageUnavailable, match="costs could not be read"):
            await SqlCosts(database).total(THAT_DAY)
        with pytest.raises(StorageUnavailable, match="costs could not be read"):
            await SqlCosts(database).rows(CostGroup.DAY, THAT_DAY)
    finally:
        await database.close()
