"""A process that decides one person's question after the other, and asks one for each line it is sent: `deciding.py`.

Its settings are in the environment. It prints a line of JSON for each decision and each answer, with the times between
which it was made (seconds since 1970). For each decision it is somebody else who wants to know.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import time
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import Any, cast

from cmo.bootstrap.answering import Application, open_application
from cmo.errors import OracleError
from cmo.settings import load_settings
from cmo.values import Finished, Question, TextPiece

PAUSE_SECONDS = 0.05
TEXT = "What does a high blood lactate mean in sepsis?"


def question(person: str) -> Question:
    return Question(text=TEXT, user_id=person, thread_id=person, asked_at=datetime.now(UTC))


def tell(what: str, began: float, **facts: str | float) -> None:
    print(json.dumps({"what": what, "began": began, "ended": time.time(), **facts}), flush=True)


async def decide(application: Application) -> None:
    for number in itertools.count():
        began = time.time()
        decision = await application.pipeline.decide(question(f"person-{number}"))
        tell("decision", began, engine=decision.engine or "", reason=decision.reason)
        await asyncio.sleep(PAUSE_SECONDS)


async def ask(application: Application, person: str) -> None:
    began, shown, engine = time.time(), 0.0, ""
    with suppress(OracleError):
        async with aclosing(cast("Any", application.pipeline.ask(question(person)))) as events:
            async for event in events:
                match event:
                    case TextPiece():
                        shown = shown or time.time()
                    case Finished():
                        engine = event.answer.engine
    tell("answer", began, shown=shown, engine=engine)


async def main() -> None:
    async with open_application(load_settings(os.environ, env_file=None)) as application:
        await application.get_ready()
        deciding = asyncio.create_task(decide(application))
        async with asyncio.TaskGroup() as asking:
            while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
                asking.create_task(ask(application, line))
        deciding.cancel()


if __name__ == "__main__":
    asyncio.run(main())
