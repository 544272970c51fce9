"""The shadow: asks another engine after the person has their answer, and whatever that does, nobody notices."""

import asyncio
import logging
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cmo.dispatch import shadow as shadows
from cmo.dispatch.flags import Flags
from cmo.dispatch.shadow import SHADOW, WAITING, Offered, Scoring, Shadow
from cmo.errors import EngineUnavailable, NotAssessed, StorageUnavailable
from cmo.interfaces import Book
from cmo.policy.flags import FeatureFlag, FlagSet, FlagStatus, Segmentation
from cmo.policy.shadow import SHADOW_MODE, Given, Outcome, Shadowed
from cmo.storage.database import Database, migrate
from cmo.storage.ledger import SqlLedger
from cmo.storage.shadow import SqlShadow
from cmo.values import (
    Badge,
    CallOutcome,
    CallStage,
    Draft,
    EngineRequest,
    ModelCall,
    Quality,
    Question,
    TextPiece,
)

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
PAPERS, WEB = "lightrag", "perplexity"
DRAFT = Draft(text="Lactate rises in sepsis [1].", answered=True, model="m", citations=())
OTHER = replace(DRAFT, text="In sepsis, plasma lactate rises [1][2].")
CALL = ModelCall(engine=WEB, model="m", stage=CallStage.ANSWER, outcome=CallOutcome.OK, cost_usd=0.03)
ON = FeatureFlag(name=SHADOW_MODE, status=FlagStatus.ENABLED)


def scored(composite: float) -> Quality:
    return Quality(relevance=1.0, accuracy=1.0, consistency=1.0, composite=composite, badge=Badge.GOOD, sentences=())


GIVEN = Offered(
    request=EngineRequest(
        question=Question(text="Why?", user_id="ann", thread_id="t", asked_at=NOON), search_text="Why?", seconds=3.0
    ),
    engine=PAPERS,
    draft=DRAFT,
    quality=scored(0.8),
    cost_usd=0.01,
    seconds=2.0,
    others=(WEB,),
)


def offered(name: str = "Why?", **changes: Any) -> Offered:
    """The question of that name, answered."""
    question = replace(GIVEN.request.question, id=name)
    return replace(GIVEN, request=replace(GIVEN.request, question=question), **changes)


class PanicException(BaseException):
    """As extension modules written in Rust raise it."""


@dataclass
class FakeEngine:
    """Books one call and ends as it is told to. Notes which questions it is asked."""

    events: Sequence[object] = (TextPiece(text="In sepsis"), OTHER)
    error: BaseException | None = None
    gate: asyncio.Event | None = None
    ceiling: float = 0.05
    name: str = WEB
    asked: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    closed: int = 0

    async def is_available(self) -> bool:
        return True

    async def version(self) -> str:
        return "1"

    def ceiling_usd(self, request: EngineRequest) -> float:
        return self.ceiling

    async def ask(self, request: EngineRequest, book: Book) -> AsyncIterator[Any]:
        self.asked.append(request.question.id)
        self.seconds.append(request.seconds)
        try:
            book(CALL)
            if self.gate is not None:
                await self.gate.wait()
            if self.error is not None:
                raise self.error
            for event in self.events:
                yield event
        finally:
            self.closed += 1


class Stubborn(FakeEngine):
    """Goes on when it is told to end, until its gate opens."""

    async def ask(self, request: EngineRequest, book: Book) -> AsyncIterator[Any]:
        self.asked.append(request.question.id)
        assert self.gate is not None
        while not self.gate.is_set():
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                continue
        yield OTHER


class Endless(FakeEngine):
    """Says the same for ever, and waits for nothing."""

    async def ask(self, request: EngineRequest, book: Book) -> AsyncIterator[Any]:
        while True:
            yield TextPiece(text="and ")


class NoAnswers(FakeEngine):
    """Does not do what an engine does."""

    def ask(self, request: EngineRequest, book: Book) -> Any:
        return None


class NoPrice(FakeEngine):
    """Cannot say what it costs."""

    def ceiling_usd(self, request: EngineRequest) -> float:
        raise KeyError("price")


class Clock:
    def now(self) -> datetime:
        return NOON


class Source:
    """Flags that are there."""

    def __init__(self, *flags: FeatureFlag) -> None:
        self._found = FlagSet(revision="1", flags={flag.name: flag for flag in flags})

    async def revision(self) -> str:
        return self._found.revision

    async def load(self) -> FlagSet:
        return self._found


