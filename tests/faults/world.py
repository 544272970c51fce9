"""The whole application between two fake servers, and what one question in it leaves behind.

Everything is the real thing but the servers: settings, index, SQLite, HTTP. It refuses to know what is right; that is
for the tests.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from cmo.bootstrap.answering import Application, open_application
from cmo.bootstrap.indexing import open_indexer
from cmo.engines.perplexity import PerplexityEngine
from cmo.errors import EngineUnavailable
from cmo.policy.breaker import BreakerState
from cmo.policy.budget import Scope
from cmo.settings import Settings
from cmo.values import Answer, Event, Finished, Question, TextPiece, TextWithdrawn
from tests.servers import FakeOpenAI, FakePerplexity
from tests.servers.fake import Charge, FakeServer

QUESTION = "What does a high blood lactate mean in sepsis?"
PAPERS = MappingProxyType(
    {
        "lactate.md": "In patients with sepsis a blood lactate above four millimoles per litre goes with a high "
        "mortality. Repeated measurement of lactate guides the treatment during the first hours on the ward.",
        "glucose.md": "Fasting plasma glucose above seven millimoles per litre is a criterion for the diagnosis of "
        "diabetes mellitus. After breakfast the plasma glucose came back to its level within two hours.",
        "citrate.md": "Urinary citrate was lower in stone formers than in controls. Tubes with sodium fluoride slow "
        "the loss of glucose without stopping it in the first hour.",
    }
)
PATIENCE_SECONDS = 3.0
"""How long an answer may take, ANSWER_TIMEOUT_SECONDS; of these an engine with another behind it has 60 %."""
KEYS = MappingProxyType({"openai": "Canary.7f3d9b2c-openai-canary", "perplexity": "Canary.51ae08d4-web-canary"})
"""They do not look like keys, so that nothing can be blacked out by their looks."""

ENGINES = ("lightrag", "perplexity")
SETTLING_SECONDS = 2.0
"""How long a task or a connection may take to end after its question did, on a busy machine."""


async def index(folder: Path) -> None:
    """Make a papers folder and its index in `folder`, as `cmo index` does."""
    settings = Settings(papers_dir=folder / "papers", storage_dir=folder / "storage")
    settings.papers_dir.mkdir()
    for name, text in PAPERS.items():
        (settings.papers_dir / name).write_text(text, encoding="utf-8")
    async with open_indexer(settings) as indexer:
        await indexer.run()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a person got: the text left on the screen, and an answer or else `error`, the sentence told in its place."""

    screen: str
    answer: Answer | None
    error: str
    withdrawn: tuple[str, ...]
    seconds: float

    @property
    def notice(self) -> str:
        """What they were told beside the text."""
        return self.error or (self.answer.notice if self.answer else None) or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedCall:
    """A row of the table of calls."""

    engine: str
    stage: str
    outcome: str
    tokens_in: int
    tokens_cached: int
    tokens_out: int
    microdollars: int
    estimated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What one server saw of a question."""

    requests: int
    unfinished: int
    abandoned: int
    charges: tuple[Charge, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What a breaker counted of a question."""

    calls: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Everything that one question left behind. Money is in microdollars; `spent` is what the budget holds."""

    outcomes: tuple[str, ...]
    calls: tuple[BookedCall, ...]
    question_microdollars: int
    spent: int
    reserved: int
    traffic: dict[str, Traffic]
    breakers: dict[str, Health]
    tasks: tuple[str, ...]


@dataclass(slots=True)
class _Mark:
    """Where things stood before a question."""

    tasks: set[asyncio.Task[Any]]
    servers: dict[str, tuple[int, int, int, int]]


@dataclass(slots=True)
class World:
    """One running application and its two servers. `model` serves the engine "lightrag", `web` is "perplexity"."""

    application: Application
    model: FakeOpenAI
    web: FakePerplexity
    database: Path
    _users: int = field(default=0)

    @property
    def servers(self) -> dict[str, FakeServer]:
        """The servers by the engine they belong to."""
        return {"lightrag": self.model, "perplexity": self.web}

    def new_user(self) -> str:
        """Somebody who has not asked anything yet."""
        self._users += 1
        return f"user-{self._users}"

    def question(
        self, user: str, *, choice: str | None = None, history: Sequence[str] = (), text: str = ""
    ) -> Question:
        """A question of theirs."""
        return Question(
            text=text or QUESTION,
            user_id=user,
            thread_id=user,
            asked_at=datetime.now(UTC),
            history=tuple(history),
            choice=choice,
        )

    def ask(self, question: Question) -> AsyncIterator[Event]:
        """Its events; to be closed by whoever takes them."""
        return self.application.pipeline.ask(question)

    async def told(self, question: Question, on_event: Callable[[Event], None] = lambda _: None) -> Told:
        """What the person who asked it got. `on_event` sees every event."""
        started = time.perf_counter()
        screen, withdrawn = "", list[str]()
        answer, error = None, ""
        try:
            async with aclosing(cast("Any", self.ask(question))) as events:
                async for event in events:
                    on_event(event)
                    match event:
                        case TextPiece():
                            screen += event.text
                        case TextWithdrawn():
                            withdrawn.append(screen)
                            screen = ""
                        case Finished():
                            answer = event.answer
        except EngineUnavailable as failure:
            error = str(failure)
        seconds = time.perf_counter() - started
        return Told(screen=screen, answer=answer, error=error, withdrawn=tuple(withdrawn), seconds=seconds)

    def stream(self, wanted: bool) -> None:
        """Have the web engine ask for streams or whole bodies: no setting does. It tries again as soon as it may."""
        for engine in self.application.engines:
            if isinstance(engine, PerplexityEngine):
                engine._stream = wanted
                engine._chance = lambda: 0.0

    def mark(self) -> _Mark:
        """Where things stand; the breakers are closed and forget what they counted."""
        for engine in self.application.engine_names:
            self.application.breakers.force(engine, BreakerState.CLOSED)
        return _Mark(tasks=asyncio.all_tasks(), servers={name: _counts(each) for name, each in self.servers.items()})

    async def trace(self, user: str, since: _Mark) -> Trace:
        """What the only question of this person left behind."""
        await self.application.breakers.flush()
        tasks = await self._tasks_left(since)
        traffic = {name: await _traffic(each, since.servers[name]) for name, each in self.servers.items()}
        (budget,) = [one for one in await self.application.budget.status(user) if one.period.scope is Scope.USER_DAY]
        outcomes, cost = self._questions(user)
        return Trace(
            outcomes=outcomes,
            calls=self.calls(user),
            question_microdollars=cost,
            spent=budget.spent,
            reserved=budget.reserved,
            traffic=traffic,
            breakers={
                view.engine: Health(calls=view.calls, failed=view.failed) for view in self.application.breakers.views()
            },
            tasks=tasks,
        )

    def calls(self, user: str | None = None) -> tuple[BookedCall, ...]:
        """The calls booked for one person, or all."""
        rows = self._rows(
            "SELECT engine, stage, outcome, tokens_in, tokens_cached, tokens_out, cost_microdollars, estimated "
            "FROM calls WHERE ?1 IS NULL OR user_id = ?1 ORDER BY id",
            user,
        )
        names = ("engine", "stage", "outcome", "tokens_in", "tokens_cached", "tokens_out", "microdollars", "estimated")
        return tuple(BookedCall(**dict(zip(names, row, strict=True))) for row in rows)

    def _questions(self, user: str) -> tuple[tuple[str, ...], int]:
        rows = self._rows("SELECT outcome, cost_microdollars FROM questions WHERE user_id = ?1", user)
        return tuple(row[0] for row in rows), sum(row[1] for row in rows)

    def _rows(self, statement: str, user: str | None) -> list[Any]:
        connection = sqlite3.connect(self.database)
        try:
            return connection.execute(statement, (user,)).fetchall()
        finally:
            connection.close()

    async def _tasks_left(self, since: _Mark) -> tuple[str, ...]:
        """Tasks of the application that outlive the question."""
        tasks = {task for task in asyncio.all_tasks() - since.tasks if not _is_a_servers(task)}
        pending = (await asyncio.wait(tasks, timeout=SETTLING_SECONDS))[1] if tasks else set()
        return tuple(sorted(str(task.get_coro()) for task in pending))


@asynccontextmanager
async def open_world(
    folder: Path,
    database: Path,
    *,
    papers: bool = True,
    web: bool = True,
    wire_format: str = "agent",
    seconds: float = PATIENCE_SECONDS,
    **more: Any,
) -> AsyncIterator[World]:
    """The application over the index in `folder`, or over nothing without `papers`; `more` are further settings.

    Without `papers` there is no model either. In the end no connection may be left.
    """
    async with FakeOpenAI(key=KEYS["openai"]) as model_server, FakePerplexity(key=KEYS["perplexity"]) as web_server:
        given: dict[str, Any] = {
            "papers_dir": folder / "papers",
            "storage_dir": folder / "storage" if papers else database.parent / "nothing",
            "database_url": f"sqlite+aiosqlite:///{database}",
            "answer_timeout_seconds": seconds,
            "response_cache": False,
            "daily_budget_usd": 1_000.0,
            "perplexity_wire_format": wire_format,
            "translation": "off",
        }
        if papers:
            given |= {"openai_base_url": model_server.url, "openai_api_key": KEYS["openai"]}
        if web:
            given |= {"perplexity_base_url": web_server.url, "perplexity_api_key": KEYS["perplexity"]}
        async with open_application(Settings(**given | more)) as application:
            await application.get_ready()
            yield World(application=application, model=model_server, web=web_server, database=database)
        for server in (model_server, web_server):
            await server.until(lambda server=server: server.connections == 0, seconds=SETTLING_SECONDS)  # type: ignore[misc]


def _counts(server: FakeServer) -> tuple[int, int, int, int]:
    return len(server.requests), len(server.statuses), server.abandoned, len(server.charges)


async def _traffic(server: FakeServer, before: tuple[int, int, int, int]) -> Traffic:
    with suppress(TimeoutError):  # what is unfinished then is told as such
        await server.until(lambda: len(server.statuses) == len(server.requests), seconds=SETTLING_SECONDS)
    requests, _, abandoned, charges = before
    return Traffic(
        requests=len(server.requests) - requests,
        unfinished=len(server.requests) - len(server.statuses),
        abandoned=server.abandoned - abandoned,
        charges=tuple(server.charges[charges:]),
    )


def _is_a_servers(task: asyncio.Task[Any]) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and Path(code.co_filename).parent.name == "servers"
