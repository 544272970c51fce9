"""How long an event loop was kept from running, and what its thread did meanwhile.

Knows nothing of the application. A watched loop wakes every TICK_SECONDS; what it is late by is its lag. A pause that
is long enough to be noted is split into what the loop's thread computed, what it waited for a processor (that is the
machine's load, and as good as any program can do), and the rest, in which it waited for the interpreter's lock.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

TICK_SECONDS = 0.005
NOTED_SECONDS = 0.05
"""Shorter lags are only counted."""
LOOKED_AT_SECONDS = 0.04
"""A loop that is late by this much has its stack written down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A loop that came late by `seconds`, `at` this time of the monotonic clock.

    `computed` is processor time of the loop's thread, `queued` its wait for a processor (None where the system does not
    tell), `stack` where it stood, innermost call last.
    """

    at: float
    seconds: float
    computed: float
    queued: float | None
    stack: tuple[str, ...]

    @property
    def own(self) -> float:
        """The pause without the wait for a processor."""
        return self.seconds - (self.queued or 0.0)


class LoopWatch:
    """Watches the loop it is started on, until it is stopped."""

    def __init__(self) -> None:
        self.pauses: list[Pause] = []
        self.lags: list[float] = []
        self._beat = 0.0
        self._stack: tuple[str, ...] = ()
        self._queued: float | None = None
        self._over = threading.Event()

    async def start(self) -> None:
        """Begin; the loop's own thread is the caller's."""
        self._thread = threading.get_ident()
        self._native_thread = threading.get_native_id()
        self._beat = time.monotonic()
        self._looker = threading.Thread(target=self._look, name="loop-watch", daemon=True)
        self._looker.start()
        self._task = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        """End."""
        self._over.set()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    @property
    def longest(self) -> float:
        """The longest lag so far, in seconds."""
        return max(self.lags, default=0.0)

    async def _tick(self) -> None:
        while True:
            began, computed = time.monotonic(), time.thread_time()
            await asyncio.sleep(TICK_SECONDS)
            self._beat = time.monotonic()
            lag = self._beat - began - TICK_SECONDS
            self.lags.append(lag)
            if lag >= NOTED_SECONDS:
                # Read here only: a call that lets go of the interpreter's lock may itself wait to get it back.
                before, after = self._queued, self._queued_seconds()
                waited = None if before is None or after is None else after - before
                self.pauses.append(
                    Pause(
                        at=self._beat,
                        seconds=lag,
                        computed=time.thread_time() - computed,
                        queued=waited,
                        stack=self._stack,
                    )
                )
            self._stack = ()

    def _look(self) -> None:
        while not self._over.wait(TICK_SECONDS):
            late = time.monotonic() - self._beat - TICK_SECONDS
            if late < TICK_SECONDS:
                self._queued = self._queued_seconds()
            elif late > LOOKED_AT_SECONDS and not self._stack:
                frame = sys._current_frames().get(self._thread)
                self._stack = tuple(
                    f"{Path(call.filename).name}:{call.lineno} {call.name}" for call in traceback.extract_stack(frame)
                )[-12:]

    def _queued_seconds(self) -> float | None:
        """How long the loop's thread has waited for a processor in all, as Linux accounts it (proc_pid_schedstat)."""
        try:
            return int(Path(f"/proc/self/task/{self._native_thread}/schedstat").read_text().split()[1]) / 1e9
        except (OSError, IndexError):
            return None


def write(watch: LoopWatch, file: Path) -> None:
    """Put what was seen so far into a file, whole at any instant."""
    draft = file.with_suffix(".new")
    seen = {"lags": [round(lag, 5) for lag in watch.lags], "pauses": [asdict(pause) for pause in watch.pauses]}
    draft.write_text(json.dumps(seen), encoding="utf-8")
    draft.replace(file)
