"""`cmo rollout`: how a new engine reaches people, planned, started, watched and taken back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from cmo.cli.options import (
    AuthorOption,
    DryRunOption,
    JsonOption,
    ReasonOption,
    StorageOption,
    settings_for,
)
from cmo.cli.output import errors_as_sentences, out, print_json, say
from cmo.cli.records import authorship, changed_records, from_records, refuse_written_flags
from cmo.cli.rollout_options import PlanOptions, takes_plan
from cmo.cli.rollout_views import (
    event_as_json,
    events_table,
    plan_as_json,
    print_plan,
    print_standing,
    standing_as_json,
    standing_in,
    tell,
)
from cmo.errors import OracleError
from cmo.policy.rollout import Event
from cmo.settings import Settings
from cmo.storage.database import Database
from cmo.storage.emergency import EmergencyFile
from cmo.storage.rollouts import ENGINE, Action, Rollout, SqlRollouts

MOST_EVENTS = 200
"""The history shows so many at most."""

MOST_ROLLOUTS = 2**63 - 1
"""The largest number that the database knows."""

group = typer.Typer(add_completion=False, rich_markup_mode="markdown", no_args_is_help=True)


@group.callback()
def rollout() -> None:
    """Bring a new engine to people, stage by stage, each change with a reason.

    docs/rollouts.md tells how stages end and what rolls back. `cmo simulate rollout` tries a plan out.
    """


@group.command()
@takes_plan
def plan(options: PlanOptions, as_json: JsonOption = False) -> None:
    """Show the stages of a rollout: shares, earliest times, answers needed, and what holds it or rolls it back.

    With --json it can be given to `cmo rollout start --plan` and `cmo simulate rollout --plan`.
    """
    with errors_as_sentences(as_json=as_json):
        made = options.made()
    if as_json:
        print_json(plan_as_json(made))
    else:
        print_plan(made)


@group.command()
@takes_plan
def start(
    options: PlanOptions,
    reason: ReasonOption,
    author: AuthorOption = None,
    dry_run: DryRunOption = False,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start a rollout: its first share is in force within 5 seconds, and the running application moves it on.

    It takes the options of `cmo rollout plan`, which shows what they make.
    """
    with errors_as_sentences(as_json=as_json):
        made, by, settings = options.made(), authorship(author, reason), settings_for(papers=None, storage=storage)
        _refuse_stopped(settings)
        begun = _change(settings, dry_run, lambda store: store.start(made, by))
    tell(begun, dry_run=dry_run, as_json=as_json)


@group.command()
def status(storage: StorageOption = None, as_json: JsonOption = False) -> None:
    """Show where the rollout stands, what its gates say, what comes next, and whether anybody is looking at it."""
    with errors_as_sentences(as_json=as_json):
        standing = from_records(settings_for(papers=None, storage=storage), standing_in)
    if as_json:
        print_json(standing_as_json(standing) if standing else None)
    elif standing is not None:
        print_standing(standing)
    else:
        say("There is no rollout yet: `cmo rollout start` starts one.")


@group.command()
def approve(
    reason: ReasonOption,
    author: AuthorOption = None,
    dry_run: DryRunOption = False,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a rollout that waits for approval go on to its next stage."""
    _do(Action.APPROVE, reason, author, storage, dry_run=dry_run, as_json=as_json)


@group.command()
def pause(
    reason: ReasonOption,
    author: AuthorOption = None,
    dry_run: DryRunOption = False,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep the rollout at its share; its guardrails go on."""
    _do(Action.PAUSE, reason, author, storage, dry_run=dry_run, as_json=as_json)


@group.command()
def resume(
    reason: ReasonOption,
    author: AuthorOption = None,
    dry_run: DryRunOption = False,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a paused rollout go on, with as much of its stage's time left as when it was paused."""
    _do(Action.RESUME, reason, author, storage, dry_run=dry_run, as_json=as_json)


@group.command()
def rollback(
    reason: ReasonOption,
    author: AuthorOption = None,
    dry_run: DryRunOption = False,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take the engine back from everybody, for good: another try is another rollout."""
    _do(Action.ROLL_BACK, reason, author, storage, dry_run=dry_run, as_json=as_json)


@group.command()
def history(
    number: Annotated[
        int | None,
        typer.Option(
            "--rollout", min=1, max=MOST_ROLLOUTS, metavar="NUMBER", help="Which one.", show_default="the latest"
        ),
    ] = None,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what happened to a rollout, who wanted it, and by which readings it moved, the newest first."""

    async def look(database: Database) -> tuple[Event, ...]:
        store = SqlRollouts(database)
        latest = await store.current()
        wanted = number or (latest.id if latest else 0)
        return await store.events(wanted, limit=MOST_EVENTS)

    with errors_as_sentences(as_json=as_json):
        events = from_records(settings_for(papers=None, storage=storage), look)
        if not events:
            raise OracleError("There is no such rollout. `cmo rollout start` starts one.")
    if as_json:
        print_json([event_as_json(event) for event in events])
    else:
        out.print(events_table(events))


def _do(action: Action, reason: str, author: str | None, storage: Path | None, *, dry_run: bool, as_json: bool) -> None:
    with errors_as_sentences(as_json=as_json):
        by, settings = authorship(author, reason), settings_for(papers=None, storage=storage)
        done = _change(settings, dry_run, lambda store: store.act(action, by))
    tell(done, dry_run=dry_run, as_json=as_json)


def _change(settings: Settings, dry_run: bool, change: Callable[[SqlRollouts], Awaitable[Rollout]]) -> Rollout:
    refuse_written_flags(settings)
    return changed_records(settings, lambda database: change(SqlRollouts(database, trial=dry_run)), dry_run=dry_run)


def _refuse_stopped(settings: Settings) -> None:
    if ENGINE in EmergencyFile(settings.storage_dir, engines=(ENGINE,)).stopped():
        raise OracleError(f"The engine {ENGINE} is stopped. Put it back with `cmo emergency lift` first.")
