"""Two indexes seen, checked and switched from the command line; the index and its models are the real ones."""

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cmo.cli import index_checks
from cmo.cli.app import app
from cmo.library.generations import FOLDER, POINTER, current
from cmo.library.succession import HISTORY
from cmo.settings import Settings

TEXT = (
    "In patients with sepsis a blood lactate above four millimoles per litre goes with a high mortality. Repeated "
    "measurement of lactate guides the treatment during the first hours on the ward."
)
PAPERS = ("lactate.md", "citrate.md", "urea.md")


class Library:
    """A papers folder and its indexes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.papers, self.storage = folder / "papers", folder / "storage"

    def run(self, *arguments: str) -> Result:
        papers = ("--papers", str(self.papers)) if {"index", "switch", "check"} & set(arguments) else ()
        return CliRunner().invoke(app, [*arguments, *papers, "--storage", str(self.storage)])

    def generations(self, *arguments: str) -> Result:
        return self.run("generations", *arguments)

    def listed(self) -> dict[str, dict[str, Any]]:
        rows = json.loads(self.generations("list", "--json").stdout)
        return {row["name"].partition("-")[0]: row for row in rows}

    @property
    def serving(self) -> str:
        info = current(self.storage)
        assert info is not None
        return info.name.partition("-")[0]

    def history(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.storage / HISTORY).read_text().splitlines()]

    def age(self) -> None:
        """Make the serving index look as if other passage rules had made it, so that the next run makes another."""
        name = (self.storage / POINTER).read_text().strip()
        database = self.storage / FOLDER / name / "index.sqlite"
        with closing(sqlite3.connect(database)) as connection, connection:
            (recipe,) = connection.execute("SELECT value FROM meta WHERE key = 'recipe'").fetchone()
            aged = json.dumps(json.loads(recipe) | {"passages": "of long ago"})
            connection.execute("UPDATE meta SET value = ? WHERE key = 'recipe'", [aged])
        database.parent.rename(database.parent.with_name("g0001-00000000"))
        (self.storage / POINTER).write_text("g0001-00000000\n")
        (self.storage / HISTORY).unlink()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Two generations, the second of which has taken over by a run."""
    library = Library(tmp_path_factory.mktemp("library"))
    library.papers.mkdir()
    for name in PAPERS:
        (library.papers / name).write_text(TEXT.replace("lactate", name.removesuffix(".md")), encoding="utf-8")
    assert library.run("index").exit_code == 0
    library.age()
    assert library.run("index").exit_code == 0
    return library


@pytest.fixture
def library(made: Library, tmp_path: Path) -> Library:
    copy = Library(tmp_path / "copy")
    shutil.copytree(made.folder, copy.folder)
    return copy


def test_a_run_makes_a_second_index_that_takes_over_when_it_is_healthy(library: Library) -> None:
    rows = library.listed()

    assert (rows["g0001"]["states"], rows["g0002"]["states"]) == (["served before"], ["serving"])
    assert rows["g0002"]["checked"]["failed"] == []
    assert {(row["documents"], row["passages"], row["trouble"]) for row in rows.values()} == {(3, 3, None)}
    assert rows["g0001"]["recipe"]["passages"] == "of long ago"
    assert all(row["bytes"] > 10_000 for row in rows.values())
    assert [line["action"] for line in library.history()] == ["check", "index"]


def test_the_list_for_people_tells_what_differs(library: Library) -> None:
    told = library.generations("list").stdout

    assert "passages of long ago" in told
    assert "healthy" in told
    assert "minilm" not in told


def test_going_back_and_forth_is_told_of_with_reason_and_author(library: Library) -> None:
    assert library.generations("back", "--reason", "worse answers", "--author", "ann").exit_code == 0
    assert library.serving == "g0001"
    assert library.listed()["g0002"]["states"] == ["served before", "switched away from"]

    assert library.generations("back", "--reason", "they were not", "--author", "bob").exit_code == 0
    assert library.serving == "g0002"
    assert [(line["action"], line["author"], line["reason"]) for line in library.history()[-2:]] == [
        ("back", "ann", "worse answers"),
        ("back", "bob", "they were not"),
    ]


def test_the_next_run_does_not_undo_it_and_says_so(library: Library) -> None:
    library.generations("back", "--reason", "worse answers", "--author", "ann")

    report = json.loads(library.run("index", "--json").stdout)

    assert "ann switched away from g0002" in report["notices"][0]
    assert library.serving == "g0001"


async def test_the_doctor_does_not_send_for_a_run_then(library: Library) -> None:
    settings = Settings(papers_dir=library.papers, storage_dir=library.storage)
    library.generations("back", "--reason", "worse answers", "--author", "ann")

    advice = (await index_checks.recipe(settings)).advice

    assert "ann switched away from it (worse answers)" in advice
    assert "`cmo generations switch g0002-" in advice


