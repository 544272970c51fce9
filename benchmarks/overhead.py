"""What a question takes besides its engine: understanding, routing, breakers, budget, streaming, the ledger.

The application's own pipeline is opened on an index of the papers that come with it. Every question goes to the web,
with budgets set and no answer kept, so that it passes everything there is. A server in a process of its own plays
Perplexity and answers after a fixed time, in one piece or in fifty. The same requests are made by a plain HTTP client
in the same run; what questions take longer than its median is the overhead. The aims are 10 ms for the median and
50 ms for the 99th percentile, with 1, 10 and 50 questions at once. The check of the sentences comes after the answer is
on the screen and has a benchmark of its own (support), so it is switched off here.

A question takes some 13 ms of a processor, a third of it for the embedding that tells whether it asks for news, so how
many there are in a second matters more than how many are under way. The engine takes as long as real ones do.

    python -m benchmarks.overhead [--seconds 2] [--at-once 1 10 50]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import multiprocessing
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.load import PROJECT, Failed, library_of, questions
from cmo.bootstrap.answering import Application, open_application
from cmo.engines.perplexity import INSTRUCTIONS
from cmo.engines.perplexity_agent import AgentFormat
from cmo.engines.perplexity_wire import WebTask
from cmo.settings import load_settings
from cmo.values import Answer, Finished, Question
from tests.servers import FakePerplexity

AIM_P50_MS = 10.0
AIM_P99_MS = 50.0
PIECES = (1, 50)
WARM_UP = 5
"""So many questions before those that are measured."""
LEAST_QUESTIONS = 40
EACH = 8
"""Everybody asks so many questions, and all of them together at least LEAST_QUESTIONS."""
PLAIN_SHARE = 0.25
"""The plain client makes so many requests for each question: its times are much alike."""

Ask = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The times of one arrangement, in milliseconds: of the plain client, and of questions."""

    at_once: int
    pieces: int
    plain: Sequence[float]
    asked: Sequence[float]

    @property
    def overheads(self) -> list[float]:
        """What each question took longer than the plain client's median."""
        usual = statistics.median(self.plain)
        return [each - usual for each in self.asked]

    @property
    def p50(self) -> float:
        """The median overhead."""
        return statistics.median(self.overheads)

    @property
    def p99(self) -> float:
        """What 99 of 100 overheads stay below."""
        return _p99(self.overheads)

    @property
    def is_small(self) -> bool:
        """Whether the aims are met."""
        return self.p50 <= AIM_P50_MS and self.p99 <= AIM_P99_MS


async def measure(seconds: float, at_once: Sequence[int]) -> list[Measured]:
    """All arrangements."""
    results = []
    with library_of(PROJECT / "papers") as library:
        await asyncio.to_thread(library.index)
        for pieces in PIECES:
            with server_apart(pieces, seconds) as url:
                settings = load_settings(
                    {
                        **library.environment,
                        "PERPLEXITY_BASE_URL": url,
                        "PERPLEXITY_API_KEY": "sk-benchmark",
                        "LIGHTRAG_FORCE_USER_COHORT": "perplexity",
                        "LIGHTRAG_RESPONSE_CACHING": "false",
                        "LIGHTRAG_QUALITY_ASSESSMENT": "false",
                        "LIGHTRAG_DAILY_BUDGET": "1000",
                        "LIGHTRAG_MONTHLY_BUDGET": "10000",
                        "CMO_USER_DAILY_BUDGET": "1000",
                    },
                    env_file=None,
                )
                async with open_application(settings) as application, httpx.AsyncClient(timeout=30) as client:
                    await application.get_ready()
                    gc.freeze()  # as the chat does
                    plain, asked = plain_asker(client, url), asker(application)
                    await timed(asked, WARM_UP, WARM_UP, seconds=0)
                    for crowd in at_once:
                        count = max(LEAST_QUESTIONS, EACH * crowd)
                        results.append(
                            Measured(
                                at_once=crowd,
                                pieces=pieces,
                                plain=await timed(plain, int(PLAIN_SHARE * count), crowd, seconds=seconds),
                                asked=await timed(asked, count, crowd, seconds=seconds),
                            )
                        )
    return results


