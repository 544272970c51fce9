"""The application's database for commands that look at its records, or change them, and need nothing else."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from cmo.bootstrap.money import make_storage
from cmo.cli.options import author_or_user, readable
from cmo.errors import OracleError
from cmo.settings import FlagsFrom, Settings
from cmo.storage.database import Database, migrate
from cmo.storage.flags import Authorship

T = TypeVar("T")


def from_records(settings: Settings, look: Callable[[Database], Awaitable[T]]) -> T | None:
    """What `look` finds; None as long as no question has made the database, which looking must not do.

    Raises:
        OracleError: the database cannot be used.
    """
    return asyncio.run(_with_database(settings.database, look)) if _exists(settings) else None


def changed_records(settings: Settings, change: Callable[[Database], Awaitable[T]], *, dry_run: bool) -> T:
    """What comes of `change`, in a database that is made where there is none; a dry run makes one elsewhere.

    Raises:
        OracleError: the database cannot be used, or the change was refused.
    """
    if dry_run and not _exists(settings):
        with tempfile.TemporaryDirectory() as folder:
            settings = settings.model_copy(update={"storage_dir": Path(folder), "database_url": None})
            return asyncio.run(_with_database(settings.database, change))
    if not dry_run:
        make_storage(settings)
    return asyncio.run(_with_database(settings.database, change))


def authorship(author: str | None, reason: str) -> Authorship:
    """Who changes something now, and why; without an author it is the system user."""
    return Authorship(author=author_or_user(author), reason=readable(reason), at=datetime.now(UTC))


def refuse_written_flags(settings: Settings) -> None:
    """Let pass where flags are kept in the database.

    Raises:
        OracleError: they are written down elsewhere; says where.
    """
    if settings.flags_from is not FlagsFrom.DATABASE:
        place = settings.flags_file if settings.flags_from is FlagsFrom.FILE else "CMO_FLAGS"
        raise OracleError(f"The flags are written in {place} and not kept in the database: change them there.")


def _exists(settings: Settings) -> bool:
    return Path(settings.database.partition(":///")[2]).exists()


async def _with_database(url: str, look: Callable[[Database], Awaitable[T]]) -> T:
    await migrate(url)
    database = Database(url)
    try:
        return await look(database)
    finally:
        await database.close()
