"""`cmo emergency`: engines taken out of service at once, and put back. Needs no database and loads next to nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from cmo.cli.options import (
    AuthorOption,
    DryRunOption,
    JsonOption,
    ReasonOption,
    StorageOption,
    author_or_user,
    readable,
    settings_for,
)
from cmo.cli.output import errors_as_sentences, print_json, say
from cmo.settings import EngineChoice
from cmo.storage.emergency import EmergencyFile, EmergencyStop

ENGINES = tuple(choice.value for choice in EngineChoice)

group = typer.Typer(add_completion=False, rich_markup_mode="markdown", no_args_is_help=True)


@group.callback()
def emergency() -> None:
    """Take engines out of service at once, and put them back.

    The next question obeys, in every process that uses the storage folder, also while the database is down and after a
    restart. Questions under way are not stopped.
    """


@group.command()
def stop(
    reason: ReasonOption,
    engine: Annotated[
        EngineChoice | None,
        typer.Option("--engine", help="The engine that is not to be asked any more.", show_default="all engines"),
    ] = None,
    author: AuthorOption = None,
    dry_run: DryRunOption = False,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take one engine, or all of them, out of service."""
    with errors_as_sentences(as_json=as_json):
        file = EmergencyFile(settings_for(papers=None, storage=storage).storage_dir, engines=ENGINES)
        engines = ENGINES if engine is None else (engine.value,)
        if dry_run:
            stopped = sorted(file.stopped() | set(engines))
            _tell(f"Nothing is changed; stopped would be: {', '.join(stopped)}.", {"engines": stopped}, as_json)
            return
        made = file.stop(engines, author=author_or_user(author), reason=readable(reason), at=datetime.now(UTC))
    _tell(f"Stopped: {', '.join(made.engines)}. `cmo emergency lift` puts them back.", _as_json(made), as_json)


@group.command()
def lift(
    reason: ReasonOption,
    author: AuthorOption = None,
    dry_run: DryRunOption = False,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put everything that was stopped back into service."""
    with errors_as_sentences(as_json=as_json):
        file = EmergencyFile(settings_for(papers=None, storage=storage).storage_dir, engines=ENGINES)
        found = file.current()
        if found is not None and not dry_run:
            file.lift(author=author_or_user(author), reason=readable(reason), at=datetime.now(UTC))
    if found is None:
        _tell("Nothing is stopped.", _as_json(None), as_json)
    else:
        begin = "Nothing is changed; in service again would be" if dry_run else "In service again"
        _tell(f"{begin}: {', '.join(found.engines)}.", {"lifted": list(found.engines)}, as_json)


@group.command()
def status(storage: StorageOption = None, as_json: JsonOption = False) -> None:
    """Tell what is stopped, since when, by whom and why."""
    with errors_as_sentences(as_json=as_json):
        found = EmergencyFile(settings_for(papers=None, storage=storage).storage_dir, engines=ENGINES).current()
    _tell(_words(found), _as_json(found), as_json)


def _words(found: EmergencyStop | None) -> str:
    if found is None:
        return "Nothing is stopped."
    if not found.readable or found.at is None:
        return "The file of the emergency stop cannot be understood, so everything is stopped. Stop anew, or lift it."
    engines = ", ".join(found.engines)
    return f"Stopped since {found.at:%Y-%m-%d %H:%M:%S} UTC by {found.author}: {engines}. Why: {found.reason}"


def _as_json(found: EmergencyStop | None) -> dict[str, object]:
    if found is None:
        return {"engines": []}
    at = found.at.isoformat() if found.at else None
    return {"engines": list(found.engines), "author": found.author, "reason": found.reason, "at": at}


def _tell(words: str, document: dict[str, object], as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        say(words)
