"""`cmo generations`: whole indexes beside each other, which of them serves, and switching between them.

Listing and going back load nothing heavy; only checking needs the models.
"""

from __future__ import annotations

import asyncio
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from cmo.cli.options import (
    AuthorOption,
    DryRunOption,
    JsonOption,
    PapersOption,
    ReasonOption,
    StorageOption,
    author_or_user,
    readable,
    settings_for,
)
from cmo.cli.output import complain, errors_as_sentences, out, print_json, printable, say
from cmo.errors import LibraryError
from cmo.library.generations import GenerationInfo, Recipe, current
from cmo.library.generations import generations as generations_in
from cmo.library.health import Health
from cmo.library.succession import Action, Event, Succession
from cmo.settings import Settings
from cmo.storage.manifest import Manifest
from cmo.values import PassageKind

group = typer.Typer(add_completion=False, rich_markup_mode="markdown", no_args_is_help=True)


@group.callback()
def generations() -> None:
    """Show the indexes there are beside each other, and switch between them.

    A change is in force with the next question, in every process; questions under way keep the index they began with.
    """


NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help='Its name, or the beginning up to "-".', show_default=False)
]


@group.command("list")
def list_generations(storage: StorageOption = None, as_json: JsonOption = False) -> None:
    """List the generations, with what they hold and how they stand."""
    with errors_as_sentences(as_json=as_json):
        rows = _rows(settings_for(papers=None, storage=storage).storage_dir)
    if as_json:
        print_json([_row_as_json(row) for row in rows])
    elif rows:
        out.print(_table(rows))
    else:
        say("There is no index yet: run `cmo index`.")


@group.command()
def check(
    name: NameArgument, papers: PapersOption = None, storage: StorageOption = None, as_json: JsonOption = False
) -> None:
    """Tell whether a generation is fit to take over from the serving one. Exit code 1 when it is not."""
    with errors_as_sentences(as_json=as_json):
        settings = settings_for(papers=papers, storage=storage)
        info = _named(settings.storage_dir, name)
        health = _examined(settings, info)
        Succession(settings.storage_dir).note(Event.of_check(health, author=author_or_user(None), at=datetime.now(UTC)))
    if as_json:
        print_json(_health_as_json(health))
    else:
        _tell_health(health)
    if not health.healthy:
        raise typer.Exit(1)


