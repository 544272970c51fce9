"""Limits, periods and alerts as rules on numbers."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmo.policy.budget import (
    MICRODOLLARS,
    AlertLevel,
    BudgetScope,
    Limits,
    Scope,
    dollars,
    left,
    levels_reached,
    microdollars,
    microdollars_at_most,
    obstacle,
    periods_of,
    refusal,
)

NOON = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
DAY, MONTH, USER_DAY = periods_of(NOON, "ann")

moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.timezones())
amounts = st.integers(0, 10**12)


def budget(*, limit: int | None, spent: int = 0, reserved: int = 0) -> BudgetScope:
    return BudgetScope(period=DAY, limit=limit, spent=spent, reserved=reserved)


def test_a_moment_belongs_to_its_day_its_month_and_its_persons_day() -> None:
    assert [(period.scope, period.subject) for period in (DAY, MONTH, USER_DAY)] == [
        (Scope.DAY, ""),
        (Scope.MONTH, ""),
        (Scope.USER_DAY, "ann"),
    ]
    assert (DAY.starts_at, DAY.resets_at) == (datetime(2026, 11, 30, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
    assert (MONTH.starts_at, MONTH.resets_at) == (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
    assert periods_of(NOON) == (DAY, MONTH)


def test_the_day_is_that_of_utc_wherever_the_clock_stands() -> None:
    morning_in_auckland = datetime(2026, 12, 1, 9, 0, tzinfo=timezone(timedelta(hours=13)))

    assert periods_of(morning_in_auckland, "ann") == (DAY, MONTH, USER_DAY)


@given(moment=moments)
def test_every_moment_lies_in_its_periods_and_the_next_ones_begin_where_they_end(moment: datetime) -> None:
    for period in periods_of(moment, "ann"):
        assert period.starts_at <= moment < period.resets_at
        following = {after.scope: after for after in periods_of(period.resets_at, "ann")}
        assert following[period.scope].starts_at == period.resets_at


def test_limits_are_told_in_microdollars_and_none_is_no_limit() -> None:
    limits = Limits(daily_usd=1.0, monthly_usd=0.0)

    assert [limits.microdollars(scope) for scope in Scope] == [MICRODOLLARS, 0, None]
    assert limits.any
    assert not Limits().any


@pytest.mark.parametrize(
    ("limit", "spent", "reserved", "amount", "stands_in_the_way"),
    [
        (100, 0, 0, 100, False),
        (100, 0, 0, 101, True),
        (100, 60, 40, 1, True),
        (100, 60, 30, 10, False),
        (100, 150, 0, 1, True),
        (0, 0, 0, 1, True),
        (100, 150, 0, 0, False),
        (None, 10**12, 0, 10**12, False),
    ],
)
def test_a_limit_stands_in_the_way_of_what_would_exceed_it(
    limit: int | None, spent: int, reserved: int, amount: int, stands_in_the_way: bool
) -> None:
    state = budget(limit=limit, spent=spent, reserved=reserved)

    assert (obstacle([state], amount) is state) == stands_in_the_way


@given(limit=amounts, spent=amounts, reserved=amounts, amount=st.integers(1, 10**12))
def test_what_is_let_pass_never_exceeds_the_limit(limit: int, spent: int, reserved: int, amount: int) -> None:
    stopped = obstacle([budget(limit=limit, spent=spent, reserved=reserved)], amount) is not None

    assert stopped == (spent + reserved + amount > limit)


def test_of_several_limits_the_one_that_lasts_longest_is_told() -> None:
    the_tenth, its_month = periods_of(datetime(2026, 11, 10, tzinfo=UTC))
    day = replace(budget(limit=1), period=the_tenth)
    month = replace(budget(limit=1), period=its_month)

    assert obstacle([day, month], 2) is month
    assert obstacle([month, day], 2) is month


def test_what_is_left_is_the_least_of_what_the_limits_leave() -> None:
    assert left([budget(limit=None, spent=5), budget(limit=100, spent=30, reserved=20), budget(limit=80)]) == 50
    assert left([budget(limit=10, spent=30)]) == 0
    assert left([budget(limit=None)]) is None


def test_the_refusal_names_the_limit_what_is_spent_and_when_it_starts_anew() -> None:
    state = budget(limit=MICRODOLLARS, spent=950_000, reserved=40_000)

    assert refusal(state, 100_000) == (
        "The daily budget of $1.00 does not allow this question, which could cost up to $0.10: $0.95 is spent and "
        "$0.04 is set aside for questions under way. It starts anew on 2026-12-01 at 00:00 UTC."
    )
    assert refusal(replace(state, period=USER_DAY), 1).startswith("Your daily budget of")
    assert refusal(replace(state, period=MONTH), 1).startswith("The monthly budget of")


@pytest.mark.parametrize(
    ("spent", "refused", "levels"),
    [
        (0, 0, ()),
        (79, 0, ()),
        (80, 0, (AlertLevel.NEAR,)),
        (99, 0, (AlertLevel.NEAR,)),
        (100, 0, (AlertLevel.NEAR, AlertLevel.SPENT)),
        (130, 0, (AlertLevel.NEAR, AlertLevel.SPENT)),
        (95, 10, (AlertLevel.NEAR, AlertLevel.SPENT)),
        (95, 5, (AlertLevel.NEAR,)),
        (10, 500, ()),
    ],
)
def test_alerts_are_due_at_the_share_and_when_what_is_left_is_too_little(
    spent: int, refused: int, levels: tuple[AlertLevel, ...]
) -> None:
    assert levels_reached(budget(limit=100, spent=spent), 0.8, refused=refused) == levels


def test_without_a_limit_or_with_one_of_zero_there_is_nothing_to_alert_about() -> None:
    assert levels_reached(budget(limit=None, spent=5), 0.8) == ()
    assert levels_reached(budget(limit=0), 0.8, refused=5) == ()


def test_a_share_of_all_alerts_only_when_it_is_spent() -> None:
    assert levels_reached(budget(limit=100, spent=99), 1.0) == ()
    assert levels_reached(budget(limit=100, spent=100), 1.0) == (AlertLevel.NEAR, AlertLevel.SPENT)


@given(amount=st.integers(0, 10**13))
def test_whole_microdollars_survive_the_way_over_dollars(amount: int) -> None:
    assert microdollars(amount / MICRODOLLARS) == amount
    assert microdollars_at_most(amount / MICRODOLLARS) == amount


def test_what_is_set_aside_is_never_less_than_what_was_asked_for() -> None:
    assert microdollars(0.0000014) == 1
    assert microdollars_at_most(0.0000014) == 2
    assert microdollars_at_most(0.07) == 70_000


@pytest.mark.parametrize("usd", [-0.01, float("nan"), float("inf")])
def test_what_is_no_amount_of_money_is_refused(usd: float) -> None:
    with pytest.raises(ValueError, match="no amount of money"):
        microdollars(usd)
    with pytest.raises(ValueError, match="no amount of money"):
        microdollars_at_most(usd)


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "$0.00"), (1_000_000, "$1.00"), (1_234_500_000, "$1,234.50"), (2_500, "$0.0025"), (1, "$0.000001")],
)
def test_money_is_written_in_cents_and_finer_only_where_needed(amount: int, text: str) -> None:
    assert dollars(amount) == text
