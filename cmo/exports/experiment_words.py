"""Figures of an experiment as people read them: in a metric's units, shares in percent and percentage points.

Pure. Refuses to know what a figure says about an arm.
"""

from __future__ import annotations

from cmo.policy.measuring import Kind, Metric
from cmo.policy.statistics import Interval


def amount(metric: Metric, value: float | None) -> str:
    """A value in the metric's units, a share in percent; a dash when there is none."""
    if value is None:
        return "–"
    return f"{value:.1%}" if metric.kind is Kind.PROPORTION else f"{value:.4g}"


def apart(metric: Metric, difference: float, *, sign: str = "+") -> str:
    """A difference in the metric's units, one of shares in percentage points."""
    return f"{100 * difference:{sign}.1f} pp" if metric.kind is Kind.PROPORTION else f"{difference:{sign}.4g}"


def span(metric: Metric, interval: Interval) -> str:
    """An interval of differences."""
    return f"{apart(metric, interval.low)} to {apart(metric, interval.high)}"


def p_value(value: float) -> str:
    """A p-value, none of them as 0."""
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"
