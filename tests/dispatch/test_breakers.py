from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmo.dispatch.breakers import Breakers, BreakerView, Permit
from cmo.errors import CircuitOpen, StorageUnavailable
from cmo.policy.breaker import BreakerRules, BreakerState, Gate, Gates, QualityRules, Recovery

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
WAIT = timedelta(seconds=300)
PROBES = 3
RULES = BreakerRules(recovery=Recovery(recovery_seconds=WAIT.total_seconds(), probes=PROBES))
QUALITY = QualityRules(threshold=0.7, recovery=RULES.recovery)
BOTH = ("lightrag", "perplexity")
CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.time = NOON

    def now(self) -> datetime:
        return self.time


class MemoryStore:
    """Keeps gates in memory; can be out of order, or slow until it is let go on."""

    def __init__(self, kept: Mapping[str, Gates] | None = None) -> None:
        self.kept = dict(kept or {})
        self.saved: list[tuple[str, BreakerState]] = []
        self.broken = False
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def load(self) -> Mapping[str, Gates]:
        if self.broken:
            raise StorageUnavailable("the database is away")
        return dict(self.kept)

    async def save(self, engine: str, gates: Gates, *, at: datetime) -> None:
        await self.go_on.wait()
        if self.broken:
            raise StorageUnavailable("the database is away")
        self.kept[engine] = gates
        self.saved.append((engine, gates.calls.state))


@pytest.fixture
def clock() -> Clock:
    return Clock()


def panel(
    clock: Clock, *, engines: tuple[str, ...] = BOTH, store: MemoryStore | None = None, rules: BreakerRules = RULES
) -> Breakers:
    return Breakers(engines, rules=rules, quality=QUALITY, store=store, clock=clock, jitter=lambda: 0.0)


def fail(breakers: Breakers, name: str, times: int = 3) -> None:
    for _ in range(times):
        breakers.admit(name).failed(1.0)


def view(breakers: Breakers, name: str) -> BreakerView:
    return next(view for view in breakers.views() if view.engine == name)


def permits(breakers: Breakers, name: str, asked: int) -> list[Permit]:
    given_out = []
    for _ in range(asked):
        try:
            given_out.append(breakers.admit(name))
        except CircuitOpen:
            continue
    return given_out


def gates(state: BreakerState, *, retry_at: datetime = NOON + WAIT) -> Gates:
    gate = Gate(state=state, since=NOON.timestamp(), retry_at=retry_at.timestamp(), rests=1)
    return Gates(calls=gate, answers=Gate(state=CLOSED, since=NOON.timestamp()))


# Calls


def test_failures_of_one_engine_open_it_and_leave_the_other_alone(clock: Clock) -> None:
    breakers = panel(clock)
    fail(breakers, "perplexity")
    assert breakers.is_open("perplexity")
    assert not breakers.is_open("lightrag")


def test_a_call_to_an_open_engine_is_refused_with_the_time_to_come_back(clock: Clock) -> None:
    breakers = panel(clock)
    fail(breakers, "perplexity")
    clock.time += timedelta(seconds=60)
    with pytest.raises(CircuitOpen, match=r"is resting.*4 min") as refused:
        breakers.admit("perplexity")
    assert refused.value.retry_after_seconds == 240


def test_refusals_do_not_grow(clock: Clock) -> None:
    """Each has a traceback of its own: one that is shared would gather frames with each refusal."""
    breakers = panel(clock)
    fail(breakers, "perplexity")
    depths = []
    for _ in range(3):
        with pytest.raises(CircuitOpen) as refused:
            breakers.admit("perplexity")
        depths.append(len(refused.traceback))
    assert len(set(depths)) == 1


async def test_of_twenty_calls_at_once_exactly_the_probes_are_admitted(clock: Clock) -> None:
    breakers = panel(clock)
    fail(breakers, "perplexity")
    clock.time += WAIT
    admitted = 0

    async def call() -> None:
        nonlocal admitted
        permit = breakers.admit("perplexity")
        admitted += 1
        await asyncio.sleep(0)
        permit.succeeded(1.0)

    done = await asyncio.gather(*(call() for _ in range(20)), return_exceptions=True)
    assert admitted == PROBES
    assert sum(isinstance(error, CircuitOpen) for error in done) == 20 - PROBES
    assert view(breakers, "perplexity").state is CLOSED


def test_asking_whether_it_is_open_takes_no_permit(clock: Clock) -> None:
    breakers = panel(clock)
    fail(breakers, "perplexity")
    clock.time += WAIT
    assert not any(breakers.is_open("perplexity") for _ in range(50))
    assert len(permits(breakers, "perplexity", 20)) == PROBES
    assert breakers.is_open("perplexity")


