"""A made-up month: people ask the real program, with a clock that jumps from one event to the next.

Made up are people (simulated_people.py) and engines (simulated_engines.py); all between them is real
(simulated_world.py), and so is what moves the flag of the rollout (simulated_trials.py). How a month is shown is not
known here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from heapq import merge
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Protocol, TypeAlias

from numpy.random import Generator, default_rng

from cmo.cli.simulated_engines import Behaviour, Change, JumpingClock, Outage, SimulatedEngine
from cmo.cli.simulated_people import DAY_SECONDS, Asks, Crowd, drawn_questions, drawn_thumb
from cmo.cli.simulated_world import Rules, World, opened
from cmo.dispatch.breakers import BreakerView
from cmo.errors import EngineUnavailable
from cmo.policy.breaker import BreakerState
from cmo.policy.budget import AlertLevel, BudgetAlert, Scope
from cmo.policy.experiment import Analysis
from cmo.policy.rollout import RolloutState
from cmo.policy.routing import Reason
from cmo.values import Feedback, Finished, Question

START = datetime(2026, 1, 1, tzinfo=UTC)
"""When made-up months begin. It lies behind us, so that commands that look at one that was kept find nothing odd."""

HOUR_SECONDS = 3600.0
"""So often the trial is looked at, also while nobody asks."""

LOOK_SECONDS = 900.0
"""After an answer it is looked at when the last look is so long ago. In service it is every five seconds."""

HOME, WEB = "lightrag", "perplexity"
ENGINES = (HOME, WEB)


class Subject(StrEnum):
    """What something that happened is about."""

    ROLLOUT = "rollout"
    EXPERIMENT = "experiment"
    BREAKER = "breaker"
    BUDGET = "budget"
    ENGINE = "engine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something that happened, so many seconds after the beginning."""

    at: float
    subject: Subject
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """An emergency stop of an engine, from `start` to `end` in seconds after the beginning."""

    engine: str
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is made up."""

    days: int
    crowd: Crowd
    engines: Mapping[str, Behaviour]
    outages: tuple[Outage, ...] = ()
    changes: tuple[Change, ...] = ()
    stops: tuple[Stop, ...] = ()
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What became of a question: `engine` was decided on, `answered_by` gave the answer, "" for none.

    `exposed` tells that the trial has chosen the engine; `free` allowed only what costs nothing. `cost_usd` and
    `seconds` are of the whole question.
    """

    at: float
    engine: str
    reason: str
    free: bool
    exposed: bool
    answered_by: str
    second_opinion: bool
    quality: float | None
    cost_usd: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """What happened, in the order of time. `days` is how far it came; `asked` and `failed` count calls by engine.

    `ending` is where the rollout stands, or what the experiment says, at the end.
    """

    days: float
    happenings: tuple[Happening, ...]
    served: tuple[Served, ...]
    asked: Mapping[str, int]
    failed: Mapping[str, int]
    ending: RolloutState | Analysis


class Trial(Protocol):
    """What moves the flag of the rollout."""

    @property
    def subject(self) -> Subject:
        """A rollout, or an experiment."""

    async def begin(self) -> Sequence[str]:
        """Start it; what happened."""

    async def look(self) -> Sequence[str]:
        """Look at it at the present time; what happened."""

    async def ending(self) -> RolloutState | Analysis:
        """What came of it by now."""


MakeTrial: TypeAlias = Callable[[World], Trial]


