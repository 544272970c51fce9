"""An index that costs money is not made before somebody has agreed."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from cmo.bootstrap.indexing import IndexCost
from cmo.cli.app import app
from cmo.cli.index import _require_consent
from cmo.errors import LibraryError
from cmo.settings import Settings
from cmo.values import IndexReport

COST = IndexCost(passages=1_200, usd=0.84, changed=("embedding model",))
SENTENCE = (
    "The embedding model changed, so a new index is needed. Paid models make it: about 1,200 passages for about "
    "$0.84. Run `cmo index --yes`, or press Index papers in the chat, to go on."
)


@dataclass
class World:
    """A command whose next run costs `cost`. What was asked for and done is taken down."""

    papers: Path
    cost: IndexCost | None = COST
    looked: int = 0
    ran: int = 0

    async def cost_of_new_index(self, settings: Settings) -> IndexCost | None:
        self.looked += 1
        return self.cost

    @asynccontextmanager
    async def open_indexer(self, settings: Settings) -> AsyncIterator["World"]:
        yield self

    async def run(self, **_: Any) -> IndexReport:
        self.ran += 1
        return IndexReport(files=(), seconds=0.1, generation="g0001")

    def cmo_index(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, ["index", "--papers", str(self.papers), *arguments])


@dataclass
class FakeTerminal:
    """A person at a terminal, or a pipe, and what they say when asked."""

    is_there: bool = True
    agrees: bool = True
    asked: list[str] = field(default_factory=list)

    def isatty(self) -> bool:
        return self.is_there

    def confirm(self, text: str) -> bool:
        self.asked.append(text)
        return self.agrees


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.chdir(tmp_path)
    made = World(papers=tmp_path)
    monkeypatch.setattr("cmo.cli.index.cost_of_new_index", made.cost_of_new_index)
    monkeypatch.setattr("cmo.cli.index.open_indexer", made.open_indexer)
    return made


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> FakeTerminal:
    made = FakeTerminal()
    monkeypatch.setattr("sys.stdin", made)
    monkeypatch.setattr(typer, "confirm", made.confirm)
    return made


def test_where_nobody_can_be_asked_it_ends_with_what_it_would_cost_and_what_to_do(world: World) -> None:
    result = world.cmo_index()

    assert (result.exit_code, world.ran) == (1, 0)
    assert " ".join(result.stderr.split()) == SENTENCE


def test_programs_are_told_as_json(world: World) -> None:
    result = world.cmo_index("--json")

    assert (result.exit_code, world.ran) == (1, 0)
    assert json.loads(result.stdout) == {"error": SENTENCE}


def test_yes_goes_on_without_asking_what_it_costs(world: World) -> None:
    result = world.cmo_index("--yes", "--json")

    assert (result.exit_code, world.ran, world.looked) == (0, 1, 0)
    assert json.loads(result.stdout)["generation"] == "g0001"


def test_what_costs_nothing_needs_no_consent(world: World) -> None:
    world.cost = None

    assert (world.cmo_index().exit_code, world.ran) == (0, 1)


def test_a_missing_papers_folder_is_told_before_any_cost(world: World) -> None:
    world.papers = world.papers / "nowhere"

    assert (world.cmo_index().exit_code, world.looked) == (1, 0)


def test_a_person_at_a_terminal_is_asked_and_may_agree(terminal: FakeTerminal) -> None:
    _require_consent(COST, may_ask=True)

    assert terminal.asked == [f"{COST.words} Go on?"]


def test_a_person_who_does_not_agree_is_told_how_to_go_on_later(terminal: FakeTerminal) -> None:
    terminal.agrees = False

    with pytest.raises(LibraryError, match="cmo index --yes"):
        _require_consent(COST, may_ask=True)


def test_where_json_is_wanted_nobody_is_asked_even_at_a_terminal(terminal: FakeTerminal) -> None:
    with pytest.raises(LibraryError, match="cmo index --yes"):
        _require_consent(COST, may_ask=False)

    assert terminal.asked == []


def test_nobody_is_asked_about_nothing(terminal: FakeTerminal) -> None:
    _require_consent(None, may_ask=True)

    assert terminal.asked == []
