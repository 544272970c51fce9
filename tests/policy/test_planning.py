"""Sample sizes and looks against figures from outside, and whether they keep their promises."""

import numpy as np
import pytest
from scipy.stats import norm
from statsmodels.stats.power import tt_ind_solve_power

from cmo.policy.planning import (
    detectable_difference,
    looks_factor,
    planned_looks,
    power_for_means,
    power_for_proportions,
    users_for_means,
    users_for_proportions,
)


def test_from_12_to_15_percent_takes_2036_users_in_each_group() -> None:
    assert users_for_proportions(0.12, 0.15) == users_for_proportions(0.15, 0.12) == 2036
    assert power_for_proportions(0.12, 0.15, users=2036) == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize(("users", "power"), [(500, 0.28), (1000, 0.50)])
def test_fewer_users_find_it_less_often(users: int, power: float) -> None:
    assert power_for_proportions(0.12, 0.15, users=users) == pytest.approx(power, abs=5e-3)


@pytest.mark.parametrize(("effect", "users"), [(0.2, 394), (0.5, 64), (0.8, 26)])
def test_means_take_the_users_of_cohens_table(effect: float, users: int) -> None:
    """Cohen (1988), table 2.4.1, by the exact t-test."""
    assert users_for_means(effect * 7, 7) == users
    assert power_for_means(effect * 7, 7, users=users) == pytest.approx(0.8, abs=0.011)


@pytest.mark.parametrize("effect", [0.03, 0.3, 1.0, 1.5])
@pytest.mark.parametrize(("power", "alpha"), [(0.8, 0.05), (0.9, 0.01)])
def test_means_take_the_users_that_statsmodels_finds(effect: float, power: float, alpha: float) -> None:
    exact = tt_ind_solve_power(effect_size=effect, power=power, alpha=alpha)

    assert users_for_means(-effect, 1, power=power, alpha=alpha) == pytest.approx(np.ceil(exact), abs=1)


@pytest.mark.parametrize(("baseline", "target"), [(0.1, 0.1), (0, 0.5), (0.5, 1), (-1, 0.5), (0.5, float("nan"))])
def test_shares_are_two_and_between_0_and_1(baseline: float, target: float) -> None:
    for ask in (users_for_proportions, lambda b, t: power_for_proportions(b, t, users=10)):
        with pytest.raises(ValueError, match="shares"):
            ask(baseline, target)


@pytest.mark.parametrize(("difference", "sd"), [(0, 1), (1, 0), (1, -1), (float("nan"), 1), (1, float("inf"))])
def test_means_need_a_difference_and_a_variance(difference: float, sd: float) -> None:
    for ask in (users_for_means, lambda d, s: power_for_means(d, s, users=10)):
        with pytest.raises(ValueError, match="planned for"):
            ask(difference, sd)


@pytest.mark.parametrize(
    ("looks", "alpha", "last"),
    [
        *[(looks, 0.05, last) for looks, last in ((1, 1.960), (2, 1.977), (3, 2.004), (4, 2.024), (5, 2.040))],
        *[(looks, 0.01, last) for looks, last in ((2, 2.580), (5, 2.621))],
        *[(looks, 0.10, last) for looks, last in ((2, 1.678), (5, 1.751))],
    ],
)
def test_boundaries_are_those_of_jennison_and_turnbull(looks: int, alpha: float, last: float) -> None:
    """Group Sequential Methods, table 2.3."""
    planned = planned_looks(looks, alpha)

    assert [look.boundary for look in planned] == pytest.approx(
        [last * np.sqrt(looks / number) for number in range(1, looks + 1)], rel=4e-4
    )
    assert [look.alpha for look in planned] == pytest.approx([2 * norm.sf(look.boundary) for look in planned])
    assert [(look.number, look.share) for look in planned] == [
        (number, number / looks) for number in range(1, looks + 1)
    ]


@pytest.mark.parametrize(("looks", "factor"), [(1, 1.0), (2, 1.008), (5, 1.028), (10, 1.040)])
def test_looking_on_the_way_costs_what_jennison_and_turnbull_say(looks: int, factor: float) -> None:
    """Group Sequential Methods, table 2.4."""
    assert looks_factor(looks) == pytest.approx(factor, abs=5e-4)


def test_the_detectable_difference_is_what_the_users_were_planned_for() -> None:
    assert detectable_difference(49.0, users=users_for_means(3.5, 7)) == pytest.approx(3.5, rel=0.02)


def test_looks_find_a_difference_by_chance_as_seldom_as_promised_and_a_real_one_as_often() -> None:
    """12 % against 12 % and against 15 %, with the planned users and looks at a fifth of them each."""
    users = round(users_for_proportions(0.12, 0.15) * looks_factor(5))

    assert 0.04 <= crossings(0.12, 0.12, users=users, runs=8000) <= 0.06
    assert 0.77 <= crossings(0.12, 0.15, users=users, runs=4000) <= 0.83


def test_a_single_look_finds_a_real_difference_as_often_as_promised() -> None:
    assert 0.77 <= crossings(0.12, 0.15, users=users_for_proportions(0.12, 0.15), runs=4000, looks=1) <= 0.83


def crossings(control: float, treatment: float, *, users: int, runs: int, looks: int = 5) -> float:
    """The share of runs in which a pooled z-test crosses the boundary at one of the looks."""
    ends = np.round(np.arange(1, looks + 1) * users / looks).astype(int)
    chance = np.random.default_rng(19)
    steps = np.diff(ends, prepend=0)[None, :, None]
    done = chance.binomial(steps, (control, treatment), size=(runs, looks, 2)).cumsum(axis=1)
    pooled = done.sum(axis=2) / (2 * ends)
    z = (done[..., 1] - done[..., 0]) / ends / np.sqrt(pooled * (1 - pooled) * 2 / ends)
    boundaries = np.array([look.boundary for look in planned_looks(looks)])
    return float((np.abs(z) >= boundaries).any(axis=1).mean())
