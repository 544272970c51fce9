"""The rules of the circuit breakers, as the settings have them."""

from __future__ import annotations

from cmo.policy.breaker import BreakerRules, BreakerState, QualityRules, Recovery
from cmo.settings import Settings


def breaker_rules(settings: Settings) -> BreakerRules:
    """Those for an engine's calls."""
    return BreakerRules(
        consecutive_failures=settings.failures_before_rest,
        slow_call_seconds=settings.slow_call_seconds,
        recovery=_recovery(settings),
        initial=BreakerState.CLOSED if settings.circuit_breaker else BreakerState.METRICS_ONLY,
    )


def quality_rules(settings: Settings) -> QualityRules:
    """Those for the quality of an engine's answers."""
    return QualityRules(threshold=settings.least_quality, recovery=_recovery(settings))


def _recovery(settings: Settings) -> Recovery:
    return Recovery(
        recovery_seconds=settings.breaker_recovery_seconds, probe_wait_seconds=2 * settings.answer_timeout_seconds
    )