def test_half_failing_half_working_opens_it(clock: Clock) -> None:
    breakers = panel(clock)
    for _ in range(5):
        breakers.admit("perplexity").succeeded(1.0)
        breakers.admit("perplexity").failed(1.0)
    assert breakers.is_open("perplexity")


def test_a_cancelled_call_counts_as_neither(clock: Clock) -> None:
    breakers = panel(clock)
    fail(breakers, "perplexity", 2)
    for _ in range(10):
        breakers.admit("perplexity").abandoned()
    assert not breakers.is_open("perplexity")
    fail(breakers, "perplexity", 1)
    assert breakers.is_open("perplexity")


def test_late_results_of_calls_made_before_it_opened_are_ignored(clock: Clock) -> None:
    breakers = panel(clock)
    late = permits(breakers, "perplexity", 3)
    fail(breakers, "perplexity")
    clock.time += WAIT
    breakers.admit("perplexity")
    for permit in late:
        permit.succeeded(1.0)
    assert view(breakers, "perplexity").state is HALF_OPEN
    assert view(breakers, "perplexity").calls == 0


@pytest.mark.parametrize("first", ["succeeded", "failed", "abandoned"])
def test_only_the_first_end_of_a_call_counts(clock: Clock, first: str) -> None:
    breakers = panel(clock)
    permit = breakers.admit("perplexity")
    _end(permit, first)
    before = breakers.views()
    for later in ("succeeded", "failed", "abandoned"):
        _end(permit, later)
    assert breakers.views() == before


def test_a_probe_given_back_twice_is_given_back_once(clock: Clock) -> None:
    breakers = panel(clock)
    fail(breakers, "perplexity")
    clock.time += WAIT
    [permit, *_] = permits(breakers, "perplexity", PROBES)
    permit.abandoned()
    permit.abandoned()
    assert len(permits(breakers, "perplexity", 20)) == 1


def _end(permit: Permit, end: str) -> None:
    permit.abandoned() if end == "abandoned" else getattr(permit, end)(1.0)


# Never both


def test_with_one_engine_alone_the_breaker_only_measures(clock: Clock) -> None:
    breakers = panel(clock, engines=("lightrag",))
    fail(breakers, "lightrag", 20)
    assert not breakers.is_open("lightrag")
    seen = view(breakers, "lightrag")
    assert (seen.state, seen.held, seen.consecutive_failures, seen.failure_percent) == (CLOSED, True, 20, 100)


def test_the_last_engine_that_admits_calls_is_never_opened(clock: Clock) -> None:
    breakers = panel(clock)
    fail(breakers, "perplexity")
    fail(breakers, "lightrag", 50)
    assert [seen.state for seen in breakers.views()] == [CLOSED, OPEN]
    assert [seen.held for seen in breakers.views()] == [True, False]


def test_an_engine_that_was_held_opens_once_the_other_is_well_again(clock: Clock) -> None:
    breakers = panel(clock)
    fail(breakers, "perplexity")
    fail(breakers, "lightrag", 5)
    clock.time += WAIT
    for _ in range(PROBES):
        breakers.admit("perplexity").succeeded(1.0)
    fail(breakers, "lightrag", 1)
    assert [seen.state for seen in breakers.views()] == [OPEN, CLOSED]


def test_an_engine_whose_probes_are_under_way_does_not_let_the_other_open(clock: Clock) -> None:
    breakers = panel(clock)
    fail(breakers, "perplexity")
    clock.time += WAIT
    breakers.admit("perplexity")
    fail(breakers, "lightrag", 5)
    assert not breakers.is_open("lightrag")


def test_closing_off_one_engine_by_hand_gets_the_other_out_of_its_rest(clock: Clock) -> None:
    breakers = panel(clock)
    fail(breakers, "perplexity")
    breakers.force("lightrag", BreakerState.FORCED_OPEN)
    assert breakers.is_open("lightrag")
    assert not breakers.is_open("perplexity")
    assert view(breakers, "perplexity").held


def test_what_people_closed_off_stays_closed_off(clock: Clock) -> None:
    breakers = panel(clock)
    for name in BOTH:
        breakers.force(name, BreakerState.FORCED_OPEN)
    clock.time += timedelta(days=30)
    assert all(breakers.is_open(name) for name in BOTH)
    with pytest.raises(CircuitOpen, match="switched off"):
        breakers.admit("lightrag")
    breakers.force("lightrag", CLOSED)
    assert not breakers.is_open("lightrag")


