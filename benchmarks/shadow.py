"""What offering a question to the shadow adds to the path of the person who asked it.

The flag is on, so every question is taken. Three engines in turn stand in the shadow: one that hangs until its time is
over, one that throws, and one that answers. Figures go into the application's own database in a temporary folder, log
lines nowhere, and after each offer the loop runs as it would between two questions. The aim is 1 ms for 99 of 100
offers. The slowest has whatever the collector of garbage, the database's thread and other programs did meanwhile in it.

    python -m benchmarks.shadow [--offers 2000]
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

from cmo.bootstrap.money import SystemClock
from cmo.dispatch.flags import Flags
from cmo.dispatch.flags_file import GivenFlags
from cmo.dispatch.shadow import Offered, Scoring, Shadow
from cmo.errors import NotAssessed
from cmo.interfaces import Book
from cmo.policy.shadow import SHADOW_MODE
from cmo.storage.database import Database, migrate
from cmo.storage.emergency import EmergencyFile
from cmo.storage.ledger import SqlLedger
from cmo.storage.shadow import SqlShadow
from cmo.values import Draft, EngineEvent, EngineRequest, Quality, Question

AIM_P99_MS = 1.0
PERSONS, OTHER = "lightrag", "perplexity"
SECONDS = 0.05
DRAFT = Draft(text="Plasma lactate rises in sepsis [1]. " * 40, answered=True, model="m", citations=())


class _Healthy:
    """Answers at once."""

    name = OTHER

    async def is_available(self) -> bool:
        return True

    async def version(self) -> str:
        return "1"

    def ceiling_usd(self, request: EngineRequest) -> float:
        return 0.0

    async def ask(self, request: EngineRequest, book: Book) -> AsyncIterator[EngineEvent]:
        yield DRAFT


class _Hanging(_Healthy):
    """Never answers."""

    async def ask(self, request: EngineRequest, book: Book) -> AsyncIterator[EngineEvent]:
        await asyncio.Event().wait()
        yield DRAFT


class _Throwing(_Healthy):
    """Has a bug."""

    def ask(self, request: EngineRequest, book: Book) -> AsyncIterator[EngineEvent]:
        raise KeyError("choices")


class _NoAssessor:
    """Scores nothing."""

    async def assess(self, question: Question, asked: str, draft: Draft, book: Book) -> Quality:
        raise NotAssessed("Nothing is assessed here.")


async def offers(make: Callable[[], _Healthy], count: int) -> list[float]:
    """How long each took, in milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite+aiosqlite:///{Path(folder, 'cmo.sqlite3').as_posix()}"
        await migrate(url)
        database, clock = Database(url), SystemClock()
        flags = Flags(GivenFlags((f"{SHADOW_MODE}=on",)), salt="s", clock=clock, chance=lambda: 0.5)
        await flags.refresh()
        shadow = Shadow(
            flags=flags,
            engines=(make(),),
            stopped=EmergencyFile(Path(folder), engines=(PERSONS, OTHER)).stopped,
            store=SqlShadow(database, daily_usd=1.0),
            ledger=SqlLedger(database),
            scoring=Scoring(assessor=_NoAssessor(), seconds=1.0, ceiling_usd=0.0),
            seconds=SECONDS,
            clock=clock,
        )
        await shadow.open()
        took = [await _offer(shadow) for _ in range(count)]
        await shadow.close()
        await database.close()
    return took


async def _offer(shadow: Shadow) -> float:
    question = Question(text="Why?", user_id="ann", thread_id="t", asked_at=datetime.now(UTC))
    offered = Offered(
        request=EngineRequest(question=question, search_text="Why?", seconds=1.0),
        engine=PERSONS,
        draft=DRAFT,
        quality=None,
        cost_usd=0.0,
        seconds=1.0,
        others=(OTHER,),
    )
    started = time.perf_counter()
    shadow.offer(offered)
    took = (time.perf_counter() - started) * 1_000
    await asyncio.sleep(0.001)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--offers", type=int, default=2_000)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    slow = False
    for make in (_Hanging, _Throwing, _Healthy):
        took = asyncio.run(offers(make, arguments.offers))
        p99 = statistics.quantiles(took, n=100)[98]
        slow = slow or p99 > AIM_P99_MS
        print(
            f"{make.__name__.strip('_').lower():8}: median {statistics.median(took):.3f} ms, p99 {p99:.3f} ms, ", end=""
        )
        print(f"slowest {max(took):.3f} ms")
    sys.exit(1 if slow else 0)


if __name__ == "__main__":
    main()
