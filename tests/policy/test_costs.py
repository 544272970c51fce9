"""What the figures suggest, and that nothing is suggested which they do not show."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmo.policy.budget import BudgetScope, periods_of
from cmo.policy.costs import CostFigures, CostRow, advice

NOON = datetime(2026, 11, 16, 12, 0, tzinfo=UTC)


def figures(
    *,
    total: CostRow | None = None,
    stages: Sequence[CostRow] = (),
    models: Sequence[CostRow] = (),
    monthly_limit: int | None = 1_000_000,
    spent: int = 0,
    at: datetime = NOON,
) -> CostFigures:
    day, month = periods_of(at)
    return CostFigures(
        total=total or CostRow(key="total"),
        stages=stages,
        models=models,
        budgets=(
            BudgetScope(period=day, limit=None, spent=0, reserved=0),
            BudgetScope(period=month, limit=monthly_limit, spent=spent, reserved=0),
        ),
    )


def row(key: str = "total", *, cost: int, wasted: int = 0, estimated: int = 0) -> CostRow:
    return CostRow(key=key, calls=1, cost=cost, wasted=wasted, estimated=estimated)


def test_a_quiet_ledger_suggests_nothing() -> None:
    assert advice(figures(), NOON) == ()
    assert advice(figures(total=row(cost=1_000), stages=[row("answer", cost=1_000)]), NOON) == ()


def test_an_answer_costs_what_was_asked_for_it_failed_attempts_included_and_indexing_not() -> None:
    sums = CostRow(key="total", answers=4, cost=1_000, asking=600)

    assert sums.per_answer == 150
    assert CostRow(key="total", cost=1_000, asking=600).per_answer is None


def test_spending_without_any_limit_is_pointed_out() -> None:
    (sentence,) = advice(figures(total=row(cost=1), monthly_limit=None), NOON)
    assert "LIGHTRAG_DAILY_BUDGET" in sentence


@pytest.mark.parametrize(("wasted", "told"), [(0, False), (99, False), (100, True), (1_000, True)])
def test_waste_is_told_from_a_tenth_of_the_cost_on(wasted: int, told: bool) -> None:
    sentences = advice(figures(total=row(cost=1_000, wasted=wasted)), NOON)
    assert any("failed or were stopped" in sentence for sentence in sentences) == told


@pytest.mark.parametrize(("estimated", "told"), [(0, False), (99, False), (100, True)])
def test_estimates_are_told_from_a_tenth_of_the_cost_on(estimated: int, told: bool) -> None:
    sentences = advice(figures(total=row(cost=1_000, estimated=estimated)), NOON)
    assert any("is an estimate" in sentence for sentence in sentences) == told


def test_the_free_way_to_extract_is_told_when_extraction_is_most_of_the_cost() -> None:
    stages = [row("extract", cost=500), row("answer", cost=500)]

    (sentence,) = advice(figures(total=row(cost=1_000), stages=stages), NOON)

    assert sentence.startswith("50% of the cost, $0.0005, went into finding entities")
    assert advice(figures(total=row(cost=1_001), stages=stages), NOON) == ()


def test_what_the_cache_saved_is_told_at_the_average_of_the_answers_it_did_not_give() -> None:
    total = CostRow(key="total", answers=5, cached=1, cost=40_000, asking=40_000)

    (sentence,) = advice(figures(total=total), NOON)

    assert sentence.startswith("1 of 5 answers had been given before and cost nothing, which saved about $0.01 ")


def test_a_month_that_spends_too_fast_is_told_with_the_day_its_budget_ends() -> None:
    (sentence,) = advice(figures(spent=775_000), NOON)
    assert sentence == "At this month's pace its budget of $1.00 is spent on 2026-11-21."
    assert advice(figures(spent=500_000), NOON) == ()


def test_the_first_day_of_a_month_foretells_nothing() -> None:
    early = datetime(2026, 11, 1, 23, 59, tzinfo=UTC)
    assert advice(figures(spent=900_000, at=early), early) == ()


@given(
    spent=st.integers(0, 10**13),
    limit=st.integers(0, 10**13),
    at=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),
)
def test_the_day_foretold_is_always_still_to_come_and_in_this_month(spent: int, limit: int, at: datetime) -> None:
    for sentence in advice(figures(spent=spent, monthly_limit=limit, at=at), at):
        foretold = datetime.strptime(sentence.rstrip(".")[-10:], "%Y-%m-%d").date()
        assert at.date() <= foretold <= (periods_of(at)[1].resets_at - timedelta(microseconds=1)).date()


def test_a_model_in_use_that_is_shut_down_soon_is_told() -> None:
    models = [row("gpt-4o-mini", cost=1), row("gpt-5", cost=1), row("gpt-6-luna", cost=1)]

    sentences = advice(figures(models=models), NOON)
    assert [sentence.split()[2:4] for sentence in sentences] == [["gpt-4o-mini", "leaves"], ["gpt-5", "leaves"]]

    later = datetime(2026, 12, 20, tzinfo=UTC)
    assert "gpt-5 left its provider's API on 2026-12-11" in advice(figures(models=models, at=later), later)[1]
    assert advice(figures(models=models), NOON - timedelta(days=60)) == ()
    assert advice(figures(models=[CostRow(key="gpt-5", questions=1)]), NOON) == ()