async def test_engines_that_were_kept_open_do_not_all_stay_open(clock: Clock) -> None:
    store = MemoryStore({"lightrag": gates(OPEN, retry_at=NOON + 2 * WAIT), "perplexity": gates(OPEN)})
    breakers = panel(clock, store=store)
    await breakers.load()
    assert [breakers.is_open(name) for name in BOTH] == [True, False]
    await breakers.close()


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(("ask", "succeeded", "failed", "failed", "abandoned", "wait")),
        st.sampled_from(("a", "b", "c")),
        st.integers(0, 20),
    ),
    max_size=150,
)


@settings(deadline=None)
@given(_STEPS)
def test_whatever_happens_one_engine_admits_every_call_and_no_probing_one_too_many(
    steps: list[tuple[str, str, int]],
) -> None:
    clock = Clock()
    breakers = panel(clock, engines=("a", "b", "c"))
    under_way: dict[str, list[Permit]] = {"a": [], "b": [], "c": []}
    for step, name, which in steps:
        if step == "wait":
            clock.time += timedelta(seconds=which * 20)
        elif step == "ask":
            before = view(breakers, name).state
            new = permits(breakers, name, which)
            assert before is CLOSED or len(new) <= PROBES
            under_way[name] += new
        elif under_way[name]:
            _end(under_way[name].pop(which % len(under_way[name])), step)
        assert any(seen.state is CLOSED for seen in breakers.views())


# Quality


def test_an_engine_with_bad_answers_is_passed_over_but_may_still_be_asked(clock: Clock) -> None:
    breakers = panel(clock)
    for _ in range(10):
        breakers.score("lightrag", 0.5)
    assert breakers.is_quality_low("lightrag")
    assert not breakers.is_quality_low("perplexity")
    breakers.admit("lightrag")


def test_quality_gets_well_in_one_wait_and_its_probes(clock: Clock) -> None:
    breakers = panel(clock)
    for _ in range(10):
        breakers.score("lightrag", 0.5)
    clock.time += WAIT
    for _ in range(PROBES):
        assert not breakers.is_quality_low("lightrag")
        breakers.admit("lightrag").succeeded(1.0)
        breakers.score("lightrag", 0.9)
    assert view(breakers, "lightrag").quality.state is CLOSED


@pytest.mark.parametrize("end", ["failed", "abandoned"])
def test_while_its_probes_are_under_way_an_engine_is_passed_over(clock: Clock, end: str) -> None:
    breakers = panel(clock)
    for _ in range(10):
        breakers.score("lightrag", 0.5)
    clock.time += WAIT
    [probe, *_] = permits(breakers, "lightrag", PROBES)
    assert breakers.is_quality_low("lightrag")
    _end(probe, end)
    assert not breakers.is_quality_low("lightrag")


def test_low_quality_is_no_reason_when_there_is_nothing_better(clock: Clock) -> None:
    breakers = panel(clock)
    for _ in range(10):
        breakers.score("lightrag", 0.5)
        breakers.score("perplexity", 0.5)
    assert not any(breakers.is_quality_low(name) for name in BOTH)

    breakers = panel(clock)
    for _ in range(10):
        breakers.score("lightrag", 0.5)
    fail(breakers, "perplexity")
    assert not breakers.is_quality_low("lightrag")


def test_answers_without_a_score_are_shown(clock: Clock) -> None:
    breakers = panel(clock)
    for score in (0.8, None, 0.6):
        breakers.score("lightrag", score)
    quality = view(breakers, "lightrag").quality
    assert (quality.answers, quality.unscored) == (3, 1)
    assert quality.mean == pytest.approx(0.7)


# What is shown, kept and logged


def test_the_view_of_an_open_engine_tells_what_opened_it_and_when_it_is_tried_again(clock: Clock) -> None:
    breakers = panel(clock, rules=replace(RULES, minimum_calls=2))
    breakers.admit("perplexity").succeeded(60.0)
    fail(breakers, "perplexity", 1)
    clock.time += timedelta(seconds=100)
    assert permits(breakers, "perplexity", 4) == []
    seen = view(breakers, "perplexity")
    assert (seen.state, seen.since, seen.next_try) == (OPEN, NOON, NOON + WAIT)
    assert (seen.calls, seen.failed, seen.slow, seen.consecutive_failures) == (2, 1, 1, 1)
    assert (seen.failure_percent, seen.slow_percent, seen.rejected) == (50, 50, 4)


def test_a_breaker_that_is_switched_off_measures_and_admits(clock: Clock) -> None:
    breakers = panel(clock, rules=replace(RULES, initial=BreakerState.METRICS_ONLY))
    fail(breakers, "perplexity", 20)
    seen = view(breakers, "perplexity")
    assert (seen.state, seen.failed, seen.held) == (BreakerState.METRICS_ONLY, 20, True)


