"""What is gathered for a routing decision, and what is not."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from cmo.dispatch.router import Router, RoutingPolicy
from cmo.errors import EngineUnavailable, OracleError, StorageUnavailable
from cmo.interfaces import Book
from cmo.policy.flags import FlagReason, FlagValue
from cmo.policy.routing import EngineFacts, RoutingFacts
from cmo.policy.rules import Rule
from cmo.values import EngineEvent, EngineRequest, Feature, Question, QuestionKind, QuestionType
from tests.toggles import FixedToggles

KIND = QuestionKind(type=QuestionType.VALUE, freshness=0.2)
REQUEST = EngineRequest(
    question=Question(
        text="And in urine?",
        standalone="How high is glucose in urine?",
        user_id="ann",
        thread_id="t",
        asked_at=datetime(2025, 1, 1, tzinfo=UTC),
        choice="perplexity",
        cohort="beta",
        region="europe",
    ),
    search_text="glucose urine",
    seconds=5.0,
    mode="local",
    fresh=True,
)
POLICY = RoutingPolicy(
    integration_enabled=True,
    emergency_stopped=frozenset(),
    forced=None,
    fallback_allowed=True,
    salt="s",
    rollout_percentage=100.0,
    rules=(Rule(name="short", engine="perplexity", max_words=2),),
    configuration="c0ffee",
)
RULES_OFF = frozenset({Feature.ADVANCED_ROUTING})
BY_COVERAGE = Rule(name="not_covered", engine="perplexity", coverage_below=0.3)


@dataclass
class FakeEngine:
    """Costs what it is told to, and `for_free` when nothing may be spent."""

    name: str
    ceiling: float = 0.0
    for_free: float = 0.0
    available: bool = True
    priced: list[EngineRequest] = field(default_factory=list)

    async def is_available(self) -> bool:
        return self.available

    async def version(self) -> str:
        return "1"

    def ceiling_usd(self, request: EngineRequest) -> float:
        self.priced.append(request)
        return self.for_free if request.free else self.ceiling

    def ask(self, request: EngineRequest, book: Book) -> AsyncIterator[EngineEvent]:
        raise AssertionError("deciding asks nobody")


@dataclass
class FakeHealth:
    open: frozenset[str] = frozenset()
    low: frozenset[str] = frozenset()

    def is_open(self, name: str) -> bool:
        return name in self.open

    def is_quality_low(self, name: str) -> bool:
        return name in self.low


@dataclass
class FakePurse:
    left: float | None = None
    error: Exception | None = None
    asked: list[str] = field(default_factory=list)

    async def left_usd(self, user_id: str) -> float | None:
        self.asked.append(user_id)
        if self.error is not None:
            raise self.error
        return self.left


@dataclass
class FakeCoverage:
    value: float = 0.25
    error: OracleError | None = None
    asked: list[str] = field(default_factory=list)

    async def __call__(self, search_text: str) -> float:
        self.asked.append(search_text)
        if self.error is not None:
            raise self.error
        return self.value


@dataclass
class World:
    papers: FakeEngine = field(default_factory=lambda: FakeEngine("lightrag", ceiling=0.01))
    web: FakeEngine = field(default_factory=lambda: FakeEngine("perplexity", ceiling=0.05, for_free=0.05))
    health: FakeHealth = field(default_factory=FakeHealth)
    purse: FakePurse = field(default_factory=FakePurse)
    coverage: FakeCoverage = field(default_factory=FakeCoverage)
    policy: RoutingPolicy = POLICY
    switches: FixedToggles = field(default_factory=FixedToggles)

    @property
    def router(self) -> Router:
        return Router(
            engines=(self.papers, self.web),
            health=self.health,
            purse=self.purse,
            policy=self.policy,
            switches=self.switches,
            coverage=self.coverage,
        )

    async def facts(self) -> RoutingFacts:
        return await self.router.facts(REQUEST, KIND)

    async def engines(self) -> dict[str, EngineFacts]:
        return {engine.name: engine for engine in (await self.facts()).engines}


async def test_policy_person_and_question_are_taken_over() -> None:
    facts = await World().facts()

    assert (facts.chosen, facts.user_id, facts.cohort, facts.region) == ("perplexity", "ann", "beta", "europe")
    assert (facts.kind, facts.characters, facts.words) == (KIND, 29, 6)
    assert (facts.salt, facts.rollout_percentage, facts.configuration) == ("s", 100.0, "c0ffee")
    assert (facts.rules, facts.conditional_routing, facts.fallback_allowed) == (POLICY.rules, True, True)
    assert (facts.integration_enabled, facts.emergency_stopped, facts.forced) == (True, frozenset(), None)


async def test_what_is_switched_is_looked_up_for_the_person_and_named_in_the_configuration() -> None:
    flag = FlagValue(value=False, reason=FlagReason.ROLLOUT, version=7)
    world = World(switches=FixedToggles(flag=flag, revision="12", off=RULES_OFF))

    facts = await world.facts()

    assert (facts.flag, facts.conditional_routing, facts.configuration) == (flag, False, "c0ffee-12")
    assert world.switches.asked == [(Feature.ADVANCED_ROUTING, "ann")]


async def test_engines_keep_their_order() -> None:
    assert [engine.name for engine in (await World().facts()).engines] == ["lightrag", "perplexity"]


async def test_each_engine_comes_with_its_own_state() -> None:
    world = World(
        papers=FakeEngine("lightrag", available=False),
        health=FakeHealth(open=frozenset({"perplexity"}), low=frozenset({"lightrag"})),
    )

    papers, web = (await world.facts()).engines

    assert (papers.available, papers.breaker_open, papers.quality_low) == (False, False, True)
    assert (web.available, web.breaker_open, web.quality_low) == (True, True, False)


@pytest.mark.parametrize(
    ("left", "affordable"),
    [
        (None, {"lightrag": True, "perplexity": True}),
        (0.05, {"lightrag": True, "perplexity": True}),
        (0.0499, {"lightrag": True, "perplexity": False}),
        (0.0, {"lightrag": False, "perplexity": False}),
    ],
)
async def test_what_the_question_can_cost_at_most_has_to_be_left(
    left: float | None, affordable: dict[str, bool]
) -> None:
    world = World(purse=FakePurse(left=left))

    assert {name: engine.affordable for name, engine in (await world.engines()).items()} == affordable
    assert world.purse.asked == ["ann"]


async def test_when_nobody_can_tell_what_was_spent_nothing_that_costs_can_be_afforded() -> None:
    world = World(papers=FakeEngine("lightrag"), purse=FakePurse(error=StorageUnavailable("The disk is full.")))

    engines = await world.engines()

    assert (engines["lightrag"].affordable, engines["perplexity"].affordable) == (True, False)


async def test_an_engine_is_asked_too_what_the_same_question_costs_without_spending() -> None:
    world = World()

    engines = await world.engines()

    assert (engines["lightrag"].estimate_usd, engines["lightrag"].can_be_free) == (0.01, True)
    assert (engines["perplexity"].estimate_usd, engines["perplexity"].can_be_free) == (0.05, False)
    assert world.web.priced == [REQUEST, replace(REQUEST, free=True)]


async def test_how_well_the_papers_fit_is_looked_up_when_a_rule_asks_for_it() -> None:
    world = World(policy=replace(POLICY, rules=(*POLICY.rules, BY_COVERAGE)))

    assert (await world.facts()).coverage == 0.25
    assert world.coverage.asked == ["glucose urine"]


@pytest.mark.parametrize(
    ("rules", "off"),
    [(POLICY.rules, frozenset()), ((BY_COVERAGE,), RULES_OFF), ((), frozenset())],
    ids=["no rule asks", "rules are off", "no rules"],
)
async def test_otherwise_nothing_is_searched(rules: tuple[Rule, ...], off: frozenset[Feature]) -> None:
    world = World(policy=replace(POLICY, rules=rules), switches=FixedToggles(off=off))

    assert (await world.facts()).coverage is None
    assert world.coverage.asked == []


async def test_a_search_that_fails_leaves_the_fit_unknown() -> None:
    broken = FakeCoverage(error=EngineUnavailable("No index."))
    world = World(policy=replace(POLICY, rules=(BY_COVERAGE,)), coverage=broken)

    assert (await world.facts()).coverage is None


async def test_a_mistake_of_ours_is_not_taken_for_an_unknown_fact() -> None:
    with pytest.raises(ZeroDivisionError):
        await World(purse=FakePurse(error=ZeroDivisionError())).facts()


async def test_the_decision_follows_from_the_facts() -> None:
    router = World().router

    chosen = await router.decide(REQUEST, KIND)
    nothing_left = await World(purse=FakePurse(left=0.0)).router.decide(REQUEST, KIND)

    assert (chosen.engine, chosen.reason, chosen.configuration) == ("perplexity", "user_choice", "c0ffee")
    assert (nothing_left.engine, nothing_left.reason, nothing_left.free) == ("lightrag", "budget_exhausted", True)
