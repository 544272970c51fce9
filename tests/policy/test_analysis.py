"""What an analysis says of made-up experiments, and how often it is wrong."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from cmo.policy.analysis import analyse
from cmo.policy.experiment import (
    Analysis,
    Arm,
    Basis,
    Experiment,
    Guardrail,
    GuardrailState,
    Recommendation,
    Standing,
)
from cmo.policy.measuring import Better, Kind, Metric, Observation, Revision
from cmo.policy.planning import planned_looks
from cmo.policy.statistics import Comparison, Lack, Undefined

START = datetime(2026, 3, 1, tzinfo=UTC)
SOON, LATE = START + timedelta(days=5), START + timedelta(days=29)

WIN = Metric(name="win", kind=Kind.PROPORTION)
SCORE = Metric(name="score", kind=Kind.MEAN)
SECONDS = Metric(name="seconds", kind=Kind.MEAN, better=Better.LOWER)
FAILED = Metric(name="failed", kind=Kind.PROPORTION, better=Better.LOWER)

PLAN = Experiment(
    name="graph",
    hypothesis="The graph helps.",
    arms=(Arm(name="control", weight=50), Arm(name="graph", weight=50)),
    primary=WIN,
    start=START,
    duration=timedelta(days=28),
    planned_users=100,
)


def seen(user: object, arm: str, **metrics: float | None) -> Observation:
    return Observation(user=str(user), arm=arm, metrics=metrics)


def pairs(
    number: int, *, control: Sequence[float | None], graph: Sequence[float | None], metric: str = "win"
) -> list[Observation]:
    """So many users in each arm in turn, one observation each; the values of each arm are repeated over and over."""
    return [
        seen(f"{arm}{place}", arm, **{metric: values[place % len(values)]})
        for place in range(number)
        for arm, values in (("control", control), ("graph", graph))
    ]


def now(observations: Iterable[Observation], plan: Experiment = PLAN, *, at: datetime = SOON) -> Analysis:
    return analyse(plan, observations, now=at)


HALF, MOST, SOME = (0, 1), (1, 1, 1, 1, 0), (0, 0, 0, 0, 1)


def test_a_treatment_that_wins_by_far_is_deployed_at_the_first_look_that_shows_it() -> None:
    found = now(pairs(70, control=SOME, graph=MOST))

    assert found.recommendation is Recommendation.DEPLOY_LIGHTRAG
    assert [course.standing for course in found.courses] == [Standing.BETTER]
    assert [taken.decides for taken in found.courses[0].looks] == [False, True, True]
    assert found.courses[0].decisive is found.courses[0].looks[1]
    (effect,) = found.primary
    assert (effect.basis, effect.users) == (Basis.PLANNED_LOOK, (40, 40))
    assert effect.values == pytest.approx((0.2, 0.8))
    assert "look 2 of 5 crossed its boundary" in found.reasons[0]


def test_a_treatment_that_loses_is_not() -> None:
    found = now(pairs(70, control=MOST, graph=SOME))

    assert found.recommendation is Recommendation.KEEP_PERPLEXITY
    assert "graph is worse than control" in found.reasons[0]


def test_a_metric_that_should_be_low_is_won_by_the_lower_arm() -> None:
    plan = replace(PLAN, primary=replace(WIN, better=Better.LOWER))

    assert now(pairs(70, control=MOST, graph=SOME), plan).recommendation is Recommendation.DEPLOY_LIGHTRAG


def test_without_a_difference_at_the_last_look_everything_stays_as_it_is() -> None:
    found = now(pairs(100, control=HALF, graph=HALF))

    assert found.recommendation is Recommendation.KEEP_PERPLEXITY
    assert found.primary[0].basis is Basis.PLANNED_LOOK
    assert "found no difference" in found.reasons[0]


def test_before_the_first_look_there_are_too_few_data_and_between_looks_it_goes_on() -> None:
    early, between = now(pairs(19, control=HALF, graph=HALF)), now(pairs(99, control=HALF, graph=HALF))

    assert (early.recommendation, early.courses[0].looks) == (Recommendation.INSUFFICIENT_DATA, ())
    assert "19 of 100 planned users" in early.reasons[0]
    assert (between.recommendation, len(between.courses[0].looks)) == (Recommendation.CONTINUE_TESTING, 4)
    assert "the next one comes at 100 users" in between.reasons[0]


def test_between_the_looks_only_intervals_that_may_be_looked_at_at_any_time_are_shown() -> None:
    plan = replace(PLAN, secondaries=(SCORE,))
    observations = [
        replace(each, metrics={**each.metrics, "score": float(place % 7)})
        for place, each in enumerate(pairs(99, control=SOME, graph=HALF))
    ]
    between = now(observations[:60], plan)

    assert {effect.basis for effect in (*between.primary, *between.secondaries)} == {Basis.ALWAYS_VALID}
    (effect,) = between.secondaries
    assert isinstance(effect.comparison, Comparison)
    assert effect.adjusted_p == effect.comparison.p_value == 1


def test_what_becomes_known_after_a_look_does_not_change_what_it_found() -> None:
    def asked(place: int, each: Observation, *, known_at: int) -> Observation:
        revised = (Revision(until=START + timedelta(minutes=known_at), metrics={}),)
        return replace(each, at=START + timedelta(minutes=place), revised=revised)

    given = pairs(25, control=SOME, graph=MOST)
    at_once = now([asked(place, each, known_at=place) for place, each in enumerate(given)])
    too_late = now([asked(place, each, known_at=1_000) for place, each in enumerate(given)])

    assert at_once.courses == now(given).courses
    (taken,) = too_late.courses[0].looks
    assert taken.comparison == Undefined(lack=Lack.NO_DATA)
    assert too_late.primary == at_once.primary


def test_a_planned_time_that_ends_without_the_planned_users_decides_nothing() -> None:
    found = now(pairs(60, control=HALF, graph=HALF), at=LATE)

    assert found.recommendation is Recommendation.INSUFFICIENT_DATA
    assert "2026-03-29" in found.reasons[-1]


def test_an_experiment_that_was_stopped_is_not_to_be_continued() -> None:
    stopped = analyse(PLAN, pairs(99, control=HALF, graph=HALF), now=SOON, stopped_at=SOON)

    assert stopped.recommendation is Recommendation.INSUFFICIENT_DATA
    assert "It was stopped on 2026-" in stopped.reasons[-1]


def test_without_anybody_nothing_is_known() -> None:
    found = now([])

    assert found.recommendation is Recommendation.INSUFFICIENT_DATA
    assert found.ratio == Undefined(lack=Lack.NO_DATA)
    assert (found.primary[0].comparison, found.detectable) == (Undefined(lack=Lack.NO_DATA), None)


def test_a_look_stays_what_it_was_whatever_comes_later() -> None:
    chance = np.random.default_rng(1)
    everything = [
        seen(chance.integers(120), arm, win=float(chance.random() < 0.3))
        for arm in chance.choice(["control", "graph"], size=500)
    ]
    everything = [replace(each, user=f"{each.arm}{each.user}") for each in everything]
    whole = now(everything).courses[0].looks

    assert len(whole) == 5
    for length in range(0, 500, 25):
        part = now(everything[:length]).courses[0].looks
        assert part == whole[: len(part)]


def test_observations_are_sorted_by_their_times_when_all_have_one() -> None:
    observations = [
        replace(each, at=START + timedelta(minutes=place))
        for place, each in enumerate(pairs(70, control=SOME, graph=MOST))
    ]

    assert now(observations[::-1]) == now(observations)


def test_all_is_well_with_a_measured_mean_and_a_ratio_too() -> None:
    for kind in (Kind.MEAN, Kind.RATIO):
        found = now(pairs(70, control=SOME, graph=MOST), replace(PLAN, primary=replace(WIN, kind=kind)))
        assert found.recommendation is Recommendation.DEPLOY_LIGHTRAG
        assert (found.primary[0].size is not None) is (kind is Kind.MEAN)


def test_a_metric_without_variance_cannot_be_compared() -> None:
    found = now(pairs(100, control=(2,), graph=(2,)), replace(PLAN, primary=replace(WIN, kind=Kind.MEAN)))

    assert found.recommendation is Recommendation.INSUFFICIENT_DATA
    assert "all users have the same value" in found.reasons[0]


def test_an_arm_without_the_metric_cannot_be_compared() -> None:
    observations = [
        each if each.arm == "control" else replace(each, metrics={}) for each in pairs(100, control=HALF, graph=HALF)
    ]
    found = now(observations)

    assert found.recommendation is Recommendation.INSUFFICIENT_DATA
    assert "nothing was measured" in found.reasons[0]


def test_the_detectable_difference_is_that_of_the_planned_users_and_power() -> None:
    found = now(pairs(50, control=HALF, graph=HALF))

    assert found.detectable == pytest.approx((1.959964 + 0.841621) * np.sqrt(2 * 0.25 / 100), rel=1e-3)


# What makes an experiment worth nothing


def invalid(observations: Iterable[Observation], plan: Experiment = PLAN) -> str:
    found = now(observations, plan)
    assert found.recommendation is Recommendation.INVALID
    return " ".join(found.reasons)


def test_arms_that_are_uneven_beyond_chance_make_it_invalid() -> None:
    observations = [each for each in pairs(200, control=SOME, graph=MOST) if two_thirds(each) or each.arm == "control"]

    assert "sample ratio is off: control has 200 users" in invalid(observations)


def two_thirds(observation: Observation) -> bool:
    """Whether the user is one of two thirds."""
    return int(observation.user.removeprefix("graph").removeprefix("control")) % 3 > 0


def test_uneven_weights_make_uneven_arms_right() -> None:
    plan = replace(PLAN, arms=(Arm(name="control", weight=3), Arm(name="graph", weight=2)))
    observations = [each for each in pairs(200, control=SOME, graph=MOST) if two_thirds(each) or each.arm == "control"]

    assert now(observations, plan).recommendation is Recommendation.DEPLOY_LIGHTRAG


def test_weights_that_were_changed_make_it_invalid() -> None:
    same = [replace(each, weights={"control": 1, "graph": 1}) for each in pairs(70, control=SOME, graph=MOST)]

    assert now(same).recommendation is Recommendation.DEPLOY_LIGHTRAG
    assert "other weights" in invalid([*same[:-1], replace(same[-1], weights={"control": 60, "graph": 40})])


def test_people_seen_in_several_arms_make_it_invalid_unless_they_are_few() -> None:
    observations = pairs(150, control=SOME, graph=MOST)
    twice = [*observations, seen("control7", "graph", win=1), seen("control9", "graph", win=1)]

    assert now(twice).recommendation is Recommendation.DEPLOY_LIGHTRAG
    assert "count in their first one: 2" in " ".join(now(twice).notes)
    assert "1.0% of the people" in invalid([*twice, seen("graph1", "control", win=0)])


def test_assignment_by_question_makes_it_invalid() -> None:
    chance = np.random.default_rng(2)
    arms = chance.choice(["control", "graph"], size=400)

    assert "did not stick" in invalid(seen(place % 100, arm, win=1.0) for place, arm in enumerate(arms))


def test_an_arm_nobody_defined_makes_it_invalid() -> None:
    assert '1, such as "other"' in invalid([*pairs(70, control=SOME, graph=MOST), seen("eve", "other", win=1)])


def test_observations_sorted_by_arm_make_it_invalid() -> None:
    observations = sorted(pairs(100, control=SOME, graph=MOST), key=lambda each: each.arm)

    assert "not in the order of time" in invalid(observations)


def test_dropping_failed_answers_more_often_in_one_arm_makes_it_invalid() -> None:
    plan = replace(PLAN, primary=replace(SCORE, missing=None))
    observations = pairs(100, control=(0.5, 0.6), graph=(0.9, 0.8, None), metric="score")

    assert '"score" is missing for 0 of 100 users of the control and 33 of 100 of graph' in invalid(observations, plan)
    counted = replace(plan, primary=replace(SCORE, missing=0.0))
    assert now(observations, counted).recommendation is not Recommendation.INVALID


def test_missing_values_are_told_even_when_both_arms_have_them() -> None:
    plan = replace(PLAN, primary=SCORE)
    found = now(pairs(60, control=(0.5, 0.6, None), graph=(0.6, 0.5, None), metric="score"), plan)

    assert found.recommendation is Recommendation.CONTINUE_TESTING
    assert any('Values of "score" are missing' in note for note in found.notes)


# Guardrails


def with_seconds(control: Sequence[float], graph: Sequence[float]) -> list[Observation]:
    values = {"control": control, "graph": graph}
    return [
        replace(each, metrics={**each.metrics, "seconds": values[each.arm][place // 2 % len(control)]})
        for place, each in enumerate(pairs(70, control=SOME, graph=MOST))
    ]


@pytest.mark.parametrize(
    ("graph", "margin", "state", "recommendation"),
    [
        ((1, 2, 3), 2, GuardrailState.KEPT, Recommendation.DEPLOY_LIGHTRAG),
        ((2, 3, 4), 1, GuardrailState.OPEN, Recommendation.CONTINUE_TESTING),
        ((9, 10, 11), 2, GuardrailState.BREACHED, Recommendation.KEEP_PERPLEXITY),
    ],
)
def test_a_guardrail_has_a_veto(
    graph: tuple[float, ...], margin: float, state: GuardrailState, recommendation: Recommendation
) -> None:
    plan = replace(PLAN, guardrails=(Guardrail(metric=SECONDS, margin=margin),))
    found = now(with_seconds((1, 2, 3), graph), plan)

    assert found.guardrails[0].state is state
    assert found.recommendation is recommendation
    assert any('"seconds"' in reason for reason in found.reasons) is (state is not GuardrailState.KEPT)


def test_a_guardrail_where_more_is_better_is_breached_by_less() -> None:
    plan = replace(PLAN, guardrails=(Guardrail(metric=replace(SECONDS, better=Better.HIGHER), margin=2.0),))

    assert now(with_seconds((9, 10, 11), (1, 2, 3)), plan).guardrails[0].state is GuardrailState.BREACHED
    assert now(with_seconds((1, 2, 3), (9, 10, 11)), plan).guardrails[0].state is GuardrailState.KEPT


@pytest.mark.parametrize(
    ("failures", "state"), [((0, 0, 0, 0), GuardrailState.KEPT), ((1, 0, 1, 0), GuardrailState.BREACHED)]
)
def test_a_ceiling_is_breached_by_evidence_and_ends_an_experiment_before_its_first_look(
    failures: tuple[int, ...], state: GuardrailState
) -> None:
    plan = replace(PLAN, planned_users=1000, guardrails=(Guardrail(metric=FAILED, ceiling=0.05),))
    found = now(pairs(60, control=(0,), graph=failures, metric="failed"), plan)

    assert found.courses[0].looks == ()
    assert found.guardrails[0].state is state
    breached = state is GuardrailState.BREACHED
    assert (found.recommendation is Recommendation.KEEP_PERPLEXITY) is breached
    assert any("at most 5.0% of people" in reason for reason in found.reasons) is breached


def test_a_guardrail_without_data_is_open() -> None:
    plan = replace(PLAN, guardrails=(Guardrail(metric=SECONDS, margin=1.0), Guardrail(metric=FAILED, ceiling=0.05)))

    for observations in ([], pairs(30, control=HALF, graph=HALF)):
        assert [finding.state for finding in now(observations, plan).guardrails] == [GuardrailState.OPEN] * 2


# Several arms and metrics


def test_each_treatment_has_its_part_of_alpha_and_the_better_one_is_deployed() -> None:
    plan = replace(PLAN, arms=(*PLAN.arms, Arm(name="global", weight=50)))
    observations = [
        seen(f"{arm}{place}", arm, win=values[place % 5])
        for place in range(70)
        for arm, values in (("control", SOME), ("graph", MOST), ("global", SOME))
    ]
    found = now(observations, plan)

    assert [course.standing for course in found.courses] == [Standing.BETTER, Standing.OPEN]
    assert found.recommendation is Recommendation.DEPLOY_LIGHTRAG
    assert [taken.look for taken in found.courses[0].looks] == list(planned_looks(5, 0.025)[:3])
    assert any("0.0250 of alpha" in note for note in found.notes)


def test_secondary_metrics_are_adjusted_for_each_other_at_the_last_look() -> None:
    names = ("one", "two", "three")
    plan = replace(PLAN, secondaries=tuple(Metric(name=name, kind=Kind.MEAN) for name in names))
    chance = np.random.default_rng(4)
    observations = [
        replace(each, metrics={**each.metrics, **{name: chance.normal() + (each.arm == "graph") / 3 for name in names}})
        for each in pairs(100, control=HALF, graph=HALF)
    ]
    found = now(observations, plan)

    bare = [effect.comparison.p_value for effect in found.secondaries if isinstance(effect.comparison, Comparison)]
    adjusted = [effect.adjusted_p for effect in found.secondaries]
    assert {effect.basis for effect in found.secondaries} == {Basis.PLANNED_LOOK}
    assert min(p for p in adjusted if p is not None) == pytest.approx(3 * min(bare))


# How often it is wrong


def recommended(*, runs: int, users: int, control: float, treatment: float, seed: int) -> dict[Recommendation, float]:
    """The share of each recommendation among finished experiments; what a look said is what daily watching had said."""
    chance = np.random.default_rng(seed)
    plan = replace(PLAN, planned_users=users)
    counts = dict.fromkeys(Recommendation, 0)
    for _ in range(runs):
        arms = chance.random(round(2.2 * users)) < 0.5
        wins = chance.random(len(arms)) < np.where(arms, treatment, control)
        observations = [
            seen(place, "graph" if arm else "control", win=float(win))
            for place, (arm, win) in enumerate(zip(arms, wins, strict=True))
        ]
        counts[now(observations, plan).recommendation] += 1
    return {recommendation: count / runs for recommendation, count in counts.items()}


def test_of_two_equal_arms_hardly_ever_one_is_deployed() -> None:
    shares = recommended(runs=200, users=100, control=0.3, treatment=0.3, seed=6)

    assert shares[Recommendation.DEPLOY_LIGHTRAG] <= 0.05
    assert shares[Recommendation.INVALID] <= 0.02


@pytest.mark.soak
def test_the_planned_size_deploys_a_better_arm_as_often_as_promised_and_an_equal_one_hardly_ever() -> None:
    better = recommended(runs=300, users=2094, control=0.12, treatment=0.15, seed=8)
    equal = recommended(runs=300, users=2094, control=0.12, treatment=0.12, seed=9)

    assert 0.75 <= better[Recommendation.DEPLOY_LIGHTRAG] <= 0.85
    assert equal[Recommendation.DEPLOY_LIGHTRAG] <= 0.04
