"""Many people asking the real server at once while it indexes: failures, waiting times, blocked loop, memory.

A copy of the papers is indexed, then two servers are started on it as processes of their own, on loopback:

1. the idle one: its resident memory after the start and after ten questions one after the other. Then some papers are
   changed, a run is started from the chat's own button, and everybody asks until everybody has asked all questions;
2. one whose index was made by another recipe, so that a new generation is built while everybody asks, and takes over.

Everybody is a socket.io client with a session and a cookie of its own, as a browser tab is. A failure is an error
message, no answer in time, or an answer that the ledger books otherwise or under a generation that never was. In the
third part the pipeline is asked in this process, beside an indexing run, to see each answer's generation itself.

    python -m benchmarks.load [--papers ../shared/papers] [--people 10] [--each 6]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import socketio  # type: ignore[import-untyped]
from rich.console import Console
from rich.table import Table

from benchmarks.loop_watch import NOTED_SECONDS, LoopWatch, Pause
from cmo.bootstrap.answering import open_application
from cmo.library.process import IndexingProcess
from cmo.settings import load_settings
from cmo.ui.services import Services
from cmo.values import Answer, Finished, Question

PROJECT = Path(__file__).resolve().parents[1]
PAPERS = PROJECT.parent / "shared" / "papers"
QUESTIONS = Path(__file__).with_name("evidence_questions.jsonl")

START_SECONDS = 60.0
ANSWER_SECONDS = 60.0
RUN_SECONDS = 300.0
LOOK_SECONDS = 0.05
BLOCKED_SECONDS = 0.1
"""The loop must never be kept from running for longer."""


class Failed(Exception):
    """Something that must not happen did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What one person got for one question. `failure` is "" when it is an answer or an honest refusal."""

    seconds: float
    text: str
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A papers folder and its storage, both free to be changed."""

    papers: Path
    storage: Path

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a process that serves or indexes it."""
        own = {
            "CMO_PAPERS_DIR": str(self.papers),
            "CMO_STORAGE_DIR": str(self.storage),
            "CMO_TRANSLATION": "off",
            # Every question is to be answered, not given an answer kept from before.
            "LIGHTRAG_RESPONSE_CACHING": "false",
        }
        return dict(os.environ) | own | {"PYTHONPATH": str(PROJECT)}

    def index(self) -> None:
        """Bring the index up to date and wait for it."""
        command = [sys.executable, "-m", "cmo.cli", "index", "--json"]
        subprocess.run(command, cwd=PROJECT, env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def serving(self) -> str:
        """The name of the generation that serves, "" when there is none."""
        pointer = self.storage / "CURRENT"
        return pointer.read_text(encoding="utf-8").strip() if pointer.exists() else ""

    def change(self, count: int) -> None:
        """Give the first `count` papers another content with the same text, as far as a PDF reader is concerned."""
        for paper in sorted(self.papers.glob("*.pdf"))[:count]:
            with paper.open("ab") as file:
                file.write(f"\n% {uuid.uuid4()}\n".encode())

    def age(self) -> None:
        """Make the serving generation look as if other passage rules had made it: the next run builds a new one."""
        name = self.serving()
        old = self.storage / "generations" / name
        aged = old.with_name(f"{name.partition('-')[0]}-00000000")
        with contextlib.closing(sqlite3.connect(old / "index.sqlite")) as database, database:
            (recipe,) = database.execute("SELECT value FROM meta WHERE key = 'recipe'").fetchone()
            changed = json.dumps(json.loads(recipe) | {"passages": "of long ago"})
            database.execute("UPDATE meta SET value = ? WHERE key = 'recipe'", [changed])
        old.rename(aged)
        (self.storage / "CURRENT").write_text(f"{aged.name}\n", encoding="utf-8")

    def booked(self) -> list[tuple[str, str]]:
        """Outcome and generation of every question in the ledger."""
        with contextlib.closing(sqlite3.connect(self.storage / "cmo.sqlite3")) as database:
            return list(database.execute("SELECT outcome, generation FROM questions ORDER BY id"))


@contextmanager
def library_of(papers: Path) -> Iterator[Library]:
    """A copy of the papers with an empty storage, gone in the end."""
    folder = Path(tempfile.mkdtemp(prefix="load-"))
    try:
        library = Library(papers=folder / "papers", storage=folder / "storage")
        library.papers.mkdir()
        for paper in sorted(papers.glob("*.pdf")):
            (library.papers / paper.name).write_bytes(paper.read_bytes())
        yield library
    finally:
        shutil.rmtree(folder)


@dataclass(slots=True)
class Server:
    """The real server in a process of its own."""

    library: Library
    process: asyncio.subprocess.Process
    url: str
    watched: Path
    log: Path

    @property
    def resident_megabytes(self) -> float:
        """Memory that is in RAM for the server's process alone, shared pages included; its children do not count."""
        return _kilobytes(self.process.pid, "Rss") / 1000

    def children(self) -> list[int]:
        """The processes it has started and which still run."""
        task = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        tasks = task.parent.parent.glob("*/children") if task.exists() else []
        return [int(child) for listed in tasks for child in listed.read_text().split()]

    async def pauses(self) -> tuple[list[float], list[Pause]]:
        """Every lag of its loop so far, and the long ones in full."""
        self.watched.unlink(missing_ok=True)
        self.process.send_signal(signal.SIGUSR1)
        await until(self.watched.exists)
        seen = json.loads(self.watched.read_text(encoding="utf-8"))
        return seen["lags"], [Pause(**pause) for pause in seen["pauses"]]

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> float:
        """End it; seconds until it was gone."""
        began = time.perf_counter()
        if self.process.returncode is None:
            self.process.send_signal(how)
            await asyncio.wait_for(self.process.wait(), START_SECONDS)
        return time.perf_counter() - began