async def test_a_breaker_that_is_switched_on_again_opens_whatever_was_kept_before(clock: Clock) -> None:
    store = MemoryStore()
    breakers = panel(clock, store=store, rules=replace(RULES, initial=BreakerState.METRICS_ONLY))
    for _ in range(10):
        breakers.score("perplexity", 0.1)
    await breakers.close()
    breakers = panel(clock, store=store)
    await breakers.load()
    fail(breakers, "perplexity")
    assert breakers.is_open("perplexity")
    await breakers.close()


async def test_only_changes_are_saved(clock: Clock) -> None:
    store = MemoryStore()
    breakers = panel(clock, store=store)
    fail(breakers, "perplexity", 2)
    breakers.admit("lightrag").succeeded(1.0)
    await breakers.flush()
    assert store.saved == []
    fail(breakers, "perplexity", 1)
    await breakers.flush()
    assert store.saved == [("perplexity", OPEN)]
    breakers.force("lightrag", BreakerState.DISABLED)
    await breakers.close()
    assert store.saved[1:] == [("lightrag", BreakerState.DISABLED)]


async def test_a_slow_store_keeps_nobody_waiting_and_gets_the_last_state(clock: Clock) -> None:
    store = MemoryStore()
    store.go_on.clear()
    breakers = panel(clock, store=store)
    fail(breakers, "perplexity")
    await asyncio.sleep(0)
    clock.time += WAIT
    for _ in range(PROBES):
        breakers.admit("perplexity").succeeded(1.0)
    assert store.saved == []
    store.go_on.set()
    await breakers.close()
    assert store.kept["perplexity"].calls.state is CLOSED


async def test_a_store_out_of_order_fails_no_call_and_is_tried_again_with_the_next_change(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    store.broken = True
    breakers = panel(clock, store=store)
    fail(breakers, "perplexity")
    await breakers.flush()
    assert breakers.is_open("perplexity")
    assert "breaker_save_failed" in caplog.messages
    store.broken = False
    breakers.force("lightrag", BreakerState.DISABLED)
    await breakers.flush()
    assert store.kept["perplexity"].calls.state is OPEN


async def test_what_was_not_saved_is_saved_at_the_end(clock: Clock) -> None:
    store = MemoryStore()
    store.broken = True
    breakers = panel(clock, store=store)
    fail(breakers, "perplexity")
    await breakers.flush()
    store.broken = False
    await breakers.close()
    assert store.kept["perplexity"].calls.state is OPEN


async def test_a_question_that_is_stopped_while_saving_does_not_stop_the_saving(clock: Clock) -> None:
    store = MemoryStore()
    store.go_on.clear()
    breakers = panel(clock, store=store)

    async def question() -> None:
        fail(breakers, "perplexity")
        await asyncio.Event().wait()

    asking = asyncio.create_task(question())
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait({asking})
    store.go_on.set()
    await breakers.flush()
    assert store.kept["perplexity"].calls.state is OPEN


async def test_without_a_store_that_can_be_read_all_breakers_are_closed(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore({"perplexity": gates(OPEN)})
    store.broken = True
    breakers = panel(clock, store=store)
    await breakers.load()
    assert not breakers.is_open("perplexity")
    assert "breakers_load_failed" in caplog.messages


async def test_engines_that_are_no_longer_configured_are_left_alone(clock: Clock) -> None:
    store = MemoryStore({"oracle": gates(OPEN), "perplexity": gates(OPEN)})
    breakers = panel(clock, store=store)
    await breakers.load()
    assert [seen.engine for seen in breakers.views()] == list(BOTH)
    assert breakers.is_open("perplexity")


def test_changes_are_logged_and_held_engines_once(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="cmo")
    breakers = panel(clock)
    fail(breakers, "perplexity")
    fail(breakers, "lightrag", 10)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "breaker_changed"),
        ("WARNING", "breaker_held"),
    ]


async def test_rests_in_a_row_are_counted_until_good_probes_close_the_breaker(clock: Clock) -> None:
    breakers = panel(clock)
    fail(breakers, "lightrag", times=2)
    assert breakers.rests("lightrag") == 0
    fail(breakers, "lightrag", times=1)
    assert (breakers.rests("lightrag"), breakers.rests("perplexity")) == (1, 0)
    clock.time += WAIT
    for permit in permits(breakers, "lightrag", PROBES):
        permit.failed(1.0)
    assert breakers.rests("lightrag") == 2
    clock.time += 3 * WAIT
    for permit in permits(breakers, "lightrag", PROBES):
        permit.succeeded(1.0)
    assert breakers.rests("lightrag") == 0
