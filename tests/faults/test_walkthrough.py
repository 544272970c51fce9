"""The operator's walk-through, done: its commands on a running application, and what they print."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cmo.cli.app import app
from cmo.cli.output import out
from cmo.policy.assignment import bucket
from cmo.policy.flags import MAIN_ROLLOUT, FeatureFlag, flag_salt, within
from cmo.settings import Settings
from tests.faults.test_checked_answers import PAGE as WEB_PAGE
from tests.faults.test_checked_answers import SUPPORTED, UNFOUNDED, world
from tests.faults.world import World
from tests.servers.faults import Fault

PAGE = Path(__file__).parents[2] / "docs" / "walkthrough.md"
STEP = re.compile(
    r"<!-- people: (?P<people>.+?) -->|^```(?P<form>console|toml)(?: title=(?P<file>\S+))?\n(?P<block>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
SALT = Settings().hash_salt
QUESTIONS = itertools.cycle(
    [
        "What does a high blood lactate mean in sepsis?",
        "Does blood lactate go with mortality in sepsis?",
        "Which blood lactate goes with a high mortality?",
    ]
)
CHANCE = random.Random(5)
ANYTHING = "..."
"""Stands in the page for what differs each time: times, names of users."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command of the page and what it prints there."""

    line: str
    printed: str


def commands(block: str) -> Iterator[Command]:
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        line, _, printed = part.replace("\\\n", " ").partition("\n")
        yield Command(line=line, printed=printed)


def is_like(printed: str, expected: str) -> bool:
    """Whether a text is the expected one, whatever stands for "..." and however it is spaced.

    The third decimal depends on the processor that the embedding is calculated by.
    """
    pattern = re.escape(_rounded(expected)).replace(re.escape(ANYTHING), ".*?")
    return re.fullmatch(pattern, _rounded(printed)) is not None


def _rounded(text: str) -> str:
    return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", " ".join(text.split()))


async def run(command: Command, folder: Path) -> str:
    words = shlex.split(command.line)
    target = folder / words[words.index(">") + 1] if ">" in words else None
    assert words[0] == "cmo"
    arguments = words[1 : words.index(">")] if target else words[1:]
    done = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    assert done.exit_code == 0, f"$ {command.line}\n{done.output}"
    if target is not None:
        target.write_text(done.stdout, encoding="utf-8")
        return ""
    return done.stdout


async def let_people_ask(opened: World, crowd: Iterator[str], what: str) -> None:
    """As many of the people in the flag's share ask as the page says; the application looks before and after."""
    assert opened.application.rollouts is not None
    await opened.application.flags.refresh()
    await opened.application.rollouts.tick()
    for part in what.split(", "):
        number, outcome = part.split()
        if outcome == "fail":
            opened.model.always(Fault.SERVER_ERROR)
        else:
            opened.model.always(Fault.NONE)
        for _ in range(int(number)):
            user = next(user for user in crowd if is_in_share(opened, user))
            let_engines_vary(opened)
            asked = opened.question(user, text=next(QUESTIONS))
            assert (await opened.told(asked)).answer is not None
    await opened.application.rollouts.tick()


def let_engines_vary(opened: World) -> None:
    """Now and then an engine adds a sentence that its sources do not bear out, the web more often."""
    opened.model.answer(f"{SUPPORTED} [1]" if CHANCE.random() < 0.8 else f"{SUPPORTED} [1] {UNFOUNDED}")
    opened.web.answer(
        f"{SUPPORTED} [1]" if CHANCE.random() < 0.6 else f"{SUPPORTED} [1] {UNFOUNDED}", results=[WEB_PAGE]
    )


def is_in_share(opened: World, user: str) -> bool:
    flag = opened.application.flags.snapshot.flags.get(MAIN_ROLLOUT)
    share = flag.rollout_percentage if isinstance(flag, FeatureFlag) else 0.0
    return share == 0 or within(bucket(user, flag_salt(SALT, MAIN_ROLLOUT)), share)


async def test_the_operators_walk_through_goes_as_it_is_written(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(out, "width", 120)
    monkeypatch.setenv("CMO_STORAGE_DIR", str(library / "storage"))
    monkeypatch.setenv("DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path / 'cmo.sqlite3'}")
    crowd = (f"user-{number}" for number in itertools.count())
    given: dict[str, Any] = {"rollout_percentage": 0.0, "seconds": 30.0}
    done = 0
    async with world(library, tmp_path, **given) as opened:
        assert opened.application.rollouts is not None
        await opened.application.rollouts.close()  # from here on it looks when the page says so
        for step in STEP.finditer(PAGE.read_text(encoding="utf-8")):
            if step["people"]:
                await let_people_ask(opened, crowd, step["people"])
            elif step["form"] == "toml":
                (tmp_path / step["file"]).write_text(step["block"], encoding="utf-8")
            else:
                for command in commands(step["block"]):
                    printed = await run(command, tmp_path)
                    assert is_like(printed, command.printed), f"$ {command.line}\n{printed}"
                    done += 1
    assert done >= 10
