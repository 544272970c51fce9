"""The vocabulary of experiments: what is fixed before one starts, and what an analysis of it finds.

Pure data. How it is found is in cmo/policy/analysis.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from statistics import NormalDist

from cmo.policy.measuring import Metric
from cmo.policy.planning import Look
from cmo.policy.statistics import Comparison, EffectSize, Interval, SampleRatio, Undefined


class Recommendation(StrEnum):
    """What the data ask for."""

    DEPLOY_LIGHTRAG = "deploy_lightrag"
    KEEP_PERPLEXITY = "keep_perplexity"
    CONTINUE_TESTING = "continue_testing"
    INSUFFICIENT_DATA = "insufficient_data"
    INVALID = "invalid"


class Basis(StrEnum):
    """What a comparison is: one that may be looked at at any time, or one for a planned look only."""

    ALWAYS_VALID = "always_valid"
    PLANNED_LOOK = "planned_look"


class GuardrailState(StrEnum):
    """Whether a guardrail's margin is certainly kept, certainly passed, or neither yet."""

    KEPT = "kept"
    OPEN = "open"
    BREACHED = "breached"


class Standing(StrEnum):
    """Where a treatment stands. `UNPROVEN` is better on the primary metric, with a guardrail open."""

    BETTER = "better"
    UNPROVEN = "unproven"
    SAME = "same"
    WORSE = "worse"
    HARMFUL = "harmful"
    OPEN = "open"
    EARLY = "early"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One of the ways people are served. `weight` is its share of people in any unit, 0 or more."""

    name: str
    weight: float
    overrides: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrail:
    """A metric that must not get worse than by `margin`, in its units; or a proportion that must not pass `ceiling`.

    Exactly one of them is given. A margin is held against the control, a ceiling (0 to 1, open) against nothing.
    """

    metric: Metric
    margin: float | None = None
    ceiling: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What is compared, fixed before it starts.

    `arms` are two or more, the first of them the control. `planned_users` are those of each arm; with uneven weights
    two arms count as many as equal ones that tell as much (their harmonic mean). `alpha` is the chance of a difference
    found where there is none, `power` the chance of finding the one the plan is for. `share_percent` is how many of all
    people take part, above 0 to 100.
    """

    name: str
    hypothesis: str
    arms: tuple[Arm, ...]
    primary: Metric
    secondaries: tuple[Metric, ...] = ()
    guardrails: tuple[Guardrail, ...] = ()
    start: datetime
    duration: timedelta
    planned_users: int
    power: float = 0.8
    alpha: float = 0.05
    looks: int = 5
    share_percent: float = 100.0

    @property
    def control(self) -> Arm:
        """What the others are compared with."""
        return self.arms[0]

    @property
    def treatments(self) -> tuple[Arm, ...]:
        """What is tried."""
        return self.arms[1:]

    @property
    def alpha_each(self) -> float:
        """The share of alpha that each treatment has on the primary metric (Bonferroni)."""
        return self.alpha / len(self.treatments)

    @property
    def horizon(self) -> int:
        """The planned users of a treatment and the control together."""
        return 2 * self.planned_users


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmUsers:
    """How many `users` came to an arm, and how many were `expected` by the weights."""

    arm: Arm
    users: int
    expected: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """How a treatment differs from the control on a metric. `adjusted_p` is Holm's, for secondary metrics only.

    `users`, `incomplete` (those of whom something is missing) and `values` are those of control and treatment;
    `relative` is the difference as a share of the control's value, `size` the one in standard deviations, for means.
    """

    metric: Metric
    arm: str
    basis: Basis
    users: tuple[int, int]
    incomplete: tuple[int, int]
    values: tuple[float | None, float | None]
    comparison: Comparison | Undefined
    relative: Comparison | Undefined
    size: EffectSize | Undefined | None = None
    adjusted_p: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LookTaken:
    """What a planned look at the primary metric found: `comparison` has an interval of 1 - look.alpha.

    `users` are those of control and treatment at that moment.
    """

    look: Look
    users: tuple[int, int]
    comparison: Comparison | Undefined

    @property
    def decides(self) -> bool:
        """Whether the boundary was crossed."""
        return isinstance(self.comparison, Comparison) and self.comparison.p_value <= self.look.alpha

    @property
    def z(self) -> float | None:
        """The p-value as a z of the normal distribution, with the difference's sign; to hold against the boundary."""
        if isinstance(self.comparison, Undefined):
            return None
        size = -NormalDist().inv_cdf(max(self.comparison.p_value / 2, 1e-300))
        return size if self.comparison.difference >= 0 else -size


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardrailFinding:
    """How a treatment stands to a guardrail.

    `worse_by` is by how much it is worse than the control, each end certain at 1 - alpha however often somebody looks.
    For a ceiling it is None, and `e_value` is the evidence against the rate being at or below it.
    """

    guardrail: Guardrail
    arm: str
    state: GuardrailState
    worse_by: Interval | None = None
    e_value: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How far a treatment has come: `progress` is the share of its planned users, 0 or more."""

    arm: str
    progress: float
    looks: tuple[LookTaken, ...]
    standing: Standing

    @property
    def decisive(self) -> LookTaken | None:
        """The look that counts: the first to cross its boundary."""
        return next((look for look in self.looks if look.decides), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What the observations say by now. Everything about treatments is in their order.

    `detectable` is the difference on the primary metric that the planned users show with the planned power.
    """

    experiment: Experiment
    observations: int
    arms: tuple[ArmUsers, ...]
    ratio: SampleRatio | Undefined
    courses: tuple[Course, ...]
    detectable: float | None
    primary: tuple[Effect, ...]
    secondaries: tuple[Effect, ...]
    guardrails: tuple[GuardrailFinding, ...]
    recommendation: Recommendation
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
