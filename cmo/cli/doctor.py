"""`cmo doctor`: what is configured, what works, what to do."""

from __future__ import annotations

import asyncio

import typer
from rich.table import Table
from rich.text import Text

from cmo.cli import flag_checks, index_checks, machine_checks, rollout_checks, service_checks
from cmo.cli.checks import Check, Look, Status, examine
from cmo.cli.options import JsonOption, PapersOption, StorageOption, settings_for
from cmo.cli.output import INTERRUPTED, fail, out, print_json, printable, say
from cmo.errors import SettingsError

LOOKS: tuple[tuple[str, Look], ...] = (
    ("python", machine_checks.python),
    ("memory", machine_checks.memory),
    ("settings", machine_checks.variables_set),
    ("papers folder", machine_checks.papers),
    ("storage folder", machine_checks.storage),
    ("cache folder", machine_checks.cache),
    ("embedding model", machine_checks.model),
    ("word lists", machine_checks.word_lists),
    ("lightrag", machine_checks.lightrag),
    ("custom assessors", machine_checks.assessors),
    ("writer lock", index_checks.writer),
    ("index", index_checks.index),
    ("integrity", index_checks.integrity),
    ("recipe", index_checks.recipe),
    ("changes", index_checks.changes),
    ("ledger", index_checks.ledger),
    ("budget", service_checks.budget),
    ("flags", flag_checks.flags),
    ("rollout", rollout_checks.rollout),
    ("model server", service_checks.model_server),
    ("web engine", service_checks.web_engine),
    ("translation", service_checks.translation),
    ("test search", index_checks.search),
)
"""Every check by its name, in the order in which one thing needs the other."""

_COLOURS = {Status.OK: "green", Status.WARNING: "yellow", Status.FAILED: "bold red"}


def doctor(papers: PapersOption = None, storage: StorageOption = None, as_json: JsonOption = False) -> None:
    """Check what is configured, what works, and what to do.

    Changes nothing but the cache folder. Exit code 1 when questions cannot be answered.
    """
    try:
        checks = asyncio.run(examine(settings_for(papers=papers, storage=storage), LOOKS))
    except SettingsError as error:
        fail(str(error), as_json=as_json)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    well = all(check.finding.status is not Status.FAILED for check in checks)
    if as_json:
        print_json({"ok": well, "checks": [_as_json(check) for check in checks]})
    else:
        _print(checks, well)
    if not well:
        raise typer.Exit(1)


def _as_json(check: Check) -> dict[str, str | None]:
    return {
        "name": check.name,
        "status": check.finding.status.value,
        "detail": check.finding.detail,
        "advice": check.finding.advice,
    }


def _print(checks: tuple[Check, ...], well: bool) -> None:
    table = Table("check", "status", "detail", box=None, header_style="bold")
    table.columns[2].overflow = "fold"
    for check in checks:
        found, colour = check.finding, _COLOURS[check.finding.status]
        detail = Text(printable(found.detail))
        if found.advice:
            detail.append(f"\n{printable(found.advice)}", style=colour)
        table.add_row(check.name, Text(found.status.value, style=colour), detail)
    out.print(table)
    say(
        "Questions can be answered." if well else "Questions cannot be answered. What to do stands beside each failure."
    )
