"""How a rollout moves: stage by stage, never without time, answers and good gates, and the same after any restart."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmo.policy.gates import Criterion, Measure, Observed, Readings, Role
from cmo.policy.rollout import (
    EventKind,
    Hold,
    Phase,
    RolloutState,
    Step,
    approve,
    emergency,
    pause,
    resume,
    roll_back,
    started,
    step,
    told_holds,
)
from cmo.policy.rollout_documents import state_from, state_text
from cmo.policy.rollout_plan import RolloutPlan, Stage, Strategy, canary, exponential, linear, staged, with_approval

START = 1_800_000_000.0
HOUR = 3600.0


def at(hours: float) -> float:
    return START + hours * HOUR


def seen(first: int, last: int, *, failing: Sequence[int] = (), rests: int | None = 0) -> Readings:
    """Answers with these numbers, all good but the failing ones."""
    return Readings(
        exposed=tuple(
            Observed(number=number, failed=number in failing, seconds=3.0, quality=0.8)
            for number in range(first, last + 1)
        ),
        breaker_rests=rests,
    )


NOTHING = Readings(breaker_rests=0)


def advanced(state: RolloutState, hours: float) -> RolloutState:
    """The state after a look with enough good answers at that time."""
    return step(state, seen(state.seen + 1, state.seen + 60), now=at(hours)).state


# plans


@pytest.mark.parametrize(
    ("plan", "shares"),
    [
        (linear(), [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]),
        (linear(start=5, increment=40), [5, 45, 85, 100]),
        (exponential(), [1, 2, 4, 8, 16, 32, 64, 100]),
        (exponential(start=50), [50, 100]),
        (linear(start=33.3, increment=33.3), [33.3, 66.6, 99.9, 100]),
        (linear(start=0.1, increment=33.3), [0.1, 33.4, 66.7, 100]),
        (exponential(start=0.7, factor=11), [0.7, 7.7, 84.7, 100]),
        (canary(), [5, 100]),
        (staged(), [5, 15, 30, 50, 100]),
    ],
)
def test_each_strategy_grows_in_its_way_up_to_everybody(plan: RolloutPlan, shares: list[float]) -> None:
    assert [stage.percentage for stage in plan.stages] == shares


def test_staged_has_durations_of_its_own_and_a_canary_watches_for_long() -> None:
    assert [stage.minimum_seconds / HOUR for stage in staged().stages] == [1, 2, 4, 8, 0]
    assert canary().stages[0].minimum_seconds == 24 * HOUR


@pytest.mark.parametrize(
    "make",
    [
        lambda: linear(start=0),
        lambda: linear(start=100),
        lambda: linear(increment=0.01),
        lambda: linear(start=float("nan")),
        lambda: exponential(factor=1.0),
        lambda: canary(hours=-1),
        lambda: canary(hours=float("inf")),
        lambda: canary(hours=1e12),
        lambda: replace(canary(), quiet_seconds=0),
        lambda: canary(answers=0),
        lambda: staged(hours=(1,)),
        lambda: staged(shares=(5, 5), hours=(1,)),
        lambda: staged(shares=(5, 101), hours=(1,)),
        lambda: staged(shares=(), hours=()),
        lambda: with_approval(staged(), [7]),
        lambda: with_approval(staged(), [100]),
        lambda: replace(staged(), criteria=staged().criteria * 2),
    ],
)
def test_plans_that_make_no_sense_are_refused(make: Callable[[], RolloutPlan]) -> None:
    with pytest.raises(ValueError, match=r"\."):
        make()


# moving on


def test_it_goes_through_all_stages_at_the_planned_times() -> None:
    state, events = started(staged(), now=START), []
    for hour in range(1, 16):
        looked = step(state, seen(state.seen + 1, state.seen + 40), now=at(hour))
        state = looked.state
        events += [(event.kind, hour, event.percentage) for event in looked.events]

    assert events == [
        (EventKind.ADVANCED, 1, 15),
        (EventKind.ADVANCED, 3, 30),
        (EventKind.ADVANCED, 7, 50),
        (EventKind.COMPLETED, 15, 100),
    ]


@pytest.mark.parametrize(
    ("hours", "answers", "holds"),
    [
        (0.99, 30, (Hold.TIME,)),
        (1.0, 29, (Hold.SAMPLE,)),
        (0.5, 2, (Hold.TIME, Hold.SAMPLE)),
        (-5.0, 60, (Hold.TIME,)),
    ],
)
def test_a_stage_ends_only_after_its_time_and_its_answers(hours: float, answers: int, holds: tuple[Hold, ...]) -> None:
    looked = step(started(staged(), now=START), seen(1, answers), now=at(hours))

    assert (looked.state.stage, looked.state.holds, looked.events) == (0, holds, ())
    assert told_holds(looked.state) == ()


def test_a_look_after_a_long_sleep_moves_on_by_one_stage_only() -> None:
    assert step(started(staged(), now=START), seen(1, 5000), now=at(500)).state.stage == 1


def test_a_clock_that_is_set_back_makes_no_stage_last_until_it_has_caught_up() -> None:
    state = step(started(staged(), now=START), seen(1, 40), now=at(-100)).state

    assert (advanced(state, -99.1).stage, advanced(state, -99).stage) == (0, 1)


def test_the_readings_behind_a_move_are_told_with_it() -> None:
    (event,) = step(started(staged(), now=START), seen(1, 40), now=at(1)).events

    assert [(gate.criterion.measure, gate.value) for gate in event.gates] == [
        (Measure.ERROR_RATE, 0.0),
        (Measure.QUALITY, pytest.approx(0.8)),
        (Measure.P95_SECONDS, 0.0),
        (Measure.BREAKER, 0.0),
    ]


def test_each_stage_is_judged_by_its_own_answers() -> None:
    second = step(started(staged(), now=START), seen(1, 40, failing=(20,)), now=at(1)).state
    (event,) = step(second, seen(41, 75), now=at(3)).events

    assert (event.percentage, event.gates[0].values, event.gates[0].value) == (30, 35, 0.0)


def test_no_traffic_holds_and_is_told_once() -> None:
    state = step(started(staged(), now=START), seen(1, 40), now=at(0.2)).state
    silent = [step(state, NOTHING, now=at(1.5))]
    silent.append(step(silent[0].state, NOTHING, now=at(2)))

    assert [looked.state.holds for looked in silent] == [(Hold.NO_TRAFFIC,)] * 2
    assert [len(looked.events) for looked in silent] == [1, 0]
    assert silent[0].events[0].words == "No answers for 1 h: nothing can be told."
    assert step(silent[1].state, seen(41, 41), now=at(2.1)).state.stage == 1


def test_where_little_is_asked_quiet_hours_are_told_of_once_a_day() -> None:
    state, told = started(staged(), now=START), []
    for hour in range(0, 72, 3):
        state = step(state, seen(state.seen + 1, state.seen + 1), now=at(hour)).state
        looked = step(state, NOTHING, now=at(hour + 2))
        state = looked.state
        told += [(hour + 2, event.kind) for event in looked.events]
        assert Hold.NO_TRAFFIC in state.holds

    assert told == [(2, EventKind.HELD), (26, EventKind.HELD), (50, EventKind.HELD)]


def test_doubt_holds_until_more_answers_settle_it() -> None:
    doubtful = step(started(staged(), now=START), seen(1, 30, failing=(10, 28)), now=at(1))
    settled = step(doubtful.state, seen(31, 60), now=at(1.1))

    assert (doubtful.state.holds, doubtful.events[0].kind) == ((Hold.INCONCLUSIVE,), EventKind.HELD)
    assert "error rate 6.7%: beyond the limit, but it may be chance" in doubtful.events[0].words
    assert settled.state.stage == 1


def test_a_breaker_at_rest_holds_and_so_does_one_that_nobody_could_read() -> None:
    state = started(staged(), now=START)

    assert step(state, seen(1, 40, rests=1), now=at(1)).state.holds == (Hold.INCONCLUSIVE,)
    assert step(state, seen(1, 40, rests=None), now=at(1)).state.holds == (Hold.NO_READING,)


def test_without_assessments_it_holds() -> None:
    answers = tuple(Observed(number=number, failed=False, seconds=1.0) for number in range(1, 41))
    looked = step(started(staged(), now=START), Readings(exposed=answers, breaker_rests=0), now=at(1))

    assert looked.state.holds == (Hold.NO_READING,)
    assert looked.events[0].words == "quality: no reading."


# rolling back


def test_a_broken_service_is_rolled_back_at_once_and_for_good() -> None:
    looked = step(started(staged(), now=START), seen(1, 12, failing=range(1, 13)), now=at(0.1))
    after = step(looked.state, seen(13, 500), now=at(9))

    assert (looked.state.phase, looked.state.percentage) == (Phase.ROLLED_BACK, 0)
    assert looked.events[0].kind is EventKind.ROLLED_BACK
    assert looked.events[0].words.startswith("error rate 100.0%: beyond the limit, and not by chance")
    assert after == Step(state=looked.state)


@pytest.mark.parametrize("poor", [{"quality": 0.1}, {"seconds": 60.0}])
def test_poor_and_slow_answers_roll_back_too(poor: dict[str, float]) -> None:
    answers = tuple(Observed(number=number, failed=False, **poor) for number in range(1, 41))

    assert step(started(staged(), now=START), Readings(exposed=answers), now=at(0.1)).state.phase is Phase.ROLLED_BACK


def test_failed_probes_of_the_breaker_roll_back() -> None:
    looked = step(started(staged(), now=START), Readings(breaker_rests=2), now=at(0.1))

    assert looked.state.phase is Phase.ROLLED_BACK
    assert "rests of the breaker in a row 2" in looked.events[0].words


def test_a_signal_that_fails_holds() -> None:
    signal = Criterion(measure=Measure.COST_USD, limit=0.01, role=Role.SIGNAL)
    answers = tuple(Observed(number=number, failed=False, cost_usd=0.5) for number in range(1, 41))
    looked = step(started(replace(staged(), criteria=(signal,)), now=START), Readings(exposed=answers), now=at(1))

    assert (looked.state.phase, looked.state.holds) == (Phase.RUNNING, (Hold.SIGNAL,))


@pytest.mark.parametrize("phase", [Phase.WAITING, Phase.PAUSED, Phase.COMPLETED])
def test_guardrails_watch_a_rollout_that_waits_is_paused_or_complete(phase: Phase) -> None:
    state = _in_phase(phase)
    looked = step(state, seen(state.seen + 1, state.seen + 30, failing=range(10_000)), now=at(99))

    assert looked.state.phase is Phase.ROLLED_BACK


def _in_phase(phase: Phase) -> RolloutState:
    if phase is Phase.COMPLETED:
        return advanced(started(canary(answers=1), now=START), 24)
    waiting = advanced(started(with_approval(staged(), [5]), now=START), 1)
    return pause(waiting, by="Ann", reason="lunch", now=at(1)).state if phase is Phase.PAUSED else waiting


# people


def test_a_stage_that_needs_approval_waits_for_it_and_looks_again() -> None:
    waiting = step(started(with_approval(staged(), [5]), now=START), seen(1, 40), now=at(1))
    later = step(waiting.state, seen(41, 60), now=at(5))
    approved = approve(later.state, by="Ann", reason="looks well", now=at(5))

    assert [event.kind for event in waiting.events] == [EventKind.WAITING]
    assert (later.state.stage, later.events) == (0, ())
    assert (approved.events[0].by, approved.events[0].words) == ("Ann", "looks well")
    assert step(approved.state, seen(61, 61, rests=1), now=at(5.1)).state.stage == 0
    assert step(approved.state, seen(61, 61), now=at(5.1)).state.stage == 1


def test_a_quiet_night_does_not_end_the_wait_for_approval() -> None:
    waiting = advanced(started(with_approval(staged(), [5]), now=START), 1)
    morning = step(waiting, NOTHING, now=at(12))
    approved = approve(morning.state, by="Ann", reason="well", now=at(12)).state

    assert morning == Step(state=waiting)
    assert step(approved, NOTHING, now=at(12)).state.holds == (Hold.NO_TRAFFIC,)
    assert step(approved, seen(61, 61), now=at(12)).state.stage == 1


def test_approval_is_for_one_stage() -> None:
    state = advanced(started(with_approval(staged(), [5, 15]), now=START), 1)
    state = advanced(approve(state, by="Ann", reason="well", now=at(2)).state, 2)

    assert (state.stage, advanced(state, 9).phase) == (1, Phase.WAITING)


def test_time_spent_paused_counts_for_no_stage() -> None:
    state = step(started(staged(), now=START), seen(1, 40), now=at(0.5)).state
    paused = pause(state, by="Ann", reason="lunch", now=at(0.5)).state
    resumed = resume(paused, by="Ann", reason="back", now=at(10.5)).state

    assert advanced(paused, 8) != paused
    assert (advanced(paused, 8).stage, advanced(paused, 8).percentage) == (0, 5)
    assert (advanced(resumed, 10.9).stage, advanced(resumed, 11).stage) == (0, 1)


@pytest.mark.parametrize("act", [roll_back, emergency])
@pytest.mark.parametrize("phase", [Phase.WAITING, Phase.PAUSED, Phase.COMPLETED])
def test_people_can_roll_back_from_anywhere(act: Callable[..., Step], phase: Phase) -> None:
    ended = act(_in_phase(phase), by="Ann", reason="complaints", now=at(30))

    assert (ended.state.phase, ended.state.percentage) == (Phase.ROLLED_BACK, 0)
    assert (ended.events[0].by, ended.events[0].words) == ("Ann", "complaints")


def test_what_cannot_be_done_is_refused_in_words_and_changes_nothing() -> None:
    state = started(staged(), now=START)
    ended = roll_back(state, by="Ann", reason="no", now=at(1)).state
    refused = [
        resume(state, by="Ann", reason="?", now=at(1)),
        approve(state, by="Ann", reason="?", now=at(1)),
        pause(ended, by="Ann", reason="?", now=at(1)),
        roll_back(ended, by="Ann", reason="?", now=at(1)),
    ]

    assert [looked.state for looked in refused] == [state, state, ended, ended]
    assert {looked.events[0].kind for looked in refused} == {EventKind.REFUSED}
    assert refused[0].events[0].words == "It cannot be resumed: it is running."
    assert refused[2].events[0].words == "It cannot be paused: it is rolled back."
    assert emergency(ended, by="Ann", reason="!", now=at(1)) == Step(state=ended)


def test_a_plan_of_one_stage_is_complete_from_the_start_and_watched() -> None:
    plan = RolloutPlan(strategy=Strategy.STAGED, stages=(Stage(percentage=100, minimum_seconds=0),))
    state = started(plan, now=START)

    assert state.phase is Phase.COMPLETED
    assert step(state, seen(1, 30, failing=range(31)), now=at(1)).state.phase is Phase.ROLLED_BACK


# whatever happens

Act = Callable[[RolloutState, float, Readings], Step]
ACTS: list[Act] = [
    lambda state, now, readings: step(state, readings, now=now),
    lambda state, now, readings: step(state, readings, now=now),
    lambda state, now, readings: step(state, readings, now=now),
    lambda state, now, readings: pause(state, by="Ann", reason="r", now=now),
    lambda state, now, readings: resume(state, by="Ann", reason="r", now=now),
    lambda state, now, readings: approve(state, by="Ann", reason="r", now=now),
]
PLANS = [staged(answers=10), with_approval(linear(start=20, increment=40, hours=1, answers=10), [20]), canary(hours=1)]
moments = st.lists(
    st.tuples(
        st.sampled_from(ACTS),
        st.integers(0, 150),  # minutes since the one before
        st.integers(0, 40),  # answers
        st.sampled_from([0, 0, 0, 5, 30]),  # of which each so-manieth fails
        st.sampled_from([0, 0, 0, 1, None]),
    ),
    max_size=30,
)


def played(plan: RolloutPlan, what: list[tuple[Act, int, int, int, int | None]], *, restarting: bool) -> list[Step]:
    """All steps of a rollout. With restarts, each goes on from what the one before wrote and is told all answers again;
    without, each is told those that are not counted yet."""
    steps, now = [Step(state=started(plan, now=START))], START
    answers: list[Observed] = []
    for act, minutes, number, failing, rests in what:
        now += 60 * minutes
        bad = range(0, 10_000, failing) if failing else ()
        answers += seen(len(answers) + 1, len(answers) + number, failing=bad).exposed
        state = steps[-1].state
        told = tuple(each for each in answers if restarting or each.number > state.seen)
        state = state_from(state_text(state)) if restarting else state
        steps.append(act(state, now, Readings(exposed=told, breaker_rests=rests)))
    return steps


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PLANS), moments)
def test_a_restart_at_any_moment_changes_nothing(
    plan: RolloutPlan, what: list[tuple[Act, int, int, int, int | None]]
) -> None:
    assert played(plan, what, restarting=True) == played(plan, what, restarting=False)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(PLANS), moments)
def test_no_stage_is_skipped_repeated_or_left_before_its_time_and_answers(
    plan: RolloutPlan, what: list[tuple[Act, int, int, int, int | None]]
) -> None:
    for before, after in pairwise(played(plan, what, restarting=False)):
        move = after.state.stage - before.state.stage
        assert move in (0, 1)
        assert [event.kind for event in after.events if event.kind in _MOVES] == ([] if not move else [_kind(after)])
        if move:
            stage, now = plan.stages[before.state.stage], after.state.since
            assert now - before.state.since >= stage.minimum_seconds
            assert before.state.phase is Phase.RUNNING
            assert before.state.approved or not stage.needs_approval
            assert after.events[0].gates[0].values >= stage.minimum_answers


_MOVES = {EventKind.ADVANCED, EventKind.COMPLETED}


def _kind(looked: Step) -> EventKind:
    return EventKind.COMPLETED if looked.state.phase is Phase.COMPLETED else EventKind.ADVANCED


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PLANS), st.lists(st.integers(0, 5000), max_size=20), st.sampled_from([0, 1, None]))
def test_without_data_nothing_moves_in_either_direction(
    plan: RolloutPlan, minutes: list[int], rests: int | None
) -> None:
    state, now = started(plan, now=START), START
    for wait in minutes:
        now += 60 * wait
        state = step(state, Readings(breaker_rests=rests), now=now).state

    assert (state.stage, state.phase) == (0, Phase.RUNNING)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PLANS), moments)
def test_paused_stays_paused_until_a_person_or_a_guardrail_ends_it(
    plan: RolloutPlan, what: list[tuple[Act, int, int, int, int | None]]
) -> None:
    for before, after in pairwise(played(plan, what, restarting=False)):
        if before.state.phase is Phase.PAUSED and after.state.phase is not Phase.PAUSED:
            assert {event.kind for event in after.events} <= {EventKind.RESUMED, EventKind.ROLLED_BACK}
        if before.state.phase is Phase.PAUSED:
            assert after.state.stage == before.state.stage
