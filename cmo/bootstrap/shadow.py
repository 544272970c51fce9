"""What asks in the shadow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from cmo.dispatch.flags import Flags
from cmo.dispatch.shadow import Scoring, Shadow
from cmo.interfaces import Clock, Engine
from cmo.settings import Settings
from cmo.storage.database import Database
from cmo.storage.ledger import SqlLedger
from cmo.storage.shadow import SqlShadow


async def open_shadow(
    settings: Settings,
    stack: AsyncExitStack,
    *,
    flags: Flags,
    engines: Sequence[Engine],
    stopped: Callable[[], frozenset[str]],
    database: Database,
    ledger: SqlLedger,
    scoring: Scoring,
    clock: Clock,
) -> Shadow:
    """Asks in the shadow until `stack` ends; the flag decides about what. `stopped` tells of emergency stops."""
    shadow = Shadow(
        flags=flags,
        engines=engines,
        stopped=stopped,
        store=SqlShadow(database, daily_usd=settings.shadow_daily_budget_usd),
        ledger=ledger,
        scoring=scoring,
        seconds=settings.answer_timeout_seconds,
        clock=clock,
    )
    await shadow.open()
    stack.push_async_callback(shadow.close)
    return shadow
