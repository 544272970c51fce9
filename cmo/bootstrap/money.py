"""The application's database, and the budget in it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime

from cmo.errors import LibraryError
from cmo.interfaces import Clock
from cmo.phrases import Phrase
from cmo.policy.budget import Limits
from cmo.settings import Settings
from cmo.storage.budget import SqlBudget
from cmo.storage.database import Database, migrate


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The current time, aware, in UTC."""
        return datetime.now(UTC)


async def open_database(settings: Settings, stack: AsyncExitStack) -> Database:
    """The database with this version's tables, closed with `stack`.

    Raises:
        LibraryError: the storage folder cannot be made.
        StorageUnavailable: the database cannot be read or written.
    """
    make_storage(settings)
    await migrate(settings.database)
    database = Database(settings.database)
    stack.push_async_callback(database.close)
    return database


def open_budget(settings: Settings, database: Database, clock: Clock, stack: AsyncExitStack) -> SqlBudget:
    """The budget with the limits that are set; what it has under way is waited for when `stack` ends."""
    budget = SqlBudget(database, limits_of(settings), clock=clock, alert_share=settings.cost_alert_threshold)
    stack.push_async_callback(budget.close)
    return budget


def limits_of(settings: Settings) -> Limits:
    """What may be spent by the settings."""
    return Limits(
        daily_usd=settings.daily_budget_usd,
        monthly_usd=settings.monthly_budget_usd,
        user_daily_usd=settings.user_daily_budget_usd,
    )


def make_storage(settings: Settings) -> None:
    """The storage folder, readable by its owner alone.

    Raises:
        LibraryError: it cannot be made.
    """
    try:
        settings.storage_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise LibraryError(
            Phrase(
                "The index folder {folder} cannot be created ({error}): choose a folder that can be written.",
                folder=str(settings.storage_dir),
                error=error.strerror,
            )
        ) from error
