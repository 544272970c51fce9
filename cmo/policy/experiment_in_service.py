"""An experiment in service: the flag by which people get their arms, and what is measured of what they got. Pure.

A person counts for what they got in the end, whichever engine it came from: an arm whose engine fails is not made to
look better by the other one standing in, because the failure counts, too. How the figures are compared is not known
here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType

from cmo.errors import OracleError
from cmo.policy.arms import ENGINE, refuse_wrong
from cmo.policy.experiment import Arm, Experiment
from cmo.policy.flag_documents import document_of, flag_from
from cmo.policy.flags import MAIN_ROLLOUT, FeatureFlag, FeatureVariant, FlagStatus
from cmo.policy.measuring import Better, Metric
from cmo.values import Thumb

LOST_AFTER = timedelta(hours=1)
"""A question that is not booked so long after an engine was chosen for it never will be. Answers take minutes."""


class Measure(StrEnum):
    """What is measured of each question."""

    IMPRESSION = "impression"
    CONVERSION = "conversion"
    ERROR = "error"
    RESPONSE_TIME_MS = "response_time_ms"
    QUALITY_SCORE = "quality_score"
    SATISFACTION = "satisfaction"
    COST_USD = "cost_usd"


CUSTOM = "custom:"
"""What the name of a metric begins with that a custom assessor measures."""

_LOWER_IS_BETTER = frozenset({Measure.ERROR, Measure.RESPONSE_TIME_MS, Measure.COST_USD})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a question, as it was booked.

    `outcome` is as in the ledger. `missed`: the engine that was meant gave no answer, whoever stood in. `quality` is
    the composite, 0 to 1, None for an answer that was not assessed; `custom` are the scores of custom assessors by
    their names. `thumb` is None as long as there is none.
    """

    outcome: str
    missed: bool
    answered: bool
    seconds: float
    quality: float | None
    cost_usd: float
    thumb: Thumb | None
    custom: Mapping[str, float] = field(default_factory=dict)


def measured(found: Outcome | None) -> Mapping[str, float | None]:
    """The measures of a question; None stands for one that was lost on the way.

    What could not be measured is None, what was not to be measured is not there: a stopped question is no failure and
    has no quality, and nobody has to give a thumb. An engine that refuses the hard questions has no quality there
    either, and does not look better for it.
    """
    if found is None:
        return _LOST
    has_failed, was_stopped = found.outcome == "failed", found.outcome == "stopped"
    values: dict[str, float | None] = {
        Measure.IMPRESSION: 1.0,
        Measure.CONVERSION: float(found.answered and found.thumb is not Thumb.DOWN),
        Measure.RESPONSE_TIME_MS: None if has_failed or was_stopped else 1_000 * found.seconds,
        Measure.COST_USD: found.cost_usd,
    }
    if not was_stopped:
        values[Measure.ERROR] = float(has_failed or found.missed)
    if not (found.answered or was_stopped) or found.quality is not None:
        values[Measure.QUALITY_SCORE] = found.quality
    if found.thumb is not None:
        values[Measure.SATISFACTION] = float(found.thumb is Thumb.UP)
    return values | {f"{CUSTOM}{name}": score for name, score in found.custom.items()}


_LOST: Mapping[str, float | None] = MappingProxyType(
    {
        Measure.IMPRESSION: 1.0,
        Measure.CONVERSION: 0.0,
        Measure.ERROR: 1.0,
        Measure.RESPONSE_TIME_MS: None,
        Measure.QUALITY_SCORE: None,
        Measure.COST_USD: None,
    }
)


def flag_of(experiment: Experiment) -> FeatureFlag:
    """The main rollout's flag while the experiment runs, with people spread as in no other experiment."""
    return FeatureFlag(
        name=MAIN_ROLLOUT,
        description=f'The experiment "{experiment.name}".',
        status=FlagStatus.AB_TEST,
        rollout_percentage=experiment.share_percent,
        seed=f"experiment:{experiment.name}",
        variants=tuple(
            FeatureVariant(name=arm.name, weight=arm.weight, config_overrides=arm.overrides) for arm in experiment.arms
        ),
    )


def engine_in(arm: Arm, *, home: str) -> str:
    """The engine that serves an arm: the one it names, else the home engine."""
    return str(arm.overrides.get(ENGINE, home))


def refuse_unfit(experiment: Experiment, *, engines: Sequence[str], modes: Sequence[str]) -> None:
    """Let an experiment pass that can be run. `engines` are all there are, the home engine first.

    Raises:
        OracleError: it cannot be served as it says, or not be measured; says why and what is allowed.
    """
    for arm in experiment.arms:
        _refuse_unfit_arm(arm, engines=engines, modes=modes)
    served = [{ENGINE: engines[0], **arm.overrides} for arm in experiment.arms]
    if all(overrides == served[0] for overrides in served):
        raise OracleError(f"All arms are served alike, by {served[0][ENGINE]}: give one of them other overrides.")
    for metric in _metrics(experiment):
        _refuse_unmeasured(metric)
    flag = flag_of(experiment)
    flag_from(flag.name, document_of(flag))


def _refuse_unfit_arm(arm: Arm, *, engines: Sequence[str], modes: Sequence[str]) -> None:
    try:
        refuse_wrong(arm.overrides, engines=engines, modes=modes)
    except ValueError as error:
        raise OracleError(f'Arm "{arm.name}": {error}') from error
    engine = engine_in(arm, home=engines[0])
    if arm.name in engines and arm.name != engine:
        own = f'overrides = {{ {ENGINE} = "{arm.name}" }}'
        raise OracleError(f'Arm "{arm.name}" would be served by {engine}. Give it {own}, or another name.')


def _metrics(experiment: Experiment) -> Iterator[Metric]:
    yield experiment.primary
    yield from experiment.secondaries
    yield from (rail.metric for rail in experiment.guardrails)


def _refuse_unmeasured(metric: Metric) -> None:
    if metric.name.startswith(CUSTOM):
        return
    if metric.name not in set(Measure):
        allowed = f"{', '.join(Measure)}, {CUSTOM} and the name of an assessor"
        raise OracleError(f'The metric "{metric.name}" is not measured in service. Allowed: {allowed}.')
    wanted = Better.LOWER if metric.name in _LOWER_IS_BETTER else Better.HIGHER
    if metric.better is not wanted:
        raise OracleError(f'The metric "{metric.name}" has better = "{metric.better}". Allowed: "{wanted}".')
