"""What an admin switches on and off for people while the service runs: flags, and settings where there is no flag."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cmo.dispatch.assignments import Assignments
from cmo.dispatch.flags import Flags, asker_of
from cmo.policy.flags import MAIN_ROLLOUT, FlagReason, FlagValue
from cmo.values import Feature, Question


class FlagToggles:
    """The flags that the oracle itself obeys, for whoever asks a question. An `interfaces.Toggles`."""

    def __init__(
        self,
        flags: Flags,
        assignments: Assignments,
        defaults: Mapping[Feature, bool],
        stopped: Callable[[], frozenset[str]],
    ) -> None:
        """`defaults` are the settings, which hold for features without a flag; `stopped` tells of emergency stops."""
        self._stopped = stopped
        self._flags = flags
        self._assignments = assignments
        self._defaults = defaults

    def is_on(self, feature: Feature, question: Question) -> bool:
        """Whether the person who asks has the feature."""
        return self._flags.is_feature_enabled(feature.value, asker_of(question), default=self._defaults[feature])

    async def rollout(self, question: Question) -> FlagValue | None:
        """Whether the main rollout leads the person to the home engine; None when no flag says so of this person.

        In a test they keep the variant they got first.
        """
        value = await self._assignments.evaluate(MAIN_ROLLOUT, asker_of(question))
        return None if value.reason in (FlagReason.UNKNOWN, FlagReason.NO_USER_ID) else value

    def stopped(self) -> frozenset[str]:
        """The engines that an emergency stop has taken out of service."""
        return self._stopped()

    @property
    def revision(self) -> str:
        """Names the flags in force; "" when there are none."""
        return self._flags.snapshot.revision if self._flags.snapshot.flags else ""
