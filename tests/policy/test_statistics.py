"""Estimators against figures from outside, and the promises they keep in simulations."""

from dataclasses import replace
from math import comb, inf, isclose, nan, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_ind
from statsmodels.stats.meta_analysis import effectsize_smd
from statsmodels.stats.multitest import multipletests

from cmo.policy.statistics import (
    ERROR_ALPHA,
    Comparison,
    Contrast,
    Count,
    Estimate,
    Interval,
    Lack,
    SampleRatio,
    Undefined,
    always_valid,
    by_normal,
    contrast,
    effect_size,
    error_evidence,
    holm,
    mean,
    one_sided_bounds,
    ratio,
    relative_contrast,
    sample_ratio,
    share,
    two_proportions,
    welch,
)

GROWTHBOOK_CONTROL = Estimate(users=3000, value=1396.87 / 3000, squared_error=17.248389 / 3000)
GROWTHBOOK_TREATMENT = Estimate(users=3461, value=2422.7 / 3461, squared_error=38.440004 / 3461)
"""From the sums 1396.87 and 2422.7 and the sums of squares 52377.9767 and 134698.29 of GrowthBook's own tests
(packages/stats/tests/frequentist/test_tests.py in growthbook/growthbook), from which the limits below are, too."""

numbers = st.floats(allow_nan=True, allow_infinity=True)
samples = st.lists(numbers, max_size=6)


def apart(treatment: Estimate, control: Estimate, *, relative: bool = False) -> Contrast:
    found = relative_contrast(treatment, control) if relative else contrast(treatment, control)
    assert isinstance(found, Contrast)
    return found


def limits(found: Comparison | Undefined) -> tuple[float, float]:
    assert isinstance(found, Comparison)
    return found.interval.low, found.interval.high


def of(values: list[float]) -> Estimate:
    found = mean(values)
    assert isinstance(found, Estimate)
    return found


@pytest.mark.parametrize(
    ("treatment", "control", "interval"),
    [
        ((7, 34), (1, 34), (0.0189, 0.3404)),  # Fagerland et al. (2015), Stat Methods Med Res 24:224-254
        ((56, 70), (48, 80), (0.0524, 0.3339)),  # Newcombe (1998), table II, method 10, like the rest
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((5, 56), (0, 29), (-0.0381, 0.1926)),
        ((0, 10), (0, 10), (-0.2775, 0.2775)),
        ((10, 10), (0, 10), (0.6075, 1.0)),
    ],
)
def test_newcombes_interval_is_that_of_the_literature(
    treatment: tuple[int, int], control: tuple[int, int], interval: tuple[float, float]
) -> None:
    found = two_proportions(
        Count(successes=treatment[0], users=treatment[1]), Count(successes=control[0], users=control[1])
    )

    assert limits(found) == pytest.approx(interval, abs=6e-5)


def test_the_z_test_of_two_shares_pools_them() -> None:
    found = two_proportions(Count(successes=150, users=1000), Count(successes=120, users=1000))

    assert isinstance(found, Comparison)
    pooled = 0.135 * 0.865 * 2 / 1000
    assert found.difference == pytest.approx(0.03)
    assert found.p_value == pytest.approx(
        by_normal(replace(CONTRAST, difference=0.03, standard_error=sqrt(pooled))).p_value
    )


CONTRAST = Contrast(difference=1.0, standard_error=0.5, users=100)


def test_welchs_test_is_that_of_growthbook() -> None:
    control = Estimate(users=3407, value=0.41, squared_error=3.9**2 / 3407)
    treatment = Estimate(users=3461, value=0.7, squared_error=6.2**2 / 3461)
    found = welch(treatment, control)

    assert isinstance(found, Comparison)
    assert found.difference == pytest.approx(0.29)
    assert limits(found) == pytest.approx((0.04538, 0.53462), abs=6e-6)
    assert found.p_value == pytest.approx(0.02016, abs=6e-6)


