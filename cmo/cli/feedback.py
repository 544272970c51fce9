"""`cmo feedback`: what people thought of answers, beside how each was decided, what it cost and how good it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from cmo.cli.options import JsonOption, PapersOption, StorageOption, settings_for
from cmo.cli.output import fail, out, print_csv, print_json, printable, say
from cmo.cli.records import from_records
from cmo.errors import OracleError
from cmo.settings import Settings
from cmo.storage.feedback import GivenFeedback, SqlFeedback
from cmo.values import Thumb

SHOWN = 20
"""So many thumbs are listed without --limit."""

_ID_SHOWN = 12
_COLOURS = {Thumb.UP: "green", Thumb.DOWN: "bold red"}


def feedback(
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many are listed.")] = SHOWN,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the rows as CSV and nothing else on stdout.")] = False,
    papers: PapersOption = None,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what people thought of answers, the newest first.

    Each with the engine that answered and why it was asked, the answer's quality and what it cost.
    """
    if as_csv and as_json:
        raise typer.BadParameter("Give --csv or --json, not both.")
    try:
        given = _latest(settings_for(papers=papers, storage=storage), limit)
    except OracleError as error:
        fail(str(error), as_json=as_json)
    rows = [_row(each) for each in given]
    if as_json:
        details = [{**row, "decision": _decision(each)} for row, each in zip(rows, given, strict=True)]
        print_json(details)
    elif as_csv:
        print_csv([*map(list, rows[:1]), *(list(row.values()) for row in rows)])
    elif given:
        out.print(_table(given))
    else:
        say("Nobody has said anything of an answer yet: thumbs stand under each answer in the chat.")


def _latest(settings: Settings, limit: int) -> Sequence[GivenFeedback]:
    return from_records(settings, lambda database: SqlFeedback(database).latest(limit)) or ()


def _row(given: GivenFeedback) -> dict[str, object]:
    said, booked = given.feedback, given.booked
    return {
        "question_id": said.question_id,
        "at": said.at.isoformat(),
        "user_id": said.user_id,
        "thumb": said.thumb.value if said.thumb else None,
        "comment": said.comment,
        "engine": booked.engine,
        "model": booked.model,
        "reason": booked.reason,
        "second_opinion": booked.second_opinion,
        "composite": booked.composite,
        "not_assessed": booked.not_assessed,
        "cost_usd": booked.cost_usd,
        "seconds": booked.seconds,
    }


def _decision(given: GivenFeedback) -> dict[str, object] | None:
    return asdict(given.booked.decision) if given.booked.decision else None


def _table(given: Sequence[GivenFeedback]) -> Table:
    table = Table("when", "thumb", "person", "engine", "quality", "cost", "comment", box=None, header_style="bold")
    for each in given:
        said, booked = each.feedback, each.booked
        table.add_row(
            f"{said.at:%Y-%m-%d %H:%M}",
            Text(said.thumb.value, style=_COLOURS[said.thumb]) if said.thumb else "",
            Text(printable(said.user_id[:_ID_SHOWN])),
            Text(printable(f"{booked.engine} ({booked.reason})")),
            "-" if booked.composite is None else f"{booked.composite:.2f}",
            f"${booked.cost_usd:.4f}",
            Text(printable(" ".join(said.comment.split()))),
        )
    return table
