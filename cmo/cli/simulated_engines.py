"""Made-up engines, the time they live in, and the assessor who knows how good their answers were meant to be.

An engine draws what becomes of each question and moves the clock by the seconds it takes; nobody waits. What is made of
its answers is not known here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from math import exp, log, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.random import Generator

from cmo.cli.simulated_rollout import FIRMNESS, SPREAD, Z_95TH
from cmo.errors import EngineUnavailable
from cmo.interfaces import Book
from cmo.quality.assessment import badge
from cmo.values import CallOutcome, CallStage, Draft, EngineEvent, EngineRequest, ModelCall, Quality, Question

DEAREST = 2.0
"""An answer costs so many times the mean at most; what it costs is drawn evenly from nothing up to that."""

REFUSED_SECONDS = 1.0
"""How long it takes to find that an engine is down."""

QUANTILES = 10_001
"""Values drawn of a distribution of qualities, to look up its quantiles in."""

_PLACE = NormalDist().cdf


class JumpingClock:
    """Time that passes only when somebody says so. An `interfaces.Clock`, and a timer in seconds."""

    def __init__(self, start: datetime) -> None:
        self._start = start
        self._seconds = 0.0

    def now(self) -> datetime:
        """The simulated time."""
        return self._start + timedelta(seconds=self._seconds)

    def seconds(self) -> float:
        """Seconds since the beginning."""
        return self._seconds

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self._seconds += seconds

    def jump(self, seconds: float) -> None:
        """Go to so many seconds after the beginning; time never goes back."""
        self._seconds = max(self._seconds, seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How an engine does: share of errors and mean quality of the other answers (0 to 1, open), seconds within which
    95 % come, and mean dollars for each."""

    error: float = 0.03
    quality: float = 0.8
    p95: float = 6.0
    cost: float = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """An engine is down, from `start` to `end` in seconds after the beginning."""

    engine: str
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """From `start` on, seconds after the beginning, some of an engine's figures are others, by their names."""

    engine: str
    start: float
    figures: Mapping[str, float]


class SimulatedEngine:
    """An `interfaces.Engine` that looks nowhere. `free` questions cost nothing where it `can_be_free`."""

    def __init__(
        self,
        name: str,
        behaviour: Behaviour,
        *,
        outages: Iterable[Outage],
        changes: Iterable[Change],
        can_be_free: bool,
        ease: Mapping[str, float],
        alike: float,
        clock: JumpingClock,
        chance: Generator,
    ) -> None:
        """`ease` is how easy each person's questions are, and `alike` how much that weighs; see simulated_people."""
        self._name = name
        self._behaviour = behaviour
        self._outages = [outage for outage in outages if outage.engine == name]
        self._changes = sorted((each for each in changes if each.engine == name), key=lambda each: each.start)
        self._can_be_free = can_be_free
        self._ease = ease
        self._alike = alike
        self._clock = clock
        self._chance = chance
        self.asked = 0
        self.failed = 0

    @property
    def name(self) -> str:
        """The engine's name."""
        return self._name

    async def is_available(self) -> bool:
        """Always: what is down is configured all the same."""
        return True

    async def version(self) -> str:
        """There is only one."""
        return ""

    def ceiling_usd(self, request: EngineRequest) -> float:
        """The most that a request can cost."""
        if request.free and self._can_be_free:
            return 0.0
        return DEAREST * self._now().cost

    async def ask(self, request: EngineRequest, book: Book) -> AsyncIterator[EngineEvent]:
        """An answer with the quality that was drawn for it.

        Raises:
            EngineUnavailable: it is down, has failed, or would take longer than there is time.
        """
        self.asked += 1
        try:
            quality = self._looked(request)
        except EngineUnavailable:
            self.failed += 1
            raise
        if ceiling := self.ceiling_usd(request):
            book(_call(self._name, ceiling * self._chance.random()))
        yield Draft(text="A made-up answer.", answered=True, model="made-up", citations=(), confidence=quality)

    def _looked(self, request: EngineRequest) -> float:
        """The quality of the answer, after the time that it takes."""
        does, now = self._now(), self._clock.seconds()
        if any(outage.start <= now < outage.end for outage in self._outages):
            self._clock.advance(REFUSED_SECONDS)
            raise EngineUnavailable("It is down.")
        seconds = self._drawn_seconds(does)
        self._clock.advance(min(seconds, request.seconds))
        if seconds > request.seconds:
            raise EngineUnavailable("It took too long.")
        if self._drawn_place(request.question) < does.error:
            raise EngineUnavailable("It has failed.")
        return _quality_at(does.quality, self._drawn_place(request.question))

    def _now(self) -> Behaviour:
        """How it does at this time."""
        does, now = self._behaviour, self._clock.seconds()
        for change in self._changes:
            if change.start <= now:
                figures: Mapping[str, Any] = change.figures
                does = replace(does, **figures)
        return does

    def _drawn_seconds(self, does: Behaviour) -> float:
        return exp(log(does.p95) + SPREAD * (self._chance.standard_normal() - Z_95TH))

    def _drawn_place(self, question: Question) -> float:
        """A number from 0 to 1, evenly spread over all questions, and higher for people with easy ones."""
        own = sqrt(self._alike) * self._ease[question.user_id]
        return _PLACE(own + sqrt(1 - self._alike) * self._chance.standard_normal())


class MeantQuality:
    """An `interfaces.Assessor` that finds the quality an answer was drawn with, which comes as its confidence."""

    async def assess(self, question: Question, asked: str, draft: Draft, book: Book) -> Quality:
        """The quality, in all parts the same."""
        found = draft.confidence or 0.0
        return Quality(
            relevance=found, accuracy=found, consistency=found, composite=found, badge=badge(found), sentences=()
        )


def _quality_at(mean: float, place: float) -> float:
    values = _qualities(mean)
    return values[int(place * (len(values) - 1))]


@lru_cache(maxsize=32)
def _qualities(mean: float) -> Sequence[float]:
    """Qualities with this mean, sorted: beta-distributed as in simulated_rollout, drawn always the same."""
    drawn = np.random.default_rng(0).beta(FIRMNESS * mean, FIRMNESS * (1 - mean), QUANTILES)
    return tuple(np.sort(drawn).tolist())


def _call(engine: str, cost_usd: float) -> ModelCall:
    return ModelCall(engine=engine, model="made-up", stage=CallStage.ANSWER, outcome=CallOutcome.OK, cost_usd=cost_usd)