async def lived(
    scenario: Scenario,
    rules: Rules,
    make_trial: MakeTrial,
    *,
    folder: Path,
    progress: Callable[[float], None],
) -> Month:
    """The month, with its database in the folder. `progress` is told how many days are over, again and again.

    Being cancelled ends it with what there is so far.

    Raises:
        OracleError: the database cannot be written, or the trial cannot be started; the message says why.
    """
    chance = default_rng([scenario.seed, 1])
    questions = drawn_questions(scenario.crowd, days=scenario.days, chance=default_rng(scenario.seed))
    clock = JumpingClock(START)
    engines = _engines(scenario, questions, clock, chance)
    diary = _Diary(clock)
    with _quiet():
        async with opened(
            engines, rules, folder=folder, clock=clock, chance=chance.random, on_alert=diary.alert
        ) as world:
            trial = make_trial(world)
            diary.note(trial.subject, await trial.begin())
            with suppress(asyncio.CancelledError):
                await _live(scenario, questions, world, trial, diary, chance, progress)
            ending = await trial.ending()
    return Month(
        days=clock.seconds() / DAY_SECONDS,
        happenings=tuple(diary.happenings),
        served=tuple(diary.served),
        asked={engine.name: engine.asked for engine in engines},
        failed={engine.name: engine.failed for engine in engines},
        ending=ending,
    )