@group.command()
def switch(
    name: NameArgument,
    reason: ReasonOption,
    force: Annotated[bool, typer.Option("--force", help="Without checking whether it is fit to serve.")] = False,
    author: AuthorOption = None,
    dry_run: DryRunOption = False,
    papers: PapersOption = None,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a generation serve, once it is found healthy. Exit code 1 when it is not, and nothing is changed."""
    with errors_as_sentences(as_json=as_json):
        settings = settings_for(papers=papers, storage=storage)
        info, serving = _named(settings.storage_dir, name), current(settings.storage_dir)
        if info == serving:
            raise LibraryError(f"{info.name} serves already.")
        health = None if force else _examined(settings, info)
        if health is not None and not health.healthy:
            _refuse(settings.storage_dir, health, author, dry_run=dry_run, as_json=as_json)
        event = _event(Action.SWITCH, info, serving, author, reason, forced=force)
        _change(settings.storage_dir, info, event, dry_run=dry_run)
    _tell_change(event, dry_run=dry_run, as_json=as_json)


@group.command()
def back(
    reason: ReasonOption,
    author: AuthorOption = None,
    dry_run: DryRunOption = False,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let the generation serve again that served before, at once and unchecked."""
    with errors_as_sentences(as_json=as_json):
        folder = settings_for(papers=None, storage=storage).storage_dir
        info, serving = _previous(folder), current(folder)
        event = _event(Action.BACK, info, serving, author, reason)
        _change(folder, info, event, dry_run=dry_run)
    _tell_change(event, dry_run=dry_run, as_json=as_json)


def _named(storage: Path, name: str) -> GenerationInfo:
    found = [info for info in generations_in(storage) if name in (info.name, info.name.partition("-")[0])]
    if not found:
        raise LibraryError(f'There is no generation "{name}" in {storage}: `cmo generations list` shows what there is.')
    return found[0]


def _previous(storage: Path) -> GenerationInfo:
    name = Succession(storage).previous()
    found = [info for info in generations_in(storage) if info.name == name]
    if not found:
        raise LibraryError(
            f"{name or 'What served before'} is not there: `cmo generations list` shows what is, "
            "`cmo generations switch NAME` lets one of them serve, and `cmo index` makes another."
        )
    return found[0]


def _examined(settings: Settings, info: GenerationInfo) -> Health:
    # A second of importing, which going back must not wait for.
    from cmo.bootstrap.indexing import open_gate

    async def examine() -> Health:
        serving = current(settings.storage_dir)
        async with open_gate(settings) as gate:
            return await gate.examine(info, serving if serving != info else None)

    return asyncio.run(examine())


def _refuse(storage: Path, health: Health, author: str | None, *, dry_run: bool, as_json: bool) -> None:
    if not dry_run:
        Succession(storage).note(Event.of_check(health, author=author_or_user(author), at=datetime.now(UTC)))
    if as_json:
        print_json({"error": f"{health.generation} is not healthy.", **_health_as_json(health)})
    else:
        _tell_health(health)
        complain(
            f"Nothing is changed. `cmo generations switch {health.generation} --force` lets it serve all the same."
        )
    raise typer.Exit(1)


def _change(storage: Path, info: GenerationInfo, event: Event, *, dry_run: bool) -> None:
    # Of another version of the program, or damaged, it would leave every question unanswered: force does not help it.
    Manifest(info.database).close()
    if not dry_run and not Succession(storage).take_over(info, event):
        raise LibraryError("Another generation took over meanwhile: look at `cmo generations list`, and try again.")


def _event(
    action: Action,
    info: GenerationInfo,
    serving: GenerationInfo | None,
    author: str | None,
    reason: str,
    *,
    forced: bool = False,
) -> Event:
    return Event(
        action=action,
        generation=info.name,
        before=serving.name if serving is not None else "",
        author=author_or_user(author),
        reason=readable(reason),
        at=datetime.now(UTC),
        forced=forced,
    )


# How things are shown.


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One generation as it is listed; `trouble` is why nothing is known of it."""

    info: GenerationInfo
    bytes: int
    states: tuple[str, ...]
    checked: Event | None
    recipe: Recipe | None = None
    documents: int = 0
    passages: int = 0
    trouble: str = ""


def _rows(storage: Path) -> list[_Row]:
    succession, serving = Succession(storage), current(storage)
    return [_row(info, _states(info, serving, succession), succession) for info in generations_in(storage)]


def _states(info: GenerationInfo, serving: GenerationInfo | None, succession: Succession) -> tuple[str, ...]:
    facts = {
        "serving": info == serving,
        "served before": info.name == succession.previous(),
        "switched away from": info != serving and succession.left(info.name) is not None,
    }
    return tuple(state for state, holds in facts.items() if holds)


def _row(info: GenerationInfo, states: tuple[str, ...], succession: Succession) -> _Row:
    size = _bytes(info.folder)
    checked = succession.last_check(info.name)
    try:
        with closing(Manifest(info.database)) as manifest:
            chunks = manifest.chunk_ids(PassageKind.BODY)
            documents, recipe = len(manifest.documents()), _recipe(manifest)
    except LibraryError as error:
        return _Row(info=info, bytes=size, states=states, checked=checked, trouble=str(error))
    passages = sum(map(len, chunks.values()))
    return _Row(
        info=info,
        bytes=size,
        states=states,
        checked=checked,
        recipe=recipe,
        documents=documents,
        passages=passages,
    )


def _bytes(folder: Path) -> int:
    """What its files hold; a run that ends meanwhile takes files away, or the folder."""
    total = 0
    with suppress(OSError):
        for file in folder.iterdir():
            with suppress(OSError):
                total += file.stat().st_size
    return total


def _recipe(manifest: Manifest) -> Recipe | None:
    try:
        return Recipe.from_json(manifest.meta("recipe") or "{}")
    except ValueError:
        return None


def _table(rows: list[_Row]) -> Table:
    table = Table(box=None, header_style="bold")
    table.add_column("generation", no_wrap=True)
    for name in ("papers", "passages", "MB"):
        table.add_column(name, justify="right")
    for name in ("state", "last check", "made with"):
        table.add_column(name, overflow="fold")
    shown = _differing(rows) or ("embedder",)
    for row in rows:
        numbers = (str(row.documents), str(row.passages), f"{row.bytes / 1e6:.1f}")
        cells = (row.info.name, *numbers, ", ".join(row.states), _checked(row.checked), _made_with(row, shown))
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table


def _differing(rows: list[_Row]) -> tuple[str, ...]:
    """The steps in which the recipes of the rows are not all the same."""
    recipes = [row.recipe for row in rows if row.recipe is not None]
    return tuple(dict.fromkeys(step for recipe in recipes for step in recipes[0].changes(recipe)))


def _made_with(row: _Row, steps: tuple[str, ...]) -> str:
    if row.recipe is None:
        return row.trouble or "unknown rules"
    recipe = asdict(row.recipe)
    return ", ".join(f"{step} {recipe[step]}" for step in steps)


def _checked(event: Event | None) -> str:
    if event is None:
        return "never"
    return f"{event.at:%Y-%m-%d %H:%M} UTC: {'failed ' + ', '.join(event.failed) if event.failed else 'healthy'}"


def _row_as_json(row: _Row) -> dict[str, object]:
    checked = row.checked
    return {
        "name": row.info.name,
        "states": list(row.states),
        "documents": row.documents,
        "passages": row.passages,
        "bytes": row.bytes,
        "recipe": asdict(row.recipe) if row.recipe is not None else None,
        "checked": {"at": checked.at.isoformat(), "failed": list(checked.failed)} if checked is not None else None,
        "trouble": row.trouble or None,
    }


def _health_as_json(health: Health) -> dict[str, object]:
    checks = [asdict(check) for check in health.checks]
    return {"generation": health.generation, "healthy": health.healthy, "checks": checks}


def _tell_health(health: Health) -> None:
    for one in health.checks:
        say(f"{'ok    ' if one.passed else 'FAILED'} {one.name}: {one.words}", style="" if one.passed else "red")
    say(f"{health.generation} is {'healthy' if health.healthy else 'not healthy'}.")


def _tell_change(event: Event, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json({"serving": event.generation, "before": event.before or None, "dry_run": dry_run})
        return
    begin = "Nothing is changed; would serve" if dry_run else "Serving from the next question on"
    say(f"{begin}: {event.generation}{f', in place of {event.before}' if event.before else ''}.")
    if event.before and not dry_run:
        say('`cmo generations back --reason "..."` goes back. No indexing run will undo this.')
