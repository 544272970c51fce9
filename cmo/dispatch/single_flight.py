"""The same thing asked by many at once is done once, and everybody gets its events as they come.

The first to ask leads: the stream is its own, on its account and with its deadline. Whoever asks for the same key
meanwhile follows, and reads the leader's events from the beginning, each at their own pace. Stopping the leader stops
the stream; then one of the followers, and only one at a time, leads with a stream of its own.

It works within one process: of several, each asks once. It refuses to know what is asked, and remembers nothing once a
stream has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

FAILURES_SHARED = 2
"""So many failures in a row that concern everybody are believed by those who waited: they get the last one, too, while
there is time left to turn elsewhere, instead of failing one after the other."""

T = TypeVar("T")


def _concerns_nobody_else(_error: BaseException) -> bool:
    return False


class SingleFlight(Generic[T]):
    """Streams under way, by key. Shared by all who might ask for the same; for one event loop.

    The events of a stream are kept once, however many follow it, and only until the last of them has read them.
    """

    def __init__(
        self,
        *,
        withdrawal: T | None = None,
        concerns_all: Callable[[BaseException], bool] = _concerns_nobody_else,
    ) -> None:
        """`withdrawal` is the event that takes back what a follower has passed on of a stream that then failed.

        `concerns_all` tells failures that everybody who asks for the same would meet (a server that is down) from those
        of one (a budget of their own). Without it, each failure is its leader's alone.
        """
        self._withdrawal = withdrawal
        self._concerns_all = concerns_all
        self._under_way: dict[str, _Stream[T]] = {}

    async def run(self, key: str, make: Callable[[], AsyncIterator[T]]) -> AsyncIterator[T]:
        """The events of the stream under way for `key`, or of the one that `make` gives when there is none.

        Close it as soon as nobody wants more (`contextlib.aclosing`): an abandoned leader keeps its stream going.

        Raises:
            Exception: whatever the stream of this caller raised; or what two others raised before, when that concerns
                all.
        """
        failures = 0
        while True:
            stream = self._under_way.get(key)
            leads = stream is None
            if stream is None:
                stream = self._start(key, make)
            passed_on = 0
            try:
                while await stream.has(passed_on):
                    yield stream.events[passed_on]
                    passed_on += 1
            finally:
                if leads:
                    await stream.stop()
            if leads or stream.succeeded:
                stream.raise_failure()
                return
            failures += stream.error is not None and self._concerns_all(stream.error)
            if failures >= FAILURES_SHARED:
                stream.raise_failure()
            if passed_on and self._withdrawal is not None:
                yield self._withdrawal

    def _start(self, key: str, make: Callable[[], AsyncIterator[T]]) -> _Stream[T]:
        stream = _Stream(make, on_close=lambda: self._under_way.pop(key))
        self._under_way[key] = stream
        return stream


class _Stream(Generic[T]):
    """One stream, read to its end by a task of its own, so that no reader waits for a slower one.

    `events` are those so far. Once it is `closed`, `succeeded` tells whether it came to its end by itself, and `error`
    is what it raised; None when it succeeded or was stopped.
    """

    def __init__(self, make: Callable[[], AsyncIterator[T]], *, on_close: Callable[[], object]) -> None:
        self.events: list[T] = []
        self.closed = False
        self.succeeded = False
        self.error: BaseException | None = None
        self._on_close = on_close
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._read(make))
        self._task.add_done_callback(self._close)

    async def has(self, position: int) -> bool:
        """Whether there is an event at `position`; waits until that is known."""
        while position >= len(self.events):
            if self.closed:
                return False
            await self._news.wait()
        return True

    async def stop(self) -> None:
        """Returns when the stream has ended and cleaned up behind itself; it is cancelled if need be."""
        self._task.cancel()
        await asyncio.wait([self._task])

    def raise_failure(self) -> None:
        """Nothing, if it succeeded.

        Raises:
            Exception: what the stream raised.
        """
        self._task.result()

    async def _read(self, make: Callable[[], AsyncIterator[T]]) -> None:
        async for event in make():
            self.events.append(event)
            self._tell()

    def _close(self, task: asyncio.Task[None]) -> None:
        self.error = None if task.cancelled() else task.exception()
        self.succeeded = not task.cancelled() and self.error is None
        self.closed = True
        self._on_close()
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
