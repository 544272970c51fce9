"""Switches that stand as a test puts them."""

from __future__ import annotations

from dataclasses import dataclass, field

from cmo.policy.flags import FlagValue
from cmo.values import Feature, Question


@dataclass
class FixedToggles:
    """Everything is on but `off`; the main rollout is by `flag`, which there is none of. Notes whom it is asked for."""

    off: frozenset[Feature] = frozenset()
    flag: FlagValue | None = None
    revision: str = ""
    out_of_service: frozenset[str] = frozenset()
    asked: list[tuple[Feature, str]] = field(default_factory=list)

    def is_on(self, feature: Feature, question: Question) -> bool:
        self.asked.append((feature, question.user_id))
        return feature not in self.off

    def stopped(self) -> frozenset[str]:
        return self.out_of_service

    async def rollout(self, question: Question) -> FlagValue | None:
        return self.flag
