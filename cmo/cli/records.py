"""The application's database for commands that look at its records and need nothing else of the application."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from cmo.settings import Settings
from cmo.storage.database import Database, migrate

T = TypeVar("T")


def from_records(settings: Settings, look: Callable[[Database], Awaitable[T]]) -> T | None:
    """What `look` finds; None as long as no question has made the database, which looking must not do.

    Raises:
        OracleError: the database cannot be used.
    """
    if not Path(settings.database.partition(":///")[2]).exists():
        return None
    return asyncio.run(_with_database(settings.database, look))


async def _with_database(url: str, look: Callable[[Database], Awaitable[T]]) -> T:
    await migrate(url)
    database = Database(url)
    try:
        return await look(database)
    finally:
        await database.close()
