"""A routing decision as people and programs read it. Pure; the command line and the chat show the same."""

from __future__ import annotations

from typing import Any

from cmo.policy.routing import spoken
from cmo.values import Decision


def explanation(decision: Decision) -> list[str]:
    """Why this engine: plain lines, the answer first, then what was checked before it, in order."""
    before, deciding = decision.checks[:-1], decision.checks[-1:]
    return [
        f"Asked: {spoken(decision.engine) if decision.engine else 'no engine'} ({decision.reason}).",
        *(f"Why: {check.words}" for check in deciding),
        *(["Only what costs nothing is done."] if decision.free else []),
        *([f"If that fails: {', '.join(map(spoken, decision.fallbacks))}."] if decision.fallbacks else []),
        *(["Checked before:"] if before else []),
        *(f"- {check.words} ({check.name})" for check in before),
        f"Place in the rollout: {decision.bucket:.2f} of 100. Configuration: {decision.configuration}.",
    ]


def decision_as_json(decision: Decision) -> dict[str, Any]:
    """The decision in JSON's types, with the names of its fields."""
    return {
        "engine": decision.engine,
        "reason": decision.reason,
        "rule": decision.rule,
        "free": decision.free,
        "bucket": decision.bucket,
        "fallbacks": list(decision.fallbacks),
        "configuration": decision.configuration,
        "checks": [{"name": check.name, "matched": check.matched, "words": check.words} for check in decision.checks],
    }
