from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmo.policy.breaker import (
    Breaker,
    BreakerRules,
    BreakerState,
    CountWindow,
    Gate,
    QualityBreaker,
    QualityRules,
    Reading,
    Recovery,
    Tally,
    TimeWindow,
)

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
NOW = 1_790_000_000.0
WAIT = 300.0
PROBES = 3
RULES = BreakerRules(recovery=Recovery(recovery_seconds=WAIT, probes=PROBES, probe_wait_seconds=120.0))
OPENED = Breaker.new(RULES, now=NOW).forced(OPEN, now=NOW)
QUALITY = QualityRules(threshold=0.7, recovery=RULES.recovery)

Step = tuple[str, int]
"""What happens in a history: a word for it, and which of the calls under way it happens to."""


def after(breaker: Breaker, calls: str, *, now: float = NOW, seconds: float = 1.0) -> Breaker:
    """The breaker after calls one after the other: + went well, - failed, s was stopped by the person."""
    for call in calls:
        breaker, permit = breaker.admit(now=now)
        assert permit is not None, "the call was rejected"
        breaker = ended(breaker, permit, call, now=now, seconds=seconds)
    return breaker


def ended(breaker: Breaker, permit: int, call: str, *, now: float = NOW, seconds: float = 1.0) -> Breaker:
    if call == "+":
        return breaker.succeeded(permit, seconds, now=now, jitter=0.0)
    if call == "-":
        return breaker.failed(permit, seconds, now=now, jitter=0.0)
    return breaker.abandoned(permit)


def admitted(breaker: Breaker, asked: int, *, now: float) -> tuple[Breaker, list[int]]:
    """The breaker after so many calls asked at once, and the permits it gave."""
    permits = []
    for _ in range(asked):
        breaker, permit = breaker.admit(now=now)
        permits += [] if permit is None else [permit]
    return breaker, permits


def scored(breaker: QualityBreaker, *scores: float | None, now: float = NOW) -> QualityBreaker:
    for score in scores:
        breaker = breaker.scored(score, now=now, jitter=0.0)
    return breaker


def new(**rules: Any) -> Breaker:
    return Breaker.new(replace(RULES, **rules), now=NOW)


# Opening


@pytest.mark.parametrize("threshold", [1, 3, 5, 10])
def test_so_many_failures_in_a_row_open_it_and_not_one_less(threshold: int) -> None:
    breaker = after(new(consecutive_failures=threshold, minimum_calls=100), "-" * (threshold - 1))
    assert breaker.gate.state is CLOSED
    assert after(breaker, "-").gate.state is OPEN


def test_a_success_ends_a_row_of_failures() -> None:
    assert after(new(minimum_calls=100), "--+--").gate.state is CLOSED


def test_failures_that_alternate_with_successes_open_it_by_their_share() -> None:
    assert after(new(), "+-+-+-+-+").gate.state is CLOSED
    assert after(new(), "+-+-+-+-+-").gate.state is OPEN


def test_a_share_of_failures_under_the_threshold_opens_nothing() -> None:
    assert after(new(), "+-+-++-++-" * 5).gate.state is CLOSED


def test_slow_calls_open_it_although_they_went_well() -> None:
    breaker = after(new(slow_call_seconds=30.0), "+" * 9, seconds=30.1)
    assert breaker.gate.state is CLOSED
    assert after(breaker, "+", seconds=30.1).gate.state is OPEN


def test_a_share_of_slow_calls_at_the_threshold_opens_it_and_one_call_less_does_not() -> None:
    assert after(after(new(), "+" * 3), "+" * 7, seconds=99.0).gate.state is CLOSED
    assert after(after(new(), "+" * 2), "+" * 8, seconds=99.0).gate.state is OPEN


def test_calls_as_long_as_the_limit_are_not_slow() -> None:
    assert after(new(slow_call_seconds=30.0), "+" * 20, seconds=30.0).gate.state is CLOSED


def test_failures_that_left_the_window_do_not_count() -> None:
    breaker = after(new(consecutive_failures=None, window=TimeWindow(seconds=600.0)), "-" * 9)
    assert after(breaker, "-", now=NOW + 560).gate.state is OPEN
    assert after(breaker, "-", now=NOW + 601).gate.state is CLOSED


def test_calls_that_a_clock_since_set_back_put_into_the_future_do_not_count() -> None:
    breaker = after(new(consecutive_failures=None), "-" * 9, now=NOW + 3600)
    assert after(breaker, "-").gate.state is CLOSED


