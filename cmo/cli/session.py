"""Running the application for a command: opened, asked once or often, and closed, with errors told as sentences."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import typer

from cmo.bootstrap.answering import Application, open_application
from cmo.cli.output import fail
from cmo.errors import OracleError
from cmo.settings import Settings

T = TypeVar("T")

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it: 128 and the number of SIGINT."""


@contextmanager
def errors_as_sentences(*, as_json: bool) -> Iterator[None]:
    """An OracleError within ends the command with its message and exit code 1, Ctrl-C with INTERRUPTED."""
    try:
        yield
    except OracleError as error:
        fail(str(error), as_json=as_json)
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(INTERRUPTED) from None


@dataclass(frozen=True, slots=True)
class Session:
    """The open application. Between two questions nothing runs, so Ctrl-C works while the next is waited for."""

    application: Application
    _runner: asyncio.Runner

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine."""
        return self._runner.run(work)


@contextmanager
def open_session(settings: Settings) -> Iterator[Session]:
    """The application for the length of a `with` block.

    Raises:
        OracleError: it cannot be opened.
    """
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            application = runner.run(stack.enter_async_context(open_application(settings)))
            yield Session(application, runner)
        finally:
            runner.run(stack.aclose())
