"""What looks at the rollout from time to time, in each process; the store lets one of them act.

What a rollout does is told in policy/rollout.py, and how it is kept in storage/rollouts.py. Here it is given what only
a process knows, its moves come into force here at once, and what somebody should know of is logged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Protocol

from cmo.dispatch.flags import Flags
from cmo.errors import StorageUnavailable
from cmo.interfaces import Clock
from cmo.logs import fields
from cmo.policy.rollout import Event, EventKind
from cmo.storage.emergency import EmergencyStop
from cmo.storage.flags import Authorship
from cmo.storage.rollouts import ENGINE

TICK_SECONDS = 5.0
"""How often is looked."""

TOLD = frozenset(
    {
        EventKind.HELD,
        EventKind.WAITING,
        EventKind.PAUSED,
        EventKind.ROLLED_BACK,
        EventKind.EMERGENCY,
        EventKind.COMPLETED,
    }
)
"""What happens without anybody, that somebody should know of."""

_log = logging.getLogger(__name__)


class RolloutStore(Protocol):
    """Keeps the rollout and moves it."""

    async def tick(
        self, owner: str, *, now: datetime, breaker_rests: int | None, stopped: Authorship | None = None
    ) -> tuple[Event, ...]:
        """What a look at the rollout led to.

        Raises:
            StorageUnavailable: the database cannot be read or written.
        """

    async def release(self, owner: str) -> None:
        """Others may look at once.

        Raises:
            StorageUnavailable: the database cannot be written.
        """


class RolloutTicker:
    """Looks at the rollout every few seconds. Built once, opened and closed, in each process."""

    def __init__(
        self,
        store: RolloutStore,
        flags: Flags,
        *,
        owner: str,
        clock: Clock,
        breaker_rests: Callable[[], int | None],
        stop: Callable[[], EmergencyStop | None],
        tick_seconds: float = TICK_SECONDS,
    ) -> None:
        """`owner` names this process, unlike all others. `stop` is the emergency stop in force."""
        self._store = store
        self._flags = flags
        self._owner = owner
        self._clock = clock
        self._breaker_rests = breaker_rests
        self._stop = stop
        self._tick_seconds = tick_seconds
        self._ticking: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Goes on looking, for the first time after one interval: commands that are over by then take no turn."""
        self._ticking = asyncio.create_task(self._go_on())

    async def close(self) -> None:
        """Looks no more, and leaves it to others."""
        if self._ticking is None:
            return
        self._ticking.cancel()
        with suppress(asyncio.CancelledError):
            await self._ticking
        with suppress(StorageUnavailable):  # the lease runs out by itself
            await self._store.release(self._owner)

    async def tick(self) -> None:
        """One look.

        Raises:
            OracleError: the rollout cannot be read or changed.
        """
        now = self._clock.now()
        events = await self._store.tick(
            self._owner, now=now, breaker_rests=self._breaker_rests(), stopped=self._stopped(now)
        )
        for event in events:
            _tell(event)
        if events:
            await self._flags.refresh()

    def _stopped(self, now: datetime) -> Authorship | None:
        stop = self._stop()
        if stop is None or ENGINE not in stop.engines:
            return None
        return Authorship(author=stop.author or "unknown", reason=f"Emergency stop. {stop.reason}", at=stop.at or now)

    async def _go_on(self) -> None:
        while True:
            await asyncio.sleep(self._tick_seconds)
            try:
                await self.tick()
            except StorageUnavailable:
                _log.warning("rollout_tick_failed", exc_info=True)
            except Exception:  # whatever is wrong with one look, the next may roll back
                _log.exception("rollout_tick_failed")


def _tell(event: Event) -> None:
    level = logging.WARNING if event.kind in TOLD else logging.INFO
    facts = fields(kind=event.kind, stage=event.stage + 1, percentage=event.percentage, words=event.words)
    _log.log(level, "rollout_event", extra=facts)