@pytest.mark.filterwarnings("ignore:Precision loss")
@given(first=st.lists(st.integers(-50, 50), min_size=2, max_size=9), second=st.lists(st.integers(-50, 50), min_size=2))
def test_welchs_test_is_scipys_on_any_sample(first: list[int], second: list[int]) -> None:
    found = welch(of([*map(float, first)]), of([*map(float, second)]))

    if isinstance(found, Undefined):
        assert (found.lack, found.difference) == (Lack.NO_VARIANCE, first[0] - second[0])
    else:
        theirs = ttest_ind(first, second, equal_var=False)
        assert found.p_value == pytest.approx(theirs.pvalue, abs=1e-9)
        assert limits(found) == pytest.approx(tuple(theirs.confidence_interval()), abs=1e-6)


def test_the_confidence_sequence_is_that_of_growthbook() -> None:
    shares = share(Count(successes=2422, users=3461)), share(Count(successes=1396, users=3000))
    assert isinstance(shares[0], Estimate)
    assert isinstance(shares[1], Estimate)
    likely = always_valid(apart(*shares, relative=True), horizon=5000)
    unlikely = always_valid(apart(GROWTHBOOK_TREATMENT, GROWTHBOOK_CONTROL, relative=True), horizon=1000)

    assert limits(likely) == pytest.approx((0.40098, 0.60675), abs=1e-4)
    assert likely.p_value == pytest.approx(0, abs=1e-4)
    assert limits(unlikely) == pytest.approx((-0.55844, 1.56516), abs=1e-4)
    assert unlikely.p_value == 1


def test_the_one_sided_sequence_is_that_of_growthbook() -> None:
    relative = apart(GROWTHBOOK_TREATMENT, GROWTHBOOK_CONTROL, relative=True)
    absolute = apart(GROWTHBOOK_TREATMENT, GROWTHBOOK_CONTROL)

    assert one_sided_bounds(relative, horizon=5000).low == pytest.approx(-0.42356, abs=1e-4)
    assert one_sided_bounds(absolute, horizon=5000).low == pytest.approx(-0.12657, abs=1e-4)


@given(difference=st.floats(-5, 5), users=st.integers(2, 10**6), alpha=st.floats(0.001, 0.2))
def test_the_always_valid_p_is_below_alpha_exactly_when_the_interval_excludes_0(
    difference: float, users: int, alpha: float
) -> None:
    found = always_valid(Contrast(difference=difference, standard_error=1.0, users=users), horizon=1000, alpha=alpha)

    if not isclose(found.p_value, alpha, rel_tol=1e-9):
        assert (found.p_value < alpha) == found.interval.excludes(0)


def test_effect_sizes_are_cohens_and_hedges() -> None:
    """15 users in each group: t = -2.86941, d = 1.047761, g = 1.019400 with the exact correction."""
    treatment = Estimate(users=15, value=1.047761, squared_error=1 / 15)
    control = Estimate(users=15, value=0.0, squared_error=1 / 15)
    found = effect_size(treatment, control)

    assert not isinstance(found, Undefined)
    assert found.cohens_d == pytest.approx(1.047761, abs=1e-6)
    assert found.hedges_g == pytest.approx(1.019400, abs=1e-5)


def test_hedges_g_is_that_of_statsmodels() -> None:
    first, second = of([1.0, 2.0, 4.0, 8.0]), of([2.0, 2.5, 1.0, 0.0, 1.0])
    found = effect_size(first, second)

    assert not isinstance(found, Undefined)
    theirs, _ = effectsize_smd(first.value, sqrt(first.variance), 4, second.value, sqrt(second.variance), 5)
    assert found.hedges_g == pytest.approx(theirs, rel=6e-3)  # it corrects by an approximation


