"""An indexing run in a process of its own, followed from here.

The chat never indexes in its own process: reading, embedding and writing would slow down every answer. It starts
`cmo index --json --progress` and reads its JSON lines. Nothing but those lines comes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cmo.logs import fields
from cmo.values import IndexProgress

LINE_LIMIT_BYTES = 16 * 1024 * 1024
"""Longest line read from the run; its last line lists every file of the library."""
STDERR_KEPT_BYTES = 2000
"""How much of what a failed run said last goes to the log."""
PATIENCE_SECONDS = 5.0
"""How long the end of the application waits for a run to finish its current step."""

NICENESS = 5
"""How far the run stands back when it and the answers want the same processor, 0 to 19 (POSIX, setpriority)."""

_log = logging.getLogger(__name__)


class IndexingProcess:
    """Starts, follows and cancels indexing runs; at most one at a time."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = tuple(arguments)
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._progress: IndexProgress | None = None
        self._error: str | None = None
        self._cancelled = False

    @classmethod
    def for_folders(cls, *, papers: Path, storage: Path) -> IndexingProcess:
        """A run of this Python's `cmo index` over one library."""
        arguments = (sys.executable, "-m", "cmo", "index", "--json", "--progress")
        return cls((*arguments, "--papers", str(papers), "--storage", str(storage)))

    @property
    def progress(self) -> IndexProgress | None:
        """How far the run under way is; None when none is."""
        return self._progress if self._under_way() else None

    @property
    def error(self) -> str | None:
        """Why the last run failed, as a sentence for a person; None when it did not, or was cancelled."""
        return self._error

    async def start(self, *, paid: bool = False) -> None:
        """Start a run; nothing happens when one is under way. `paid` allows a new index that costs money."""
        if self._under_way():
            return
        arguments = (*self._arguments, "--yes") if paid else self._arguments
        self._error = None
        self._cancelled = False
        self._progress = IndexProgress(files_done=0, files_total=0, pages=0, passages=0, seconds_left=None)
        self._task = asyncio.create_task(self._run(arguments))

    async def wait(self) -> None:
        """Wait for the run under way, if any."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def cancel(self) -> None:
        """Ask the run to stop after its current step, and wait until it has."""
        self._cancelled = True
        self._send(signal.SIGTERM)
        await self.wait()

    async def close(self) -> None:
        """Cancel the run under way; one that takes longer than PATIENCE_SECONDS is killed, which does it no harm."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self.cancel()
        except TimeoutError:
            self._send(signal.SIGKILL)
            await self.wait()

    def _under_way(self) -> bool:
        return self._task is not None and not self._task.done()

    def _send(self, wanted: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(wanted)

    async def _run(self, arguments: Sequence[str]) -> None:
        try:
            self._process = await asyncio.create_subprocess_exec(
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=LINE_LIMIT_BYTES,
            )
        except OSError as error:
            self._error = f"The indexing run cannot be started ({error.strerror})."
            _log.exception("index_process_not_started")
            return
        _stand_back(self._process.pid)
        if self._cancelled:
            self._send(signal.SIGTERM)
        try:
            await self._follow(self._process)
        finally:
            # Whatever ended the following: nobody reads its pipes any more.
            self._send(signal.SIGKILL)

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        complaints = asyncio.create_task(_last_bytes(process.stderr))
        try:
            async for line in process.stdout:
                self._take(line)
        except ValueError:
            _log.exception("index_process_line_too_long")
            self._send(signal.SIGKILL)
            # A process is not over for asyncio while a pipe of it is not read to its end.
            await _last_bytes(process.stdout)
        code = await process.wait()
        complaint = (await complaints).decode(errors="replace").strip()
        if code == 0 or self._cancelled:
            return
        if self._error is None:
            self._error = f"The indexing run ended with exit code {code}. Run `cmo index` in a terminal to see why."
        _log.error("index_process_failed", extra=fields(exit_code=code, stderr=complaint))

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


def _stand_back(pid: int) -> None:
    """Lower a process's priority from what it is: from nowhere else may it be set without privileges."""
    with contextlib.suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, pid, min(19, os.getpriority(os.PRIO_PROCESS, pid) + NICENESS))


async def _last_bytes(stream: asyncio.StreamReader) -> bytes:
    """The end of what a stream brings, read to its end so that the writer never waits."""
    end = b""
    while piece := await stream.read(STDERR_KEPT_BYTES):
        end = (end + piece)[-STDERR_KEPT_BYTES:]
    return end


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
