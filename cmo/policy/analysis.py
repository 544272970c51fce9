"""What the observations of an experiment say by now.

Pure: observations and the time come in as arguments. Each treatment is compared with the control. The primary metric
alone decides, at looks that were planned (O'Brien and Fleming's), each on exactly the observations that there were at
that look; so it makes no difference how often somebody runs the analysis. Between the looks, and for the other metrics
until the last one, intervals are shown that stay true however often they are looked at, never a p-value that does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from cmo.policy.experiment import (
    Analysis,
    Arm,
    ArmUsers,
    Basis,
    Course,
    Effect,
    Experiment,
    Guardrail,
    GuardrailFinding,
    GuardrailState,
    LookTaken,
    Recommendation,
    Standing,
)
from cmo.policy.measuring import (
    Better,
    Figures,
    Kind,
    Metric,
    Observation,
    Person,
    as_known_with_the_last,
    compare,
    errors_in_order,
    estimate,
    figures,
    people,
)
from cmo.policy.planning import Look, detectable_difference, planned_looks
from cmo.policy.recommendation import assignment_faults, missing_faults, notes, order_faults, recommend
from cmo.policy.statistics import (
    Comparison,
    Contrast,
    Estimate,
    Interval,
    SampleRatio,
    Undefined,
    always_valid,
    by_normal,
    contrast,
    effect_size,
    error_evidence,
    holm,
    one_sided_bounds,
    relative_contrast,
    sample_ratio,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """The control's and one treatment's people at some moment."""

    arm: str
    control: Sequence[Person]
    treatment: Sequence[Person]

    def figures(self, metric: Metric) -> tuple[Figures, Figures]:
        return figures(metric, self.control), figures(metric, self.treatment)

    @property
    def information(self) -> float:
        """The users of each of two equal arms that would tell as much."""
        return _information(len(self.control), len(self.treatment))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """A treatment's people now, and its people and findings at each look that is behind it."""

    now: _Pair
    then: tuple[_Pair, ...]
    looks: tuple[LookTaken, ...]

    @property
    def decisive(self) -> LookTaken | None:
        """The first look that crossed its boundary."""
        return next((taken for taken in self.looks if taken.decides), None)

    def is_complete(self, experiment: Experiment) -> bool:
        """Whether the last look is behind it."""
        return len(self.looks) == experiment.looks


def analyse(
    experiment: Experiment, observations: Iterable[Observation], *, now: datetime, stopped_at: datetime | None = None
) -> Analysis:
    """What the observations say by now; with `stopped_at` there will be no others.

    They are taken in the order of their times when all have one, else in the order they come in, which must be that of
    time too. Everything that shows that people were not assigned by the plan makes the experiment invalid.
    """
    given = _in_order(observations)
    named = {arm.name for arm in experiment.arms}
    ours = [observation for observation in given if observation.arm in named]
    everybody = people(ours)
    ways = [_way(experiment, arm, ours, everybody) for arm in experiment.treatments]
    primary = tuple(_primary_effect(experiment, way) for way in ways)
    secondaries = _secondary_effects(experiment, ways)
    guardrails = tuple(_held(experiment, rail, way.now) for rail in experiment.guardrails for way in ways)
    courses = tuple(_course(experiment, way, guardrails) for way in ways)
    users = [len(_of(everybody, arm.name)) for arm in experiment.arms]
    ratio = sample_ratio(users, [arm.weight for arm in experiment.arms])
    wrong = (
        *assignment_faults(experiment, given, everybody, ratio),
        *order_faults(experiment, courses),
        *(fault for way in ways for fault in missing_faults(way.now.arm, *way.now.figures(experiment.primary))),
    )
    recommendation, reasons = recommend(experiment, courses, primary, guardrails, now=now, stopped_at=stopped_at)
    return Analysis(
        experiment=experiment,
        observations=len(given),
        arms=_arms(experiment, users, ratio),
        ratio=ratio,
        courses=courses,
        detectable=_detectable(experiment, everybody),
        primary=primary,
        secondaries=secondaries,
        guardrails=guardrails,
        recommendation=Recommendation.INVALID if wrong else recommendation,
        reasons=wrong or reasons,
        notes=notes(experiment, everybody, (*primary, *secondaries)),
    )


def _in_order(observations: Iterable[Observation]) -> list[Observation]:
    given = list(observations)
    times = [observation.at for observation in given if observation.at is not None]
    if len(times) < len(given):
        return given
    return [given[place] for place in sorted(range(len(given)), key=times.__getitem__)]