async def flags_of(*flags: FeatureFlag, chance: Callable[[], float] = lambda: 0.5) -> Flags:
    found = Flags(Source(*flags), salt="s", clock=Clock(), chance=chance)
    await found.refresh()
    return found


@dataclass
class FakeStore:
    """Keeps what is begun, and hands out what has ended as it ends."""

    left_usd: float = 1.0
    broken: bool = False
    refused: int = 0
    gate: asyncio.Event | None = None
    begun: list[tuple[Given, str, float]] = field(default_factory=list)
    ended: asyncio.Queue[tuple[str, Shadowed]] = field(default_factory=asyncio.Queue)

    async def begin(self, given: Given, shadow: str, *, ceiling_usd: float, at: datetime) -> int | None:
        if self.broken:
            self.refused += 1
            raise StorageUnavailable("The disk is full.")
        self.begun.append((given, shadow, ceiling_usd))
        if self.gate is not None:
            await self.gate.wait()
        return len(self.begun) - 1 if ceiling_usd <= self.left_usd else None

    async def end(self, number: int, shadowed: Shadowed) -> None:
        if self.broken:
            raise StorageUnavailable("The disk is full.")
        self.ended.put_nowait((self.begun[number][0].question_id, shadowed))

    async def next(self) -> tuple[str, Shadowed]:
        async with asyncio.timeout(5):
            return await self.ended.get()


@dataclass
class FakeLedger:
    booked: list[tuple[tuple[ModelCall, ...], str, datetime]] = field(default_factory=list)

    async def record_calls(self, calls: Sequence[ModelCall], *, user_id: str, at: datetime) -> None:
        self.booked.append((tuple(calls), user_id, at))


@dataclass
class FakeAssessor:
    """Finds every answer equally good, unless it is told to fail or to hang."""

    error: Exception | None = None
    hangs: bool = False
    asked: list[Draft] = field(default_factory=list)

    async def assess(self, question: Question, asked: str, draft: Draft, book: Book) -> Quality:
        self.asked.append(draft)
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return scored(0.6)


@dataclass
class World:
    """One shadow and all it deals with."""

    engine: FakeEngine = field(default_factory=FakeEngine)
    store: Any = field(default_factory=FakeStore)
    ledger: Any = field(default_factory=FakeLedger)
    assessor: FakeAssessor = field(default_factory=FakeAssessor)
    flag: FeatureFlag | None = ON
    chance: Callable[[], float] = lambda: 0.5
    seconds: float = 5.0
    stopped: frozenset[str] = frozenset()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Shadow]:
        shadow = Shadow(
            flags=await flags_of(*([self.flag] if self.flag else []), chance=self.chance),
            engines=(FakeEngine(name=PAPERS), self.engine),
            stopped=lambda: self.stopped,
            store=self.store,
            ledger=self.ledger,
            scoring=Scoring(assessor=self.assessor, seconds=0.05, ceiling_usd=0.01),
            seconds=self.seconds,
            clock=Clock(),
        )
        await shadow.open()
        try:
            yield shadow
        finally:
            await shadow.close()

    async def outcome_of(self, offer: Offered = GIVEN) -> Shadowed:
        """What comes of a single shadow."""
        async with self.open() as shadow:
            shadow.offer(offer)
            shadowed: Shadowed = (await self.store.next())[1]
            return shadowed

    async def asked_after(self, *offers: Offered) -> list[str]:
        """Which of these questions the engine was asked. One more, which is always asked, tells when all is over."""
        async with self.open() as shadow:
            for offer in offers:
                shadow.offer(offer)
            self.stopped = frozenset()
            shadow.offer(offered("the last"))
            while (await self.store.next())[0] != "the last":
                pass
        return self.engine.asked[:-1]


async def test_the_other_engine_is_asked_the_same_and_both_answers_are_held_together() -> None:
    world = World()

    shadowed = await world.outcome_of(offered("q"))

    assert world.engine.asked == ["q"]
    assert (shadowed.outcome, shadowed.quality, shadowed.cost_usd) == (Outcome.ANSWERED, 0.6, 0.03)
    assert shadowed.overlap == pytest.approx(2 * 3 / (3 + 4))  # lactate, rises, sepsis; and plasma
    given, name, ceiling = world.store.begun[0]
    assert given == Given(question_id="q", engine=PAPERS, answered=True, quality=0.8, cost_usd=0.01, seconds=2.0)
    assert (name, ceiling) == (WEB, pytest.approx(0.06))


