"""The application's parts, built once when they are first needed and closed once at the end.

Chainlit calls its hooks in several ways (start-up, reload, tests), so nobody can rely on who comes first: whoever needs
the parts asks here. This module refuses to know how they are built.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Protocol

from cmo.interfaces import FeedbackBook, LibraryView, Pipeline
from cmo.settings import Settings


class Application(Protocol):
    """What the chat needs of the application."""

    @property
    def pipeline(self) -> Pipeline:
        """Answers questions."""

    @property
    def library(self) -> LibraryView:
        """Tells about the papers."""

    @property
    def feedback(self) -> FeedbackBook:
        """Keeps what people say of answers."""

    @property
    def engine_names(self) -> tuple[str, ...]:
        """The engines that are configured, in order of preference."""

    async def get_ready(self) -> None:
        """Load what the first question would have to wait for; what fails is left to that question."""


SWITCH_SECONDS = 0.001
"""How long a thread may keep the interpreter's lock while another one waits for it; Python's own is five times that.

Answers are worked out in several threads, and the event loop waits behind each of them in turn (benchmarks/load.py).
"""

OpenApplication = Callable[[Settings], AbstractAsyncContextManager[Application]]
"""Opens the application for the settings given."""


class Services:
    """Hands out the one application of this process."""

    def __init__(self, settings: Settings, open_application: OpenApplication) -> None:
        self._settings = settings
        self._open = open_application
        self._lock = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._application: Application | None = None
        self._getting_ready: asyncio.Task[None] | None = None

    async def get(self) -> Application:
        """The application, opened by the first caller; a failure to open is raised to that caller and tried again.

        Raises:
            OracleError: a part of the application cannot be opened.
        """
        async with self._lock:
            if self._application is None:
                self._application = await self._stack.enter_async_context(self._open(self._settings))
                self._getting_ready = asyncio.create_task(_get_ready(self._application))
            return self._application

    async def library(self) -> LibraryView:
        """The application's library."""
        return (await self.get()).library

    async def close(self) -> None:
        """Close what was opened. Calling it again does nothing."""
        async with self._lock:
            self._application = None
            if self._getting_ready is not None:
                await asyncio.wait({self._getting_ready})
            await self._stack.aclose()


async def _get_ready(application: Application) -> None:
    """Load everything, and keep the garbage collector from walking over it ever after.

    A full collection visits all objects with the interpreter's lock held: 0.2 s with the libraries loaded here, in
    which the event loop stands still. What is loaded now stays to the end, and need not be visited (gc.freeze).
    """
    gc.freeze()
    sys.setswitchinterval(SWITCH_SECONDS)
    await application.get_ready()
    gc.freeze()