def _arms(experiment: Experiment, users: Sequence[int], ratio: SampleRatio | Undefined) -> tuple[ArmUsers, ...]:
    expected = ratio.expected if isinstance(ratio, SampleRatio) else (0.0,) * len(users)
    return tuple(
        ArmUsers(arm=arm, users=seen, expected=wanted)
        for arm, seen, wanted in zip(experiment.arms, users, expected, strict=True)
    )


def _detectable(experiment: Experiment, everybody: Sequence[Person]) -> float | None:
    control = estimate(figures(experiment.primary, _of(everybody, experiment.control.name)))
    if isinstance(control, Undefined) or not control.variance:
        return None
    return detectable_difference(
        control.variance, users=experiment.planned_users, power=experiment.power, alpha=experiment.alpha_each
    )


def _way(experiment: Experiment, arm: Arm, observations: Sequence[Observation], everybody: Sequence[Person]) -> _Way:
    looks = planned_looks(experiment.looks, experiment.alpha_each)
    ends = _ends(experiment, arm, observations, [look.share * experiment.planned_users for look in looks])
    then = tuple(_pair(experiment, arm, people(as_known_with_the_last(observations[:end]))) for end in ends)
    taken = tuple(_taken(experiment, look, pair) for look, pair in zip(looks, then, strict=False))
    return _Way(now=_pair(experiment, arm, everybody), then=then, looks=taken)


def _ends(experiment: Experiment, arm: Arm, observations: Sequence[Observation], wanted: Sequence[float]) -> list[int]:
    """After how many observations the users needed for each look had come; fewer than wanted as long as they have not.

    Each person's later observations belong to later looks, so that a look finds the same whenever it is repeated.
    """
    ends: list[int] = []
    seen: set[str] = set()
    users = {experiment.control.name: 0, arm.name: 0}
    for number, observation in enumerate(observations, start=1):
        if observation.user in seen:
            continue
        seen.add(observation.user)
        if observation.arm in users:
            users[observation.arm] += 1
            information = _information(*users.values())
            while len(ends) < len(wanted) and information >= wanted[len(ends)]:
                ends.append(number)
    return ends


def _taken(experiment: Experiment, look: Look, pair: _Pair) -> LookTaken:
    control, treatment = pair.figures(experiment.primary)
    return LookTaken(
        look=look,
        users=(control.users, treatment.users),
        comparison=compare(treatment, control, alpha=look.alpha),
    )


def _pair(experiment: Experiment, arm: Arm, everybody: Sequence[Person]) -> _Pair:
    return _Pair(arm=arm.name, control=_of(everybody, experiment.control.name), treatment=_of(everybody, arm.name))


def _of(everybody: Sequence[Person], arm: str) -> list[Person]:
    return [person for person in everybody if person.arm == arm]


def _information(control: int, treatment: int) -> float:
    return 2 * control * treatment / (control + treatment) if control and treatment else 0.0


def _primary_effect(experiment: Experiment, way: _Way) -> Effect:
    """The look that decided, or the last one of all; until then what may be looked at at any time."""
    taken = way.decisive or (way.looks[-1] if way.is_complete(experiment) else None)
    if taken is None:
        return _watched(experiment, experiment.primary, way.now, alpha=experiment.alpha_each)
    return _looked(experiment.primary, way.then[taken.look.number - 1], alpha=taken.look.alpha)


def _secondary_effects(experiment: Experiment, ways: Sequence[_Way]) -> tuple[Effect, ...]:
    effects = [
        _looked(metric, way.then[-1], alpha=experiment.alpha)
        if way.is_complete(experiment)
        else _watched(experiment, metric, way.now, alpha=experiment.alpha)
        for metric in experiment.secondaries
        for way in ways
    ]
    adjusted = holm([each.comparison.p_value if isinstance(each.comparison, Comparison) else None for each in effects])
    return tuple(replace(effect, adjusted_p=p) for effect, p in zip(effects, adjusted, strict=True))


def _looked(metric: Metric, pair: _Pair, *, alpha: float) -> Effect:
    control, treatment = pair.figures(metric)
    comparison = compare(treatment, control, alpha=alpha)
    return _effect(pair.arm, Basis.PLANNED_LOOK, control, treatment, comparison, lambda c: by_normal(c, alpha=alpha))