def test_a_healthy_generation_is_switched_to(library: Library) -> None:
    result = library.generations("switch", "g0001", "--reason", "to compare", "--json")

    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["serving"].startswith("g0001")
    assert told["before"].startswith("g0002")
    assert library.serving == "g0001"


def test_one_that_is_not_healthy_is_switched_to_by_force_alone(library: Library) -> None:
    (database,) = library.storage.glob(f"{FOLDER}/g0001-*/index.sqlite")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE lr_chunks_vectors SET vector = zeroblob(length(vector))")

    refused = library.generations("switch", "g0001", "--reason", "to compare", "--json")
    assert refused.exit_code == 1
    assert library.serving == "g0002"
    failed = {check["name"] for check in json.loads(refused.stdout)["checks"] if not check["passed"]}
    assert failed == {"vectors", "questions"}
    assert set(library.listed()["g0001"]["checked"]["failed"]) == failed
    assert "by vectors 0 (3)" in library.generations("check", "g0001").stdout

    assert library.generations("switch", "g0001", "--reason", "to compare", "--force").exit_code == 0
    assert library.serving == "g0001"
    assert library.history()[-1]["forced"]


def test_a_check_changes_nothing_but_the_history(library: Library) -> None:
    result = library.generations("check", "g0002", "--json")

    assert (result.exit_code, json.loads(result.stdout)["healthy"], library.serving) == (0, True, "g0002")
    assert library.history()[-1]["action"] == "check"


@pytest.mark.parametrize("arguments", [("back",), ("switch", "g0001", "--force")], ids=" ".join)
def test_a_dry_run_changes_nothing(library: Library, arguments: tuple[str, ...]) -> None:
    before = library.history()

    result = library.generations(*arguments, "--reason", "to see", "--dry-run")

    assert result.exit_code == 0
    assert "Nothing is changed; would serve: g0001" in result.stdout
    assert (library.serving, library.history()) == ("g0002", before)


@pytest.mark.parametrize("arguments", [("back",), ("switch", "g0001")], ids=" ".join)
def test_a_reason_is_asked_for(library: Library, arguments: tuple[str, ...]) -> None:
    assert library.generations(*arguments).exit_code == 2
    assert library.serving == "g0002"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("switch", "g0007", "--reason", "x"), 'There is no generation "g0007"'),
        (("switch", "g0002", "--reason", "x"), "serves already"),
        (("check", "../.."), "There is no generation"),
    ],
    ids=["unknown", "serving", "no name"],
)
def test_what_cannot_be_done_is_said_in_a_sentence(library: Library, arguments: tuple[str, ...], told: str) -> None:
    result = library.generations(*arguments, "--json")

    assert result.exit_code == 1
    assert told in json.loads(result.stdout)["error"]


def test_when_what_served_before_is_gone_the_way_out_is_told(library: Library) -> None:
    for folder in library.storage.glob(f"{FOLDER}/g0001-*"):
        shutil.rmtree(folder)

    result = library.generations("back", "--reason", "worse answers", "--json")

    assert result.exit_code == 1
    assert "`cmo generations switch NAME`" in json.loads(result.stdout)["error"]


def test_a_damaged_generation_is_listed_with_its_trouble(library: Library) -> None:
    (database,) = library.storage.glob(f"{FOLDER}/g0001-*/index.sqlite")
    database.write_bytes(b"no database" * 1000)

    assert "index.sqlite" in library.listed()["g0001"]["trouble"]
    assert library.generations("back", "--reason", "x").exit_code == 1
    assert library.generations("switch", "g0001", "--reason", "x", "--force").exit_code == 1
    assert library.serving == "g0002"
    assert library.generations("list").exit_code == 0
    assert library.generations("check", "g0001").exit_code == 1


def test_what_is_no_generation_for_all_its_name_is_listed_with_its_trouble(library: Library) -> None:
    (library.storage / FOLDER / "g0007-12345678").touch()

    row = library.listed()["g0007"]
    assert (row["bytes"], "g0007" in row["trouble"]) == (0, True)


def test_without_an_index_the_list_says_what_to_do(tmp_path: Path) -> None:
    library = Library(tmp_path)

    assert "cmo index" in library.generations("list").stdout
    assert library.generations("list", "--json").stdout == "[]\n"
    assert library.generations("back", "--reason", "x").exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_nothing_heavy_is_loaded_for_going_back() -> None:
    heavy = ("lightrag", "chainlit", "onnxruntime", "openai", "sqlalchemy", "numpy")
    code = f"import sys; import cmo.cli.generations; print([name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert loaded.strip() == "[]"