@asynccontextmanager
async def serving(library: Library, *, app: str = "benchmarks/watched_app.py") -> AsyncIterator[Server]:
    """The server, ready; stopped in the end if it still runs."""
    port = _free_port()
    log = library.storage.parent / f"server-{port}.log"
    watched = library.storage.parent / f"loop-{port}.json"
    root = library.storage.parent / "chainlit"
    root.mkdir(exist_ok=True)
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "chainlit", "run", app, "-h", "--port", str(port)),
            cwd=PROJECT,
            env=library.environment | {"LOOP_WATCH_FILE": str(watched)},
            stdout=output,
            stderr=output,
        )
    server = Server(library=library, process=process, url=f"http://127.0.0.1:{port}", watched=watched, log=log)
    try:
        await _until_ready(server)
        yield server
    finally:
        await server.stop()


async def _until_ready(server: Server) -> None:
    async with aiohttp.ClientSession() as http, asyncio.timeout(START_SECONDS):
        while True:
            if server.process.returncode is not None:
                raise Failed(f"The server ended: {server.log.read_text(errors='replace')[-2000:]}")
            with contextlib.suppress(aiohttp.ClientConnectionError):
                async with http.get(f"{server.url}/health") as response:
                    if response.ok:
                        return
            await asyncio.sleep(LOOK_SECONDS)