def _watched(experiment: Experiment, metric: Metric, pair: _Pair, *, alpha: float) -> Effect:
    def watch(apart: Contrast) -> Comparison:
        return always_valid(apart, horizon=experiment.horizon, alpha=alpha)

    control, treatment = pair.figures(metric)
    comparison = _map(_apart(treatment, control, contrast), watch)
    return _effect(pair.arm, Basis.ALWAYS_VALID, control, treatment, comparison, watch)


def _effect(
    arm: str,
    basis: Basis,
    control: Figures,
    treatment: Figures,
    comparison: Comparison | Undefined,
    relate: Callable[[Contrast], Comparison],
) -> Effect:
    metric, theirs, ours = control.metric, estimate(control), estimate(treatment)
    size = None
    if metric.kind is Kind.MEAN and isinstance(ours, Estimate) and isinstance(theirs, Estimate):
        size = effect_size(ours, theirs)
    return Effect(
        metric=metric,
        arm=arm,
        basis=basis,
        users=(control.users, treatment.users),
        incomplete=(control.incomplete, treatment.incomplete),
        values=(_value(theirs), _value(ours)),
        comparison=comparison,
        relative=_map(_apart(treatment, control, relative_contrast), relate),
        size=size,
    )


def _apart(
    treatment: Figures, control: Figures, how: Callable[[Estimate, Estimate], Contrast | Undefined]
) -> Contrast | Undefined:
    ours, theirs = estimate(treatment), estimate(control)
    if isinstance(ours, Undefined):
        return ours
    return theirs if isinstance(theirs, Undefined) else how(ours, theirs)


def _map(apart: Contrast | Undefined, then: Callable[[Contrast], Comparison]) -> Comparison | Undefined:
    return apart if isinstance(apart, Undefined) else then(apart)


def _value(found: Estimate | Undefined) -> float | None:
    return None if isinstance(found, Undefined) else found.value


def _held(experiment: Experiment, rail: Guardrail, pair: _Pair) -> GuardrailFinding:
    if rail.ceiling is not None:
        return _held_under(rail, rail.ceiling, pair)
    control, treatment = pair.figures(rail.metric)
    apart = _apart(treatment, control, contrast)
    if isinstance(apart, Undefined) or rail.margin is None:
        return GuardrailFinding(guardrail=rail, arm=pair.arm, state=GuardrailState.OPEN)
    bounds = one_sided_bounds(apart, horizon=experiment.horizon, alpha=experiment.alpha)
    worse_by = bounds if rail.metric.better is Better.LOWER else Interval(low=-bounds.high, high=-bounds.low)
    state = GuardrailState.OPEN
    if worse_by.low > rail.margin:
        state = GuardrailState.BREACHED
    elif worse_by.high < rail.margin:
        state = GuardrailState.KEPT
    return GuardrailFinding(guardrail=rail, arm=pair.arm, state=state, worse_by=worse_by)


def _held_under(rail: Guardrail, ceiling: float, pair: _Pair) -> GuardrailFinding:
    """A person who has no error yet may still have one, which can only raise the evidence: an alarm stays one."""
    evidence = error_evidence(errors_in_order(rail.metric, pair.treatment), ceiling=ceiling)
    state = GuardrailState.KEPT if evidence.alarm_at is None else GuardrailState.BREACHED
    if not figures(rail.metric, pair.treatment).numerators:
        state = GuardrailState.OPEN  # nothing was measured, which is neither good nor bad
    return GuardrailFinding(guardrail=rail, arm=pair.arm, state=state, e_value=evidence.largest)


def _course(experiment: Experiment, way: _Way, guardrails: Sequence[GuardrailFinding]) -> Course:
    states = {finding.state for finding in guardrails if finding.arm == way.now.arm}
    return Course(
        arm=way.now.arm,
        progress=way.now.information / experiment.planned_users,
        looks=way.looks,
        standing=_standing(experiment, way, states),
    )


def _standing(experiment: Experiment, way: _Way, states: set[GuardrailState]) -> Standing:
    if GuardrailState.BREACHED in states:
        return Standing.HARMFUL
    if not way.looks:
        return Standing.EARLY
    if way.decisive is None or isinstance(way.decisive.comparison, Undefined):
        return _undecided(experiment, way)
    if experiment.primary.gain(way.decisive.comparison.difference) < 0:
        return Standing.WORSE
    return Standing.UNPROVEN if GuardrailState.OPEN in states else Standing.BETTER


def _undecided(experiment: Experiment, way: _Way) -> Standing:
    if isinstance(way.looks[-1].comparison, Undefined):
        return Standing.UNKNOWN
    return Standing.SAME if way.is_complete(experiment) else Standing.OPEN
