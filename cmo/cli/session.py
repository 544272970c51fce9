"""Running the application for a command: opened, asked once or often, and closed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from cmo.bootstrap.answering import Application, open_application
from cmo.settings import Settings

T = TypeVar("T")


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