def test_of_a_window_of_calls_only_the_last_ones_count() -> None:
    breaker = new(consecutive_failures=None, window=CountWindow(size=10), failure_percent=60.0)
    assert after(breaker, "-----+++++").gate.state is CLOSED
    assert after(breaker, "-----+++++-----").gate.state is CLOSED
    assert after(breaker, "-----+++++------").gate.state is OPEN


def test_a_window_smaller_than_the_minimum_of_calls_decides_when_it_is_full() -> None:
    breaker = new(consecutive_failures=None, window=CountWindow(size=4), minimum_calls=10)
    assert after(breaker, "---").gate.state is CLOSED
    assert after(breaker, "----").gate.state is OPEN


@given(st.lists(st.tuples(st.integers(0, 200), st.booleans(), st.booleans()), max_size=60))
def test_a_time_window_holds_the_calls_of_its_seconds(calls: list[tuple[int, bool, bool]]) -> None:
    window, now, all_calls = TimeWindow(seconds=100.0), NOW, []
    for later, failed, slow in calls:
        now += later / 10
        window = window.add(Tally(1, failed, slow), now=now)
        all_calls.append((now, failed, slow))
        young = [call for call in all_calls if now // 5 - call[0] // 5 < 20]
        assert window.total == Tally(len(young), sum(call[1] for call in young), sum(call[2] for call in young))


@given(st.integers(1, 70), st.lists(st.tuples(st.booleans(), st.booleans()), max_size=150))
def test_a_count_window_holds_the_last_calls(size: int, calls: list[tuple[bool, bool]]) -> None:
    window, last = CountWindow(size=size), deque[tuple[bool, bool]](maxlen=size)
    for failed, slow in calls:
        window = window.add(Tally(1, failed, slow), now=NOW)
        last.append((failed, slow))
        assert window.total == Tally(len(last), sum(call[0] for call in last), sum(call[1] for call in last))


# Resting, and getting well


def test_an_open_breaker_rejects_until_its_wait_is_over() -> None:
    breaker = after(new(), "---")
    assert not breaker.gate.admits(RULES.recovery, now=NOW + WAIT - 0.1)
    assert breaker.admit(now=NOW + WAIT - 0.1)[1] is None
    assert breaker.gate.admits(RULES.recovery, now=NOW + WAIT)
    assert breaker.admit(now=NOW + WAIT)[0].gate.state is HALF_OPEN


def test_of_twenty_calls_at_once_half_open_admits_exactly_its_probes() -> None:
    breaker, permits = admitted(OPENED, 20, now=NOW + WAIT)
    assert len(permits) == PROBES
    assert not breaker.gate.admits(RULES.recovery, now=NOW + WAIT)


def test_one_wait_and_its_probes_are_all_it_takes_to_get_well() -> None:
    breaker = after(new(), "+-+-+-+-+-")
    assert breaker.gate.state is OPEN
    breaker = after(breaker, "+" * PROBES, now=NOW + WAIT)
    assert breaker.gate.state is CLOSED
    assert breaker.reading(now=NOW + WAIT) == Reading(
        calls=0, failed=0, slow=0, failure_percent=None, slow_percent=None
    )


@pytest.mark.parametrize(("probes", "state"), [("-++", CLOSED), ("--+", OPEN), ("+--", OPEN), ("++", HALF_OPEN)])
def test_all_probes_together_decide(probes: str, state: BreakerState) -> None:
    assert after(OPENED, probes, now=NOW + WAIT).gate.state is state


def test_slow_probes_open_it_again() -> None:
    assert after(OPENED, "+++", now=NOW + WAIT, seconds=99.0).gate.state is OPEN


def test_a_rest_after_failed_probes_is_longer_up_to_ten_times_the_first() -> None:
    breaker, now, waits = after(new(), "---"), NOW, []
    for _ in range(12):
        waits.append(breaker.gate.retry_at - now)
        now = breaker.gate.retry_at
        breaker = after(breaker, "---", now=now)
    assert waits[:4] == [WAIT, 2 * WAIT, 3 * WAIT, 4 * WAIT]
    assert waits[9:] == [10 * WAIT] * 3
    assert all(earlier <= later for earlier, later in pairwise(waits))


def test_after_it_got_well_the_next_rest_is_a_first_one() -> None:
    breaker = after(after(new(), "---"), "---", now=NOW + WAIT)
    breaker = after(breaker, "+++---", now=NOW + 3 * WAIT)
    assert breaker.gate.retry_at == NOW + 4 * WAIT


@given(st.integers(1, 30), st.floats(0, 1))
def test_chance_makes_a_rest_longer_by_a_tenth_at_most_and_never_than_the_longest(rests: int, jitter: float) -> None:
    recovery = RULES.recovery
    plain, shifted = recovery.wait_seconds(rests, 0.0), recovery.wait_seconds(rests, jitter)
    assert plain <= shifted <= min(plain * 1.1 + 1e-9, 10 * WAIT)


def test_probes_that_never_come_back_are_given_up() -> None:
    breaker, [lost, *_] = admitted(OPENED, PROBES, now=NOW + WAIT)
    later = NOW + WAIT + 120
    assert not breaker.gate.admits(RULES.recovery, now=later - 0.1)
    assert breaker.gate.admits(RULES.recovery, now=later)
    breaker, permits = admitted(breaker, 20, now=later)
    assert len(permits) == PROBES
    assert ended(breaker, lost, "-", now=later) is breaker


def test_half_open_waits_for_calls_as_long_as_it_takes() -> None:
    breaker = after(OPENED, "+", now=NOW + WAIT)
    assert after(breaker, "+", now=NOW + WAIT + 100_000).gate.state is HALF_OPEN


def test_a_clock_that_was_set_back_does_not_prolong_a_rest() -> None:
    assert OPENED.gate.admits(RULES.recovery, now=NOW - 3600)


# Whose results count


def test_late_results_of_calls_made_before_it_opened_change_nothing() -> None:
    breaker, early = admitted(new(), 3, now=NOW)
    breaker = after(breaker, "---")
    for moment in (breaker, breaker.admit(now=NOW + WAIT)[0], after(breaker, "+++", now=NOW + WAIT)):
        for permit in early:
            assert all(ended(moment, permit, call, now=NOW + WAIT) is moment for call in "+-s")


def test_late_results_of_probes_change_nothing_after_it_opened_again() -> None:
    breaker, [first, *others] = admitted(OPENED, PROBES, now=NOW + WAIT)
    breaker = breaker.abandoned(first)
    breaker = after(breaker, "-", now=NOW + WAIT)
    for permit in others:
        breaker = ended(breaker, permit, "-", now=NOW + WAIT)
    assert breaker.gate.state is OPEN
    assert ended(breaker, first, "+", now=NOW + WAIT) is breaker


def test_a_stopped_call_neither_counts_nor_ends_a_row_of_failures() -> None:
    assert after(new(), "sss").gate.state is CLOSED
    assert after(new(), "--s").gate.state is CLOSED
    assert after(new(), "--s-").gate.state is OPEN


def test_a_stopped_probe_gives_its_permit_back() -> None:
    breaker, [permit, *_] = admitted(OPENED, PROBES, now=NOW + WAIT)
    assert breaker.admit(now=NOW + WAIT)[1] is None
    breaker, permits = admitted(breaker.abandoned(permit), 20, now=NOW + WAIT)
    assert len(permits) == 1


@given(st.lists(st.sampled_from("+-s"), max_size=40))
def test_calls_between_stopped_ones_have_the_same_effect_as_without_them(calls: list[str]) -> None:
    without = [call for call in calls if call != "s"]
    for start in (new(), OPENED):
        assert _followed(start, calls) == _followed(start, without)


def _followed(breaker: Breaker, calls: Sequence[str]) -> list[tuple[BreakerState, int, int, Reading]]:
    """Where the breaker stands after each call that was not stopped. It is left to rest wherever it opens."""
    now, standings = NOW, []
    for call in calls:
        now = breaker.gate.retry_at if breaker.gate.state is OPEN else now
        breaker = after(breaker, call, now=now)
        if call != "s":
            standings.append((breaker.gate.state, breaker.gate.rests, breaker.consecutive, breaker.reading(now=now)))
    return standings


_STEPS = st.lists(st.tuples(st.sampled_from(["ask", "+", "-", "s", "wait"]), st.integers(0, 100)), max_size=120)


@given(_STEPS)
def test_whatever_the_order_no_half_open_spell_has_more_probes_than_it_may(steps: list[Step]) -> None:
    breaker, now, under_way = OPENED, NOW, list[int]()
    given_out: dict[int, int] = {}
    for step, which in steps:
        if step == "wait":
            now += which
        elif step == "ask":
            breaker, permit = breaker.admit(now=now)
            if permit is not None:
                under_way.append(permit)
                given_out[permit] = given_out.get(permit, 0) + 1
        elif under_way:
            permit = under_way.pop(which % len(under_way))
            late = permit != breaker.gate.epoch
            changed = ended(breaker, permit, step, now=now)
            assert not late or changed is breaker
            given_out[permit] -= step == "s"
            breaker = changed
        if breaker.gate.state is HALF_OPEN:
            assert given_out[breaker.gate.epoch] <= PROBES


# What people set, and what only measures


def test_forced_open_rejects_until_it_is_set_otherwise() -> None:
    breaker = new().forced(BreakerState.FORCED_OPEN, now=NOW)
    assert breaker.admit(now=NOW + 1e9)[1] is None
    assert breaker.forced(CLOSED, now=NOW).admit(now=NOW)[1] is not None


def test_a_disabled_breaker_admits_and_counts_nothing() -> None:
    breaker = after(new().forced(BreakerState.DISABLED, now=NOW), "-" * 50)
    assert breaker.gate.state is BreakerState.DISABLED
    assert breaker.reading(now=NOW).calls == 0


def test_a_breaker_that_only_measures_tells_that_it_would_open() -> None:
    breaker = after(new(initial=BreakerState.METRICS_ONLY), "--")
    assert not breaker.held
    breaker = after(breaker, "-" * 10)
    assert (breaker.gate.state, breaker.held, breaker.consecutive) == (BreakerState.METRICS_ONLY, True, 12)
    assert breaker.reading(now=NOW).failure_percent == 100
    assert not after(new(initial=BreakerState.METRICS_ONLY), "---+").held


def test_setting_it_back_does_not_make_a_breaker_open_that_only_measures() -> None:
    breaker = new(initial=BreakerState.METRICS_ONLY).forced(CLOSED, now=NOW)
    assert breaker.gate.state is BreakerState.METRICS_ONLY


def test_a_breaker_that_may_not_open_goes_on_counting_and_opens_when_it_may() -> None:
    breaker = new()
    for count in range(1, 6):
        breaker, permit = breaker.admit(now=NOW)
        assert permit is not None
        breaker = breaker.failed(permit, 1.0, now=NOW, jitter=0.0, may_open=False)
        assert (breaker.gate.state, breaker.consecutive, breaker.held) == (CLOSED, count, count >= 3)
    assert after(breaker, "-").gate.state is OPEN


def test_probes_that_fail_close_a_breaker_that_may_not_open() -> None:
    breaker, permits = admitted(OPENED, PROBES, now=NOW + WAIT)
    for permit in permits:
        breaker = breaker.failed(permit, 1.0, now=NOW + WAIT, jitter=0.0, may_open=False)
    assert (breaker.gate.state, breaker.held) == (CLOSED, True)


def test_rejected_calls_are_counted_and_told_when_to_come_back() -> None:
    breaker, permits = admitted(OPENED, 5, now=NOW + 100)
    assert (permits, breaker.gate.rejected) == ([], 5)
    assert breaker.gate.retry_seconds(RULES.recovery, now=NOW + 100) == WAIT - 100


# After a restart


def test_an_open_breaker_goes_on_resting_after_a_restart_as_long_as_it_would_have() -> None:
    breaker = Breaker.resumed(RULES, after(new(), "---").to_keep, now=NOW + 200)
    assert breaker.admit(now=NOW + WAIT - 1)[1] is None
    assert after(breaker, "+++", now=NOW + WAIT).gate.state is CLOSED


def test_a_half_open_breaker_admits_all_its_probes_after_a_restart() -> None:
    before, _ = admitted(OPENED, PROBES, now=NOW + WAIT)
    breaker, permits = admitted(Breaker.resumed(RULES, before.to_keep, now=NOW + WAIT + 1), 20, now=NOW + WAIT + 1)
    assert (breaker.gate.state, len(permits)) == (HALF_OPEN, PROBES)


def test_rests_go_on_growing_after_a_restart() -> None:
    breaker = Breaker.resumed(RULES, after(new(), "---").to_keep, now=NOW + 200)
    assert after(breaker, "---", now=NOW + WAIT).gate.retry_at == NOW + WAIT + 2 * WAIT


def test_what_people_set_stays_after_a_restart() -> None:
    for state in (BreakerState.FORCED_OPEN, BreakerState.DISABLED, BreakerState.METRICS_ONLY):
        gate = new().forced(state, now=NOW).to_keep
        assert Breaker.resumed(RULES, gate, now=NOW + 1).gate.state is state


def test_a_breaker_that_only_measures_now_does_not_go_on_resting() -> None:
    only_measuring = replace(RULES, initial=BreakerState.METRICS_ONLY)
    assert Breaker.resumed(only_measuring, OPENED.to_keep, now=NOW + 1).admit(now=NOW + 1)[1] is not None


def test_a_breaker_that_only_measured_opens_when_its_rules_now_allow_it() -> None:
    only_measuring = Breaker.new(replace(RULES, initial=BreakerState.METRICS_ONLY), now=NOW)
    assert after(Breaker.resumed(RULES, only_measuring.to_keep, now=NOW + 1), "---").gate.state is OPEN


def test_a_rest_kept_by_a_clock_that_was_wrong_is_not_longer_than_any_other() -> None:
    gate = Gate(state=OPEN, since=NOW + 1e9, retry_at=NOW + 2e9, rests=1)
    breaker = Breaker.resumed(RULES, gate, now=NOW)
    assert (breaker.gate.since, breaker.admit(now=NOW + 1)[1]) == (NOW, None)
    assert breaker.admit(now=NOW + 10 * WAIT)[1] is not None


# Quality


def test_ten_answers_that_are_too_bad_on_average_open_it_and_not_nine() -> None:
    breaker = scored(QualityBreaker.new(QUALITY, now=NOW), *[0.69] * 9)
    assert breaker.gate.state is CLOSED
    assert scored(breaker, 0.69).gate.state is OPEN


def test_an_average_at_the_threshold_is_good_enough() -> None:
    assert scored(QualityBreaker.new(QUALITY, now=NOW), *[0.7] * 30).gate.state is CLOSED


def test_only_the_last_ten_answers_count() -> None:
    breaker = scored(QualityBreaker.new(QUALITY, now=NOW), *[1.0] * 50, *[0.5] * 6)
    assert breaker.gate.state is CLOSED
    assert scored(breaker, 0.5).gate.state is OPEN


def test_answers_without_a_score_take_their_place_and_are_neither_good_nor_bad() -> None:
    breaker = scored(QualityBreaker.new(QUALITY, now=NOW), *[0.5] * 6, *[None] * 3)
    assert (breaker.gate.state, len(breaker.scores)) == (CLOSED, 9)
    assert scored(breaker, None).gate.state is OPEN


def test_too_few_scores_say_nothing() -> None:
    breaker = scored(QualityBreaker.new(QUALITY, now=NOW), *[None, 0.0] * 20)
    assert (breaker.gate.state, breaker.mean) == (CLOSED, None)


def test_quality_recovers_in_one_wait_and_its_probes() -> None:
    breaker = scored(QualityBreaker.new(QUALITY, now=NOW), *[0.1] * 10)
    assert breaker.admit(now=NOW + WAIT - 1)[1] is None
    breaker = _probed(breaker, 0.9, 0.9, 0.9)
    assert (breaker.gate.state, breaker.scores) == (CLOSED, ())


def test_bad_probes_open_the_quality_breaker_again() -> None:
    breaker = _probed(scored(QualityBreaker.new(QUALITY, now=NOW), *[0.1] * 10), 0.6, 0.6, 0.8)
    assert (breaker.gate.state, breaker.gate.retry_at) == (OPEN, NOW + WAIT + 2 * WAIT)


def test_probes_without_scores_are_followed_by_others() -> None:
    breaker = _probed(scored(QualityBreaker.new(QUALITY, now=NOW), *[0.1] * 10), None, 0.9, None)
    assert breaker.gate.state is HALF_OPEN
    assert breaker.gate.admits(QUALITY.recovery, now=NOW + WAIT)
    assert _probed(breaker, 0.9, 0.9, None).gate.state is CLOSED


def test_the_quality_breaker_admits_exactly_its_probes_and_takes_back_unused_permits() -> None:
    breaker, permits = scored(QualityBreaker.new(QUALITY, now=NOW), *[0.1] * 10), list[int]()
    for _ in range(20):
        breaker, permit = breaker.admit(now=NOW + WAIT)
        permits += [] if permit is None else [permit]
    assert len(permits) == PROBES
    assert not breaker.gate.admits(QUALITY.recovery, now=NOW + WAIT)
    assert breaker.abandoned(permits[0]).gate.admits(QUALITY.recovery, now=NOW + WAIT)


def test_scores_of_answers_while_it_is_open_change_nothing() -> None:
    breaker = scored(QualityBreaker.new(QUALITY, now=NOW), *[0.1] * 10)
    assert scored(breaker, 1.0) is breaker


def test_the_quality_breaker_stays_open_over_a_restart() -> None:
    breaker = scored(QualityBreaker.new(QUALITY, now=NOW), *[0.1] * 10)
    breaker = QualityBreaker.resumed(QUALITY, breaker.gate, now=NOW + 10)
    assert breaker.admit(now=NOW + WAIT - 1)[1] is None
    assert _probed(breaker, 0.9, 0.9, 0.9).gate.state is CLOSED


def _probed(breaker: QualityBreaker, *scores: float | None) -> QualityBreaker:
    for score in scores:
        breaker, permit = breaker.admit(now=NOW + WAIT)
        assert permit is not None
        breaker = scored(breaker, score, now=NOW + WAIT)
    return breaker
