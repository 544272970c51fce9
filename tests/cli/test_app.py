"""The commands put together: help, usage errors, and what each of them loads."""

import importlib
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from cmo import __version__
from cmo.cli.app import COMMANDS, app

USAGE = 2
WITHOUT_PAPERS = frozenset(
    "metabolite entities detect assess flags experiment rollout shadow simulate emergency generations".split()
)
"""Commands about names, about texts on stdin, or about no papers at all."""


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


def loaded_by(module: str) -> set[str]:
    """The top-level packages that importing a module loads, in a Python of its own."""
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_help_lists_every_command_with_what_it_does() -> None:
    code, output = run("--help")

    assert code == 0
    assert all(name in output for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_the_command_says_of_itself(name: str) -> None:
    command = getattr(importlib.import_module(f"cmo.cli.{name}"), name)

    assert command.__doc__.split("\n")[0] == COMMANDS[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    code, output = run(name, "--help")

    assert code == 0
    assert COMMANDS[name][:30] in output


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in WITHOUT_PAPERS])
def test_every_command_about_papers_knows_the_folders_and_json(name: str) -> None:
    _, output = run(name, "--help")

    assert all(option in output for option in ("--papers", "--storage", "--json"))


def test_the_version_is_printed() -> None:
    assert run("--version") == (0, f"cmo {__version__}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("nothing",),
        ("ask",),
        ("ask", "   "),
        ("ask", "What?", "--batch"),
        ("ask", "What?", "--papers"),
        ("ask", "What?", "more"),
        ("retrieve",),
        ("retrieve", "What?", "--top-k", "0"),
        ("retrieve", "What?", "--top-k", "many"),
        ("index", "--unknown"),
        ("doctor", "what"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments)[0] == USAGE


def test_a_mistyped_command_is_guessed() -> None:
    assert "index" in run("indx")[1]


@pytest.mark.parametrize("module", ["cmo", "cmo.cli"])
def test_it_runs_as_a_module_too(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, f"cmo {__version__}\n")


def test_help_loads_no_library_of_the_work() -> None:
    assert loaded_by("cmo.cli.app").isdisjoint({"numpy", "onnxruntime", "sqlalchemy", "lightrag", "chainlit"})


def test_indexing_does_not_wait_for_the_libraries_of_answering() -> None:
    assert loaded_by("cmo.cli.index").isdisjoint({"sqlalchemy", "alembic", "py3langid", "lightrag", "chainlit"})


def test_the_terminal_never_loads_the_chat() -> None:
    assert "chainlit" not in loaded_by("cmo.cli.ask")
