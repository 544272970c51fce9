"""An indexing run in a process of its own, followed from here.

The chat never indexes in its own process: reading, embedding and writing would slow down every answer. It starts
`cmo index --json --progress` and reads its JSON lines. Nothing but those lines comes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cmo.values import IndexProgress

LINE_LIMIT_BYTES = 16 * 1024 * 1024
"""Longest line read from the run; its last line lists every file of the library."""

_log = logging.getLogger(__name__)


class IndexingProcess:
    """Starts, follows and cancels indexing runs; at most one at a time."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = tuple(arguments)
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._progress: IndexProgress | None = None
        self._error: str | None = None

    @classmethod
    def for_folders(cls, *, papers: Path, storage: Path) -> IndexingProcess:
        """A run of this Python's `cmo index` over one library."""
        arguments = (sys.executable, "-m", "cmo.cli", "index", "--json", "--progress")
        return cls((*arguments, "--papers", str(papers), "--storage", str(storage)))

    @property
    def progress(self) -> IndexProgress | None:
        """How far the run under way is; None when none is."""
        return self._progress if self._task is not None and not self._task.done() else None

    @property
    def error(self) -> str | None:
        """Why the last run failed, as a sentence for a person; None when it did not."""
        return self._error

    async def start(self) -> None:
        """Start a run; nothing happens when one is under way."""
        if self._task is not None and not self._task.done():
            return
        self._error = None
        self._progress = IndexProgress(files_done=0, files_total=0, pages=0, passages=0, seconds_left=None)
        self._task = asyncio.create_task(self._follow())

    async def wait(self) -> None:
        """Wait for the run under way, if any."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def cancel(self) -> None:
        """Ask the run to stop after its current step, and wait until it has."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
        await self.wait()

    async def _follow(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT_BYTES,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        errors = asyncio.create_task(self._process.stderr.read())
        async for line in self._process.stdout:
            self._take(line)
        code = await self._process.wait()
        complaint = (await errors).decode(errors="replace").strip()
        if code != 0 and self._error is None:
            self._error = f"The indexing run ended with exit code {code}. Run `cmo index` in a terminal to see why."
        if code != 0:
            _log.error("index_process_failed", extra={"exit_code": code, "stderr": complaint[-2000:]})

    def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            _log.warning("index_process_line_unreadable")
            return
        if not isinstance(message, dict):
            return
        if isinstance(message.get("progress"), dict):
            self._progress = progress_from(message["progress"])
        elif isinstance(message.get("error"), str):
            self._error = message["error"]


def progress_from(fields: Mapping[str, object]) -> IndexProgress:
    """The progress a JSON line tells, with anything malformed as zero or nothing."""
    left = fields.get("seconds_left")
    file = fields.get("file")
    return IndexProgress(
        files_done=_count(fields, "files_done"),
        files_total=_count(fields, "files_total"),
        pages=_count(fields, "pages"),
        passages=_count(fields, "passages"),
        seconds_left=float(left) if isinstance(left, int | float) else None,
        file=file if isinstance(file, str) else None,
    )


def _count(fields: Mapping[str, object], name: str) -> int:
    value = fields.get(name)
    return value if isinstance(value, int) else 0
