"""Getting an answer: the engine decided on, its fallbacks, earlier answers, and one call for many."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from cmo.dispatch.asking import FRESH_SECONDS, Asked, Asking
from cmo.dispatch.bill import Bill
from cmo.errors import BudgetExhausted, CircuitOpen, EngineUnavailable, OracleError
from cmo.values import (
    CallOutcome,
    CallStage,
    Decision,
    Draft,
    EngineEvent,
    EngineRequest,
    Feature,
    ModelCall,
    Progress,
    Question,
    RoutingCheck,
    TextPiece,
    TextWithdrawn,
)
from tests.toggles import FixedToggles

DECISION = Decision(engine="lightrag", reason="rollout", bucket=1.0, configuration="c", fallbacks=("perplexity",))
CALL = ModelCall(engine="e", model="m", stage=CallStage.ANSWER, outcome=CallOutcome.OK, cost_usd=0.01)


def draft(text: str) -> Draft:
    return Draft(text=text, answered=True, model="m", citations=())


def request(text: str = "Why?", *, fresh: bool = False, seconds: float = 10.0) -> EngineRequest:
    question = Question(
        text=text, standalone=text, user_id="ann", thread_id="t", asked_at=datetime(2025, 1, 1, tzinfo=UTC)
    )
    return EngineRequest(question=question, search_text=text, seconds=seconds, fresh=fresh)


@dataclass
class FakeGateway:
    """Each engine answers with its name, after what it is told to go through."""

    errors: dict[str, list[OracleError]] = field(default_factory=dict)
    says_before: str = ""
    answer: Draft | None = None
    gate: asyncio.Event | None = None
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[tuple[str, EngineRequest]] = field(default_factory=list)

    async def ask(self, name: str, request: EngineRequest, bill: Bill) -> AsyncIterator[EngineEvent]:
        self.asked.append((name, request))
        self.begun.set()
        if self.says_before:
            yield TextPiece(text=self.says_before)
        if self.gate is not None:
            await self.gate.wait()
        bill.book(CALL)
        if waiting := self.errors.get(name):
            raise waiting.pop(0) if len(waiting) > 1 else waiting[0]
        made = self.answer or draft(f"{name} says so.")
        yield TextPiece(text=made.text)
        yield made

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.asked]


@dataclass
class Kept:
    draft: Draft
    age_seconds: float


@dataclass
class FakeCache:
    fresh: dict[str, Kept] = field(default_factory=dict)
    stale: dict[str, Kept] = field(default_factory=dict)
    seconds: list[float | None] = field(default_factory=list)

    async def get(self, key: str) -> Kept | None:
        return self.fresh.get(key)

    async def get_stale(self, key: str) -> Kept | None:
        return self.stale.get(key)

    async def put(self, key: str, draft: Draft, *, seconds: float | None = None) -> None:
        self.fresh[key] = Kept(draft, 1.0)
        self.seconds.append(seconds)


async def key_of(name: str, request: EngineRequest) -> str:
    return f"{name} {request.question.standalone}"


def asking(gateway: FakeGateway, cache: FakeCache | None = None) -> Asking:
    """Without a `cache` keeping answers is switched off."""
    off = frozenset({Feature.RESPONSE_CACHING}) if cache is None else frozenset()
    return Asking(gateway=gateway, cache=cache or FakeCache(), key_of=key_of, toggles=FixedToggles(off=off))


async def events_of(
    asking: Asking, decision: Decision = DECISION, asked: EngineRequest | None = None, bill: Bill | None = None
) -> list[EngineEvent | Asked]:
    async with aclosing(cast("Any", asking.ask(decision, asked or request(), bill or Bill()))) as events:
        return [event async for event in events]


async def result_of(asking: Asking, decision: Decision = DECISION, asked: EngineRequest | None = None) -> Asked:
    last = (await events_of(asking, decision, asked))[-1]
    assert isinstance(last, Asked)
    return last


async def test_the_engine_decided_on_answers() -> None:
    gateway = FakeGateway()

    asked = await result_of(asking(gateway))

    assert (asked.engine, asked.draft.text, asked.failures, asked.cached_seconds) == (
        "lightrag",
        "lightrag says so.",
        (),
        None,
    )
    assert gateway.names == ["lightrag"]


async def test_when_it_fails_the_fallback_answers_and_the_failure_is_told() -> None:
    gateway = FakeGateway(errors={"lightrag": [EngineUnavailable("The index is broken.")]})

    asked = await result_of(asking(gateway))

    assert asked.engine == "perplexity"
    assert [failure.words for failure in asked.failures] == ["Your papers: The index is broken."]


async def test_an_engine_that_rests_is_named() -> None:
    gateway = FakeGateway(errors={"lightrag": [CircuitOpen("It rests.", retry_after_seconds=300)]})

    asked = await result_of(asking(gateway))

    assert [failure.words for failure in asked.failures] == ["Your papers: It rests."]


async def test_text_of_an_engine_that_fails_midway_is_withdrawn_before_the_next_begins() -> None:
    gateway = FakeGateway(errors={"lightrag": [EngineUnavailable("It broke.")]}, says_before="Half of")

    events = await events_of(asking(gateway))

    kinds = [type(event) for event in events]
    assert kinds == [TextPiece, TextWithdrawn, Progress, TextPiece, TextPiece, Asked]


async def test_without_fallbacks_nobody_else_is_asked() -> None:
    gateway = FakeGateway(errors={"lightrag": [EngineUnavailable("It broke.")]})

    with pytest.raises(EngineUnavailable, match=r"Your papers: It broke\..*cmo doctor"):
        await result_of(asking(gateway), replace(DECISION, fallbacks=()))


async def test_when_everybody_fails_the_message_names_each() -> None:
    gateway = FakeGateway(
        errors={"lightrag": [EngineUnavailable("No index.")], "perplexity": [EngineUnavailable("No network.")]}
    )

    with pytest.raises(EngineUnavailable, match=r"Your papers: No index\. The web: No network\."):
        await result_of(asking(gateway))


async def test_a_mistake_of_ours_is_not_taken_for_a_failure_of_an_engine() -> None:
    class Broken(FakeGateway):
        async def ask(self, name: str, request: EngineRequest, bill: Bill) -> AsyncIterator[EngineEvent]:
            raise ZeroDivisionError
            yield

    with pytest.raises(ZeroDivisionError):
        await result_of(asking(Broken()))


async def test_an_engine_over_budget_is_asked_for_what_it_has_for_nothing() -> None:
    class Spent(FakeGateway):
        async def ask(self, name: str, request: EngineRequest, bill: Bill) -> AsyncIterator[EngineEvent]:
            if not request.free:
                raise BudgetExhausted("The budget of today is spent.")
            async for event in super().ask(name, request, bill):
                yield event

    asked = await result_of(asking(Spent()))

    assert [failure.blamed for failure in asked.failures] == [False]
    assert (asked.engine, [failure.words for failure in asked.failures]) == (
        "lightrag",
        ["The budget of today is spent."],
    )


async def test_when_nobody_may_be_asked_the_deciding_words_are_told() -> None:
    spent = RoutingCheck(name="budget_exhausted", matched=True, words="Nothing may be spent any more today.")
    nobody = replace(DECISION, engine=None, fallbacks=(), checks=(spent,))

    with pytest.raises(EngineUnavailable, match="Nothing may be spent"):
        await result_of(asking(FakeGateway()), nobody)


async def test_an_answer_is_kept_and_given_again_with_its_age_and_without_a_call() -> None:
    gateway, cache = FakeGateway(), FakeCache()
    both = asking(gateway, cache)
    bill = Bill()

    await result_of(both)
    events = await events_of(both, bill=bill)

    assert isinstance(events[-1], Asked)
    assert events[-1].cached_seconds == 1.0
    assert events[0] == TextPiece(text="lightrag says so.")
    assert (gateway.names, bill.calls) == (["lightrag"], ())


async def test_an_answer_that_needs_fresh_sources_is_kept_for_a_shorter_time() -> None:
    cache = FakeCache()

    await result_of(asking(FakeGateway(), cache))
    await result_of(asking(FakeGateway(), cache), asked=request("What is new?", fresh=True))

    assert cache.seconds == [None, FRESH_SECONDS]


async def test_an_answer_in_which_a_lesser_part_stood_in_is_not_kept() -> None:
    cache = FakeCache()

    await result_of(asking(FakeGateway(answer=replace(draft("So-so."), degraded=True)), cache))

    assert cache.fresh == {}


async def test_a_fallbacks_answer_is_not_given_for_the_engine_it_stood_in_for() -> None:
    gateway, cache = FakeGateway(errors={"lightrag": [EngineUnavailable("Down.")]}), FakeCache()
    both = asking(gateway, cache)
    await result_of(both)
    gateway.errors.clear()

    assert (await result_of(both)).engine == "lightrag"


async def test_when_nobody_can_be_asked_an_old_answer_is_given_and_its_age_told() -> None:
    gateway = FakeGateway(
        errors={"lightrag": [EngineUnavailable("Down.")], "perplexity": [EngineUnavailable("Down, too.")]}
    )
    cache = FakeCache(stale={"perplexity Why?": Kept(draft("An old truth."), 7_300.0)})

    asked = await result_of(asking(gateway, cache))

    assert (asked.engine, asked.draft.text, asked.cached_seconds) == ("perplexity", "An old truth.", 7_300.0)
    assert any("Its age: 2 h." in notice for notice in asked.draft.notices)
    assert len(asked.failures) == 2


async def test_the_same_question_of_many_at_once_costs_one_call() -> None:
    gateway = FakeGateway(gate=asyncio.Event())
    one = asking(gateway, FakeCache())
    bills = [Bill() for _ in range(200)]
    under_way = [asyncio.create_task(events_of(one, bill=bill)) for bill in bills]
    await gateway.begun.wait()
    assert gateway.gate is not None
    gateway.gate.set()

    results = await asyncio.gather(*under_way)

    assert {cast("Asked", events[-1]).draft.text for events in results} == {"lightrag says so."}
    assert (len(gateway.asked), sum(len(bill.calls) for bill in bills)) == (1, 1)


async def test_an_engine_leaves_time_for_the_one_after_it_and_the_last_has_what_is_left() -> None:
    gateway = FakeGateway(errors={"lightrag": [EngineUnavailable("Down.")]})

    await result_of(asking(gateway), asked=request(seconds=10.0))

    first, last = (asked.seconds for _, asked in gateway.asked)
    assert first == pytest.approx(6.0, abs=0.1)
    assert last == pytest.approx(10.0, abs=0.5)


async def test_when_there_is_no_time_left_that_is_what_is_told() -> None:
    gateway = FakeGateway()
    decision = replace(DECISION, checks=(RoutingCheck(name="rollout", matched=True, words="You are among them."),))

    with pytest.raises(EngineUnavailable, match="no time left"):
        await events_of(asking(gateway), decision, request(seconds=-0.5))

    assert gateway.asked == []
