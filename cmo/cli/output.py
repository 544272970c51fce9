"""What the commands print: JSON for programs, CSV for spreadsheets, text for people. Nothing here knows what it is
about."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import typer
from rich.console import Console

from cmo.errors import OracleError

out = Console(emoji=False, highlight=False)
err = Console(stderr=True, emoji=False, highlight=False)

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it: 128 and the number of SIGINT."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""How texts begin that spreadsheets take for formulas (OWASP, "CSV Injection")."""


def print_json(document: object) -> None:
    """One JSON document on a line of its own, in UTF-8 wherever it goes, flushed: a reading program sees it at once."""
    text = json.dumps(document, ensure_ascii=False)
    try:
        line = text.encode("utf-8")
    except UnicodeEncodeError:
        # Half a surrogate pair, out of a damaged file: JSON can write it, UTF-8 cannot.
        line = json.dumps(document).encode("ascii")
    sys.stdout.flush()
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def print_csv(rows: Iterable[Sequence[object]]) -> None:
    """Rows as CSV in UTF-8, the header first; texts that a spreadsheet would take for formulas begin with "'"."""
    text = io.StringIO()
    csv.writer(text).writerows(map(_harmless, row) for row in rows)
    sys.stdout.flush()
    sys.stdout.buffer.write(text.getvalue().encode("utf-8", "replace"))
    sys.stdout.buffer.flush()


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def say(text: str, *, style: str = "") -> None:
    """A paragraph for a person: wrapped in a terminal, whole lines into files and pipes."""
    out.print(printable(text), style=style, markup=False, soft_wrap=not out.is_terminal)


def complain(text: str, *, style: str = "yellow") -> None:
    """A paragraph on stderr."""
    err.print(printable(text), style=style, markup=False, soft_wrap=not err.is_terminal)


def fail(message: str, *, as_json: bool) -> NoReturn:
    """Say what went wrong, as {"error": message} on stdout when JSON is wanted and on stderr otherwise; exit code 1."""
    if as_json:
        print_json({"error": message})
    else:
        complain(message, style="red")
    raise typer.Exit(1)


def printable(text: str) -> str:
    """The text without what steers a terminal: names of files, and texts of papers, may hold anything.

    Invisible characters (category Cf) are dropped, all others that cannot be printed become U+FFFD.
    """
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character.isprintable() or character == "\n":
        return character
    return "" if unicodedata.category(character) == "Cf" else "\ufffd"


@contextmanager
def errors_as_sentences(*, as_json: bool) -> Iterator[None]:
    """An OracleError within ends the command with its message and exit code 1, Ctrl-C with INTERRUPTED."""
    try:
        yield
    except OracleError as error:
        fail(str(error), as_json=as_json)
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(INTERRUPTED) from None