class _Diary:
    """Takes down what happens."""

    def __init__(self, clock: JumpingClock) -> None:
        self._clock = clock
        self._states: dict[str, BreakerState] = {}
        self._poor_since: dict[str, int] = {}
        self.happenings: list[Happening] = []
        self.served: list[Served] = []

    def note(self, subject: Subject, said: Iterable[str]) -> None:
        at = self._clock.seconds()
        self.happenings += [Happening(at=at, subject=subject, words=words) for words in said]

    def alert(self, alert: BudgetAlert) -> None:
        budget = alert.budget
        said = "is spent" if alert.level is AlertLevel.SPENT else "is nearly spent"
        spent = f"${budget.spent_usd:.4f} of ${budget.limit_usd:.4f}"
        self.note(Subject.BUDGET, [f"The budget of {_PERIODS[budget.period.scope]} {said}: {spent}."])

    def serve(self, served: Served) -> None:
        self.served.append(served)
        if served.reason != Reason.BUDGET_EXHAUSTED:
            return
        if not served.engine:
            self._once_a_day("From here on questions are refused, for want of money.")
        elif served.free:
            self._once_a_day("From here on questions get only what costs nothing.")

    def _once_a_day(self, words: str) -> None:
        day = int(self._clock.seconds() // DAY_SECONDS)
        if self._poor_since.get(words) != day:
            self._poor_since[words] = day
            self.note(Subject.BUDGET, [words])

    def breakers(self, views: Iterable[BreakerView]) -> None:
        """Take down which of them have changed since the last time."""
        for view in views:
            self._breaker(f"{view.engine}, calls", view.state)
            self._breaker(f"{view.engine}, quality of answers", view.quality.state)

    def _breaker(self, name: str, state: BreakerState) -> None:
        before = self._states.get(name, state)
        self._states[name] = state
        if state is not before:
            self.note(Subject.BREAKER, [f"{name}: {_said(before)} to {_said(state)}."])


async def _live(
    scenario: Scenario,
    questions: Sequence[Asks],
    world: World,
    trial: Trial,
    diary: _Diary,
    chance: Generator,
    progress: Callable[[float], None],
) -> None:
    diary.breakers(world.breakers.views())
    looked_at = 0.0
    for at, what in merge(_asked(questions), _incidents(scenario, world), _hours(scenario.days), key=itemgetter(0)):
        world.clock.jump(at)
        if isinstance(what, Asks):
            served = await _served(world, what, number=len(diary.served) + 1, chance=chance)
            diary.serve(served)
            diary.breakers(world.breakers.views())
            is_due = served.exposed and at - looked_at >= LOOK_SECONDS
        else:
            is_due = True
            if what is not None:
                diary.note(Subject.ENGINE, [what()])
        if is_due:
            looked_at = at
            diary.note(trial.subject, await trial.look())
        progress(at / DAY_SECONDS)


_Incident: TypeAlias = Callable[[], str]
"""Lets something happen, and says what."""

_Timed: TypeAlias = tuple[float, Asks | _Incident | None]


def _asked(questions: Iterable[Asks]) -> Iterator[_Timed]:
    return ((asks.at, asks) for asks in questions)


def _hours(days: int) -> Iterator[_Timed]:
    return ((hour * HOUR_SECONDS, None) for hour in range(1, round(days * DAY_SECONDS / HOUR_SECONDS) + 1))


def _incidents(scenario: Scenario, world: World) -> list[_Timed]:
    end = scenario.days * DAY_SECONDS
    all_of_them = chain(
        *(_of_outage(outage) for outage in scenario.outages),
        *(_of_stop(stop, world) for stop in scenario.stops),
        map(_of_change, scenario.changes),
    )
    return sorted((incident for incident in all_of_them if incident[0] < end), key=itemgetter(0))


def _of_outage(outage: Outage) -> list[_Timed]:
    return [
        (outage.start, lambda: f"{outage.engine} is down."),
        (outage.end, lambda: f"{outage.engine} is up again."),
    ]


def _of_change(change: Change) -> _Timed:
    figures = ", ".join(f"{name} {value:g}" for name, value in change.figures.items())
    return change.start, lambda: f"{change.engine} is different from now on: {figures}."


def _of_stop(stop: Stop, world: World) -> list[_Timed]:
    """An emergency stop, by the file that the command writes."""

    def begin() -> str:
        world.emergency.stop([stop.engine], author="simulation", reason="A made-up emergency.", at=world.clock.now())
        return f"Emergency stop of {stop.engine}."

    def end() -> str:
        world.emergency.lift(author="simulation", reason="It is over.", at=world.clock.now())
        return "The emergency stop is lifted, for all engines."

    return [(stop.start, begin), (stop.end, end)]


def _engines(
    scenario: Scenario, questions: Iterable[Asks], clock: JumpingClock, chance: Generator
) -> list[SimulatedEngine]:
    ease = {asks.person.user_id: asks.person.ease for asks in questions}
    return [
        SimulatedEngine(
            name,
            scenario.engines[name],
            outages=scenario.outages,
            changes=scenario.changes,
            can_be_free=name == HOME,
            ease=ease,
            alike=scenario.crowd.alike,
            clock=clock,
            chance=chance,
        )
        for name in ENGINES
    ]


async def _served(world: World, asks: Asks, *, number: int, chance: Generator) -> Served:
    """One question from its beginning to the thumb for its answer."""
    began, user_id = world.clock.seconds(), asks.person.user_id
    question = Question(
        text="A made-up question?",
        user_id=user_id,
        thread_id=user_id,
        asked_at=world.clock.now(),
        id=f"made-up-{number:06}",
    )
    answer = None
    with suppress(EngineUnavailable):
        async for event in world.pipeline.ask(question):
            if isinstance(event, Finished):
                answer = event.answer
    quality = answer.quality.composite if answer and answer.quality else None
    if quality is not None:
        await _rate(world, question, quality, chance)
    decision = world.router.last
    assert decision is not None
    return Served(
        at=began,
        engine=decision.engine or "",
        reason=decision.reason,
        free=decision.free,
        exposed=decision.exposure is not None,
        answered_by=answer.engine if answer else "",
        second_opinion=bool(answer and answer.second_opinion),
        quality=quality,
        cost_usd=answer.cost_usd if answer else 0.0,
        seconds=answer.seconds if answer else world.clock.seconds() - began,
    )


async def _rate(world: World, question: Question, quality: float, chance: Generator) -> None:
    if thumb := drawn_thumb(quality, chance):
        await world.feedback.give(
            Feedback(question_id=question.id, user_id=question.user_id, thumb=thumb, comment="", at=world.clock.now())
        )


_PERIODS = {Scope.DAY: "the day", Scope.MONTH: "the month", Scope.USER_DAY: "a person's day"}


def _said(state: BreakerState) -> str:
    return state.replace("_", " ")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings that made-up failures give rise to."""
    ours = logging.getLogger("cmo")
    before = ours.level
    ours.setLevel(logging.ERROR)
    try:
        yield
    finally:
        ours.setLevel(before)