class Person:
    """Somebody with the chat open in a browser tab."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = str(uuid.uuid4())
        self._cookie = ""
        self._socket: Any = socketio.AsyncClient(reconnection=False)
        self._messages: dict[str, dict[str, Any]] = {}
        self._sources: set[str] = set()
        self._awaited = ""
        self._over = asyncio.Event()
        for event in ("new_message", "update_message", "stream_start"):
            self._socket.on(event, self._message)
        self._socket.on("element", self._element)

    async def come(self) -> None:
        """Open the page, then the chat."""
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{self._url}/", headers={"Accept": "text/html"}) as page,
        ):
            page.raise_for_status()
            self._cookie = "; ".join(f"{name}={value.value}" for name, value in page.cookies.items())
        await self._socket.connect(
            self._url,
            socketio_path="/ws/socket.io",
            transports=["websocket"],
            headers={"Cookie": self._cookie, "Origin": self._url},
            auth={
                "clientType": "webapp",
                "sessionId": self._session,
                "threadId": "",
                "userEnv": "{}",
                "chatProfile": "",
            },
            wait_timeout=START_SECONDS,
        )
        self._awaited = "on_chat_start"
        await self._socket.emit("connection_successful")
        await asyncio.wait_for(self._over.wait(), START_SECONDS)

    async def ask(self, question: str) -> Reply:
        """Type a question and wait for its answer."""
        self._messages.clear()
        self._sources.clear()
        self._awaited = "on_message"
        self._over.clear()
        began = time.perf_counter()
        await self._socket.emit("client_message", {"message": _typed(question), "fileReferences": None})
        try:
            await asyncio.wait_for(self._over.wait(), ANSWER_SECONDS)
        except TimeoutError:
            return Reply(seconds=time.perf_counter() - began, text="", failure="no answer in time")
        return self._reply(time.perf_counter() - began)

    async def press(self, button: str) -> None:
        """Press a button of the chat."""
        action: dict[str, object] = {
            "name": button,
            "payload": {},
            "label": "",
            "tooltip": "",
            "id": str(uuid.uuid4()),
            "forId": None,
        }
        async with (
            aiohttp.ClientSession() as http,
            http.post(
                f"{self._url}/project/action",
                json={"sessionId": self._session, "action": action},
                headers={"Cookie": self._cookie, "Origin": self._url},
            ) as response,
        ):
            response.raise_for_status()

    async def leave(self) -> None:
        """Close the tab."""
        await self._socket.disconnect()

    def _reply(self, seconds: float) -> Reply:
        answers = [message for message in self._messages.values() if message["type"] == "assistant_message"]
        errors = [message["output"] for message in answers if message.get("isError")]
        finished = [message["output"] for message in answers if message["id"] in self._sources]
        failure = errors[0] if errors else "" if len(finished) == 1 else f"{len(finished)} finished answers"
        return Reply(seconds=seconds, text=finished[0] if finished else "", failure=failure)

    async def _message(self, message: dict[str, Any]) -> None:
        self._messages[message["id"]] = message
        # Chainlit wraps each handler in a run; its "task_end" also comes when nothing has ended.
        if message["type"] == "run" and message["name"] == self._awaited and message.get("end"):
            self._over.set()

    async def _element(self, element: dict[str, Any]) -> None:
        if element.get("name") == "CitedSources":
            self._sources.add(element["forId"])


def _typed(text: str) -> dict[str, object]:
    return {
        "threadId": "",
        "id": str(uuid.uuid4()),
        "name": "user",
        "type": "user_message",
        "output": text,
        "createdAt": datetime.now(UTC).isoformat(),
        "command": None,
        "modes": None,
        "metadata": {},
    }


@asynccontextmanager
async def people(server: Server, count: int) -> AsyncIterator[list[Person]]:
    """So many people with the chat open."""
    present = [Person(server.url) for _ in range(count)]
    try:
        await asyncio.gather(*(person.come() for person in present))
        yield present
    finally:
        await asyncio.gather(*(person.leave() for person in present), return_exceptions=True)


def questions() -> list[str]:
    """Real questions about the papers, in a fixed order."""
    lines = QUESTIONS.read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["question"] for line in lines if line.strip()]


async def all_ask(present: Sequence[Person], *, each: int, until: asyncio.Task[None] | None = None) -> list[Reply]:
    """Everybody asks `each` questions, no two alike, and goes on asking until the task is done when one is given."""
    supply = itertools.cycle(questions())
    replies: list[Reply] = []

    async def ask_on(person: Person) -> None:
        asked = 0
        while asked < each or (until is not None and not until.done()):
            replies.append(await person.ask(next(supply)))
            asked += 1

    await asyncio.gather(*(ask_on(person) for person in present))
    if until is not None:
        await until
    return replies


async def until(true: Callable[[], bool], *, seconds: float = START_SECONDS) -> None:
    """Wait for something that other processes bring about.

    Raises:
        TimeoutError: it has not come true in time.
    """
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110  # other processes set no event
            await asyncio.sleep(LOOK_SECONDS)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def run_is_over(server: Server) -> None:
    """Return when no indexing run is a child of the server."""
    await until(lambda: not server.children(), seconds=RUN_SECONDS)


@dataclass(slots=True)
class Report:
    """What came out of one part. `generations` counts the answers of each."""

    name: str
    replies: list[Reply]
    lags: list[float]
    pauses: list[Pause]
    generations: dict[str, int]
    wrong: list[str] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        """Everything that must not be."""
        return [*(reply.failure for reply in self.replies if reply.failure), *self.wrong]


async def measure_idle(server: Server) -> tuple[float, float]:
    """Resident megabytes after the start and after ten questions one after the other."""
    await run_is_over(server)
    await asyncio.sleep(1)
    before = server.resident_megabytes
    async with people(server, 1) as (person,):
        for question in questions()[:10]:
            reply = await person.ask(question)
            if reply.failure:
                raise Failed(reply.failure)
    await asyncio.sleep(1)
    return before, server.resident_megabytes


async def under_load(server: Server, name: str, *, crowd: int, each: int, button: str | None = None) -> Report:
    """Everybody asks while a run is under way; `button` starts it when it is not."""
    booked = len(server.library.booked()) if (server.library.storage / "cmo.sqlite3").exists() else 0
    known = {server.library.serving()}
    async with people(server, crowd) as present:
        if button is not None:
            await present[0].press(button)
        await until(lambda: bool(server.children()))
        replies = await all_ask(present, each=each, until=asyncio.create_task(run_is_over(server)))
        replies += await all_ask(present, each=1)
    known.add(server.library.serving())
    lags, pauses = await server.pauses()
    rows = server.library.booked()[booked:]
    generations: dict[str, int] = {}
    for _, generation in rows:
        generations[generation] = generations.get(generation, 0) + 1
    wrong = [f"booked as {outcome}" for outcome, _ in rows if outcome not in ("answered", "refused")]
    wrong += [f"unknown generation {generation!r}" for generation in generations if generation not in known]
    if len(rows) != len(replies):
        wrong.append(f"{len(replies)} questions asked, {len(rows)} booked")
    return Report(name=name, replies=replies, lags=lags, pauses=pauses, generations=generations, wrong=wrong)


async def in_process(library: Library, *, crowd: int) -> Report:
    """The pipeline asked by many on this loop, beside an indexing run, until the run is over."""
    settings = load_settings(library.environment, env_file=None)
    watch = LoopWatch()
    answers: list[tuple[float, Answer]] = []
    known = {library.serving()}
    services = Services(settings, open_application)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(services.close)
        application = await services.get()
        run = IndexingProcess.for_folders(papers=library.papers, storage=library.storage)
        await watch.start()
        await run.start()
        over = asyncio.create_task(run.wait())
        supply = itertools.cycle(questions())

        async def ask_on(name: str) -> None:
            while not over.done():
                began = time.perf_counter()
                question = Question(text=next(supply), user_id=name, thread_id=name, asked_at=datetime.now(UTC))
                async for event in application.pipeline.ask(question):
                    if isinstance(event, Finished):
                        answers.append((time.perf_counter() - began, event.answer))

        await asyncio.gather(*(ask_on(f"person-{number}") for number in range(crowd)), over)
        await watch.stop()
    known.add(library.serving())
    generations: dict[str, int] = {}
    for _, answer in answers:
        generations[answer.generation] = generations.get(answer.generation, 0) + 1
    return Report(
        name="in process",
        replies=[Reply(seconds=seconds, text=answer.text) for seconds, answer in answers],
        lags=watch.lags,
        pauses=watch.pauses,
        generations=generations,
        wrong=[*([run.error] if run.error else []), *(f"unknown {name!r}" for name in generations.keys() - known)],
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


async def measure(papers: Path, *, crowd: int, each: int) -> tuple[tuple[float, float], list[Report]]:
    with library_of(papers) as library:
        library.index()
        async with serving(library, app="app.py") as server:
            memory = await measure_idle(server)
        async with serving(library) as server:
            await run_is_over(server)
            library.change(5)
            small = await under_load(server, "5 papers changed", crowd=crowd, each=each, button="index_papers")
        library.age()
        async with serving(library) as server:
            new = await under_load(server, "new generation", crowd=crowd, each=each)
        library.age()
        return memory, [small, new, await in_process(library, crowd=crowd)]


def show(memory: tuple[float, float], reports: Sequence[Report]) -> None:
    out = Console(width=160)
    out.print(f"resident memory of the server: {memory[0]:.0f} MB idle, {memory[1]:.0f} MB after ten questions\n")
    lags = ("lag p99.9 ms", "longest ms", "without queueing ms")
    table = Table("part", "answers", "failures", "p50 s", "p95 s", *lags, box=None)
    for report in reports:
        seconds = [reply.seconds for reply in report.replies]
        figures = (statistics.median(seconds), percentile(seconds, 0.95))
        own = max((pause.own for pause in report.pauses), default=0.0)
        table.add_row(
            report.name,
            str(len(seconds)),
            str(len(report.failures)),
            *(f"{value:.2f}" for value in figures),
            *(f"{1000 * value:.0f}" for value in (percentile(report.lags, 0.999), max(report.lags), own)),
        )
    out.print(table)
    for report in reports:
        out.print(f"\n{report.name}: answers by generation {report.generations}")
        for failure in report.failures:
            out.print(f"  FAILED {failure}")
        longest = sorted(report.pauses, key=lambda pause: -pause.seconds)[:8]
        for pause in longest:
            out.print(
                f"  {1000 * pause.seconds:.0f} ms late, computing {1000 * pause.computed:.0f} ms, without a processor "
                f"{1000 * (pause.queued or 0):.0f} ms: {' < '.join(reversed(pause.stack[-5:])) or '?'}"
            )
    out.print(f"\nLags from {1000 * NOTED_SECONDS:.0f} ms on are listed, the eight longest of each part.")


def _kilobytes(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise Failed(f"/proc tells no {name} of {pid}")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--papers", type=Path, default=PAPERS)
    parser.add_argument("--people", type=int, default=10)
    parser.add_argument("--each", type=int, default=6, help="questions each person asks at least")
    arguments = parser.parse_args()
    if not arguments.papers.is_dir():
        sys.exit(f"{arguments.papers} is not there: give a folder of PDFs with --papers.")
    memory, reports = asyncio.run(measure(arguments.papers, crowd=arguments.people, each=arguments.each))
    show(memory, reports)
    blocked = any(pause.own > BLOCKED_SECONDS for report in reports for pause in report.pauses)
    sys.exit(1 if blocked or any(report.failures for report in reports) else 0)


if __name__ == "__main__":
    main()
