"""Bets against "at or below the ceiling": fair, indifferent to restarts, and never out of money for a late break."""

from math import isfinite

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cmo.policy.evidence import BLOCK, FIRST_STAKE, Evidence
from cmo.policy.statistics import error_evidence

harms = st.lists(st.sampled_from([0.0, 1.0, 0.3]), max_size=3 * BLOCK)
ceilings = st.sampled_from([0.05, 0.1, 0.4])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.booleans(), max_size=BLOCK), ceilings)
def test_the_first_bets_are_those_of_the_e_process_of_errors(errors: list[bool], ceiling: float) -> None:
    whole = error_evidence(errors, ceiling=ceiling).e_value

    assert Evidence().after(errors, ceiling=ceiling).value == pytest.approx(
        FIRST_STAKE * whole + (1 - FIRST_STAKE), rel=1e-9
    )


@settings(max_examples=60, deadline=None)
@given(harms, ceilings, st.floats(0, 1))
@example([0.0] * BLOCK, 0.05, 0.5)
@example([1.0, 0.0] * BLOCK, 0.4, 0.5)
def test_one_more_answer_gains_nothing_on_average_at_or_below_the_ceiling(
    before: list[float], ceiling: float, part: float
) -> None:
    evidence = Evidence().after(before, ceiling=ceiling)
    bad, good = (evidence.after([harm], ceiling=ceiling).value for harm in (1.0, 0.0))

    assert ceiling * bad + (1 - ceiling) * good == pytest.approx(evidence.value, rel=1e-9)
    assert part * ceiling * bad + (1 - part * ceiling) * good <= evidence.value * (1 + 1e-9)


@settings(max_examples=40, deadline=None)
@given(harms, st.integers(0, 3 * BLOCK))
def test_it_goes_on_where_it_was_left(all_of_them: list[float], cut: int) -> None:
    parted = Evidence().after(all_of_them[:cut], ceiling=0.4).after(all_of_them[cut:], ceiling=0.4)

    assert parted == Evidence().after(all_of_them, ceiling=0.4)


def test_the_largest_value_is_that_after_any_one_answer() -> None:
    evidence = Evidence().after([True] * 4 + [False] * 500, ceiling=0.05)

    assert evidence.largest == Evidence().after([True] * 4, ceiling=0.05).value
    assert evidence.value < 1 < evidence.largest


def test_a_service_that_breaks_after_a_good_week_is_found_out_sooner_than_by_bets_from_the_start() -> None:
    good = [number % 33 == 0 for number in range(10_000)]
    broken = [number % 7 == 0 for number in range(2_000)]
    alarm_at = error_evidence(good + broken, ceiling=0.05).alarm_at
    evidence = Evidence().after(good, ceiling=0.05)
    needed = next(n for n in range(1, 2_000) if evidence.after(broken[:n], ceiling=0.05).largest >= 100)

    assert needed < 350
    assert alarm_at is None or alarm_at > 11_000


def test_a_hopeless_service_gives_evidence_that_stays_a_number() -> None:
    evidence = Evidence().after([1.0] * 1_000, ceiling=0.05)

    assert evidence.largest > 1e100
    assert isfinite(evidence.value)
