"""The real program around made-up engines: pipeline, router, gateway, breakers, budget, flags and ledger on a real
database.

Left out is what costs seconds and changes nothing about engines: languages, metabolites, kept answers, answers in the
shadow, and rules about the question. Nothing here knows who asks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cmo.cli.simulated_engines import JumpingClock, MeantQuality, SimulatedEngine
from cmo.dispatch.asking import Asking
from cmo.dispatch.assignments import Assignments
from cmo.dispatch.breakers import Breakers
from cmo.dispatch.flags import Flags
from cmo.dispatch.gateway import Gateway
from cmo.dispatch.router import Router, RoutingPolicy
from cmo.dispatch.shadow import Offered
from cmo.dispatch.spending import Spending
from cmo.dispatch.toggles import FlagToggles
from cmo.interfaces import Book
from cmo.pipeline import Checking, QuestionPipeline
from cmo.policy.breaker import BreakerRules, QualityRules
from cmo.policy.budget import BudgetAlert, Limits
from cmo.storage.assignments import SqlAssignments
from cmo.storage.breakers import SqlBreakerStore
from cmo.storage.budget import SqlBudget
from cmo.storage.database import Database, migrate
from cmo.storage.emergency import EmergencyFile
from cmo.storage.exposures import SqlExposures
from cmo.storage.feedback import SqlFeedback
from cmo.storage.flags import SqlFlags
from cmo.storage.ledger import SqlLedger
from cmo.values import Decision, Draft, EngineRequest, Feature, NamedCompound, Question, QuestionKind, QuestionType

DATABASE = "cmo.sqlite3"
"""The name of the database in a storage folder, unless a setting says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the settings of the same names say of routing, breakers and budgets."""

    salt: str
    rollout_percentage: float
    fallback: bool
    answer_seconds: float
    breaker: BreakerRules
    quality: QualityRules
    second_opinion_below: float
    limits: Limits
    alert_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The running program."""

    clock: JumpingClock
    database: Database
    pipeline: QuestionPipeline
    router: NotingRouter
    breakers: Breakers
    flags: Flags
    feedback: SqlFeedback
    emergency: EmergencyFile


class NotingRouter:
    """A router that remembers its last decision, which nobody is told of a question without an answer."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self.last: Decision | None = None

    async def decide(self, request: EngineRequest, kind: QuestionKind) -> Decision:
        """Which engine is asked, and why."""
        self.last = await self._router.decide(request, kind)
        return self.last


@asynccontextmanager
async def opened(
    engines: Sequence[SimulatedEngine],
    rules: Rules,
    *,
    folder: Path,
    clock: JumpingClock,
    chance: Callable[[], float],
    on_alert: Callable[[BudgetAlert], None],
) -> AsyncIterator[World]:
    """The program with its database in the folder; the engines are in order of preference.

    Raises:
        StorageUnavailable: the database cannot be written.
    """
    async with AsyncExitStack() as stack:
        url = f"sqlite+aiosqlite:///{(folder / DATABASE).as_posix()}"
        await migrate(url)
        database = Database(url)
        stack.push_async_callback(database.close)
        budget = SqlBudget(database, rules.limits, clock=clock, alert_share=rules.alert_share, on_alert=on_alert)
        stack.push_async_callback(budget.close)
        names = [engine.name for engine in engines]
        breakers = Breakers(
            names,
            rules=rules.breaker,
            quality=rules.quality,
            store=SqlBreakerStore(database),
            clock=clock,
            jitter=chance,
        )
        stack.push_async_callback(breakers.close)
        flags = Flags(SqlFlags(database), salt=rules.salt, clock=clock, chance=chance)
        emergency = EmergencyFile(folder, engines=names)
        toggles = FlagToggles(
            flags, Assignments(flags, SqlAssignments(database), clock=clock), _FEATURES, emergency.stopped
        )
        router = NotingRouter(
            Router(
                engines=engines,
                health=breakers,
                purse=budget,
                policy=_policy(rules),
                switches=toggles,
                coverage=_no_coverage,
            )
        )
        gateway = Gateway(engines, breakers=breakers, spending=Spending(budget), timer=clock.seconds)
        pipeline = QuestionPipeline(
            detector=_OnlyEnglish(),
            rewriter=_AsAsked(),
            question_translator=_OnlyEnglish(),
            classifier=_NoKind(),
            router=router,
            asking=Asking(gateway=gateway, cache=_NothingKept(), key_of=_key, toggles=toggles, timer=clock.seconds),
            checking=Checking(
                assessor=MeantQuality(),
                seconds=rules.answer_seconds,
                scores=breakers,
                second_opinion_below=rules.second_opinion_below,
            ),
            compounds=_NoCompounds(),
            answer_translator=None,
            translation_seconds=rules.answer_seconds,
            toggles=toggles,
            ledger=SqlLedger(database),
            exposures=SqlExposures(database),
            shadow=_NoShadow(),
            mode="mix",
            timeout_seconds=rules.answer_seconds,
            timer=clock.seconds,
        )
        yield World(
            clock=clock,
            database=database,
            pipeline=pipeline,
            router=router,
            breakers=breakers,
            flags=flags,
            feedback=SqlFeedback(database),
            emergency=emergency,
        )


_FEATURES = {
    **dict.fromkeys(Feature, True),
    Feature.RESPONSE_CACHING: False,
    Feature.ADVANCED_ROUTING: False,
    Feature.MULTI_LANGUAGE: False,
}


def _policy(rules: Rules) -> RoutingPolicy:
    return RoutingPolicy(
        integration_enabled=True,
        emergency_stopped=frozenset(),
        forced=None,
        fallback_allowed=rules.fallback,
        salt=rules.salt,
        rollout_percentage=rules.rollout_percentage,
        rules=(),
        configuration="simulated",
    )


async def _no_coverage(text: str) -> float:
    return 0.0


async def _key(engine: str, request: EngineRequest) -> str:
    """No two questions are the same."""
    return f"{engine}-{request.question.id}-{request.free}"


class _OnlyEnglish:
    def detect(self, text: str) -> str:
        return "en"

    async def to_english(self, question: Question, text: str, book: Book) -> str:
        return text


class _AsAsked:
    async def standalone(self, question: Question, book: Book) -> str:
        return question.text


class _NoKind:
    async def classify(self, question: str) -> QuestionKind:
        return QuestionKind(type=QuestionType.OTHER, freshness=0.0)


class _NoCompounds:
    def compounds(self, text: str) -> tuple[NamedCompound, ...]:
        return ()


class _NoShadow:
    def offer(self, offered: Offered) -> None:
        return None


class _NothingKept:
    async def get(self, key: str) -> None:
        return None

    async def get_stale(self, key: str) -> None:
        return None

    async def put(self, key: str, draft: Draft, *, seconds: float | None = None) -> None:
        return None
