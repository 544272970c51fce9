"""`cmo export`: answers of earlier conversations as files for other programs; and conversations to be forgotten."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from cmo.cli.options import JsonOption, PapersOption, StorageOption, readable, settings_for
from cmo.cli.output import fail, out, print_json, printable, say
from cmo.cli.records import from_records
from cmo.errors import OracleError
from cmo.exports import FORMATS, Exchange, ExportFormat, format_of
from cmo.settings import Settings
from cmo.storage.conversations import SqlConversations, Thread

SHOWN = 20
"""So many conversations are listed without --limit."""

CANDIDATES = 5
"""So many are named where an id could be that of several."""

_ID_SHOWN = 12
_NOT_KEPT = "Conversations are not kept: CMO_KEEP_CONVERSATIONS is off."
_NONE = "No conversation is kept yet."


def export(
    thread: Annotated[
        str | None,
        typer.Argument(metavar="[THREAD]", help="The conversation, or how its id begins.", show_default=False),
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="Export the conversation that went on last.")] = False,
    answer: Annotated[
        str | None,
        typer.Option("--answer", metavar="QUESTION_ID", help="Export one answer, as `cmo ask --json` names it."),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the conversations, the newest first.")] = False,
    forget: Annotated[
        str | None, typer.Option("--forget", metavar="THREAD", help="Delete a conversation's texts for good.")
    ] = None,
    export_format: Annotated[
        ExportFormat | None,
        typer.Option("--format", help="The format.", show_default="what FILE ends with, else markdown"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", dir_okay=False, help="Write to FILE instead of stdout.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many conversations are listed.")] = SHOWN,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    papers: PapersOption = None,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Export a conversation or an answer: each claim with its page and quote.

    Give a THREAD, --last or --answer, in Markdown, BibTeX, RIS or CSL-JSON. --list shows what there is, --forget
    deletes it; what was asked when and what it cost stays on record.
    """
    chosen = [given for given in (thread, last, answer, listed, forget) if given]
    if len(chosen) != 1:
        raise typer.BadParameter("Give one of THREAD, --last, --answer, --list and --forget.")
    if as_json and not (listed or forget):
        raise typer.BadParameter("--json is for --list and --forget; for programs there is --format csl-json.")
    form = format_for(output, export_format)
    try:
        settings = settings_for(papers=papers, storage=storage)
        if listed:
            _list(settings, limit, as_json=as_json)
        elif forget:
            _forget(settings, readable(forget), yes=yes, as_json=as_json)
        elif answer:
            write(FORMATS[form].write([_answer(settings, readable(answer))]), output)
        else:
            found = _newest(settings) if thread is None else _thread(settings, readable(thread))
            write(FORMATS[form].write(_exchanges(settings, found)), output)
    except OracleError as error:
        fail(str(error), as_json=as_json)


def format_for(file: Path | None, wanted: ExportFormat | None) -> ExportFormat:
    """The format that is wanted, else the one the file is named for; Markdown without either.

    Raises:
        typer.BadParameter: the file's name tells none.
    """
    chosen = wanted or (format_of(file.suffix) if file else ExportFormat.MARKDOWN)
    if chosen is None:
        suffixes = ", ".join(form.suffix for form in FORMATS.values())
        raise typer.BadParameter(f'"{file}" ends with none of {suffixes}: give --format.')
    return chosen


def write(text: str, file: Path | None) -> None:
    """Put an export into its file, or on stdout, in UTF-8 and with its own line ends.

    Raises:
        OracleError: the file cannot be written.
    """
    if file is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8"))
        sys.stdout.buffer.flush()
        return
    try:
        file.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise OracleError(f'"{file}" could not be written: {error.strerror}.') from error


def _list(settings: Settings, limit: int, *, as_json: bool) -> None:
    threads = _threads(settings, limit)
    if as_json:
        print_json([_as_json(thread) for thread in threads])
    elif threads:
        out.print(_table(threads))
    else:
        say(_NONE if settings.keep_conversations else _NOT_KEPT)


def _forget(settings: Settings, beginning: str, *, yes: bool, as_json: bool) -> None:
    thread = _thread(settings, beginning)
    about = f"{thread.exchanges} of {printable(thread.user_id)}, “{_on_one_line(thread.beginning)}”"
    if not yes and not typer.confirm(f"Delete this conversation? Answers: {about}", err=True):
        raise OracleError("Nothing was deleted.")
    deleted = from_records(settings, lambda database: SqlConversations(database).forget(thread.thread_id))
    if as_json:
        print_json({"thread_id": thread.thread_id, "forgotten": deleted})
    else:
        say(f"Deleted. Answers: {deleted}. When they were given and what they cost stays on record.")


def _threads(settings: Settings, limit: int, beginning: str = "") -> Sequence[Thread]:
    found = from_records(settings, lambda database: SqlConversations(database).threads(limit, beginning=beginning))
    return found or ()


def _newest(settings: Settings) -> Thread:
    newest = next(iter(_threads(settings, 1)), None)
    if newest is None:
        raise OracleError(_NONE if settings.keep_conversations else _NOT_KEPT)
    return newest


def _thread(settings: Settings, beginning: str) -> Thread:
    """The only conversation whose id begins so.

    Raises:
        OracleError: there is none, or there are several.
    """
    found = _threads(settings, CANDIDATES + 1, beginning)
    exact = [thread for thread in found if thread.thread_id == beginning]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if not found:
        raise _unknown(f'conversation "{beginning}"', settings)
    names = ", ".join(thread.thread_id for thread in found[:CANDIDATES])
    more = " …" if len(found) > CANDIDATES else ""
    raise OracleError(f'Several conversations begin with "{beginning}": {names}{more}. Give more of the id.')


def _exchanges(settings: Settings, thread: Thread) -> Sequence[Exchange]:
    return from_records(settings, lambda database: SqlConversations(database).exchanges(thread.thread_id)) or ()


def _answer(settings: Settings, question_id: str) -> Exchange:
    found = from_records(settings, lambda database: SqlConversations(database).exchange(question_id))
    if found is None:
        raise _unknown(f'answer "{question_id}"', settings)
    return found


def _unknown(name: str, settings: Settings) -> OracleError:
    why = "`cmo export --list` shows the conversations that are kept." if settings.keep_conversations else _NOT_KEPT
    return OracleError(f"There is no {name}. {why}")


def _table(threads: Sequence[Thread]) -> Table:
    table = Table("thread", "last", "person", "answers", "first question", box=None, header_style="bold")
    for thread in threads:
        table.add_row(
            Text(printable(thread.thread_id[:_ID_SHOWN])),
            f"{thread.ended:%Y-%m-%d %H:%M}",
            Text(printable(thread.user_id[:_ID_SHOWN])),
            str(thread.exchanges),
            Text(_on_one_line(thread.beginning)),
        )
    return table


def _on_one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def _as_json(thread: Thread) -> dict[str, object]:
    return {
        "thread_id": thread.thread_id,
        "user_id": thread.user_id,
        "beginning": thread.beginning,
        "answers": thread.exchanges,
        "begun": thread.begun.isoformat(),
        "ended": thread.ended.isoformat(),
    }
