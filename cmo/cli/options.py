"""The options that all commands share, and the settings they lead to."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer

from cmo.errors import SettingsError
from cmo.logs import LogLevel, configure_logging
from cmo.settings import EngineChoice, Settings, load_settings

PapersOption = Annotated[
    Path | None,
    typer.Option("--papers", metavar="DIR", help="Folder of the papers.", show_default="the setting CMO_PAPERS_DIR"),
]
StorageOption = Annotated[
    Path | None,
    typer.Option("--storage", metavar="DIR", help="Folder of the index.", show_default="the setting CMO_STORAGE_DIR"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on stdout.")]


def _said(reason: str) -> str:
    if not reason.strip():
        raise typer.BadParameter("Say why, in a few words.")
    return reason


ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", callback=_said, help="Why, for the history.")]
AuthorOption = Annotated[
    str | None,
    typer.Option("--author", metavar="NAME", help="Who, for the history.", show_default="the system user's name"),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")]
QuestionArgument = Annotated[str | None, typer.Argument(metavar="QUESTION", help="The question.", show_default=False)]
BatchOption = Annotated[
    bool,
    typer.Option("--batch", help='Read JSON lines {"id", "question"} on stdin and print a JSON line for each.'),
]


EngineOption = Annotated[
    EngineChoice | None,
    typer.Option("--engine", help="The engine to ask.", show_default="the router decides"),
]
UserOption = Annotated[
    str, typer.Option("--user", metavar="ID", help="Whose question it is: for rollouts and budgets per person.")
]


def settings_for(*, papers: Path | None, storage: Path | None) -> Settings:
    """The settings with the command's folders in place of the configured ones; logging is set up by them.

    Raises:
        SettingsError: a setting is wrong, or the log file cannot be written.
    """
    given = {"papers_dir": papers, "storage_dir": storage}
    updates: dict[str, object] = {
        name: folder.expanduser().absolute() for name, folder in given.items() if folder is not None
    }
    settings = load_settings()
    if "log_level" not in settings.model_fields_set:
        updates["log_level"] = LogLevel.WARNING  # the events of one question would stand in the middle of its answer
    settings = settings.model_copy(update=updates)
    try:
        configure_logging(settings)
    except OSError as error:
        raise SettingsError(f'LOG_FILE is "{settings.log_file}". Allowed: a file that can be written.') from error
    return settings


def one_question(question: str | None, *, batch: bool) -> str | None:
    """The question of the command line, or None for a batch.

    Raises:
        typer.BadParameter: neither is given, or both are.
    """
    text = (question or "").strip()
    if batch == bool(text):
        raise typer.BadParameter("Give a QUESTION, or --batch and questions on stdin.")
    return None if batch else readable(text)


def readable(text: str) -> str:
    """The text with "?" in place of bytes that were no UTF-8, which nothing further down could store."""
    return text.encode("utf-8", "replace").decode("utf-8")


def author_or_user(author: str | None) -> str:
    """Who is the author of a change: whoever was named, else who runs the command."""
    return readable(author or system_user())


def system_user() -> str:
    """Who runs the command."""
    try:
        return getpass.getuser()
    except (KeyError, ImportError, OSError):
        return "unknown"  # a container may run under a number that has no name
