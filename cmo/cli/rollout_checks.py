"""What `cmo doctor` finds of the rollout: where it stands, and what somebody should look at."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from cmo.bootstrap.money import open_database
from cmo.cli.checks import Finding, Status
from cmo.cli.rollout_views import hold_words, remarks, standing_in, where
from cmo.policy.rollout import Phase, told_holds
from cmo.settings import Settings


async def rollout(settings: Settings) -> Finding:
    """A rollout that is held, waits for somebody, or that nobody looks at is a warning."""
    if not await asyncio.to_thread(Path(settings.database.partition(":///")[2]).exists):
        return Finding(Status.OK, "There is none.")
    async with AsyncExitStack() as stack:
        standing = await standing_in(await open_database(settings, stack))
    if standing is None:
        return Finding(Status.OK, "There is none.")
    state = standing.rollout.state
    troubles = [f"Held: {hold_words(hold)}." for hold in told_holds(state)]
    if state.phase is Phase.WAITING:
        troubles.append("Somebody has to approve its next stage.")
    if troubles := [*troubles, *remarks(standing)]:
        return Finding(Status.WARNING, f"{where(standing.rollout)} {' '.join(troubles)}", "`cmo rollout status`")
    return Finding(Status.OK, where(standing.rollout))