@pytest.mark.parametrize(
    ("users", "weights", "p_value"),
    [
        ((5200, 4800), (50, 50), 6.334e-5),
        ((5050, 4950), (1, 1), 0.31731),
        ((9010, 990), (90, 10), 0.73888),
    ],
)
def test_the_sample_ratio_is_held_against_the_weights(
    users: tuple[int, int], weights: tuple[float, float], p_value: float
) -> None:
    found = sample_ratio(users, weights)

    assert isinstance(found, SampleRatio)
    assert found.p_value == pytest.approx(p_value, rel=1e-4)
    assert found.is_off is (p_value < 0.001)


def test_an_arm_of_weight_0_must_stay_empty() -> None:
    empty, used = sample_ratio((50, 50, 0), (1, 1, 0)), sample_ratio((500, 500, 1), (1, 1, 0))

    assert isinstance(empty, SampleRatio)
    assert isinstance(used, SampleRatio)
    assert (empty.p_value, used.is_off) == (1.0, True)


def test_holm_adjusts_as_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))


def test_what_has_no_p_value_does_not_count_for_holm() -> None:
    assert holm([0.01, None, 0.04, nan]) == (pytest.approx(0.02), None, pytest.approx(0.04), None)
    assert holm([None]) == (None,)
    assert holm([]) == ()


@settings(max_examples=10)
@given(p_values=st.lists(st.floats(0, 1), min_size=1))
def test_holm_is_that_of_statsmodels_and_never_makes_a_p_value_smaller(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])
    assert all(after >= before for before, after in zip(p_values, holm(p_values), strict=True) if after is not None)


def test_a_ratio_with_one_question_each_is_a_mean() -> None:
    values = [0.0, 1.0, 3.0, 2.5]
    found = ratio(values, [1.0] * 4)

    assert isinstance(found, Estimate)
    assert (found.value, found.squared_error) == pytest.approx((of(values).value, of(values).squared_error))


def test_questions_of_one_person_that_are_alike_tell_no_more_than_one_of_them() -> None:
    once, ten_times = ratio([0, 1, 1, 0], [1, 1, 1, 1]), ratio([0, 10, 10, 0], [10, 10, 10, 10])

    assert isinstance(once, Estimate)
    assert isinstance(ten_times, Estimate)
    assert (ten_times.value, ten_times.squared_error) == pytest.approx((once.value, once.squared_error))


def test_nobody_one_user_and_nan_have_no_figures() -> None:
    assert share(Count(successes=0, users=0)) == Undefined(lack=Lack.NO_DATA)
    assert mean([]) == ratio([], []) == Undefined(lack=Lack.NO_DATA)
    assert mean([1.0]) == ratio([1.0], [1.0]) == Undefined(lack=Lack.TOO_FEW)
    assert mean([1.0, nan]) == mean([inf, 1.0]) == ratio([1.0, 1.0], [nan, 1.0]) == Undefined(lack=Lack.NOT_A_NUMBER)
    assert ratio([1.0, 1.0], [0.0, 0.0]) == Undefined(lack=Lack.NO_BASE)
    assert sample_ratio((0, 0), (1, 1)) == Undefined(lack=Lack.NO_DATA)
    assert two_proportions(Count(successes=0, users=0), Count(successes=1, users=2)) == Undefined(lack=Lack.NO_DATA)


def test_without_variance_the_difference_is_all_that_is_known() -> None:
    tenths, fifths = of([0.1] * 3), of([0.2] * 7)

    assert (tenths.squared_error, ratio([0.1] * 3, [1.0] * 3)) == (0.0, replace(tenths))
    assert welch(fifths, tenths) == Undefined(lack=Lack.NO_VARIANCE, difference=pytest.approx(0.1))
    assert effect_size(fifths, tenths) == Undefined(lack=Lack.NO_VARIANCE, difference=pytest.approx(0.1))
    assert relative_contrast(fifths, of([0.0, 0.0])) == Undefined(lack=Lack.NO_BASE)
    assert contrast(fifths, replace(tenths, value=nan)) == Undefined(lack=Lack.NOT_A_NUMBER)


