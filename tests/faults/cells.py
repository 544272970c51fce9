"""The cells of the fault matrix: who is asked, how, and what goes wrong at the server; and how one cell is run.

Who should answer in a cell is said here, too; the rest of what is right is said in test_matrix.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.faults.world import QUESTION, Told, Trace, World, open_world
from tests.servers import Fault

HARMLESS = frozenset(
    {
        Fault.NONE,
        Fault.DELAY,
        Fault.SLOW_TOKENS,
        Fault.SPLIT,
        Fault.HUGE_LINE,
        Fault.UNKNOWN_EVENTS,
        Fault.INCOMPLETE,
        Fault.NO_SOURCES,
        Fault.STRAY_MARKERS,
    }
)
"""With these an engine answers itself, and is well."""

HANGING = frozenset({Fault.HANG_BEFORE_BYTE, Fault.HANG_BEFORE_TOKEN, Fault.HANG_AFTER_TOKEN})
PASSING = (
    Fault.CUT_BEFORE_BYTE,
    Fault.RATE_LIMIT,
    Fault.RATE_LIMIT_SECONDS,
    Fault.SERVER_ERROR,
    Fault.BAD_GATEWAY,
    Fault.UNAVAILABLE,
)
"""Before any text, and gone at the second attempt."""

SOME = (
    Fault.HANG_AFTER_TOKEN,
    Fault.CUT_MIDWAY,
    Fault.MALFORMED_JSON,
    Fault.RATE_LIMIT,
    Fault.SERVER_ERROR,
    Fault.UNAUTHORIZED,
    Fault.NO_CREDIT_402,
    Fault.FAILED_MIDWAY,
)
"""One of each kind, for the combinations that add little."""

FAULT_SECONDS = 0.2
SLOW_TOKEN_SECONDS = 0.005


class Who(StrEnum):
    """Who answers in the end."""

    ENGINE = "the engine"
    OTHER = "the other engine"
    SENTENCES = "sentences of the papers"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """An application and what is asked of it. `faulty` are the engines whose servers go wrong."""

    name: str
    choice: str
    faulty: tuple[str, ...]
    wire_format: str = "agent"
    stream: bool = True
    papers: bool = True
    web: bool = True
    follow_up: bool = False

    @property
    def world(self) -> tuple[str, bool, bool]:
        """What an application has to be opened anew for."""
        return self.wire_format, self.papers, self.web

    def answers(self, fault: Fault) -> Who:
        """Who should answer when this goes wrong."""
        if fault in HARMLESS or self.choice not in self.faulty:
            return Who.ENGINE
        if self.choice == "lightrag":
            return Who.SENTENCES
        if not self.papers:
            return Who.NOBODY
        return Who.SENTENCES if "lightrag" in self.faulty else Who.OTHER


PAPERS = Setup(name="papers", choice="lightrag", faulty=("lightrag",))
PAPERS_ALONE = Setup(name="papers-alone", choice="lightrag", faulty=("lightrag",), web=False)
WEB = tuple(
    Setup(
        name=f"web-{wire}-{'stream' if stream else 'whole'}",
        choice="perplexity",
        faulty=("perplexity",),
        wire_format=wire_format,
        stream=stream,
    )
    for wire, wire_format in (("agent", "agent"), ("chat", "chat_completions"))
    for stream in (True, False)
)
WEB_ALONE = Setup(name="web-alone", choice="perplexity", faulty=("perplexity",), papers=False)
BOTH = Setup(name="both", choice="perplexity", faulty=("perplexity", "lightrag"))
FOLLOW_UP = Setup(name="follow-up", choice="perplexity", faulty=("lightrag",), follow_up=True)
"""The model completes the question, in one body, and the web answers it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One question while one thing goes wrong; `once`: only for the first call."""

    setup: Setup
    fault: Fault
    once: bool = False

    @property
    def name(self) -> str:
        """What it is called in tables and reports."""
        return f"{self.setup.name} {self.fault.value}{' once' if self.once else ''}"

    @property
    def who(self) -> Who:
        """Who should answer."""
        return Who.ENGINE if self.once else self.setup.answers(self.fault)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a cell: what the person got, and what it left behind."""

    told: Told
    trace: Trace


def cells() -> Iterator[Cell]:
    """The matrix."""
    for setup in (PAPERS, *WEB):
        yield from (Cell(setup=setup, fault=fault) for fault in Fault)
        yield from (Cell(setup=setup, fault=fault, once=True) for fault in PASSING)
    for setup in (PAPERS_ALONE, WEB_ALONE, BOTH, FOLLOW_UP):
        yield from (Cell(setup=setup, fault=fault) for fault in SOME)


def further_cells() -> Iterator[Cell]:
    """The rest of the combinations."""
    rest = [fault for fault in Fault if fault not in SOME]
    for setup in (PAPERS_ALONE, WEB_ALONE, BOTH, FOLLOW_UP):
        yield from (Cell(setup=setup, fault=fault) for fault in rest)


async def run(cell: Cell, world: World) -> Outcome:
    """Ask one question in a world where this goes wrong."""
    setup = cell.setup
    world.stream(setup.stream)
    faulty = [world.servers[engine] for engine in setup.faulty]
    seconds = SLOW_TOKEN_SECONDS if cell.fault is Fault.SLOW_TOKENS else FAULT_SECONDS
    for server in faulty:
        if cell.once:
            server.then(cell.fault, seconds=seconds)
        else:
            server.always(cell.fault, seconds=seconds)
    mark = world.mark()
    user = world.new_user()
    history = ("What does glucose mean in sepsis?",) if setup.follow_up else ()
    text = "And lactate?" if setup.follow_up else QUESTION
    told = await world.told(world.question(user, text=text, choice=setup.choice, history=history))
    trace = await world.trace(user, mark)
    for server in faulty:
        server.always(Fault.NONE)
    return Outcome(told=told, trace=trace)


class Worlds:
    """The applications that the cells need, opened when they are needed first."""

    def __init__(self, library: Path, folder: Path, stack: AsyncExitStack) -> None:
        """`library` holds papers and index; databases go into `folder`."""
        self._library = library
        self._folder = folder
        self._stack = stack
        self._open: dict[tuple[str, bool, bool], World] = {}

    async def of(self, setup: Setup) -> World:
        """The application for a setup."""
        if setup.world not in self._open:
            self._open[setup.world] = await self._stack.enter_async_context(
                open_world(
                    self._library,
                    self._folder / f"{len(self._open)}.sqlite3",
                    wire_format=setup.wire_format,
                    papers=setup.papers,
                    web=setup.web,
                )
            )
        return self._open[setup.world]


@asynccontextmanager
async def open_worlds(library: Path, folder: Path) -> AsyncIterator[Worlds]:
    """Worlds over an index; all are closed in the end."""
    async with AsyncExitStack() as stack:
        yield Worlds(library, folder, stack)
