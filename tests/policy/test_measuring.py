"""From what was seen of people to figures of groups."""

from math import nan

import pytest

from cmo.policy.measuring import (
    Better,
    Kind,
    Metric,
    Observation,
    compare,
    errors_in_order,
    estimate,
    figures,
    people,
)
from cmo.policy.statistics import Comparison, Estimate, Lack, Undefined

DID = Metric(name="did", kind=Kind.PROPORTION)
SCORE = Metric(name="score", kind=Kind.MEAN)
ERRORS = Metric(name="errors", kind=Kind.RATIO, better=Better.LOWER)


def seen(user: str, arm: str = "a", **metrics: float | None) -> Observation:
    return Observation(user=user, arm=arm, metrics=metrics)


def value(metric: Metric, *observations: Observation) -> float | Lack:
    found = estimate(figures(metric, people(observations)))
    return found.value if isinstance(found, Estimate) else found.lack


def test_people_come_in_the_order_of_their_first_observation_and_stay_in_its_arm() -> None:
    ann, bob = people([seen("ann", "a"), seen("bob", "b"), seen("ann", "b")])

    assert [(person.user, person.arm, person.is_mixed) for person in (ann, bob)] == [
        ("ann", "a", True),
        ("bob", "b", False),
    ]


def test_a_person_has_done_it_who_did_it_once() -> None:
    assert value(DID, seen("ann", did=0), seen("ann", did=1), seen("ann", did=0), seen("bob", did=0)) == 0.5


def test_a_person_of_whom_nothing_was_seen_did_not_do_it_and_is_not_incomplete() -> None:
    group = figures(DID, people([seen("ann", did=1), seen("bob"), seen("cid", did=None)]))

    assert (group.count.successes, group.count.users, group.incomplete) == (1, 3, 0)


def test_in_a_mean_each_person_weighs_the_same_and_in_a_ratio_each_question() -> None:
    given = (seen("ann", score=1, errors=1), seen("bob", score=0, errors=0), seen("bob", score=0, errors=0))

    assert value(SCORE, *given) == pytest.approx(1 / 2)
    assert value(ERRORS, *given) == pytest.approx(1 / 3)


@pytest.mark.parametrize("failed", [None, nan])
def test_a_failed_measurement_counts_as_what_stands_in_for_it(failed: float | None) -> None:
    given = (seen("ann", score=1), seen("ann", score=failed), seen("bob", score=1))
    stand_in = Metric(name="score", kind=Kind.MEAN, missing=0.0)

    assert value(stand_in, *given) == pytest.approx(0.75)
    assert figures(stand_in, people(given)).incomplete == 0


def test_without_a_stand_in_it_is_left_out_and_the_person_is_incomplete() -> None:
    given = (seen("ann", score=1), seen("ann", score=None), seen("bob", score=0), seen("cid"))

    assert value(SCORE, *given) == pytest.approx(0.5)
    assert figures(SCORE, people(given)).incomplete == 2


def test_an_observation_that_was_not_to_be_measured_is_no_failure() -> None:
    assert figures(SCORE, people([seen("ann", score=1), seen("ann", clicks=3)])).incomplete == 0


@pytest.mark.parametrize("metric", [DID, SCORE, ERRORS])
def test_a_group_of_which_nothing_was_measured_has_no_figure(metric: Metric) -> None:
    assert value(metric, seen("ann"), seen("bob", other=1)) is Lack.NO_DATA
    assert value(metric) is Lack.NO_DATA


@pytest.mark.parametrize("metric", [DID, SCORE, ERRORS])
def test_two_groups_are_compared_by_what_fits_the_metric(metric: Metric) -> None:
    def group(*values: float) -> tuple[Observation, ...]:
        return tuple(seen(str(place), **{metric.name: each}) for place, each in enumerate(values))

    much, little = figures(metric, people(group(1, 1, 0, 1, 1, 1))), figures(metric, people(group(0, 0, 1, 0, 0, 0)))
    found = compare(much, little, alpha=0.05)

    assert isinstance(found, Comparison)
    assert found.difference == pytest.approx(4 / 6)
    assert found.interval.low < 4 / 6 < found.interval.high
    assert found.p_value < 0.05
    assert compare(much, figures(metric, []), alpha=0.05) == Undefined(lack=Lack.NO_DATA)
    assert compare(figures(metric, []), much, alpha=0.05) == Undefined(lack=Lack.NO_DATA)


def test_errors_are_one_for_each_person_in_the_order_they_came() -> None:
    given = people([seen("ann", errors=0), seen("bob", errors=2), seen("ann", errors=1), seen("cid", errors=None)])

    assert errors_in_order(ERRORS, given) == [True, True, False]


def test_better_is_what_the_metric_says() -> None:
    assert (SCORE.gain(0.1), ERRORS.gain(0.1)) == (0.1, -0.1)