@pytest.mark.parametrize("successes", [0, 1])
def test_where_all_did_the_same_the_shares_do_not_differ(successes: int) -> None:
    one = Count(successes=successes, users=1)
    found = two_proportions(one, one)

    assert isinstance(found, Comparison)
    assert (found.difference, found.p_value) == (0, 1.0)
    assert found.interval == Interval(low=pytest.approx(-0.7935, abs=1e-4), high=pytest.approx(0.7935, abs=1e-4))


@given(first=samples, second=samples)
def test_no_sample_makes_an_exception(first: list[float], second: list[float]) -> None:
    together = min(len(first), len(second))
    per_question = ratio(first[:together], second[:together])
    for ours, theirs in ((mean(first), mean(second)), (per_question, mean(first))):
        if isinstance(ours, Estimate) and isinstance(theirs, Estimate):
            effect_size(ours, theirs)
            for how in (contrast, relative_contrast):
                found = how(ours, theirs)
                if isinstance(found, Contrast):
                    for comparison in (by_normal(found), always_valid(found, horizon=10)):
                        assert comparison.interval.low <= comparison.difference <= comparison.interval.high
                        assert 0 <= comparison.p_value <= 1
            assert isinstance(welch(ours, theirs), Comparison | Undefined)


# The e-process


@pytest.mark.parametrize(("rate", "most"), [(0.05, 1.0), (0.03, 0.9)])
def test_a_bet_on_errors_is_fair_at_the_ceiling_and_loses_below(rate: float, most: float) -> None:
    expected = sum(
        comb(12, errors)
        * rate**errors
        * (1 - rate) ** (12 - errors)
        * error_evidence([True] * errors + [False] * (12 - errors), ceiling=0.05).e_value
        for errors in range(13)
    )

    assert expected <= most + 1e-9
    assert (expected == pytest.approx(1)) is (rate == 0.05)


def test_an_alarm_tells_at_which_trial_it_was_raised_and_stays() -> None:
    evidence = error_evidence([True] * 4 + [False] * 500, ceiling=0.05)

    assert (evidence.trials, evidence.errors, evidence.alarm_at) == (504, 4, 4)
    assert evidence.e_value < 1 < 1 / ERROR_ALPHA < evidence.largest


def test_without_trials_there_is_no_evidence() -> None:
    evidence = error_evidence([], ceiling=0.05)

    assert (evidence.trials, evidence.e_value, evidence.alarm_at) == (0, 1.0, None)


def test_a_hopeless_service_gives_evidence_without_end() -> None:
    assert error_evidence([True] * 5000, ceiling=0.05).e_value == inf


# Promises, in simulations


def test_healthy_days_are_hardly_ever_rolled_back_and_a_broken_service_within_100_questions() -> None:
    """A day of two questions a minute at 3 % errors, and a service at 15 %; the ceiling is 5 %."""
    chance = np.random.default_rng(20250)
    healthy = [error_evidence((chance.random(2880) < 0.03).tolist(), ceiling=0.05) for _ in range(200)]
    broken = [error_evidence((chance.random(1000) < 0.15).tolist(), ceiling=0.05) for _ in range(200)]

    assert sum(day.alarm_at is not None for day in healthy) <= 0.01 * len(healthy)
    assert np.median([day.alarm_at or 10**6 for day in broken]) <= 100


def test_looking_daily_finds_false_winners_by_the_naive_rule_and_not_by_the_confidence_sequence() -> None:
    """12 % in both arms, 5,000 users each over 14 days."""
    watched, naive = false_winners(runs=400, days=14, users=5000)

    assert watched <= 0.05
    assert naive > 0.20


@pytest.mark.soak
def test_looking_a_hundred_times_finds_false_winners_by_the_naive_rule_and_not_by_the_confidence_sequence() -> None:
    watched, naive = false_winners(runs=2000, days=100, users=5000)

    assert watched <= 0.05
    assert naive > 0.35


