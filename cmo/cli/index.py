"""`cmo index`: bring the index up to date with the papers folder."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from cmo.bootstrap.indexing import IndexCost, cost_of_new_index, open_indexer
from cmo.cli.options import JsonOption, PapersOption, StorageOption, settings_for
from cmo.cli.output import complain, err, fail, out, print_json, printable, say
from cmo.errors import LibraryError, OracleError
from cmo.library.indexer import Indexer
from cmo.settings import Settings
from cmo.values import FileReport, FileStatus, IndexProgress, IndexReport

_GOOD = {FileStatus.INDEXED, FileStatus.UNCHANGED, FileStatus.REMOVED}


def index(
    papers: PapersOption = None,
    storage: StorageOption = None,
    as_json: JsonOption = False,
    progress: Annotated[
        bool, typer.Option("--progress", help="With --json: a line of progress per step before the report.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Go on when a new index costs money, without asking.")] = False,
) -> None:
    """Bring the index up to date with the papers folder.

    New and changed papers are read, removed ones leave, the rest is not touched. Files that cannot be read are listed
    with the reason and stop nothing. Ctrl-C stops after the current step, and a second one at once; the next run
    goes on from there.
    """
    try:
        settings = settings_for(papers=papers, storage=storage)
        _require_folder(settings.papers_dir)
        if not yes:
            _require_consent(asyncio.run(cost_of_new_index(settings)), may_ask=not as_json)
        report = asyncio.run(_index(settings, as_json=as_json, progress=progress))
    except OracleError as error:
        fail(str(error), as_json=as_json)
    except KeyboardInterrupt:
        fail("Stopped. Run `cmo index` again to go on.", as_json=as_json)
    if as_json:
        print_json(report_as_json(report))
    else:
        _print_report(report)
    if report.cancelled:
        raise typer.Exit(1)


def _require_folder(papers: Path) -> None:
    if not papers.is_dir():
        raise LibraryError(
            f"The papers folder {papers} is not there. Make it and put papers into it, or name another with --papers."
        )


def _require_consent(cost: IndexCost | None, *, may_ask: bool) -> None:
    if cost is None or (may_ask and sys.stdin.isatty() and typer.confirm(f"{cost.words} Go on?")):
        return
    raise LibraryError(f"{cost.words} Run `cmo index --yes`, or press Index papers in the chat, to go on.")


async def _index(settings: Settings, *, as_json: bool, progress: bool) -> IndexReport:
    async with open_indexer(settings) as indexer:
        cancel = _cancelled_by_signals()
        if as_json:
            return await indexer.run(on_progress=_print_progress if progress else None, cancel=cancel)
        return await _run_with_bar(indexer, cancel)


def _cancelled_by_signals() -> asyncio.Event:
    """Set by the first SIGINT or SIGTERM; a second SIGINT does what it always does."""
    cancel = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        cancel.set()
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        complain("Stopping after the current step. Ctrl-C again stops at once.")

    for wanted in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(wanted, stop)
    return cancel


async def _run_with_bar(indexer: Indexer, cancel: asyncio.Event) -> IndexReport:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    left = TextColumn("{task.fields[left]}")
    # Results go to stdout and nothing else; into a file or pipe there is no bar at all.
    with Progress(*columns, left, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("Indexing", total=None, left="")

        def show(now: IndexProgress) -> None:
            left = "" if now.seconds_left is None else f"about {now.seconds_left:.0f} s left"
            description = f"Indexing ({now.pages} pages, {now.passages} passages)"
            bar.update(task, completed=now.files_done, total=now.files_total, description=description, left=left)

        return await indexer.run(on_progress=show, cancel=cancel)


def _print_progress(now: IndexProgress) -> None:
    print_json(
        {
            "progress": {
                "files_done": now.files_done,
                "files_total": now.files_total,
                "pages": now.pages,
                "passages": now.passages,
                "seconds_left": now.seconds_left,
                "file": now.file,
            }
        }
    )


def report_as_json(report: IndexReport) -> dict[str, object]:
    """The report as `cmo index --json` prints it."""
    return {
        "files": [_file_as_json(file) for file in report.files],
        "seconds": round(report.seconds, 3),
        "generation": report.generation,
        "cancelled": report.cancelled,
        "notices": list(report.notices),
    }


def _file_as_json(file: FileReport) -> dict[str, object]:
    return {
        "file": file.file,
        "status": file.status.value,
        "pages": file.pages,
        "passages": file.passages,
        "reason": file.reason,
    }


def _print_report(report: IndexReport) -> None:
    """A row for every file that something was done about or is wrong with, and the sum of all."""
    told = [file for file in report.files if file.status is not FileStatus.UNCHANGED or file.reason]
    if told:
        out.print(_table(told))
    for notice in report.notices:
        say(notice, style="yellow")
    counts = {status: sum(file.status is status for file in report.files) for status in FileStatus}
    said = ", ".join(f"{count} {status}" for status, count in counts.items() if count) or "No papers found"
    say(f"{said} in {report.seconds:.1f} s.")
    if report.cancelled:
        say("Stopped early: run `cmo index` again to go on.", style="yellow")


def _table(files: list[FileReport]) -> Table:
    table = Table(box=None, header_style="bold")
    for name in ("file", "status", "pages", "passages", "reason"):
        table.add_column(name, overflow="fold", justify="right" if name in ("pages", "passages") else "left")
    for file in files:
        cells = (file.file, file.status.value, str(file.pages), str(file.passages), file.reason or "")
        style = "" if file.status in _GOOD else "yellow"
        table.add_row(*(Text(printable(cell.replace("\n", "\ufffd"))) for cell in cells), style=style)
    return table
