"""What moves the rollout while the application runs."""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import AsyncExitStack
from functools import partial

from cmo.dispatch.breakers import Breakers
from cmo.dispatch.flags import Flags
from cmo.dispatch.rollouts import RolloutTicker
from cmo.interfaces import Clock
from cmo.settings import FlagsFrom, Settings
from cmo.storage.database import Database
from cmo.storage.emergency import EmergencyFile
from cmo.storage.rollouts import ENGINE, SqlRollouts


def open_rollouts(
    settings: Settings,
    database: Database,
    breakers: Breakers,
    flags: Flags,
    emergency: EmergencyFile,
    clock: Clock,
    stack: AsyncExitStack,
) -> RolloutTicker | None:
    """Looks at the rollout until `stack` ends; None where flags are written down, which nothing could move."""
    if settings.flags_from is not FlagsFrom.DATABASE:
        return None
    ticker = RolloutTicker(
        SqlRollouts(database),
        flags,
        owner=f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}",
        clock=clock,
        breaker_rests=partial(breakers.rests, ENGINE),
        stop=emergency.current,
    )
    stack.push_async_callback(ticker.close)
    ticker.open()
    return ticker
