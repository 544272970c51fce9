"""Plans of rollouts: how the share of a new engine is to grow, fixed before one starts.

Pure data, and the usual ways to make it. How a rollout moves along its plan is in rollout.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

from cmo.policy.gates import GUARDRAILS, Criterion

HOUR_SECONDS = 3600.0

WHOLE = 100.0
"""The share of a last stage, in percent."""

ANSWERS = 30
"""How many answers a stage takes at least, by default."""

LEAST_START = 0.1
"""A smaller first share than this, in percent, would be nobody in most installations."""

LEAST_INCREMENT = 1.0
LEAST_FACTOR = 1.1
"""With smaller ones a rollout would have hundreds of stages."""

LONGEST_SECONDS = 366 * 24 * HOUR_SECONDS
"""A stage that lasts for longer than a year is a mistake."""

DECIMALS = 6
"""Of shares that are calculated, so that they are the numbers that people see."""

QUIET_SECONDS = HOUR_SECONDS
"""Without an answer for so long, there is no traffic."""


class Strategy(StrEnum):
    """How the share grows."""

    LINEAR = "linear"
    EXPONENTIAL = "exponential"
    CANARY = "canary"
    STAGED = "staged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A share of people, in percent, kept for `minimum_seconds` and `minimum_answers` of the new engine at least.

    The stage ends after both, and with `needs_approval` only when somebody says so.
    """

    percentage: float
    minimum_seconds: float
    minimum_answers: int = ANSWERS
    needs_approval: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPlan:
    """What is fixed before a rollout starts. The last stage is the goal: reaching it completes the rollout.

    With `matched_control` half of each share but the last is kept from the new engine, for comparison: people who were
    drawn like those who get it.

    Raises:
        ValueError: the stages do not grow, or a number makes no sense.
    """

    strategy: Strategy
    stages: tuple[Stage, ...]
    criteria: tuple[Criterion, ...] = GUARDRAILS
    quiet_seconds: float = QUIET_SECONDS
    matched_control: bool = False

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        shares = [stage.percentage for stage in self.stages]
        if not shares or not all(0 < share <= WHOLE for share in shares):
            raise ValueError("A rollout needs stages. Allowed: shares above 0, up to 100 percent.")
        if any(later <= earlier for earlier, later in pairwise(shares)):
            raise ValueError("Each stage has to have a larger share than the one before.")
        if not all(0 <= each.minimum_seconds <= LONGEST_SECONDS and each.minimum_answers >= 1 for each in self.stages):
            raise ValueError("A stage takes 0 seconds to 366 days, and 1 answer or more.")
        if not 0 < self.quiet_seconds <= LONGEST_SECONDS:
            raise ValueError("There is no traffic after more than 0 seconds without an answer, up to 366 days.")
        if len({criterion.measure for criterion in self.criteria}) < len(self.criteria):
            raise ValueError("There is more than one criterion for the same measure.")

    @property
    def last(self) -> int:
        """The place of the last stage."""
        return len(self.stages) - 1


def linear(*, start: float = 10.0, increment: float = 10.0, hours: float = 2.0, answers: int = ANSWERS) -> RolloutPlan:
    """A plan that raises the share by as much each time, in percent.

    Raises:
        ValueError: the share does not grow, or hardly.
    """
    _refuse_snails(start, increment, LEAST_INCREMENT)
    shares = [start]
    while (share := round(shares[-1] + increment, DECIMALS)) < WHOLE:
        shares.append(share)
    return _even(Strategy.LINEAR, shares, hours, answers)


def exponential(*, start: float = 1.0, factor: float = 2.0, hours: float = 2.0, answers: int = ANSWERS) -> RolloutPlan:
    """A plan that multiplies the share each time.

    Raises:
        ValueError: the share does not grow, or hardly.
    """
    _refuse_snails(start, factor, LEAST_FACTOR)
    shares = [start]
    while (share := round(shares[-1] * factor, DECIMALS)) < WHOLE:
        shares.append(share)
    return _even(Strategy.EXPONENTIAL, shares, hours, answers)


def canary(*, start: float = 5.0, hours: float = 24.0, answers: int = 100) -> RolloutPlan:
    """A plan that watches half of a small share for long beside the other half, then gives the engine to everybody."""
    return replace(_even(Strategy.CANARY, [start], hours, answers), matched_control=True)


def staged(
    *,
    shares: Sequence[float] = (5.0, 15.0, 30.0, 50.0, WHOLE),
    hours: Sequence[float] = (1.0, 2.0, 4.0, 8.0),
    answers: int = ANSWERS,
) -> RolloutPlan:
    """A plan with a duration of its own for each stage but the last.

    Raises:
        ValueError: there are not as many durations as stages before the last.
    """
    if len(hours) != len(shares) - 1:
        raise ValueError("Each stage but the last needs its hours.")
    stages = [
        Stage(percentage=share, minimum_seconds=HOUR_SECONDS * each, minimum_answers=answers)
        for share, each in zip(shares, hours, strict=False)
    ]
    return RolloutPlan(strategy=Strategy.STAGED, stages=(*stages, _goal(shares[-1])))


def with_approval(plan: RolloutPlan, percentages: Iterable[float]) -> RolloutPlan:
    """The plan with a person's approval needed to leave the stages of these shares.

    Raises:
        ValueError: there is no such stage, or nothing comes after it.
    """
    wanted = set(percentages)
    unknown = wanted - {stage.percentage for stage in plan.stages[:-1]}
    if unknown:
        raise ValueError(f"No stage to be left has a share of {min(unknown):g} %.")
    stages = [replace(stage, needs_approval=stage.percentage in wanted) for stage in plan.stages]
    return replace(plan, stages=tuple(stages))


def _even(strategy: Strategy, shares: Sequence[float], hours: float, answers: int) -> RolloutPlan:
    stages = [
        Stage(percentage=share, minimum_seconds=HOUR_SECONDS * hours, minimum_answers=answers) for share in shares
    ]
    return RolloutPlan(strategy=strategy, stages=(*stages, _goal(WHOLE)))


def _goal(percentage: float) -> Stage:
    """A last stage, which never ends."""
    return Stage(percentage=percentage, minimum_seconds=0.0, minimum_answers=1)


def _refuse_snails(start: float, growth: float, least: float) -> None:
    if not (LEAST_START <= start < WHOLE and growth >= least):
        raise ValueError(f"The share starts at {LEAST_START:g} to below 100 percent and grows by {least:g} or more.")
