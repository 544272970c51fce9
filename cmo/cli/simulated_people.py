"""Made-up people: who asks when, how easy their questions are, and whether they liked an answer.

Nothing here knows engines, or what becomes of a question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from cmo.values import Thumb

DAY_SECONDS = 86_400.0

NEWCOMERS = 0.5
"""The share of people who come in the course of the time, one by one; the others are there from the beginning."""

ACTIVITY = 0.75
"""Standard deviation of the logarithm of how often people ask: the busiest tenth asks 30 % of all questions."""

THUMBS = 0.2
"""The share of answers that people say something of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """How many `people` there are, and how many questions they ask in a day on average, all together.

    `alike`, 0 to 1, is the share of the variation between questions that lies between people: at 0 all questions are
    alike independent, at 1 one person's questions are all equally hard.
    """

    people: int
    questions_per_day: float
    alike: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who asks. `ease` is how easy their questions are, in standard deviations from the middle."""

    user_id: str
    ease: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Asks:
    """Somebody asks a question, so many seconds after the beginning."""

    at: float
    person: Person


def drawn_questions(crowd: Crowd, *, days: int, chance: Generator) -> list[Asks]:
    """All questions in the order of time."""
    count = int(chance.poisson(crowd.questions_per_day * days))
    times = np.sort(chance.random(count)) * days * DAY_SECONDS
    people = [
        Person(user_id=f"person-{number:03}", ease=float(ease))
        for number, ease in enumerate(chance.standard_normal(crowd.people), start=1)
    ]
    joined = np.maximum(0.0, (chance.random(crowd.people) - NEWCOMERS) / NEWCOMERS) * days * DAY_SECONDS
    joined[0] = 0.0  # somebody has to be there
    activity = chance.lognormal(0.0, ACTIVITY, crowd.people)
    askers = _askers(times, joined, activity, chance)
    return [Asks(at=float(at), person=people[asker]) for at, asker in zip(times, askers, strict=True)]


def drawn_thumb(quality: float, chance: Generator) -> Thumb | None:
    """What somebody says of an answer of this quality, 0 to 1, which is the probability that they like it."""
    if chance.random() >= THUMBS:
        return None
    return Thumb.UP if chance.random() < quality else Thumb.DOWN


def _askers(times: np.ndarray, joined: np.ndarray, activity: np.ndarray, chance: Generator) -> Sequence[int]:
    """Whose question each is: of those who are there by then, by how often they ask."""
    order = np.argsort(joined, kind="stable")
    there = np.searchsorted(joined[order], times, side="right")
    shares = np.cumsum(activity[order])
    places = np.searchsorted(shares, chance.random(len(times)) * shares[there - 1])
    return [int(asker) for asker in order[places]]
