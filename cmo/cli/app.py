"""The commands put together.

Each is a module of its own and loaded when it is called: asking needs other libraries than indexing, and `cmo --help`
none of them.
"""

from __future__ import annotations

import importlib
import io
import sys
from types import MappingProxyType
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from cmo import __version__

COMMANDS = MappingProxyType(
    {
        "index": "Bring the index up to date with the papers folder.",
        "generations": "Show the indexes there are beside each other, and switch between them.",
        "ask": "Answer a question from the papers or the web, each sentence with its source.",
        "route": "Explain which engine a question would go to, rule by rule.",
        "retrieve": "Show the passages that fit a question best.",
        "export": "Export a conversation or an answer: each claim with its page and quote.",
        "feedback": "List what people thought of answers, the newest first.",
        "assess": "Score answers against their sources, sentence by sentence.",
        "metabolite": "Tell what a metabolite's name stands for.",
        "entities": "Find the named things in each text on stdin, with their accessions.",
        "detect": "Tell the language of each text on stdin.",
        "flags": "Show and change feature flags, each change with a reason.",
        "experiment": "Plan an experiment, run it, and tell what its observations say.",
        "rollout": "Bring a new engine to people, stage by stage, each change with a reason.",
        "shadow": "Compare answers that were given in the shadow with those that people got.",
        "simulate": "Try out on made-up questions what the rules of this program would do.",
        "emergency": "Take engines out of service at once, and put them back.",
        "status": "Show engines, circuit breakers and budgets as they stand now.",
        "costs": "Show what was spent, and what may still be.",
        "doctor": "Check what is configured, what works, and what to do.",
    }
)
"""What each command does, in the order of the help. The function of that name stands in the module of that name.

A command that has commands of its own has them in the module's `group`.
"""


class _Commands(TyperGroup):
    """Lists the commands without loading them."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        for name, about in COMMANDS.items():
            self.add_command(TyperCommand(name, help=about))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that is called, loaded."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, _load(name) if name and command else None, rest


app = typer.Typer(cls=_Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _load(name: str) -> Any:
    module = importlib.import_module(f"cmo.cli.{name}")
    if hasattr(module, "group"):
        return typer.main.get_command(module.group)
    single = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    single.command(name)(getattr(module, name))
    return typer.main.get_command(single)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cmo {__version__}")
        raise typer.Exit


@app.callback()
def _shared(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    """Ask your papers or the web: every claim of an answer can be checked on the page it comes from.

    Exit codes: 0 done, 1 failed, 2 wrong usage.
    """


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a character must not end the command.
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="cmo")
