"""When a second engine is asked about the same question, and whose answer is shown. Pure.

Somebody who chose an engine, and an admin who forced one, get that one: its poor answer is told, and no other is asked.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from cmo.policy.routing import Reason
from cmo.values import Decision, Quality

LEAST_SECONDS: Final = 5.0
"""Less time than this is not enough for another answer."""

_SETTLED: Final = frozenset(
    {
        Reason.USER_CHOICE,
        Reason.FORCED_COHORT,
        Reason.INTEGRATION_DISABLED,
        Reason.EMERGENCY_STOP,
        Reason.BUDGET_EXHAUSTED,
    }
)
"""Reasons for an engine that speak against any other one."""


def is_poor(quality: Quality | None, *, answered: bool, floor: float) -> bool:
    """Whether an answer asks for a second opinion: there is none, or its composite is under `floor`, 0 to 1.

    One that could not be assessed is not poor: nobody knows. A floor of 0 switches second opinions off.
    """
    if floor <= 0:
        return False
    return not answered or (quality is not None and quality.composite < floor)


def whom_to_ask(decision: Decision, asked: Collection[str], *, seconds: float) -> str | None:
    """The engine to turn to, in the decision's order, within the `seconds` left; None for nobody."""
    if decision.reason in _SETTLED or decision.free or seconds < LEAST_SECONDS:
        return None
    return next((engine for engine in decision.fallbacks if engine not in asked), None)


def is_better(second: Quality | None, first: Quality | None, *, answered: bool, first_answered: bool) -> bool:
    """Whether the second answer is shown: it is one, and the first is none or is known to be worse."""
    if not answered:
        return False
    if not first_answered:
        return True
    return second is not None and first is not None and second.composite > first.composite