def false_winners(*, runs: int, days: int, users: int) -> tuple[float, float]:
    """The share of runs in which the sequence, and a z-test each day, ever call one of two equal arms better."""
    chance = np.random.default_rng(7)
    daily = users // days
    successes = chance.binomial(daily, 0.12, size=(runs, days, 2)).cumsum(axis=1)
    watched = naive = 0
    for run in successes.tolist():
        counts = [[Count(successes=done, users=daily * day) for done in arms] for day, arms in enumerate(run, start=1)]
        watched += any(_watched(*arms, horizon=2 * users).p_value <= 0.05 for arms in counts)
        naive += any(by_normal(_apart(*arms)).p_value <= 0.05 for arms in counts)
    return watched / runs, naive / runs


def _watched(control: Count, treatment: Count, *, horizon: int) -> Comparison:
    return always_valid(_apart(control, treatment), horizon=horizon)


def _apart(control: Count, treatment: Count) -> Contrast:
    ours, theirs = share(treatment), share(control)
    assert isinstance(ours, Estimate)
    assert isinstance(theirs, Estimate)
    return apart(ours, theirs)


def test_with_people_as_the_unit_alike_questions_find_no_differences_and_with_questions_they_do() -> None:
    """400 people with 10 questions each that are alike (intraclass correlation 0.4), no difference between arms."""
    by_people, by_questions = clustered_differences(runs=600)

    assert 0.03 <= by_people <= 0.08
    assert by_questions > 0.15


@pytest.mark.soak
def test_with_people_as_the_unit_the_promise_is_kept_in_many_runs() -> None:
    by_people, by_questions = clustered_differences(runs=6000)

    assert 0.04 <= by_people <= 0.065
    assert by_questions > 0.3


def clustered_differences(*, runs: int, people: int = 400, correlation: float = 0.4) -> tuple[float, float]:
    """The share of runs with p below 0.05: by the ratio with the user as unit, and by a z-test of all questions."""
    chance = np.random.default_rng(11)
    spread = (1 - correlation) / correlation
    by_people = by_questions = 0
    for _ in range(runs):
        rates = chance.beta(0.5 * spread, 0.5 * spread, size=people)
        questions = np.maximum(1, chance.poisson(10, size=people))
        errors = chance.binomial(questions, rates)
        arms = [
            (errors[half].astype(float).tolist(), questions[half].astype(float).tolist())
            for half in (slice(0, people, 2), slice(1, people, 2))
        ]
        ours, theirs = (ratio(*arm) for arm in arms)
        assert isinstance(ours, Estimate)
        assert isinstance(theirs, Estimate)
        by_people += by_normal(apart(ours, theirs)).p_value < 0.05
        counts = [Count(successes=int(sum(done)), users=int(sum(asked))) for done, asked in arms]
        by_questions += by_normal(_apart(*counts)).p_value < 0.05
    return by_people / runs, by_questions / runs


def test_the_intervals_cover_the_truth_as_often_as_they_promise() -> None:
    """Newcombe's at one look, the sequence's at all of 20 looks; 12 % and 15 %."""
    chance = np.random.default_rng(3)
    runs, looks, step = 400, 20, 50
    done = chance.binomial(step, (0.12, 0.15), size=(runs, looks, 2)).cumsum(axis=1).tolist()
    newcombe = sequence = 0
    for run in done:
        counts = [[Count(successes=each, users=step * look) for each in arms] for look, arms in enumerate(run, start=1)]
        found = two_proportions(counts[-1][1], counts[-1][0])
        assert isinstance(found, Comparison)
        newcombe += not found.interval.excludes(0.03)
        sequence += not any(_watched(*arms, horizon=2 * step * looks).interval.excludes(0.03) for arms in counts)

    assert newcombe / runs >= 0.93
    assert sequence / runs >= 0.94


def test_the_sample_ratio_of_a_fair_coin_is_hardly_ever_off() -> None:
    heads = np.random.default_rng(5).binomial(10_000, 0.5, size=500).tolist()
    found = [sample_ratio((users, 10_000 - users), (1, 1)) for users in heads]

    assert sum(isinstance(each, SampleRatio) and each.is_off for each in found) <= 0.006 * len(found)
