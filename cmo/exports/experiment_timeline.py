"""How the effect on the primary metric was known over time: the analysis, repeated on what had been observed by then.

Pure. Refuses to know how it is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from cmo.policy.analysis import analyse
from cmo.policy.experiment import Analysis, Course, Effect, Experiment, LookTaken
from cmo.policy.measuring import Observation, as_known_with_the_last
from cmo.policy.statistics import Comparison

MOMENTS = 24
"""Analyses besides those at the looks: a course is seen well enough, and 5,000 observations take a second or two."""

MIN_DAYS = 3
"""Days from which a course is one of days; below that, and without times, it is one of people."""

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What was found `at` so many days after the first observation, or at so many people; see `Timeline.by_day`."""

    at: float
    effect: Effect
    found: Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedLook:
    """A planned look, and when it was."""

    at: float
    taken: LookTaken


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """One treatment's course. Moments at which there was nothing to compare are left out."""

    arm: str
    by_day: bool
    moments: tuple[Moment, ...]
    looks: tuple[PlacedLook, ...]


def timelines(analysis: Analysis, observations: Sequence[Observation]) -> tuple[Timeline, ...]:
    """The course of each treatment, in their order. The last moment is the analysis itself.

    `observations` are those that were analysed, in the same order.
    """
    experiment = analysis.experiment
    named = {arm.name for arm in experiment.arms}
    ours = _in_order([observation for observation in observations if observation.arm in named])
    days = _ends_of_days(ours)
    by_day = len(days) >= MIN_DAYS
    look_ends = [[_end_of(experiment, course, taken, ours) for taken in course.looks] for course in analysis.courses]
    ends = {*_some(days if by_day else _ends_of_people(ours)), *(end for each in look_ends for end in each), len(ours)}
    places = {end: _place(ours[:end], by_day=by_day) for end in ends if end}
    found = {end: _primary(experiment, _known_at(end, ours)) for end in sorted(places)}
    return tuple(
        Timeline(
            arm=course.arm,
            by_day=by_day,
            moments=tuple(
                Moment(at=places[end], effect=effects[number], found=comparison)
                for end, effects in found.items()
                if isinstance(comparison := effects[number].comparison, Comparison)
            ),
            looks=tuple(
                PlacedLook(at=places[end], taken=taken)
                for end, taken in zip(look_ends[number], course.looks, strict=True)
            ),
        )
        for number, course in enumerate(analysis.courses)
    )


def _primary(experiment: Experiment, observations: Sequence[Observation]) -> tuple[Effect, ...]:
    """The effects on the primary metric, which neither the other metrics nor the time of the analysis touch."""
    alone = replace(experiment, secondaries=(), guardrails=())
    return analyse(alone, observations, now=experiment.start).primary


def _known_at(end: int, observations: Sequence[Observation]) -> Sequence[Observation]:
    """The first `end` observations as they were known then; all of them as they are known by now."""
    return observations if end == len(observations) else as_known_with_the_last(observations[:end])


def _in_order(observations: Sequence[Observation]) -> list[Observation]:
    """As the analysis takes them: by their times when all have one."""
    times = [observation.at for observation in observations if observation.at is not None]
    if len(times) < len(observations):
        return list(observations)
    return [observations[place] for place in sorted(range(len(observations)), key=times.__getitem__)]


def _ends_of_days(observations: Sequence[Observation]) -> list[int]:
    """After how many observations each day was over; nothing unless all have a time."""
    ends = {seen.at.date(): end for end, seen in enumerate(observations, start=1) if seen.at is not None}
    return list(ends.values()) if all(seen.at is not None for seen in observations) else []


def _ends_of_people(observations: Sequence[Observation]) -> list[int]:
    """After how many observations each person had come."""
    first: dict[str, int] = {}
    for end, observation in enumerate(observations, start=1):
        first.setdefault(observation.user, end)
    return list(first.values())


def _some(ends: Sequence[int]) -> list[int]:
    """At most MOMENTS of them, evenly spread, with the last."""
    if len(ends) <= MOMENTS:
        return list(ends)
    return [ends[number * len(ends) // MOMENTS - 1] for number in range(1, MOMENTS + 1)]


def _end_of(experiment: Experiment, course: Course, taken: LookTaken, observations: Sequence[Observation]) -> int:
    """After how many observations a look was reached."""
    seen: set[str] = set()
    users = {experiment.control.name: 0, course.arm: 0}
    for end, observation in enumerate(observations, start=1):
        if observation.arm in users and observation.user not in seen:
            users[observation.arm] += 1
            if tuple(users.values()) == taken.users:
                return end
        seen.add(observation.user)
    return len(observations)


def _place(observations: Sequence[Observation], *, by_day: bool) -> float:
    """Where the last of them stands: days after the first one, or the people that have come."""
    first, last = observations[0].at, observations[-1].at
    if by_day and first is not None and last is not None:
        return (last - first) / _DAY
    return float(len({observation.user for observation in observations}))
