"""Rollouts of a made-up engine: drawn questions, a clock that jumps from minute to minute, and the real rules.

What decides is what would decide about a real engine: cmo/policy/rollout.py and, for its calls, cmo/policy/breaker.py.
Nothing here knows how results are shown.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import log

import numpy as np

from cmo.policy.breaker import Breaker, BreakerRules, BreakerState, CountWindow
from cmo.policy.gates import Criterion, GateVerdict, Measure, Observed, Readings, Role
from cmo.policy.rollout import EventKind, Hold, Phase, RolloutState, Step, approve, started, step, told_holds
from cmo.policy.rollout_plan import RolloutPlan

MINUTE_SECONDS = 60.0
DAY_MINUTES = 1440

START = 1_800_000_000.0
"""When simulated rollouts begin, in seconds since 1970: any time would do."""

NAIVE_ANSWERS = 100
"""The naive rule looks at so many of the last answers, and at none before there are as many."""

NAIVE_RATE = 0.05
"""The share of errors among them beyond which it rolls back, where the plan has no limit of its own."""

BREAKER_RULES = BreakerRules(window=CountWindow(size=20))
"""The breaker's own, but for the window: 20 answers are the 10 minutes of the real one at 2 questions a minute, and
quicker to count."""

SPREAD = 0.5
"""Standard deviation of the logarithm of response times, which are lognormal."""

FIRMNESS = 12.0
"""Sum of both parameters of the beta distribution of qualities: their standard deviation is 0.11 at a mean of 0.8."""

NOT_MADE_UP = frozenset({Measure.SATISFACTION, Measure.COST_USD})
"""Without thumbs and prices these would hold every rollout in its first stage."""

Z_95TH = 1.644854
"""The standard normal quantile of the 95th percentile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """An engine: share of errors and mean quality of its answers (0 to 1), seconds within which 95 % of them come."""

    error_rate: float
    quality: float
    p95_seconds: float


USUAL = Service(error_rate=0.03, quality=0.8, p95_seconds=6.0)
"""The engine of a matched control: one that is well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What an engine makes of each question, if it is asked."""

    failed: Sequence[bool]
    seconds: Sequence[float]
    quality: Sequence[float]

    def of(self, question: int) -> Observed:
        """What is observed of one answer."""
        has_failed = self.failed[question]
        quality = None if has_failed else self.quality[question]
        return Observed(number=question + 1, failed=has_failed, seconds=self.seconds[question], quality=quality)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """One run's questions in the order of time: the minute each comes in, and the place, 0 to 100, of who asks.

    `new` are the new engine's answers. Where the plan has a matched control, `is_control` tells whether who asks is in
    it, and `usual` are the answers of the engine they get.
    """

    minutes: Sequence[int]
    places: Sequence[float]
    new: Answers
    is_control: Sequence[bool] = ()
    usual: Answers | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What became of one rollout. The minutes count from the start; None is never.

    `answers` are all of the new engine's, until it was rolled back or the time was over. `holds` are those that
    somebody would have been told of, `broken` the guardrails that rolled it back.
    """

    answers: int
    rolled_back_minute: int | None = None
    completed_minute: int | None = None
    holds: frozenset[Hold] = frozenset()
    broken: tuple[Measure, ...] = ()


def simulated(
    plan: RolloutPlan, service: Service, *, per_minute: float, days: int, runs: int, seed: int
) -> tuple[list[Course], list[Course]]:
    """What became of each run: by the plan, and by the naive rule watching a plan that has no gates.

    Both get the same questions. Equal seeds give equal results. Criteria for what is not made up here are left out.
    """
    chance = np.random.default_rng(seed)
    without_gates = replace(plan, criteria=())
    plan = replace(plan, criteria=tuple(each for each in plan.criteria if each.measure not in NOT_MADE_UP))
    limit = error_limit(plan.criteria)
    by_plan, by_rule = [], []
    for _ in range(runs):
        traffic = _traffic(service, chance, per_minute=per_minute, minutes=days * DAY_MINUTES)
        if plan.matched_control:
            traffic = _with_control(traffic, chance)
        by_plan.append(_course(plan, traffic, days=days))
        by_rule.append(_course(without_gates, traffic, days=days, is_too_bad=_naive_rule(limit)))
    return by_plan, by_rule


def error_limit(criteria: Iterable[Criterion]) -> float:
    """The error rate beyond which the naive rule rolls back."""
    return next((each.limit for each in criteria if each.measure is Measure.ERROR_RATE), NAIVE_RATE)


def _traffic(service: Service, chance: np.random.Generator, *, per_minute: float, minutes: int) -> Traffic:
    size = int(chance.poisson(per_minute * minutes))
    return Traffic(
        minutes=np.sort(chance.integers(minutes, size=size)).tolist(),
        places=(100 * chance.random(size)).tolist(),
        new=_answers(service, chance, size),
    )


def _with_control(traffic: Traffic, chance: np.random.Generator) -> Traffic:
    size = len(traffic.minutes)
    return replace(traffic, is_control=(chance.random(size) < 0.5).tolist(), usual=_answers(USUAL, chance, size))


def _answers(service: Service, chance: np.random.Generator, size: int) -> Answers:
    centre = log(service.p95_seconds) - Z_95TH * SPREAD
    return Answers(
        failed=(chance.random(size) < service.error_rate).tolist(),
        seconds=chance.lognormal(centre, SPREAD, size).tolist(),
        quality=chance.beta(FIRMNESS * service.quality, FIRMNESS * (1 - service.quality), size).tolist(),
    )


def _never(observed: Sequence[Observed]) -> bool:
    return False


def _naive_rule(limit: float) -> Callable[[Sequence[Observed]], bool]:
    """What is told of each minute's answers and says when to roll back."""
    last: deque[bool | None] = deque(maxlen=NAIVE_ANSWERS)

    def is_too_bad(observed: Sequence[Observed]) -> bool:
        last.extend(each.failed for each in observed)
        return len(last) == NAIVE_ANSWERS and sum(map(bool, last)) > limit * NAIVE_ANSWERS

    return is_too_bad