async def test_what_it_cost_is_booked_under_a_name_of_its_own() -> None:
    world = World()

    async with world.open() as shadow:
        shadow.offer(GIVEN)
        await world.store.next()

    assert world.ledger.booked == [((CALL,), SHADOW, NOON)]


async def test_it_has_its_own_time_whatever_was_left_of_the_persons() -> None:
    world = World(seconds=7.0)

    await world.outcome_of(replace(GIVEN, request=replace(GIVEN.request, seconds=0.1)))

    assert world.engine.seconds == [7.0]


@pytest.mark.parametrize("flag", [None, replace(ON, status=FlagStatus.DISABLED)], ids=["no flag", "switched off"])
async def test_nobody_is_asked_unless_the_flag_says_so(flag: FeatureFlag | None) -> None:
    world = World(flag=flag)

    async with world.open() as shadow:
        shadow.offer(GIVEN)
        await some_turns()

    assert world.store.begun == []


async def test_a_random_share_of_the_questions_is_asked() -> None:
    drawn = iter([0.1, 0.9, 0.2, 0.8, 0.0])
    flag = replace(ON, status=FlagStatus.GRADUAL_ROLLOUT, rollout_percentage=25.0, segmentation=Segmentation.RANDOM)
    world = World(flag=flag, chance=lambda: next(drawn))

    assert await world.asked_after(*map(offered, "abcd")) == ["a", "c"]


@pytest.mark.parametrize(
    "changes",
    [
        {"request": replace(GIVEN.request, free=True)},
        {"others": ()},
        {"others": ("nobody",)},
        {"engine": WEB},
    ],
    ids=["nothing may be spent on it", "no other engine", "an unknown engine", "the engine that answered"],
)
async def test_some_questions_have_no_shadow(changes: dict[str, Any]) -> None:
    assert await World().asked_after(replace(GIVEN, **changes)) == []


async def test_an_engine_that_was_stopped_is_not_asked() -> None:
    assert await World(stopped=frozenset({WEB})).asked_after(offered("q")) == []


async def test_an_engine_that_was_stopped_while_the_question_waited_is_not_asked() -> None:
    world = World(engine=FakeEngine(gate=asyncio.Event()))
    assert world.engine.gate is not None

    async with world.open() as shadow:
        shadow.offer(offered("first"))
        shadow.offer(offered("second"))
        await until(lambda: world.engine.asked == ["first"])
        world.stopped = frozenset({WEB})
        world.engine.gate.set()
        await world.store.next()
        await some_turns()

    assert world.engine.asked == ["first"]


async def test_an_engine_that_hangs_is_late_and_its_call_is_ended() -> None:
    world = World(engine=FakeEngine(gate=asyncio.Event()), seconds=0.02)

    shadowed = await world.outcome_of()

    assert (shadowed.outcome, shadowed.cost_usd, world.engine.closed) == (Outcome.LATE, 0.03, 1)
    assert shadowed.seconds >= 0.02


async def test_an_engine_that_cannot_be_ended_is_left_behind_and_counts_what_it_might_cost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shadows, "GRACE_SECONDS", 0.01)
    gate = asyncio.Event()
    world = World(engine=Stubborn(gate=gate), seconds=0.02)

    async with world.open() as shadow:
        shadow.offer(offered("first"))
        shadow.offer(offered("second"))
        first, second = await world.store.next(), await world.store.next()
        gate.set()

    assert [first[0], second[0]] == ["first", "second"]
    assert (first[1].outcome, first[1].cost_usd) == (Outcome.LATE, pytest.approx(0.06))


@pytest.mark.parametrize(
    "engine",
    [
        FakeEngine(error=EngineUnavailable("It is down.")),
        FakeEngine(error=KeyError("choices")),
        FakeEngine(error=PanicException("index out of bounds")),
        FakeEngine(error=asyncio.CancelledError()),
        FakeEngine(events=()),
        FakeEngine(events=("text",)),
        FakeEngine(events=(replace(OTHER, text=None),)),  # type: ignore[arg-type]
        NoAnswers(),
        NoPrice(),
    ],
    ids=lambda engine: f"{type(engine).__name__} {engine.error!r} {len(engine.events)}",
)
async def test_whatever_an_engine_does_wrong_is_a_failure_and_the_next_question_is_asked(engine: FakeEngine) -> None:
    world = World(engine=engine)

    async with world.open() as shadow:
        for name in "ab":
            shadow.offer(offered(name))
        found = [await world.store.next() for _ in "ab"]

    assert [(name, shadowed.outcome) for name, shadowed in found] == [("a", Outcome.FAILED), ("b", Outcome.FAILED)]


