"""How fast one index takes over from another, and whether a question notices.

The papers that come with the project are indexed twice. While questions are searched without a pause, the real command
`cmo generations back` switches to and fro. Measured are the whole command, the change itself, the time until a question
is answered by the other index, and the longest question. The aim is a second for each, and no failed question.

    python -m benchmarks.generations [--switches 10]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from benchmarks.load import PROJECT, Library, library_of
from cmo.bootstrap.answering import open_application
from cmo.engines.papers import PapersRetriever
from cmo.errors import OracleError
from cmo.library.generations import current, generations
from cmo.library.succession import Action, Event, Succession
from cmo.settings import load_settings

AIM_SECONDS = 1.0
QUESTION = "How are samples kept until they are measured?"


@dataclass(slots=True)
class Measured:
    """What was measured, in seconds; `failed` are questions without an answer of both searches."""

    command: list[float] = field(default_factory=list)
    change: list[float] = field(default_factory=list)
    takeover: list[float] = field(default_factory=list)
    question: list[float] = field(default_factory=list)
    failed: int = 0

    @property
    def aim_met(self) -> bool:
        """Whether everything was fast enough, and no question failed."""
        longest = max(*self.command, *self.change, *self.takeover, *self.question)
        return longest < AIM_SECONDS and not self.failed


async def measure(library: Library, switches: int) -> Measured:
    settings = load_settings(library.environment, env_file=None)
    measured = Measured()
    async with open_application(settings) as application:
        await application.get_ready()
        asking = asyncio.create_task(_ask(application.retriever, measured))
        for _ in range(switches):
            await _switch_by_command(library, measured)
            await _answered_by(library.serving(), application.retriever, measured)
            await asyncio.to_thread(_switch_here, library, measured)
            await _answered_by(library.serving(), application.retriever, measured)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    return measured


async def _ask(retriever: PapersRetriever, measured: Measured) -> None:
    while True:
        begun = time.perf_counter()
        try:
            found = await retriever.retrieve(QUESTION, top_k=5)
            measured.failed += bool(found.degraded) or not found.passages
        except OracleError:
            measured.failed += 1
        measured.question.append(time.perf_counter() - begun)


async def _switch_by_command(library: Library, measured: Measured) -> None:
    begun = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cmo", "generations", "back", "--reason", "measuring", "--json"),
        cwd=PROJECT,
        env=library.environment,
        stdout=asyncio.subprocess.DEVNULL,
    )
    if await process.wait():
        sys.exit("`cmo generations back` failed")
    measured.command.append(time.perf_counter() - begun)


def _switch_here(library: Library, measured: Measured) -> None:
    begun = time.perf_counter()
    succession, serving = Succession(library.storage), current(library.storage)
    other = next(info for info in generations(library.storage) if info != serving)
    event = Event(
        action=Action.BACK,
        generation=other.name,
        before=library.serving(),
        author="benchmark",
        reason="measuring",
        at=datetime.now(UTC),
    )
    assert succession.take_over(other, event)
    measured.change.append(time.perf_counter() - begun)


async def _answered_by(name: str, retriever: PapersRetriever, measured: Measured) -> None:
    begun = time.perf_counter()
    found = await retriever.retrieve(QUESTION, top_k=5)
    assert found.generation == name
    measured.takeover.append(time.perf_counter() - begun)


def _print(measured: Measured) -> None:
    table = Table(box=None, header_style="bold")
    for name in ("", "number", "median ms", "longest ms"):
        table.add_column(name, justify="left" if not name else "right")
    rows: dict[str, Sequence[float]] = {
        "the command, whole": measured.command,
        "the change": measured.change,
        "first answer of the other": measured.takeover,
        "questions meanwhile": measured.question,
    }
    for name, times in rows.items():
        table.add_row(name, str(len(times)), f"{statistics.median(times) * 1e3:.1f}", f"{max(times) * 1e3:.1f}")
    out = Console(width=100)
    out.print(table)
    out.print(
        f"failed questions: {measured.failed}; aim of {AIM_SECONDS:g} s {'met' if measured.aim_met else 'MISSED'}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generations", description=__doc__.split("\n")[0])
    parser.add_argument("--switches", type=int, default=10, help="pairs of switches, to and fro (default: 10)")
    switches = parser.parse_args().switches
    with library_of(PROJECT / "papers") as library:
        library.index()
        library.age()
        library.index()
        measured = asyncio.run(measure(library, switches))
    _print(measured)
    sys.exit(0 if measured.aim_met else 1)


if __name__ == "__main__":
    main()
