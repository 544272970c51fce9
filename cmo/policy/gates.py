"""Gates: whether a rollout's new engine is good enough, by what was observed of its answers.

Pure. Each criterion makes of an answer a harm from 0 to 1 and has a ceiling for its average, so that all of them are
judged in one way. `fail`: evidence that a service within the limit gives with probability ALPHA at most, however long
and often it is looked at (evidence.py). `pass`: the average of this stage is within the limit. What lies between is
`inconclusive`, and `error` is no reading at all. It refuses to decide what is done then: see rollout.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import isfinite, sqrt

from cmo.policy.evidence import Evidence
from cmo.policy.statistics import ERROR_ALPHA

ALPHA = ERROR_ALPHA
"""The chance that a criterion exactly at its limit ever fails."""

SLOW_SHARE = 0.05
"""The 95th percentile is over a limit exactly when more than this share of answers is."""

DEAREST = 10
"""An answer that costs more counts as so many times the limit, since a bet needs a largest harm."""

WORSE_Z = 2.326
"""Standard errors beyond which chance hardly makes one arm that much worse than the other: 1 % one-sided, at a look."""


class Measure(StrEnum):
    """What a criterion looks at."""

    ERROR_RATE = "error_rate"
    QUALITY = "quality"
    P95_SECONDS = "p95_seconds"
    SATISFACTION = "satisfaction"
    COST_USD = "cost_usd"
    BREAKER = "breaker"


class Role(StrEnum):
    """What a failed criterion does: a guardrail rolls back, a signal holds and tells."""

    GUARDRAIL = "guardrail"
    SIGNAL = "signal"


class GateVerdict(StrEnum):
    """What a gate says."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"


class Finding(StrEnum):
    """Why a gate says what it says."""

    WITHIN = "within"
    PROVEN = "proven"
    DOUBTFUL = "doubtful"
    WORSE_THAN_CONTROL = "worse_than_control"
    TOO_FEW = "too_few"
    NO_READING = "no_reading"


