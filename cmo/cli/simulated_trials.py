"""What moves the flag of the rollout in a made-up month: a rollout or an experiment, kept and moved as in service.

What people have to do is done at once: approvals are given. An experiment is analysed once a day and never stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from cmo.cli.simulated_month import Subject
from cmo.cli.simulated_people import DAY_SECONDS
from cmo.cli.simulated_world import World
from cmo.dispatch.experiment_file import experiment_in
from cmo.dispatch.rollouts import RolloutTicker
from cmo.policy.analysis import analyse
from cmo.policy.experiment import Analysis, LookTaken, Recommendation
from cmo.policy.experiment_in_service import flag_of
from cmo.policy.rollout import Event, EventKind, RolloutState
from cmo.policy.rollout_plan import RolloutPlan
from cmo.storage.experiments import SqlExperiments
from cmo.storage.flags import Authorship
from cmo.storage.rollouts import ENGINE, Action, SqlRollouts

AUTHOR = "simulation"


class RolloutTrial:
    """A rollout by a plan."""

    subject = Subject.ROLLOUT

    def __init__(self, plan: RolloutPlan, world: World) -> None:
        self._plan = plan
        self._world = world
        self._store = _NotingRollouts(SqlRollouts(world.database))
        self._ticker = RolloutTicker(
            self._store,
            world.flags,
            owner=AUTHOR,
            clock=world.clock,
            breaker_rests=partial(world.breakers.rests, ENGINE),
            stop=world.emergency.current,
        )

    async def begin(self) -> Sequence[str]:
        """Start it; what happened."""
        started = await self._store.rollouts.start(self._plan, _by("A made-up month.", self._world))
        await self._world.flags.refresh()
        return (f"started: {started.state.percentage:g} % of people.",)

    async def look(self) -> Sequence[str]:
        """Look at it, and approve what waits for approval; what happened."""
        await self._ticker.tick()
        events = self._store.taken()
        if any(event.kind is EventKind.WAITING for event in events):
            await self._store.rollouts.act(Action.APPROVE, _by("Everything is approved at once.", self._world))
        return tuple(f"{event.kind.replace('_', ' ')}: {event.words}" for event in events)

    async def ending(self) -> RolloutState:
        """Where it stands."""
        current = await self._store.rollouts.current()
        assert current is not None
        return current.state


class _NotingRollouts:
    """A rollout store that takes down what happens in it."""

    def __init__(self, rollouts: SqlRollouts) -> None:
        self.rollouts = rollouts
        self._events: tuple[Event, ...] = ()

    async def tick(
        self, owner: str, *, now: datetime, breaker_rests: int | None, stopped: Authorship | None = None
    ) -> tuple[Event, ...]:
        """What a look at the rollout led to."""
        events = await self.rollouts.tick(owner, now=now, breaker_rests=breaker_rests, stopped=stopped)
        self._events += events
        return events

    async def release(self, owner: str) -> None:
        """Others may look at once."""
        await self.rollouts.release(owner)

    def taken(self) -> tuple[Event, ...]:
        """What happened since the last time."""
        events, self._events = self._events, ()
        return events


class ExperimentTrial:
    """An experiment by the text of its definition, which begins now whatever that says."""

    subject = Subject.EXPERIMENT

    def __init__(self, definition: str, world: World) -> None:
        self._definition = definition
        self._world = world
        self._experiment = experiment_in(definition, start=world.clock.now())
        self._store = SqlExperiments(world.database)
        self._looks: dict[str, int] = {}
        self._said: Recommendation | None = None
        self._next = DAY_SECONDS

    async def begin(self) -> Sequence[str]:
        """Start it; what happened."""
        name, by = self._experiment.name, _by("A made-up month.", self._world)
        await self._store.create(name, self._definition, by)
        await self._store.start(name, flag_of(self._experiment), by)
        await self._world.flags.refresh()
        return (f"started: {', '.join(arm.name for arm in self._experiment.arms)}.",)

    async def look(self) -> Sequence[str]:
        """Analyse it, once a day; what is new."""
        if self._world.clock.seconds() < self._next:
            return ()
        self._next += DAY_SECONDS
        return self._news(await self.ending())

    async def ending(self) -> Analysis:
        """What its observations say by now."""
        now = self._world.clock.now()
        return analyse(self._experiment, await self._store.observations(self._experiment.name, now=now), now=now)

    def _news(self, found: Analysis) -> list[str]:
        news = []
        for course in found.courses:
            known = self._looks.get(course.arm, 0)
            news += [f"{course.arm}: {_look_words(taken, self._experiment.looks)}" for taken in course.looks[known:]]
            self._looks[course.arm] = len(course.looks)
        if found.recommendation is not self._said:
            self._said = found.recommendation
            news.append(f"{found.recommendation}: {' '.join(found.reasons)}")
        return news


def _look_words(taken: LookTaken, looks: int) -> str:
    z = "none" if taken.z is None else f"{taken.z:+.2f}"
    crossed = "crossed" if taken.decides else "not crossed"
    return f"look {taken.look.number} of {looks}, z {z}, boundary {taken.look.boundary:.2f} {crossed}."


def _by(reason: str, world: World) -> Authorship:
    return Authorship(author=AUTHOR, reason=reason, at=world.clock.now())
