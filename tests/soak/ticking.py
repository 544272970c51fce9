"""A process that looks at the rollout of a database: `ticking.py URL OWNER BEGUN SPEED`.

Its clock runs SPEED times as fast as the machine's, from noon at BEGUN (seconds since 1970).
"""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import UTC, datetime, timedelta

from cmo.dispatch.flags import Flags
from cmo.dispatch.rollouts import RolloutTicker
from cmo.storage.database import Database
from cmo.storage.flags import SqlFlags
from cmo.storage.rollouts import SqlRollouts

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class FastClock:
    """A clock that several processes have in common."""

    def __init__(self, begun: float, speed: float) -> None:
        self._begun = begun
        self._speed = speed

    def now(self) -> datetime:
        return NOON + timedelta(seconds=(time.time() - self._begun) * self._speed)


async def look(url: str, owner: str, begun: float, speed: float) -> None:
    database, clock = Database(url), FastClock(begun, speed)
    flags = Flags(SqlFlags(database), salt="salt", clock=clock, chance=lambda: 0.5)
    ticker = RolloutTicker(
        SqlRollouts(database),
        flags,
        owner=owner,
        clock=clock,
        breaker_rests=lambda: 0,
        stop=lambda: None,
        tick_seconds=0.005,
    )
    ticker.open()
    await asyncio.Event().wait()  # it is killed


if __name__ == "__main__":
    url, owner, begun, speed = sys.argv[1:]
    asyncio.run(look(url, owner, float(begun), float(speed)))
