"""Tests in which people keep the variant they got first, whatever becomes of the weights.

What they would get is told by the flags of this process; what they have had is kept in a store. When that cannot be
reached in time people get what the flags say, which is the same as long as nobody has changed the weights.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from cmo.dispatch.flags import Flags
from cmo.errors import StorageUnavailable
from cmo.interfaces import Clock
from cmo.logs import fields
from cmo.policy.flags import FeatureFlag, FlagContext, FlagReason, FlagStatus, FlagValue

KEEP_SECONDS = 1.0
"""How long a person waits until their variant is kept. It takes a millisecond, as a rule."""

_log = logging.getLogger(__name__)


class AssignmentStore(Protocol):
    """Keeps who got which variant."""

    async def assigned(self, user_id: str) -> Mapping[str, str]:
        """The person's variants, by flag.

        Raises:
            StorageUnavailable: they cannot be read.
        """

    async def keep(self, flag: str, user_id: str, variant: str, *, instead_of: str, at: datetime) -> str:
        """The variant the person has from now on: this one, unless they got another in the meantime.

        `instead_of` is one they had that there is no more, "" for none.

        Raises:
            StorageUnavailable: it cannot be written.
        """


class Assignments:
    """Gives people their variants. Shared by all questions of a process."""

    def __init__(self, flags: Flags, store: AssignmentStore, *, clock: Clock) -> None:
        self._flags = flags
        self._store = store
        self._clock = clock

    async def evaluate(self, name: str, context: FlagContext) -> FlagValue:
        """What the flag is worth for a person; in a test with the variant they got first, which is kept from now on."""
        if not context.user_id or not self._is_test(name):
            return self._flags.evaluate(name, context)
        try:
            async with asyncio.timeout(KEEP_SECONDS):
                return await self._kept(name, context)
        except (StorageUnavailable, TimeoutError):
            _log.warning("assignments_unavailable", exc_info=True, extra=fields(flag=name))
            return self._flags.evaluate(name, context)

    def _is_test(self, name: str) -> bool:
        flag = self._flags.snapshot.flags.get(name)
        return isinstance(flag, FeatureFlag) and flag.status is FlagStatus.AB_TEST

    async def _kept(self, name: str, context: FlagContext) -> FlagValue:
        had = await self._store.assigned(context.user_id)
        value = self._flags.evaluate(name, replace(context, assigned=had))
        if value.variant is None or value.reason is not FlagReason.AB_TEST or had.get(name) == value.variant.name:
            return value
        kept = await self._store.keep(
            name, context.user_id, value.variant.name, instead_of=had.get(name, ""), at=self._clock.now()
        )
        if kept == value.variant.name:
            return value
        return self._flags.evaluate(name, replace(context, assigned={**had, name: kept}))
