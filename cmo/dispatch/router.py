"""Gathers what a routing decision depends on, and decides.

The decision itself is pure (policy/routing.py). Nothing is gathered that the rules do not ask for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from cmo.errors import OracleError
from cmo.interfaces import Engine, Toggles
from cmo.policy.flags import FlagValue
from cmo.policy.routing import EngineFacts, RoutingFacts, decide
from cmo.policy.rules import Rule, needs_coverage
from cmo.values import Decision, EngineRequest, Feature, Question, QuestionKind


class Health(Protocol):
    """What is known of the engines' recent calls."""

    def is_open(self, name: str) -> bool:
        """Whether a call now would be turned away."""

    def is_quality_low(self, name: str) -> bool:
        """Whether recent answers were worse than is wanted."""


class Switches(Toggles, Protocol):
    """What an admin switches while the service runs."""

    async def rollout(self, question: Question) -> FlagValue | None:
        """Whether the main rollout leads the person to the home engine; None when the settings say so."""

    def stopped(self) -> frozenset[str]:
        """The engines that an emergency stop has taken out of service."""

    @property
    def revision(self) -> str:
        """Names all that is switched; "" for nothing."""


class Purse(Protocol):
    """What may still be spent."""

    async def left_usd(self, user_id: str) -> float | None:
        """The least that any limit leaves for this person now; None without limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingPolicy:
    """What an admin has set: see the settings of the same names. `configuration` names the version of all of it."""

    integration_enabled: bool
    emergency_stopped: frozenset[str]
    forced: str | None
    fallback_allowed: bool
    salt: str
    rollout_percentage: float
    rules: tuple[Rule, ...]
    configuration: str


class Router:
    """Decides which engine is asked. Shared by all questions of a process."""

    def __init__(
        self,
        *,
        engines: Sequence[Engine],
        health: Health,
        purse: Purse,
        policy: RoutingPolicy,
        switches: Switches,
        coverage: Callable[[str], Awaitable[float]],
    ) -> None:
        """`engines` are in order of preference, the home engine first; `coverage` tells how well the papers fit."""
        self._engines = tuple(engines)
        self._health = health
        self._purse = purse
        self._policy = policy
        self._switches = switches
        self._coverage = coverage

    async def decide(self, request: EngineRequest, kind: QuestionKind) -> Decision:
        """Which engine is asked, and why."""
        return decide(await self.facts(request, kind))

    async def facts(self, request: EngineRequest, kind: QuestionKind) -> RoutingFacts:
        """Everything the decision depends on."""
        question, policy = request.question, self._policy
        by_rules = self._switches.is_on(Feature.ADVANCED_ROUTING, question)
        left, available, coverage, flag = await asyncio.gather(
            self._left(question.user_id),
            self._available(),
            self._covered(request.search_text, by_rules),
            self._switches.rollout(question),
        )
        return RoutingFacts(
            engines=tuple(
                self._of(engine, request, is_available=there, left_usd=left)
                for engine, there in zip(self._engines, available, strict=True)
            ),
            emergency_stopped=policy.emergency_stopped | self._switches.stopped(),
            integration_enabled=policy.integration_enabled,
            forced=policy.forced,
            chosen=question.choice,
            user_id=question.user_id,
            salt=policy.salt,
            rollout_percentage=policy.rollout_percentage,
            flag=flag,
            fallback_allowed=policy.fallback_allowed,
            conditional_routing=by_rules,
            rules=policy.rules,
            characters=len(question.standalone),
            words=len(question.standalone.split()),
            kind=kind,
            coverage=coverage,
            cohort=question.cohort,
            region=question.region,
            configuration="-".join(filter(None, (policy.configuration, self._switches.revision))),
        )

    def _of(self, engine: Engine, request: EngineRequest, *, is_available: bool, left_usd: float | None) -> EngineFacts:
        estimate = engine.ceiling_usd(request)
        free = engine.ceiling_usd(replace(request, free=True))
        return EngineFacts(
            name=engine.name,
            available=is_available,
            breaker_open=self._health.is_open(engine.name),
            quality_low=self._health.is_quality_low(engine.name),
            estimate_usd=estimate,
            affordable=estimate == 0 or left_usd is None or estimate <= left_usd,
            can_be_free=free == 0,
        )

    async def _left(self, user_id: str) -> float | None:
        try:
            return await self._purse.left_usd(user_id)
        except OracleError:
            return 0.0  # nobody can tell what was spent: nothing more is

    async def _available(self) -> list[bool]:
        return await asyncio.gather(*(engine.is_available() for engine in self._engines))

    async def _covered(self, search_text: str, by_rules: bool) -> float | None:
        if not (by_rules and needs_coverage(self._policy.rules)):
            return None
        try:
            return await self._coverage(search_text)
        except OracleError:
            return None
