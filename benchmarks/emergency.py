"""How soon an emergency stop is obeyed, and a lifted one.

Processes with the whole application decide one question after the other, 50 ms apart, whether these go to the papers or
to the web; nobody is asked. Meanwhile the real commands `cmo emergency stop --engine lightrag` and `cmo emergency lift`
are run, with the database free and with somebody else writing to it all the time. Measured is the time until each
process has decided as it should, from the command's start and from its end: less than 0 is before its process was gone.
The aim is one second after the command's end, and no decision begun after it that does not obey.

    python -m benchmarks.emergency [--stops 5] [--processes 1 3]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.load import PROJECT, Failed, Library, until
from tests.faults.world import index
from tests.servers import FakeOpenAI, FakePerplexity

AIM_SECONDS = 1.0
HOME, OTHER = "lightrag", "perplexity"
WATCHED = 10
"""How many decisions of each process are looked at after each command."""

PROGRAM = PROJECT / "tests" / "soak" / "deciding.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a process has printed of a decision or an answer, which has no engine when nobody gave one.

    Times are seconds since 1970; text was first `shown` at 0 when there was none.
    """

    what: str
    engine: str
    began: float
    ended: float
    reason: str = ""
    shown: float = 0.0


class Decider:
    """A process that decides all the time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.decisions: list[Told] = []
        self.answers: list[Told] = []
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, environment: Mapping[str, str]) -> Decider:
        """One that has decided something.

        Raises:
            Failed: it ended before it had.
        """
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(PROGRAM), cwd=PROJECT, env=environment, stdin=pipe, stdout=pipe
        )
        decider = cls(process)
        try:
            await until(lambda: bool(decider.decisions) or process.returncode is not None)
        except BaseException:
            await decider.kill()
            raise
        if not decider.decisions:
            raise Failed(f"{PROGRAM.name} ended with {process.returncode}")
        return decider

    def ask(self, person: str) -> None:
        """Have a question of theirs asked."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{person}\n".encode())

    def begun_since(self, moment: float) -> int:
        """How many decisions were begun since then."""
        return sum(told.began > moment for told in self.decisions)

    def settled_on(self, engine: str, *, since: float) -> float:
        """When it had decided for this engine and for no other after that; infinity when it never has."""
        found = math.inf
        for told in reversed(self.decisions):
            if told.engine != engine or told.ended < since:
                break
            found = told.ended
        return found

    async def kill(self) -> None:
        """End it as nothing can resist."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            told = Told(**json.loads(line))
            (self.decisions if told.what == "decision" else self.answers).append(told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Obeyed:
    """How long each process took to obey a command, in seconds. `disobeyed` are decisions begun after its end."""

    from_start: tuple[float, ...]
    from_end: tuple[float, ...]
    disobeyed: int


@asynccontextmanager
async def served(library: Library) -> AsyncIterator[dict[str, str]]:
    """The environment of processes that everybody's questions take to the papers, and whose servers are fake ones."""
    async with FakeOpenAI() as model, FakePerplexity() as web:
        yield library.environment | {
            "OPENAI_BASE_URL": model.url,
            "OPENAI_API_KEY": "sk-fake",
            "PERPLEXITY_BASE_URL": web.url,
            "PERPLEXITY_API_KEY": "fake",
            "LIGHTRAG_ROLLOUT_PERCENTAGE": "100",
        }


@asynccontextmanager
async def deciders(environment: Mapping[str, str], count: int) -> AsyncIterator[list[Decider]]:
    """So many processes; whoever is in the list in the end is killed."""
    running: list[Decider] = []
    try:
        for _ in range(count):
            running.append(await Decider.start(environment))
        yield running
    finally:
        for each in running:
            await each.kill()


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Somebody else writes all the time."""
    with contextlib.closing(sqlite3.connect(database, timeout=30, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


async def command(library: Library, action: str, *options: str) -> tuple[float, float]:
    """Run `cmo emergency ACTION`; when it began and ended."""
    began = time.time()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cmo", "emergency", action, "--reason", "to try it", "--author", "ann", *options),
        cwd=PROJECT,
        env=library.environment,
        stdout=asyncio.subprocess.DEVNULL,
    )
    if await process.wait():
        raise Failed(f"`cmo emergency {action}` failed")
    return began, time.time()


async def stop(library: Library, running: Sequence[Decider]) -> Obeyed:
    """Stop the papers, and wait until nobody is led there."""
    return await _obeyed(await command(library, "stop", "--engine", HOME), running, OTHER)


async def lift(library: Library, running: Sequence[Decider]) -> Obeyed:
    """Lift the stop, and wait until people are led to the papers again."""
    return await _obeyed(await command(library, "lift"), running, HOME)


async def _obeyed(ran: tuple[float, float], running: Sequence[Decider], engine: str) -> Obeyed:
    began, ended = ran
    await until(lambda: all(each.begun_since(ended) >= WATCHED for each in running))
    moments = [each.settled_on(engine, since=began) for each in running]
    late = [told for each in running for told in each.decisions if told.began > ended and told.engine != engine]
    return Obeyed(
        from_start=tuple(moment - began for moment in moments),
        from_end=tuple(moment - ended for moment in moments),
        disobeyed=len(late),
    )


async def measure(
    library: Library, processes: int, stops: int, *, is_locked: bool
) -> tuple[list[Obeyed], list[Obeyed]]:
    """What became of the stops, and of lifting them."""
    stopped, lifted = [], []
    async with served(library) as environment, deciders(environment, processes) as running:
        with locked(library.storage / "cmo.sqlite3") if is_locked else contextlib.nullcontext():
            for _ in range(stops):
                stopped.append(await stop(library, running))
                lifted.append(await lift(library, running))
    return stopped, lifted


async def measure_all(counts: Sequence[int], stops: int) -> bool:
    """Print the figures; whether the aim is met."""
    table = Table(box=None, header_style="bold")
    for heading in ("processes", "database", "command"):
        table.add_column(heading)
    for heading in ("obeyed", "median s from start", "longest", "median s from end", "longest", "disobeyed"):
        table.add_column(heading, justify="right")
    is_met = True
    with tempfile.TemporaryDirectory(prefix="emergency-") as folder:
        await index(Path(folder))
        library = Library(papers=Path(folder, "papers"), storage=Path(folder, "storage"))
        for count in counts:
            for is_locked in (False, True):
                both = await measure(library, count, stops, is_locked=is_locked)
                for action, obeyed in zip(("stop", "lift"), both, strict=True):
                    starts = [seconds for each in obeyed for seconds in each.from_start]
                    ends = [seconds for each in obeyed for seconds in each.from_end]
                    disobeyed = sum(each.disobeyed for each in obeyed)
                    is_met = is_met and max(ends) <= AIM_SECONDS and not disobeyed
                    times = (f"{kind(of):.2f}" for of in (starts, ends) for kind in (statistics.median, max))
                    row = (str(count), "locked" if is_locked else "free", action, str(len(ends)))
                    table.add_row(*row, *times, str(disobeyed))
    Console(width=120).print(table)
    return is_met


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stops", type=int, default=5)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 3])
    arguments = parser.parse_args()
    is_met = asyncio.run(measure_all(arguments.processes, arguments.stops))
    print(f"aim of {AIM_SECONDS:g} s {'met' if is_met else 'MISSED'}")
    sys.exit(0 if is_met else 1)


if __name__ == "__main__":
    main()
