"""What answers questions."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import logging
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from cmo.bootstrap.breakers import breaker_rules, quality_rules
from cmo.bootstrap.checking import checking_by, open_judges, scoring_by
from cmo.bootstrap.flags import open_flags
from cmo.bootstrap.languages import open_languages
from cmo.bootstrap.money import SystemClock, open_budget, open_database
from cmo.bootstrap.parts import embedder_called, graph_of, made_with, open_extractor
from cmo.bootstrap.rollouts import open_rollouts
from cmo.bootstrap.shadow import open_shadow
from cmo.bootstrap.web import open_web_engine
from cmo.dispatch.asking import Asking
from cmo.dispatch.assignments import Assignments
from cmo.dispatch.breakers import Breakers
from cmo.dispatch.flags import Flags
from cmo.dispatch.gateway import Gateway
from cmo.dispatch.paid import PaidEmbedder, Payments
from cmo.dispatch.rewriting import BudgetedRewriter
from cmo.dispatch.rollouts import RolloutTicker
from cmo.dispatch.router import Router, RoutingPolicy
from cmo.dispatch.rules_file import read_rules
from cmo.dispatch.spending import Spending
from cmo.dispatch.toggles import FlagToggles
from cmo.engines.library import ENGINE as PAPERS
from cmo.engines.library import PapersEngine
from cmo.engines.papers import PapersRetriever
from cmo.errors import ModelUnavailable
from cmo.interfaces import ChatModel, Clock, Embedder, Engine, Extractor, QuestionRewriter
from cmo.library.generations import GenerationInfo
from cmo.library.process import IndexingProcess
from cmo.library.view import Library
from cmo.logs import fields
from cmo.models.compounds import AnswerCompounds
from cmo.models.extractive import ExtractiveModel
from cmo.models.minilm import MiniLM
from cmo.models.question_kind import QuestionKinds
from cmo.models.rewriting import CarriedNames, ModelRewriter, follows_up, largest_rewrite_prompt
from cmo.pipeline import QuestionPipeline
from cmo.policy.rules import DEFAULT_RULES, Rule
from cmo.pricing import retires_soon
from cmo.settings import EngineChoice, Settings
from cmo.storage.assignments import SqlAssignments
from cmo.storage.breakers import SqlBreakerStore
from cmo.storage.budget import SqlBudget
from cmo.storage.conversations import SqlConversations
from cmo.storage.emergency import EmergencyFile
from cmo.storage.exposures import SqlExposures
from cmo.storage.feedback import SqlFeedback
from cmo.storage.ledger import SqlLedger
from cmo.storage.response_cache import ResponseCache, key_of
from cmo.storage.response_stores import store_at
from cmo.translation.detect import LanguageDetector
from cmo.translation.phrases import read_catalogues
from cmo.values import EngineRequest, Feature

_log = logging.getLogger(__name__)

REWRITE_SECONDS = 8.0
"""How long the model may take to complete a follow-up question, before the names in it are carried over instead."""
REWRITE_SHARE = 0.2
"""The same as a share of the time for the whole answer, where that is less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """The parts of one running application that answers questions."""

    settings: Settings
    pipeline: QuestionPipeline
    retriever: PapersRetriever
    embedder: MiniLM
    library: Library
    ledger: SqlLedger
    feedback: SqlFeedback
    budget: SqlBudget
    breakers: Breakers
    flags: Flags
    rollouts: RolloutTicker | None
    engines: tuple[Engine, ...]

    @property
    def engine_names(self) -> tuple[str, ...]:
        """The engines that are configured, in order of preference."""
        return tuple(engine.name for engine in self.engines)

    async def get_ready(self) -> None:
        """Load what the first question would have to wait for. What fails is left to that question, which tells."""
        await asyncio.to_thread(read_catalogues)
        with contextlib.suppress(ModelUnavailable):
            await asyncio.to_thread(self.embedder.load)
        await self.retriever.get_ready()


