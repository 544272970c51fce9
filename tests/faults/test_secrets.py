"""A key never shows, whatever fails: the servers here repeat it in their refusals, as some gateways do."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from cmo import web
from cmo.errors import EngineUnavailable
from cmo.interfaces import LibraryView
from cmo.logs import LogLevel, configure_logging
from tests.faults.cells import PAPERS, WEB, WEB_ALONE, Setup, Worlds
from tests.faults.world import KEYS
from tests.servers import FakeOpenAI, FakePerplexity, Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")

TELLTALE = "canary"
"""In both keys, and nowhere else."""
TROUBLES = (Fault.UNAUTHORIZED, Fault.SERVER_ERROR, Fault.CUT_BEFORE_BYTE, Fault.MALFORMED_JSON, Fault.NONE)
TALKATIVE = ("openai", "httpx", "httpx2", "httpcore", "httpcore2", "cmo", "sqlalchemy", "aiosqlite")
"""Loggers that say much when they may."""
COMMANDS = (
    ("doctor", "--json"),
    ("status", "--json"),
    ("ask", "What does lactate mean in sepsis?", "--engine", "perplexity", "--json"),
    ("ask", "What does lactate mean in sepsis?", "--engine", "lightrag"),
)


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    names = (None, *TALKATIVE)
    before = [(logging.getLogger(name), logging.getLogger(name).level) for name in names]
    handlers = logging.getLogger().handlers[:]
    yield
    for logger, level in before:
        logger.setLevel(level)
    logging.getLogger().handlers[:] = handlers
    logging.captureWarnings(False)


async def ask_through_all_troubles(worlds: Worlds, setups: Sequence[Setup]) -> list[str]:
    """A question in each setup under each trouble; what people were told."""
    told = []
    for setup in setups:
        world = await worlds.of(setup)
        world.stream(setup.stream)
        for trouble in TROUBLES:
            for server in world.servers.values():
                server.always(trouble)
            got = await world.told(world.question(world.new_user(), choice=setup.choice))
            told += [got.notice, got.screen, *got.withdrawn, repr(got.answer)]
        for server in world.servers.values():
            server.always(Fault.NONE)
    return told


@pytest.mark.usefixtures("logging_as_it_was")
async def test_no_key_is_logged_or_told_at_level_debug(worlds: Worlds, capsys: pytest.CaptureFixture[str]) -> None:
    settings = (await worlds.of(PAPERS)).application.settings
    configure_logging(settings.model_copy(update={"log_level": LogLevel.DEBUG}))

    told = await ask_through_all_troubles(worlds, (PAPERS, *WEB, WEB_ALONE))

    written = capsys.readouterr()
    assert "perplexity_call_failed" in written.err
    assert "model_failed" in written.err
    assert TELLTALE not in written.err + written.out
    assert TELLTALE not in "".join(told)


@pytest.mark.usefixtures("logging_as_it_was")
async def test_no_key_is_logged_when_every_library_says_all_it_can_and_nothing_is_blacked_out(
    worlds: Worlds, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in TALKATIVE:
        caplog.set_level(logging.DEBUG, logger=name)

    await ask_through_all_troubles(worlds, (PAPERS, *WEB[:2]))

    assert any(record.name.startswith("http") for record in caplog.records)
    said = [f"{record.getMessage()} {record.__dict__}" for record in caplog.records]
    assert [line for line in said if TELLTALE in line] == []


async def test_no_key_stands_in_an_error_or_in_those_that_led_to_it(worlds: Worlds) -> None:
    world = await worlds.of(WEB_ALONE)
    for trouble in TROUBLES[:-1]:
        world.web.always(trouble)

        with pytest.raises(EngineUnavailable) as raised:
            async for _ in world.ask(world.question(world.new_user(), choice="perplexity")):
                pass

        assert TELLTALE not in "".join(traceback.format_exception(raised.value))
    world.web.always(Fault.NONE)


async def test_no_key_stands_in_the_representation_of_any_part(worlds: Worlds) -> None:
    application = (await worlds.of(PAPERS)).application
    parts = [application, *(getattr(application, field.name) for field in fields(application)), *application.engines]

    assert application.settings.openai_api_key is not None
    assert [part for part in parts if TELLTALE in f"{part!r} {part}"] == []
    assert TELLTALE not in application.settings.model_dump_json()


async def test_no_key_is_written_into_the_database(worlds: Worlds) -> None:
    world = await worlds.of(PAPERS)
    await ask_through_all_troubles(worlds, (PAPERS, WEB[0]))

    files = [file for file in world.database.parent.rglob("*") if file.is_file()]
    assert world.database in files
    assert [file for file in files if TELLTALE.encode() in file.read_bytes()] == []


async def test_the_sign_of_life_tells_no_key(worlds: Worlds) -> None:
    application = (await worlds.of(PAPERS)).application

    async def library() -> LibraryView:
        return application.library

    routes = web.routes(library, application.settings.papers_dir)
    with TestClient(Starlette(routes=routes)) as client:
        response = client.get("/health")

    assert response.status_code == 200
    assert TELLTALE not in f"{response.text} {response.headers}"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command[0]} {command[-1]}")
async def test_no_command_prints_a_key_when_both_servers_refuse_it(
    command: tuple[str, ...], library: Path, tmp_path: Path
) -> None:
    async with FakeOpenAI(key="another") as model, FakePerplexity(key="another") as search:
        printed, logged = await cmo(
            command,
            tmp_path,
            CMO_PAPERS_DIR=str(library / "papers"),
            CMO_STORAGE_DIR=str(library / "storage"),
            OPENAI_API_KEY=KEYS["openai"],
            OPENAI_BASE_URL=model.url,
            PERPLEXITY_API_KEY=KEYS["perplexity"],
            PERPLEXITY_BASE_URL=search.url,
        )

    assert TELLTALE not in printed + logged
    if command[0] == "ask":
        assert "refuses the key" in printed
    if command[-1] == "--json":
        assert "error" not in json.loads(printed)


@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "PERPLEXITY_API_KEY"])
async def test_a_key_that_no_header_can_carry_is_named_and_not_repeated(variable: str, tmp_path: Path) -> None:
    printed, logged = await cmo(("status", "--json"), tmp_path, **{variable: f"{TELLTALE}-with-ellipsis…"})

    assert variable in json.loads(printed)["error"]
    assert TELLTALE not in printed + logged


async def cmo(command: Sequence[str], folder: Path, **variables: str) -> tuple[str, str]:
    """What a command prints and logs with nothing set but these variables."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "XDG_CACHE_HOME") if name in os.environ}
    database = {"DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'cmo.sqlite3'}", "LOG_LEVEL": "DEBUG"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cmo", *command),
        cwd=folder,
        env=kept | database | variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, logged = await process.communicate()
    return printed.decode(), logged.decode()