_VERDICTS: Mapping[Finding, GateVerdict] = {
    Finding.WITHIN: GateVerdict.PASS,
    Finding.PROVEN: GateVerdict.FAIL,
    Finding.DOUBTFUL: GateVerdict.INCONCLUSIVE,
    Finding.WORSE_THAN_CONTROL: GateVerdict.INCONCLUSIVE,
    Finding.TOO_FEW: GateVerdict.INCONCLUSIVE,
    Finding.NO_READING: GateVerdict.ERROR,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One limit: at most so large an error rate (a share), so small a quality or satisfaction (shares), and so on.

    `limit` is in the measure's own units: seconds for P95_SECONDS, dollars per answer for COST_USD, rests in a row for
    BREAKER. A stage passes only with `minimum` values or more of it.

    Raises:
        ValueError: nothing could ever lie on one side of the limit.
    """

    measure: Measure
    limit: float
    role: Role = Role.GUARDRAIL
    minimum: int = 10

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        top = 1 if self.measure in _SHARES else float("inf")
        if not 0 < self.limit < top:
            raise ValueError(f"The limit of {self.measure} is {self.limit:g}. Allowed: above 0 and below {top:g}.")
        if self.minimum < 1:
            raise ValueError(f"The minimum of {self.measure} is {self.minimum}. Allowed: 1 or more.")


_SHARES = frozenset({Measure.ERROR_RATE, Measure.QUALITY, Measure.SATISFACTION})

GUARDRAILS = (
    Criterion(measure=Measure.ERROR_RATE, limit=0.05),
    Criterion(measure=Measure.QUALITY, limit=0.6),
    Criterion(measure=Measure.P95_SECONDS, limit=10.0),
    Criterion(measure=Measure.BREAKER, limit=2.0),
)
"""What every rollout is guarded by.

A breaker that has opened rests, and probes decide whether it closes: its second rest in a row means that they failed.
Three failures in a row, which open it, happen to a healthy service on one day in thirteen (3 % errors, 2 questions a
minute), so that a first rest only holds.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Something observed of one answer: the answer itself, or a thumb that came later. What is None was not measured.

    `number` grows from one to the next, as rows in a table do. `quality` is 0 to 1. An answer is what has `failed`.
    """

    number: int
    failed: bool | None = None
    seconds: float | None = None
    quality: float | None = None
    satisfied: bool | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What was observed since the last look, in the order of the numbers; things seen before are passed over.

    `control` is of people who were drawn like the exposed ones and got the other engine, where there are such.
    `breaker_rests` is how often in a row the new engine's breaker has opened, 0 while it is closed, None when unknown.
    """

    exposed: tuple[Observed, ...] = ()
    control: tuple[Observed, ...] = ()
    breaker_rests: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """What one criterion has seen: number and sum of this stage's harms, for both arms, and evidence of all stages."""

    values: int = 0
    harm: float = 0.0
    control_values: int = 0
    control_harm: float = 0.0
    evidence: Evidence = field(default_factory=Evidence)

    def in_next_stage(self) -> Track:
        """The track where a stage begins."""
        return Track(evidence=self.evidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """What a gate found in this stage. `value` and `control` are in the criterion's units, None without values.

    For P95_SECONDS they are the share of answers slower than the limit.
    """

    criterion: Criterion
    finding: Finding
    values: int
    value: float | None
    control: float | None
    evidence: float

    @property
    def verdict(self) -> GateVerdict:
        """The finding as a verdict."""
        return _VERDICTS[self.finding]

    @property
    def words(self) -> str:
        """The result as a sentence."""
        return f"{self.reading}: {_WORDS[self.finding](self)}."

    @property
    def reading(self) -> str:
        """What was measured, with its value where there is one."""
        name, form = _SHOWN[self.criterion.measure]
        return name if self.value is None else f"{name} {form.format(self.value)}"


def tracked(track: Track, criterion: Criterion, exposed: Iterable[Observed], control: Iterable[Observed]) -> Track:
    """The track with more observations, which it has not seen before."""
    harms = _harms(criterion, exposed)
    others = _harms(criterion, control)
    if not harms and not others:
        return track
    return Track(
        values=track.values + len(harms),
        harm=_added(track.harm, harms),
        control_values=track.control_values + len(others),
        control_harm=_added(track.control_harm, others),
        evidence=track.evidence.after(harms, ceiling=_ceiling(criterion)),
    )


def is_broken(track: Track, criterion: Criterion, *, breaker_rests: int | None) -> bool:
    """Whether this is a guardrail, and has failed."""
    if criterion.role is not Role.GUARDRAIL:
        return False
    if criterion.measure is Measure.BREAKER:
        return breaker_rests is not None and breaker_rests >= criterion.limit
    return track.evidence.largest >= 1 / ALPHA


def judged(track: Track, criterion: Criterion, *, breaker_rests: int | None) -> GateResult:
    """What the criterion says of what was tracked."""
    if criterion.measure is Measure.BREAKER:
        return _breaker_result(criterion, breaker_rests)
    return GateResult(
        criterion=criterion,
        finding=_finding(track, criterion),
        values=track.values,
        value=_in_units(criterion, track.harm, track.values),
        control=_in_units(criterion, track.control_harm, track.control_values),
        evidence=track.evidence.value,
    )


def _finding(track: Track, criterion: Criterion) -> Finding:
    evidence = track.evidence.largest if criterion.role is Role.GUARDRAIL else track.evidence.value
    if evidence >= 1 / ALPHA:
        return Finding.PROVEN
    if not track.values:
        return Finding.NO_READING
    if track.values < criterion.minimum:
        return Finding.TOO_FEW
    if track.harm / track.values > _ceiling(criterion):
        return Finding.DOUBTFUL
    return Finding.WORSE_THAN_CONTROL if _worse_than_control(track) else Finding.WITHIN


def _worse_than_control(track: Track) -> bool:
    """Whether the arms differ by more than chance makes likely; a harm of 0 to 1 never varies more than a share does.

    With one more good and one more bad value in each (Agresti and Caffo 2000, Am Stat 54:280-288).
    """
    if not track.control_values:
        return False
    ours = (track.harm + 1) / (track.values + 2)
    theirs = (track.control_harm + 1) / (track.control_values + 2)
    error = sqrt(ours * (1 - ours) / (track.values + 2) + theirs * (1 - theirs) / (track.control_values + 2))
    return ours - theirs > WORSE_Z * error


def _breaker_result(criterion: Criterion, rests: int | None) -> GateResult:
    if rests is None:
        finding = Finding.NO_READING
    elif rests >= criterion.limit:
        finding = Finding.PROVEN
    else:
        finding = Finding.DOUBTFUL if rests else Finding.WITHIN
    value = None if rests is None else float(rests)
    return GateResult(criterion=criterion, finding=finding, values=0, value=value, control=None, evidence=1.0)


def _harms(criterion: Criterion, observed: Iterable[Observed]) -> list[float]:
    harm_of = _HARMS.get(criterion.measure, _nothing)
    return [harm for each in observed if (harm := harm_of(each, criterion.limit)) is not None]


def _added(total: float, harms: Iterable[float]) -> float:
    """The total, one by one: so it is the same to the last digit however the observations are split over looks."""
    for harm in harms:
        total += harm
    return total


def _nothing(observed: Observed, limit: float) -> float | None:
    return None


def _failed(observed: Observed, limit: float) -> float | None:
    return observed.failed


def _poor(observed: Observed, limit: float) -> float | None:
    return None if observed.quality is None else _from_0_to_1(1 - observed.quality)


def _slow(observed: Observed, limit: float) -> float | None:
    return None if observed.seconds is None else observed.seconds > limit


def _displeased(observed: Observed, limit: float) -> float | None:
    return None if observed.satisfied is None else not observed.satisfied


def _dear(observed: Observed, limit: float) -> float | None:
    return None if observed.cost_usd is None else _from_0_to_1(observed.cost_usd / (DEAREST * limit))


def _from_0_to_1(harm: float) -> float | None:
    """The harm, none for what is no number."""
    return min(1.0, max(0.0, harm)) if isfinite(harm) else None


_HARMS: Mapping[Measure, Callable[[Observed, float], float | None]] = {
    Measure.ERROR_RATE: _failed,
    Measure.QUALITY: _poor,
    Measure.P95_SECONDS: _slow,
    Measure.SATISFACTION: _displeased,
    Measure.COST_USD: _dear,
}


def _ceiling(criterion: Criterion) -> float:
    """The largest average harm that is within the limit."""
    if criterion.measure is Measure.P95_SECONDS:
        return SLOW_SHARE
    if criterion.measure is Measure.COST_USD:
        return 1 / DEAREST
    return criterion.limit if criterion.measure is Measure.ERROR_RATE else 1 - criterion.limit


def _in_units(criterion: Criterion, harm: float, values: int) -> float | None:
    if not values:
        return None
    mean = harm / values
    if criterion.measure in (Measure.QUALITY, Measure.SATISFACTION):
        return 1 - mean
    return mean * DEAREST * criterion.limit if criterion.measure is Measure.COST_USD else mean


_SHOWN: Mapping[Measure, tuple[str, str]] = {
    Measure.ERROR_RATE: ("error rate", "{:.1%}"),
    Measure.QUALITY: ("quality", "{:.2f}"),
    Measure.P95_SECONDS: ("share of slow answers", "{:.1%}"),
    Measure.SATISFACTION: ("satisfaction", "{:.0%}"),
    Measure.COST_USD: ("cost per answer", "${:.4f}"),
    Measure.BREAKER: ("rests of the breaker in a row", "{:.0f}"),
}

_LIMITS: Mapping[Measure, str] = {
    Measure.ERROR_RATE: "error rate at most {:.1%}",
    Measure.QUALITY: "quality at least {:.2f}",
    Measure.P95_SECONDS: "95 % of answers within {:g} s",
    Measure.SATISFACTION: "satisfaction at least {:.0%}",
    Measure.COST_USD: "cost per answer at most ${:.4f}",
    Measure.BREAKER: "breaker under {:.0f} rests in a row",
}


def limit_words(criterion: Criterion) -> str:
    """The limit in words."""
    return _LIMITS[criterion.measure].format(criterion.limit)


def _worse_words(result: GateResult) -> str:
    assert result.control is not None
    _, form = _SHOWN[result.criterion.measure]
    return f"within the limit, but worse than the control's {form.format(result.control)}"


_WORDS: Mapping[Finding, Callable[[GateResult], str]] = {
    Finding.WITHIN: lambda result: f"within the limit ({limit_words(result.criterion)})",
    Finding.PROVEN: lambda result: f"beyond the limit, and not by chance ({limit_words(result.criterion)})",
    Finding.DOUBTFUL: lambda result: f"beyond the limit, but it may be chance ({limit_words(result.criterion)})",
    Finding.WORSE_THAN_CONTROL: _worse_words,
    Finding.TOO_FEW: lambda result: f"values: {result.values}, needed: {result.criterion.minimum}",
    Finding.NO_READING: lambda result: "no reading",
}
