"""Answers given in the shadow: what is known of each, and what they say together. Pure.

A shadow is another engine that gets a person's question after they have their answer, and whose answer nobody sees. No
text of a question or of an answer is part of anything here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import fsum, sqrt
from statistics import fmean, median
from typing import Final

from cmo.policy.statistics import Interval, Undefined, ratio

SHADOW_MODE: Final = "shadow_mode"
"""The flag that says which questions are asked in the shadow as well."""

LEAST_PEOPLE: Final = 20
"""People from whose questions on an interval is told.

With fewer, errors that allow for one person's questions being alike come out too small: Cameron and Miller (2015),
doi:10.3368/jhr.50.2.317, section VI, who see the border between 20 and 50.
"""

ALPHA: Final = 0.05
"""1 minus the confidence of intervals."""


class Outcome(StrEnum):
    """What came of asking in the shadow. REFUSED: it found no answer. LATE: its time was over.

    TOO_DEAR: nothing was asked, because that could have cost more than was left for the day. UNFINISHED: it is under
    way, or the process ended meanwhile.
    """

    ANSWERED = "answered"
    REFUSED = "refused"
    FAILED = "failed"
    LATE = "late"
    TOO_DEAR = "too_dear"
    UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The answer that the person was given: by which engine, whether it `answered`, and the composite, 0 to 1.

    Cost and seconds are those of the question as a whole.
    """

    question_id: str
    engine: str
    answered: bool
    quality: float | None
    cost_usd: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadowed:
    """What the shadow did: its outcome, the composite of its answer, and its overlap with the other one, both 0 to 1.

    Cost and seconds are those of its answer and of scoring it; a cost that nobody knows is what was set aside.
    """

    outcome: Outcome
    quality: float | None = None
    overlap: float | None = None
    cost_usd: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """An answer to the person `user_id`, "" when it is not known whom, and what the engine `shadow` did beside it."""

    user_id: str
    given: Given
    shadow: str
    shadowed: Shadowed


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityPairs:
    """How good both answers were, over the `pairs` of which both were scored; `people` asked for them.

    `difference` is the mean of shadow minus given, -1 to 1; its `interval` is None with fewer than LEAST_PEOPLE.
    """

    pairs: int
    people: int
    mean: float
    median: float
    shadow_mean: float
    shadow_median: float
    difference: float
    interval: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Means of cost and medians of seconds of both, over `pairs` in which the shadow came to an end of its own.

    `overlap` is the mean over the `overlaps` of them in which both answered, None without any.
    """

    pairs: int
    cost_usd: float
    shadow_cost_usd: float
    seconds: float
    shadow_seconds: float
    overlaps: int
    overlap: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """All pairs in which `shadow` was asked beside an answer of `engine`. Figures without data are None."""

    engine: str
    shadow: str
    outcomes: Mapping[Outcome, int]
    quality: QualityPairs | None
    figures: Figures | None

    @property
    def questions(self) -> int:
        """How many there are, however they ended."""
        return sum(self.outcomes.values())


def directions(pairs: Sequence[Pair]) -> tuple[Direction, ...]:
    """The pairs summed up by who was asked beside whom, in the order of their names."""
    found: dict[tuple[str, str], list[Pair]] = {}
    for pair in pairs:
        found.setdefault((pair.given.engine, pair.shadow), []).append(pair)
    return tuple(_direction(*names, found[names]) for names in sorted(found))


def finding(quality: QualityPairs | None, shadow: str) -> str:
    """What the qualities tell, as a sentence; plainly so when it is too little to tell."""
    if quality is None:
        return "Too little to tell: there is no pair of which both answers were scored."
    if quality.interval is None:
        return (
            f"Too little to tell: {quality.pairs} pairs come from {quality.people} of at least {LEAST_PEOPLE} people."
        )
    if not quality.interval.excludes(0.0):
        return "No difference in quality can be told from chance."
    return f"The answers of {shadow} were {'better' if quality.difference > 0 else 'worse'} than chance explains."


def _direction(engine: str, shadow: str, pairs: Sequence[Pair]) -> Direction:
    counted = Counter(pair.shadowed.outcome for pair in pairs)
    return Direction(
        engine=engine,
        shadow=shadow,
        outcomes={outcome: counted[outcome] for outcome in Outcome},
        quality=_quality(pairs),
        figures=_figures([pair for pair in pairs if pair.shadowed.outcome in _OF_ITS_OWN]),
    )


_OF_ITS_OWN = frozenset({Outcome.ANSWERED, Outcome.REFUSED})


def _quality(pairs: Sequence[Pair]) -> QualityPairs | None:
    scored = [
        (pair.user_id, pair.given.quality, pair.shadowed.quality)
        for pair in pairs
        if pair.given.quality is not None and pair.shadowed.quality is not None
    ]
    if not scored:
        return None
    people, given, shadowed = zip(*scored, strict=True)
    apart: dict[str, list[float]] = {}
    for person, one, other in scored:
        apart.setdefault(person, []).append(other - one)
    return QualityPairs(
        pairs=len(scored),
        people=len(set(people)),
        mean=fmean(given),
        median=median(given),
        shadow_mean=fmean(shadowed),
        shadow_median=median(shadowed),
        difference=fmean(other - one for _, one, other in scored),
        interval=_interval(apart),
    )


def _interval(apart: Mapping[str, Sequence[float]]) -> Interval | None:
    """For the mean of all differences, which are given by person: one person's questions are alike.

    The error is that of a ratio, of each person's sum to their number, with the t-distribution of people - 1 (Cameron
    and Miller 2015, as LEAST_PEOPLE).
    """
    if len(apart) < LEAST_PEOPLE:
        return None
    estimate = ratio([fsum(each) for each in apart.values()], [float(len(each)) for each in apart.values()])
    if isinstance(estimate, Undefined):
        return None
    from scipy.stats import t  # type: ignore[import-untyped]

    half = float(t.isf(ALPHA / 2, len(apart) - 1)) * sqrt(estimate.squared_error)
    return Interval(low=estimate.value - half, high=estimate.value + half)


def _figures(pairs: Sequence[Pair]) -> Figures | None:
    if not pairs:
        return None
    overlaps = [pair.shadowed.overlap for pair in pairs if pair.shadowed.overlap is not None]
    return Figures(
        pairs=len(pairs),
        cost_usd=fmean(pair.given.cost_usd for pair in pairs),
        shadow_cost_usd=fmean(pair.shadowed.cost_usd for pair in pairs),
        seconds=median(pair.given.seconds for pair in pairs),
        shadow_seconds=median(pair.shadowed.seconds for pair in pairs),
        overlaps=len(overlaps),
        overlap=fmean(overlaps) if overlaps else None,
    )
