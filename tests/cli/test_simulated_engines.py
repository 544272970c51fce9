"""Made-up engines and people are as they were said to be."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from statistics import fmean

import numpy as np
import pytest

from cmo.cli.simulated_engines import DEAREST, Behaviour, Change, JumpingClock, MeantQuality, Outage, SimulatedEngine
from cmo.cli.simulated_people import DAY_SECONDS, Crowd, drawn_questions, drawn_thumb
from cmo.errors import EngineUnavailable
from cmo.values import Draft, EngineRequest, ModelCall, Question, Thumb

START = datetime(2026, 1, 1, tzinfo=UTC)


def request(user_id: str = "a", *, seconds: float = 3600.0, free: bool = False) -> EngineRequest:
    question = Question(text="?", user_id=user_id, thread_id=user_id, asked_at=START)
    return EngineRequest(question=question, search_text="?", seconds=seconds, free=free)


class Rig:
    """An engine with its clock, and what its calls cost."""

    def __init__(
        self,
        behaviour: Behaviour,
        *,
        outages: tuple[Outage, ...] = (),
        changes: tuple[Change, ...] = (),
        can_be_free: bool = True,
        ease: Mapping[str, float] | None = None,
        alike: float = 0.0,
    ) -> None:
        self.clock = JumpingClock(START)
        self.costs: list[float] = []
        self.engine = SimulatedEngine(
            "lightrag",
            behaviour,
            outages=outages,
            changes=changes,
            can_be_free=can_be_free,
            ease=ease or {"a": 0.0},
            alike=alike,
            clock=self.clock,
            chance=np.random.default_rng(1),
        )

    def quality(self, asked: EngineRequest) -> float | None:
        """The quality of an answer; None when there was none."""
        try:
            return asyncio.run(self._quality(asked))
        except EngineUnavailable:
            return None

    async def _quality(self, asked: EngineRequest) -> float:
        async for event in self.engine.ask(asked, self._book):
            assert isinstance(event, Draft)
            return (await MeantQuality().assess(asked.question, "?", event, self._book)).composite
        raise AssertionError("an engine ends with a draft, or fails")

    def _book(self, call: ModelCall) -> None:
        self.costs.append(call.cost_usd)


def test_time_jumps_forward_and_never_back() -> None:
    clock = JumpingClock(START)
    clock.jump(DAY_SECONDS)
    clock.advance(60)
    clock.jump(5)

    assert clock.seconds() == DAY_SECONDS + 60
    assert clock.now() == datetime(2026, 1, 2, 0, 1, tzinfo=UTC)


def test_an_engine_does_on_average_what_was_said_of_it() -> None:
    people = {str(number): ease for number, ease in enumerate(np.random.default_rng(2).standard_normal(500).tolist())}
    rig = Rig(Behaviour(error=0.1, quality=0.7, p95=4.0, cost=0.01), ease=people, alike=0.3)
    qualities, seconds = [], []
    for user_id in 4 * list(people):
        began = rig.clock.seconds()
        qualities.append(rig.quality(request(user_id)))
        seconds.append(rig.clock.seconds() - began)
    answers = [quality for quality in qualities if quality is not None]

    assert rig.engine.asked == 2000
    assert rig.engine.failed == 2000 - len(answers) == pytest.approx(200, abs=40)
    assert fmean(answers) == pytest.approx(0.7, abs=0.02)
    assert np.quantile(seconds, 0.95) == pytest.approx(4.0, rel=0.1)
    assert fmean(rig.costs) == pytest.approx(0.01, rel=0.05)
    assert max(rig.costs) <= DEAREST * 0.01 == rig.engine.ceiling_usd(request())


def test_one_persons_questions_are_as_alike_as_was_said() -> None:
    ease = {"a": 0.7, "b": -0.7}
    same = Rig(Behaviour(error=0), ease=ease, alike=1.0)
    apart = Rig(Behaviour(error=0), ease=ease, alike=0.0)

    assert len({same.quality(request("a")) for _ in range(5)}) == 1
    assert (same.quality(request("a")) or 0) > (same.quality(request("b")) or 0)
    assert len({apart.quality(request("a")) for _ in range(5)}) == 5


def test_an_answer_that_would_take_too_long_fails_when_the_time_is_over() -> None:
    rig = Rig(Behaviour(error=0, p95=3600))

    assert rig.quality(request(seconds=2)) is None
    assert rig.clock.seconds() == 2


def test_an_outage_and_a_change_last_as_long_as_was_said() -> None:
    outage = Outage(engine="lightrag", start=100, end=200)
    others = Outage(engine="perplexity", start=0, end=1e9)
    change = Change(engine="lightrag", start=300, figures={"error": 1.0})
    rig = Rig(Behaviour(error=0, p95=0.1), outages=(outage, others), changes=(change,))
    answered = []
    for at in (0, 100, 198, 202, 300):
        rig.clock.jump(at)
        answered.append(rig.quality(request()) is not None)

    assert answered == [True, False, False, True, False]


def test_only_who_can_answer_for_nothing_does() -> None:
    able, unable = Rig(Behaviour(error=0)), Rig(Behaviour(error=0), can_be_free=False)
    able.quality(request(free=True))

    assert able.engine.ceiling_usd(request(free=True)) == 0
    assert able.costs == []
    assert unable.engine.ceiling_usd(request(free=True)) == unable.engine.ceiling_usd(request()) > 0


def test_people_come_one_by_one_and_some_ask_more_than_others() -> None:
    asked = drawn_questions(
        Crowd(people=100, questions_per_day=500, alike=0.2), days=10, chance=np.random.default_rng(1)
    )
    times = [each.at for each in asked]
    by_day = [{each.person.user_id for each in asked if each.at < day * DAY_SECONDS} for day in (1, 5, 10)]
    often = sorted(Counter(each.person.user_id for each in asked).values())

    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] < 10 * DAY_SECONDS
    assert len(asked) == pytest.approx(5000, abs=250)
    assert 30 < len(by_day[0]) < len(by_day[1]) < len(by_day[2]) <= 100
    assert sum(often[-10:]) > 0.2 * len(asked)


def test_a_single_person_asks_everything() -> None:
    asked = drawn_questions(Crowd(people=1, questions_per_day=5, alike=0), days=2, chance=np.random.default_rng(1))

    assert {each.person.user_id for each in asked} == {"person-001"}


def test_people_like_good_answers_and_mostly_say_nothing() -> None:
    chance = np.random.default_rng(1)

    assert {drawn_thumb(1.0, chance) for _ in range(200)} == {None, Thumb.UP}
    assert {drawn_thumb(0.0, chance) for _ in range(200)} == {None, Thumb.DOWN}