async def test_an_engine_that_never_stops_talking_is_late_and_keeps_nobody_waiting() -> None:
    world = World(engine=Endless(), seconds=0.05)

    async with world.open() as shadow:
        shadow.offer(GIVEN)
        turns = 0
        while world.store.ended.empty():
            await asyncio.sleep(0)
            turns += 1

    assert (await world.store.next())[1].outcome is Outcome.LATE
    assert turns > 20


async def test_what_is_too_dear_is_not_asked() -> None:
    world = World(store=FakeStore(left_usd=0.059))

    async with world.open() as shadow:
        shadow.offer(GIVEN)
        await until(lambda: bool(world.store.begun))
        await some_turns()

    assert world.engine.asked == []


async def test_an_answer_that_says_it_has_none_is_a_refusal_and_not_scored() -> None:
    world = World(engine=FakeEngine(events=(replace(OTHER, answered=False),)))

    shadowed = await world.outcome_of()

    assert (shadowed.outcome, shadowed.quality, shadowed.overlap) == (Outcome.REFUSED, None, None)
    assert world.assessor.asked == []


async def test_a_shadow_is_scored_also_when_the_person_got_no_answer() -> None:
    none = replace(GIVEN, draft=replace(DRAFT, answered=False), quality=None)

    shadowed = await World().outcome_of(none)

    assert (shadowed.quality, shadowed.overlap) == (0.6, None)


async def test_a_shadow_of_an_answer_that_was_not_scored_is_not_either() -> None:
    assert (await World().outcome_of(replace(GIVEN, quality=None))).quality is None


@pytest.mark.parametrize(
    "assessor",
    [FakeAssessor(hangs=True), FakeAssessor(error=NotAssessed("No text.")), FakeAssessor(error=KeyError("bug"))],
    ids=["hangs", "cannot", "bug"],
)
async def test_an_answer_that_cannot_be_scored_is_still_one(assessor: FakeAssessor) -> None:
    shadowed = await World(assessor=assessor).outcome_of()

    assert (shadowed.outcome, shadowed.quality) == (Outcome.ANSWERED, None)
    assert shadowed.overlap is not None


async def test_of_too_many_questions_the_oldest_are_dropped_and_counted() -> None:
    gate = asyncio.Event()
    world = World(engine=FakeEngine(gate=gate))

    async with world.open() as shadow:
        shadow.offer(offered("under way"))
        await until(lambda: world.engine.asked == ["under way"])
        for number in range(WAITING + 2):
            shadow.offer(offered(f"q{number}"))
        assert shadow.dropped == 2
        gate.set()
        names = [(await world.store.next())[0] for _ in range(WAITING + 1)]

    assert names == ["under way", *(f"q{number}" for number in range(2, WAITING + 2))]


async def test_closing_ends_the_call_under_way_books_its_cost_and_begins_no_other() -> None:
    world = World(engine=FakeEngine(gate=asyncio.Event()))

    async with world.open() as shadow:
        shadow.offer(offered("first"))
        shadow.offer(offered("second"))
        await until(lambda: world.engine.asked == ["first"])
        started = time.perf_counter()
    took = time.perf_counter() - started

    name, shadowed = await world.store.next()
    assert (name, shadowed.outcome, shadowed.cost_usd) == ("first", Outcome.UNFINISHED, 0.03)
    assert (world.engine.asked, world.engine.closed, len(world.ledger.booked)) == (["first"], 1, 1)
    assert took < 1


async def test_closing_leaves_behind_an_engine_that_cannot_be_ended_and_counts_what_it_might_cost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shadows, "GRACE_SECONDS", 0.01)
    gate = asyncio.Event()
    world = World(engine=Stubborn(gate=gate))

    async with world.open() as shadow:
        shadow.offer(GIVEN)
        await until(lambda: bool(world.engine.asked))
    gate.set()

    shadowed = (await world.store.next())[1]
    assert (shadowed.outcome, shadowed.cost_usd) == (Outcome.UNFINISHED, pytest.approx(0.06))


async def test_closing_gives_back_what_was_being_set_aside() -> None:
    gate = asyncio.Event()
    world = World(store=FakeStore(gate=gate))

    async with world.open() as shadow:
        shadow.offer(offered("q"))
        await until(lambda: bool(world.store.begun))
        gate.set()

    assert (await world.store.next())[1] == Shadowed(outcome=Outcome.UNFINISHED)
    assert world.engine.asked == []


