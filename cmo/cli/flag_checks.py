"""What `cmo doctor` finds of feature flags: how many there are, and which somebody should look at."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

from cmo.bootstrap.flags import written_flags
from cmo.bootstrap.money import open_database
from cmo.cli.checks import Finding, Status
from cmo.errors import OracleError
from cmo.policy.flags import FeatureFlag, FlagSet, MalformedFlag
from cmo.settings import Settings
from cmo.storage.flags import SqlFlags


async def flags(settings: Settings) -> Finding:
    """The flags that are malformed, and those that are stale with their owners."""
    try:
        found = await _found(settings)
    except OracleError as error:
        return Finding(Status.WARNING, str(error), "Until then features are on or off as the settings say.")
    if found is None or not found.flags:
        return Finding(Status.OK, "There are none.")
    all_flags, now = tuple(found.flags.values()), datetime.now(UTC)
    malformed = [flag.problem for flag in all_flags if isinstance(flag, MalformedFlag)]
    if malformed:
        return Finding(Status.WARNING, " ".join(malformed), "A malformed flag is off; `cmo flags revert` goes back.")
    if stale := [_named(flag) for flag in all_flags if not isinstance(flag, MalformedFlag) and flag.is_stale(now)]:
        advice = "Delete those that are not needed any more; `cmo flags set NAME --permanent` keeps the others."
        return Finding(Status.WARNING, f"Stale: {', '.join(stale)}.", advice)
    return Finding(Status.OK, f"Flags: {len(all_flags)}.")


async def _found(settings: Settings) -> FlagSet | None:
    if (source := written_flags(settings)) is not None:
        return await source.load()
    if not await asyncio.to_thread(Path(settings.database.partition(":///")[2]).exists):
        return None
    async with AsyncExitStack() as stack:
        return await SqlFlags(await open_database(settings, stack)).load()


def _named(flag: FeatureFlag) -> str:
    return f"{flag.name} ({flag.owner or 'no owner'})"
