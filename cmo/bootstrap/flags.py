"""The feature flags, from where the settings say."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack

from cmo.dispatch.flags import Flags, FlagSource
from cmo.dispatch.flags_file import FileFlags, GivenFlags
from cmo.interfaces import Clock
from cmo.settings import Environment, FlagsFrom, Settings
from cmo.storage.database import Database
from cmo.storage.flags import SqlFlags


async def open_flags(settings: Settings, database: Database, clock: Clock, stack: AsyncExitStack) -> Flags:
    """The flags of this process, kept up to date until `stack` ends.

    Raises:
        SettingsError: the file of the flags cannot be read. Once they are open, a mistake in it changes nothing.
    """
    written = written_flags(settings)
    if written is not None:
        await written.load()
    flags = Flags(written or SqlFlags(database), salt=settings.hash_salt, clock=clock, chance=random.random)
    stack.push_async_callback(flags.close)
    await flags.open()
    return flags


def written_flags(settings: Settings) -> FlagSource | None:
    """The flags an admin has written down; None when they are kept in the database."""
    if settings.flags_from is FlagsFrom.ENVIRONMENT:
        return GivenFlags(settings.flags)
    if settings.flags_from is FlagsFrom.FILE and settings.flags_file is not None:
        return FileFlags(settings.flags_file, environment=settings.environment, environments=tuple(Environment))
    return None
