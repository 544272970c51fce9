"""A routing decision as people and programs read it. Pure; the command line and the chat show the same."""

from __future__ import annotations

from typing import Any

from cmo.phrases import Phrase, joined
from cmo.policy.routing import spoken
from cmo.values import Decision


def explanation(decision: Decision) -> list[str]:
    """Why this engine: plain lines, the answer first, then what was checked before it, in order."""
    before, deciding = decision.checks[:-1], decision.checks[-1:]
    asked = spoken(decision.engine) if decision.engine else Phrase("no engine")
    others = joined(map(spoken, decision.fallbacks), ", ")
    return [
        Phrase("Asked: {engine} ({reason}).", engine=asked, reason=decision.reason),
        *(Phrase("Why: {words}", words=check.words) for check in deciding),
        *([Phrase("Only what costs nothing is done.")] if decision.free else []),
        *([Phrase("If that fails: {engines}.", engines=others)] if decision.fallbacks else []),
        *([Phrase("Checked before:")] if before else []),
        *(joined(("-", check.words, f"({check.name})")) for check in before),
        Phrase(
            "Place in the rollout: {place:.2f} of 100. Configuration: {version}.",
            place=decision.bucket,
            version=decision.configuration,
        ),
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