@asynccontextmanager
async def open_application(settings: Settings) -> AsyncIterator[Application]:
    """Everything that answers questions; it reads the index and never writes it.

    Raises:
        OracleError: a part cannot be opened; the message says which and what to do.
    """
    async with AsyncExitStack() as stack:
        policy = await asyncio.to_thread(_routing_policy, settings)
        clock = SystemClock()
        extractor = await asyncio.to_thread(open_extractor, settings)
        embedder = MiniLM(settings.cache_dir)
        stack.callback(embedder.close)
        database = await open_database(settings, stack)
        kept = timedelta(days=settings.keep_conversations_days) if settings.keep_conversations else None
        ledger = SqlLedger(database, keep_texts=kept)
        oldest = clock.now() - timedelta(days=settings.keep_conversations_days)
        await SqlConversations(database).forget_before(oldest)
        budget = open_budget(settings, database, clock, stack)
        spending = Spending(budget)
        served = await _served(settings, stack, spending, ledger, clock)
        embedders = (embedder, *served.embedders)
        retriever = PapersRetriever(
            storage=settings.storage_dir,
            make_graph=(lambda info: graph_of(info, _embedder_of(info, embedders), extractor, writable=False))
            if settings.lightrag_enabled
            else None,
            extractor=extractor,
            multilingual=settings.embeds_on_server and settings.embedding_is_multilingual,
        )
        stack.push_async_callback(retriever.close)
        library = Library(
            papers=settings.papers_dir,
            storage=settings.storage_dir,
            process=IndexingProcess.for_folders(papers=settings.papers_dir, storage=settings.storage_dir),
        )
        stack.push_async_callback(library.close)
        papers = PapersEngine(
            search=retriever,
            reader=ExtractiveModel(embedder),
            writer=served.chat,
            top_k=settings.top_k,
            new_mark=lambda: secrets.token_hex(8),
        )
        web = open_web_engine(settings, stack, clock)
        engines: tuple[Engine, ...] = (papers, web) if web is not None else (papers,)
        breakers = Breakers(
            [engine.name for engine in engines],
            rules=breaker_rules(settings),
            quality=quality_rules(settings),
            store=SqlBreakerStore(database),
            clock=clock,
            jitter=random.random,
        )
        await breakers.load()
        stack.push_async_callback(breakers.close)
        flags = await open_flags(settings, database, clock, stack)
        emergency = EmergencyFile(settings.storage_dir, engines=[choice.value for choice in EngineChoice])
        rollouts = open_rollouts(settings, database, breakers, flags, emergency, clock, stack)
        toggles = FlagToggles(
            flags,
            Assignments(flags, SqlAssignments(database), clock=clock),
            _defaults(settings),
            emergency.stopped,
        )
        gateway = Gateway(engines, breakers=breakers, spending=spending)
        judges = await open_judges(embedder, served.chat)
        shadow = await open_shadow(
            settings,
            stack,
            flags=flags,
            engines=engines,
            stopped=emergency.stopped,
            database=database,
            ledger=ledger,
            scoring=scoring_by(settings, judges, spending),
            clock=clock,
        )
        languages = await open_languages(settings, stack, extractor, served.chat, spending)
        pipeline = QuestionPipeline(
            detector=await asyncio.to_thread(LanguageDetector),
            rewriter=_rewriter(served.chat, extractor, spending, settings.answer_timeout_seconds),
            question_translator=languages.questions,
            classifier=QuestionKinds(embedder, clock),
            router=Router(
                engines=engines,
                health=breakers,
                purse=budget,
                policy=policy,
                switches=toggles,
                coverage=papers.coverage,
            ),
            asking=Asking(
                gateway=gateway,
                cache=await _open_cache(settings, stack, clock),
                key_of=answer_keys(engines),
                toggles=toggles,
            ),
            checking=checking_by(settings, judges, spending, breakers),
            compounds=AnswerCompounds(extractor),
            answer_translator=languages.answers,
            translation_seconds=settings.translation_timeout_seconds,
            toggles=toggles,
            ledger=ledger,
            exposures=SqlExposures(database),
            shadow=shadow,
            mode=settings.query_mode.value,
            timeout_seconds=settings.answer_timeout_seconds,
        )
        yield Application(
            settings=settings,
            pipeline=pipeline,
            retriever=retriever,
            embedder=embedder,
            library=library,
            ledger=ledger,
            feedback=SqlFeedback(database),
            budget=budget,
            breakers=breakers,
            flags=flags,
            rollouts=rollouts,
            engines=engines,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Served:
    """The models of a server; none when there is no server."""

    chat: ChatModel | None = None
    embedders: tuple[Embedder, ...] = ()


async def _served(
    settings: Settings, stack: AsyncExitStack, spending: Spending, ledger: SqlLedger, clock: Clock
) -> _Served:
    if not settings.has_model:
        return _Served()
    # A second of importing and 57 MB, which only those pay for who have a server.
    from cmo.bootstrap.models import chat_of, embedder_of, open_server

    if day := retires_soon(settings.openai_model, clock.now().date()):
        _log.warning("model_retires_soon", extra=fields(model=settings.openai_model, day=day.isoformat()))
    server = await open_server(settings, stack)
    payments = Payments(spending, ledger, clock, at_home=server.at_home)
    embedder = embedder_of(server, settings, payments.book) if settings.embeds_on_server else None
    return _Served(
        chat=chat_of(server, settings), embedders=(PaidEmbedder(embedder, payments),) if embedder is not None else ()
    )


def _routing_policy(settings: Settings) -> RoutingPolicy:
    rules: tuple[Rule, ...] = DEFAULT_RULES
    if settings.routing_rules is not None:
        rules = read_rules(settings.routing_rules, engines=[choice.value for choice in EngineChoice])
    policy = RoutingPolicy(
        integration_enabled=settings.lightrag_enabled,
        emergency_stopped=frozenset({PAPERS}) if settings.emergency_stop else frozenset(),
        forced=settings.forced_engine.value if settings.forced_engine else None,
        fallback_allowed=settings.fallback,
        salt=settings.hash_salt,
        rollout_percentage=settings.rollout,
        rules=rules,
        configuration="",
    )
    everything = repr((policy, settings.conditional_routing))
    return dataclasses.replace(policy, configuration=hashlib.sha256(everything.encode()).hexdigest()[:8])


def _embedder_of(info: GenerationInfo, embedders: Sequence[Embedder]) -> Embedder:
    """The embedder an index was made with: another one would search it and find nothing."""
    recipe = made_with(info)
    return embedder_called(recipe.embedder, embedders) if recipe is not None else embedders[0]


def _rewriter(
    chat: ChatModel | None, extractor: Extractor, spending: Spending, answer_seconds: float
) -> QuestionRewriter:
    names = CarriedNames(extractor)
    if chat is None:
        return names
    return BudgetedRewriter(
        ModelRewriter(chat, otherwise=names, seconds=min(REWRITE_SECONDS, REWRITE_SHARE * answer_seconds)),
        otherwise=names,
        needs_model=lambda question: bool(question.history) and follows_up(question.text),
        ceiling_usd=chat.ceiling_usd(largest_rewrite_prompt()),
        spending=spending,
    )


def _defaults(settings: Settings) -> dict[Feature, bool]:
    """What holds for features without a flag."""
    return {
        Feature.QUALITY_ASSESSMENT: settings.quality_assessment,
        Feature.RESPONSE_CACHING: settings.response_cache,
        Feature.ADVANCED_ROUTING: settings.conditional_routing,
        Feature.MULTI_LANGUAGE: settings.multi_language,
        Feature.CITATION_PROCESSING: settings.citation_processing,
        Feature.COST_MONITORING: settings.cost_monitoring,
        Feature.ANALYTICS_COLLECTION: settings.analytics_collection,
    }


async def _open_cache(settings: Settings, stack: AsyncExitStack, clock: SystemClock) -> ResponseCache:
    store = store_at(settings.cache_url, folder=settings.storage_dir, entries=settings.cache_entries, clock=clock)
    cache = ResponseCache(store, seconds=settings.cache_seconds, clock=clock)
    await cache.open()
    stack.push_async_callback(cache.close)
    return cache


def answer_keys(engines: Sequence[Engine]) -> Callable[[str, EngineRequest], Awaitable[str]]:
    """What names an engine's answer to a request."""
    by_name = {engine.name: engine for engine in engines}

    async def key(name: str, request: EngineRequest) -> str:
        return key_of(
            request.question.standalone,
            engine=name,
            mode=request.mode,
            language=request.question.language,
            index_version=await by_name[name].version(),
            model="",
            options=_options(request),
        )

    return key


def _options(request: EngineRequest) -> tuple[str, ...]:
    """What else of a request changes an answer; its mode has a place of its own."""
    switched = (name for name, chosen in (("free", request.free), ("fresh", request.fresh)) if chosen)
    tuned = dataclasses.asdict(dataclasses.replace(request.tuning, mode=None)).items()
    return (*switched, *(f"{name}={value}" for name, value in tuned if value is not None))
