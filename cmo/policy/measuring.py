"""What people's observations say of a metric: one figure for each person, and how two groups of people compare.

Pure. A person counts in the arm they were first seen in, whatever came of their questions (intention to treat): leaving
out answers that failed flatters the engine that fails on the hard questions. It refuses to know which group is hoped
for, and when to stop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from math import isfinite

from cmo.policy.statistics import (
    Comparison,
    Count,
    Estimate,
    Lack,
    Undefined,
    by_normal,
    contrast,
    mean,
    ratio,
    share,
    two_proportions,
    welch,
)


class Kind(StrEnum):
    """How a person's observations become that person's figure.

    proportion: whether it was ever above 0. mean: the mean of the person's values. ratio: all values of all people over
    how many there are, with the person as the unit.
    """

    PROPORTION = "proportion"
    MEAN = "mean"
    RATIO = "ratio"


class Better(StrEnum):
    """Which way a metric should go."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """Something measured. `missing` is what a failed measurement counts as, in the metric's units.

    Without it such measurements are left out and counted as incomplete. In a proportion they count as no.
    """

    name: str
    kind: Kind
    better: Better = Better.HIGHER
    missing: float | None = None

    def gain(self, difference: float) -> float:
        """A difference with the sign that makes more of it better."""
        return difference if self.better is Better.HIGHER else -difference


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """What the metrics of an observation were `until` something became known later."""

    until: datetime
    metrics: Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What was seen of a user at a time: the question they asked, say.

    A metric that is None or NaN was to be measured and could not be; one that is not there was not to be measured.
    `weights` are those of the arms by which the user was assigned, when they are known. `revised` is what the metrics
    were before, in the order of time.
    """

    user: str
    arm: str
    metrics: Mapping[str, float | None]
    at: datetime | None = None
    weights: Mapping[str, float] | None = None
    revised: tuple[Revision, ...] = ()

    def as_known(self, moment: datetime) -> Observation:
        """The observation as it was known at a moment, which is not before it."""
        was = next((was for was in self.revised if moment < was.until), None)
        return self if was is None else replace(self, metrics=was.metrics, revised=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A user with the arm of their first observation and all of them in order; `is_mixed` when others name another."""

    user: str
    arm: str
    observations: tuple[Observation, ...]

    @property
    def is_mixed(self) -> bool:
        """Whether they were seen in several arms."""
        return any(observation.arm != self.arm for observation in self.observations)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One group's figures for one metric, a numerator and a denominator for each user who has any.

    `users` are all of the group; `incomplete` are those of whom something is missing and nothing stands in for it.
    """

    metric: Metric
    users: int
    incomplete: int
    numerators: tuple[float, ...]
    denominators: tuple[float, ...]

    @property
    def count(self) -> Count:
        """For a proportion: how many did it. Those of whom nothing was seen did not."""
        return Count(successes=sum(value > 0 for value in self.numerators), users=self.users)


def as_known_with_the_last(observations: Sequence[Observation]) -> Sequence[Observation]:
    """Observations in the order of time, as they were known when the last of them was made."""
    moment = observations[-1].at if observations else None
    return observations if moment is None else [each.as_known(moment) for each in observations]


def people(observations: Iterable[Observation]) -> list[Person]:
    """The users in the order in which they were first seen."""
    seen: dict[str, list[Observation]] = {}
    for observation in observations:
        seen.setdefault(observation.user, []).append(observation)
    return [Person(user=user, arm=theirs[0].arm, observations=tuple(theirs)) for user, theirs in seen.items()]


def figures(metric: Metric, group: Sequence[Person]) -> Figures:
    """What a group of people shows of a metric."""
    values = [_values(metric, person) for person in group]
    present = [[value for value in theirs if value is not None] for theirs in values]
    known = [theirs for theirs in present if theirs]
    return Figures(
        metric=metric,
        users=len(group),
        incomplete=0 if metric.kind is Kind.PROPORTION else sum(None in theirs for theirs in values),
        numerators=tuple(_numerator(metric, theirs) for theirs in known),
        denominators=tuple(float(len(theirs)) for theirs in known),
    )


def estimate(group: Figures) -> Estimate | Undefined:
    """A group's value of the metric with its squared error. A group of which nothing was measured has none."""
    if not group.numerators:
        return Undefined(lack=Lack.NO_DATA)
    match group.metric.kind:
        case Kind.PROPORTION:
            return share(group.count)
        case Kind.MEAN:
            return mean(group.numerators)
        case Kind.RATIO:
            return ratio(group.numerators, group.denominators)


def compare(treatment: Figures, control: Figures, *, alpha: float) -> Comparison | Undefined:
    """How two groups differ, for one look at the data: at the p-value `alpha`, with an interval of 1 - alpha."""
    ours, theirs = estimate(treatment), estimate(control)
    if isinstance(ours, Undefined):
        return ours
    if isinstance(theirs, Undefined):
        return theirs
    match treatment.metric.kind:
        case Kind.PROPORTION:
            return two_proportions(treatment.count, control.count, alpha=alpha)
        case Kind.MEAN:
            return welch(ours, theirs, alpha=alpha)
        case Kind.RATIO:
            apart = contrast(ours, theirs)
            return apart if isinstance(apart, Undefined) else by_normal(apart, alpha=alpha)


def errors_in_order(metric: Metric, group: Sequence[Person]) -> list[bool]:
    """For each person, in the order they came, whether the metric was ever above 0."""
    found = (_values(metric, person) for person in group)
    return [any(value is not None and value > 0 for value in values) for values in found]


def _values(metric: Metric, person: Person) -> list[float | None]:
    """A person's measurements with what stands in for missing ones; one missing one where there are none at all."""
    found = [seen.metrics[metric.name] for seen in person.observations if metric.name in seen.metrics]
    stand_in = 0.0 if metric.kind is Kind.PROPORTION and found else metric.missing
    return [value if value is not None and isfinite(value) else stand_in for value in found or (None,)]


def _numerator(metric: Metric, values: Sequence[float]) -> float:
    match metric.kind:
        case Kind.PROPORTION:
            return max(values)
        case Kind.MEAN:
            return sum(values) / len(values)
        case Kind.RATIO:
            return sum(values)