def asker(application: Application) -> Ask:
    """Asks the application; each question comes from another person."""
    number = itertools.count()

    async def ask(text: str) -> None:
        person = f"person-{next(number)}"
        question = Question(text=text, user_id=person, thread_id=person, asked_at=datetime.now(UTC))
        answer: Answer | None = None
        async for event in application.pipeline.ask(question):
            if isinstance(event, Finished):
                answer = event.answer
        if answer is None or answer.engine != "perplexity":
            raise Failed(f"Another engine answered: {answer}")

    return ask


def plain_asker(client: httpx.AsyncClient, url: str) -> Ask:
    """Asks the server, and does nothing with what comes."""
    wire = AgentFormat()

    async def ask(text: str) -> None:
        task = WebTask(
            question=text,
            instructions=INSTRUCTIONS,
            model=wire.default_model,
            domains=(),
            recency="",
            search_context="medium",
            max_output_tokens=1_500,
            max_steps=2,
            stream=True,
        )
        async with client.stream("POST", f"{url}{wire.path}", json=wire.body(task)) as response:
            response.raise_for_status()
            async for _ in response.aiter_bytes():
                pass

    return ask


async def timed(ask: Ask, count: int, at_once: int, *, seconds: float) -> list[float]:
    """Milliseconds of each of `count` questions; `at_once` people ask one after another, spread over `seconds`."""
    supply = (f"{text} ({number})" for number, text in enumerate(itertools.cycle(questions())))
    left = iter(range(count))
    times: list[float] = []

    async def keep_asking(person: int) -> None:
        await asyncio.sleep(seconds * person / at_once)
        for _ in left:
            started = time.perf_counter()
            await ask(next(supply))
            times.append(1000 * (time.perf_counter() - started))

    await asyncio.gather(*(keep_asking(person) for person in range(at_once)))
    return times


@contextmanager
def server_apart(pieces: int, seconds: float) -> Iterator[str]:
    """The address of a server in a process of its own, so that its work is not taken for the application's."""
    spawning = multiprocessing.get_context("spawn")
    here, there = spawning.Pipe()
    process = spawning.Process(target=_serve, args=(there, pieces, seconds), daemon=True)
    process.start()
    there.close()
    try:
        yield here.recv()
    finally:
        here.send("end")
        process.join()


def _serve(pipe: Connection, pieces: int, seconds: float) -> None:
    async def serve() -> None:
        async with FakePerplexity(delay_seconds=seconds) as server:
            server.answer(" ".join(["Leucine"] * pieces))
            pipe.send(server.url)
            await asyncio.to_thread(pipe.recv)

    asyncio.run(serve())


def show(results: Sequence[Measured], seconds: float) -> None:
    table = Table(title=f"Milliseconds besides an engine that takes {1000 * seconds:.0f}")
    for column in ("pieces", "at once", "questions", "plain p50", "p99", "over p50", "over p99", "aim"):
        table.add_column(column, justify="right")
    for result in results:
        figures = (statistics.median(result.plain), _p99(result.plain), result.p50, result.p99)
        table.add_row(
            str(result.pieces),
            str(result.at_once),
            str(len(result.asked)),
            *(f"{figure:.1f}" for figure in figures),
            "met" if result.is_small else "missed",
        )
    Console().print(table)


def _p99(times: Sequence[float]) -> float:
    return statistics.quantiles(times, n=100, method="inclusive")[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="what the engine takes")
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 10, 50])
    options = parser.parse_args()
    results = asyncio.run(measure(options.seconds, options.at_once))
    show(results, options.seconds)
    sys.exit(0 if all(result.is_small for result in results) else 1)


if __name__ == "__main__":
    main()