def _course(
    plan: RolloutPlan, traffic: Traffic, *, days: int, is_too_bad: Callable[[Sequence[Observed]], bool] = _never
) -> Course:
    """One run, looked at each minute until it is rolled back or the time is over."""
    state, breaker = started(plan, now=START), Breaker.new(BREAKER_RULES, now=START)
    first = answers = 0
    holds: set[Hold] = set()
    completed = 0 if state.phase is Phase.COMPLETED else None
    broken: tuple[Measure, ...] = ()
    ended = None
    for minute in range(days * DAY_MINUTES):
        now = START + minute * MINUTE_SECONDS
        after = _end_of(minute, traffic, first)
        led, control = _led(state, traffic, range(first, after))
        breaker, observed = _asked(breaker, traffic.new, led, now)
        first, answers = after, answers + len(observed)
        looked = step(state, Readings(exposed=observed, control=control, breaker_rests=_rests(breaker)), now=now)
        state = _approved(looked.state, now)
        holds.update(told_holds(state))
        if completed is None and state.phase is Phase.COMPLETED:
            completed = minute
        if state.phase is Phase.ROLLED_BACK or is_too_bad(observed):
            ended, broken = minute, _broken(looked)
            break
    return Course(
        answers=answers, rolled_back_minute=ended, completed_minute=completed, holds=frozenset(holds), broken=broken
    )


def _approved(state: RolloutState, now: float) -> RolloutState:
    """The state after somebody quick has looked at it."""
    if state.phase is not Phase.WAITING:
        return state
    return approve(state, by="simulation", reason="Everything is approved at once.", now=now).state


def _broken(looked: Step) -> tuple[Measure, ...]:
    """The guardrails that rolled it back."""
    return tuple(
        gate.criterion.measure
        for event in looked.events
        if event.kind is EventKind.ROLLED_BACK
        for gate in event.gates
        if gate.verdict is GateVerdict.FAIL and gate.criterion.role is Role.GUARDRAIL
    )


def _end_of(minute: int, traffic: Traffic, first: int) -> int:
    after = first
    while after < len(traffic.minutes) and traffic.minutes[after] == minute:
        after += 1
    return after


def _led(state: RolloutState, traffic: Traffic, questions: Iterable[int]) -> tuple[list[int], tuple[Observed, ...]]:
    """The questions that are led to the new engine, and what is observed of the matched control's."""
    inside = [question for question in questions if traffic.places[question] <= state.percentage]
    if traffic.usual is None or state.stage == state.plan.last:
        return inside, ()
    control = tuple(traffic.usual.of(question) for question in inside if traffic.is_control[question])
    return [question for question in inside if not traffic.is_control[question]], control


def _asked(
    breaker: Breaker, answers: Answers, questions: Iterable[int], now: float
) -> tuple[Breaker, tuple[Observed, ...]]:
    """The breaker after some questions, and the answers of the new engine, where it was asked."""
    observed = []
    for question in questions:
        breaker, permit = breaker.admit(now=now)
        if permit is None:
            continue
        has_failed, seconds = answers.failed[question], answers.seconds[question]
        count = breaker.failed if has_failed else breaker.succeeded
        breaker = count(permit, seconds, now=now, jitter=0.5)
        observed.append(answers.of(question))
    return breaker, tuple(observed)


def _rests(breaker: Breaker) -> int:
    return 0 if breaker.gate.state is BreakerState.CLOSED else breaker.gate.rests