async def test_closing_takes_a_second_at_most_also_when_the_database_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadows, "CLOSE_SECONDS", 0.02)
    gate = asyncio.Event()
    world = World(store=FakeStore(gate=gate))

    async with asyncio.timeout(2):
        async with world.open() as shadow:
            shadow.offer(GIVEN)
            await until(lambda: bool(world.store.begun))
    gate.set()
    await world.store.next()


async def test_closing_ends_also_when_what_is_under_way_cannot_be_stored() -> None:
    world = World(engine=FakeEngine(gate=asyncio.Event()))

    async with world.open() as shadow:
        shadow.offer(GIVEN)
        await until(lambda: bool(world.engine.asked))
        world.store.broken = True
        (worker,) = shadow._workers

    assert worker.done()


async def test_what_is_offered_after_the_end_is_passed_over() -> None:
    world = World()
    async with world.open() as shadow:
        pass

    shadow.offer(GIVEN)
    await some_turns()

    assert world.store.begun == []


async def test_without_its_store_nobody_is_asked_and_later_questions_are() -> None:
    world = World(store=FakeStore(broken=True))

    async with world.open() as shadow:
        shadow.offer(offered("first"))
        await until(lambda: world.store.refused == 1)
        world.store.broken = False
        shadow.offer(offered("second"))
        assert (await world.store.next())[0] == "second"

    assert world.engine.asked == ["second"]


async def test_offering_never_fails_and_a_bug_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with World().open() as shadow:
        shadow.offer(None)  # type: ignore[arg-type]

    assert [(record.levelno, record.message) for record in caplog.records if record.levelno >= logging.ERROR] == [
        (logging.ERROR, "shadow_offer_failed")
    ]


async def test_no_text_of_question_or_answers_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    question = replace(GIVEN.request.question, text="my secret")
    world = World()

    await world.outcome_of(replace(GIVEN, request=replace(GIVEN.request, question=question, search_text="my secret")))

    assert "secret" not in caplog.text
    assert "sepsis" not in caplog.text


async def test_offering_takes_far_less_than_a_millisecond_while_an_engine_hangs() -> None:
    world = World(engine=FakeEngine(gate=asyncio.Event()))
    took = []

    async with world.open() as shadow:
        for _ in range(300):
            started = time.perf_counter()
            shadow.offer(GIVEN)
            took.append(time.perf_counter() - started)

    assert statistics.median(took) < 0.001


async def some_turns() -> None:
    """Returns when all that can be done at once is done, be that with a few steps in between."""
    for _ in range(20):
        await asyncio.sleep(0)


async def until(reached: Callable[[], bool]) -> None:
    """Returns when it is so."""
    async with asyncio.timeout(5):
        while not reached():  # noqa: ASYNC110 (what is waited for knows nothing of events)
            await asyncio.sleep(0)


@pytest.fixture
async def url(tmp_path: Path) -> str:
    url = f"sqlite+aiosqlite:///{tmp_path / 'cmo.sqlite3'}"
    await migrate(url)
    return url


async def test_two_processes_together_never_spend_more_than_the_days_budget(url: str) -> None:
    databases = [Database(url), Database(url)]
    worlds = [
        World(
            engine=FakeEngine(ceiling=0.03),
            store=SqlShadow(database, daily_usd=0.20),
            ledger=SqlLedger(database),
        )
        for database in databases
    ]

    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(world.open()) for world in worlds]
        for number in range(10):
            for shadow in opened:
                shadow.offer(offered(f"q{number}"))
            await asyncio.sleep(0)
        stored = 20 - sum(shadow.dropped for shadow in opened)
        store = worlds[0].store
        async with asyncio.timeout(10):
            while len(await _ended(store)) < stored:  # noqa: ASYNC110 (a database tells nobody)
                await asyncio.sleep(0.01)

    outcomes = [pair.shadowed.outcome for pair in await store.pairs(NOON)]
    asked = sum(len(world.engine.asked) for world in worlds)
    assert asked == outcomes.count(Outcome.ANSWERED)
    assert 0 < 0.03 * asked == pytest.approx(await store.spent_usd(NOON))
    assert await store.spent_usd(NOON) <= 0.20
    assert outcomes.count(Outcome.TOO_DEAR) == stored - asked > 0
    for database in databases:
        await database.close()


async def _ended(store: SqlShadow) -> list[Outcome]:
    found = [pair.shadowed.outcome for pair in await store.pairs(NOON)]
    return [outcome for outcome in found if outcome is not Outcome.UNFINISHED]
