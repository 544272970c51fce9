"""What to do about an experiment, with its reasons in words; and what makes it worth nothing.

Pure. The findings come from cmo/policy/analysis.py. It refuses to weigh metrics against each other: the primary one
decides, and guardrails have a veto.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from math import ceil, fsum

from cmo.policy.experiment import (
    Course,
    Effect,
    Experiment,
    GuardrailFinding,
    GuardrailState,
    LookTaken,
    Recommendation,
    Standing,
)
from cmo.policy.measuring import Figures, Observation, Person
from cmo.policy.statistics import (
    RATIO_ALPHA,
    Comparison,
    Count,
    Lack,
    SampleRatio,
    Undefined,
    sample_ratio,
    two_proportions,
)

MIXED_SHARE = 0.01
"""Share of people seen in several arms from which on assignment did not stick to the person."""

LACKS = {
    Lack.NO_DATA: "nothing was measured in one of the arms",
    Lack.TOO_FEW: "one of the arms has a single user",
    Lack.NO_VARIANCE: "all users have the same value",
    Lack.NO_BASE: "the control's value is 0",
    Lack.NOT_A_NUMBER: "a value is not a number",
}
"""Why a figure does not exist, in words."""


def assignment_faults(
    experiment: Experiment,
    observations: Sequence[Observation],
    everybody: Sequence[Person],
    ratio: SampleRatio | Undefined,
) -> tuple[str, ...]:
    """What shows that people were not assigned as planned; nothing that could be analysed would mean anything."""
    return (
        *_ratio_fault(experiment, everybody, ratio),
        *_weights_fault(experiment, observations),
        *_arms_fault(experiment, observations),
        *_mixed_fault(everybody),
    )


def order_faults(experiment: Experiment, courses: Sequence[Course]) -> tuple[str, ...]:
    """Whether at some look the arms were uneven beyond chance: then the observations are sorted by something else."""
    weights = {arm.name: arm.weight for arm in experiment.arms}
    for course in courses:
        for taken in course.looks:
            found = sample_ratio(taken.users, (weights[experiment.control.name], weights[course.arm]))
            if isinstance(found, SampleRatio) and found.is_off:
                return (
                    f"The first {sum(taken.users):,} users are uneven beyond chance ({taken.users[0]:,} in "
                    f"{experiment.control.name}, {taken.users[1]:,} in {course.arm}): the observations are not in the "
                    'order of time. Sort them, or give each an "at".',
                )
    return ()


def missing_faults(arm: str, control: Figures, treatment: Figures) -> tuple[str, ...]:
    """Whether one arm lacks values of the primary metric more often than the other, which biases what is left."""
    if not control.incomplete and not treatment.incomplete:
        return ()
    counts = [Count(successes=group.incomplete, users=group.users) for group in (control, treatment)]
    found = two_proportions(counts[1], counts[0])
    if isinstance(found, Undefined) or found.p_value >= RATIO_ALPHA:
        return ()
    return (
        f'"{control.metric.name}" is missing for {control.incomplete:,} of {control.users:,} users of the control and '
        f"{treatment.incomplete:,} of {treatment.users:,} of {arm}: what is left is not comparable. Say in the "
        'definition what a missing value counts as ("missing").',
    )


def recommend(
    experiment: Experiment,
    courses: Sequence[Course],
    primary: Sequence[Effect],
    guardrails: Sequence[GuardrailFinding],
    *,
    now: datetime,
    stopped_at: datetime | None,
) -> tuple[Recommendation, tuple[str, ...]]:
    """What to do, and why; for an experiment without faults."""
    standings = {course.standing for course in courses}
    is_over = stopped_at is not None or now >= experiment.start + experiment.duration
    reasons = [
        _WORDS[course.standing](experiment, course, effect) for course, effect in zip(courses, primary, strict=True)
    ]
    reasons += [_guardrail_words(finding) for finding in guardrails if finding.state is not GuardrailState.KEPT]
    if Standing.BETTER in standings:
        return Recommendation.DEPLOY_LIGHTRAG, tuple(reasons)
    if standings <= _SETTLED:
        return Recommendation.KEEP_PERPLEXITY, tuple(reasons)
    may_be_shown = Standing.UNPROVEN in standings and stopped_at is None
    if may_be_shown or (Standing.OPEN in standings and not is_over):
        return Recommendation.CONTINUE_TESTING, tuple(reasons)
    if stopped_at is not None:
        reasons.append(
            f"It was stopped on {stopped_at:%Y-%m-%d}, before more was known. To go on, plan a new experiment."
        )
    elif is_over:
        reasons.append(
            f"The planned time was over on {experiment.start + experiment.duration:%Y-%m-%d}, before the planned users "
            "had come. To go on, plan a new experiment: a longer one decided on now would be chosen by its data."
        )
    return Recommendation.INSUFFICIENT_DATA, tuple(reasons)


def notes(experiment: Experiment, everybody: Sequence[Person], effects: Sequence[Effect]) -> tuple[str, ...]:
    """What to know when reading the figures."""
    return (*_mixed_note(everybody), *_missing_notes(effects), *_shared_alpha_note(experiment))


def _ratio_fault(experiment: Experiment, everybody: Sequence[Person], ratio: SampleRatio | Undefined) -> Iterator[str]:
    if isinstance(ratio, Undefined) or not ratio.is_off:
        return
    seen = (sum(person.arm == arm.name for person in everybody) for arm in experiment.arms)
    parts = [
        f"{arm.name} has {users:,} users where {expected:,.0f} were to be expected"
        for arm, users, expected in zip(experiment.arms, seen, ratio.expected, strict=True)
    ]
    yield (
        f"The sample ratio is off: {', '.join(parts)} (p = {ratio.p_value:.1e}). Something besides the assignment "
        "decides who is counted, such as answers that are lost in one arm."
    )


def _weights_fault(experiment: Experiment, observations: Sequence[Observation]) -> Iterator[str]:
    planned = _shares({arm.name: arm.weight for arm in experiment.arms})
    seen = {tuple(sorted(each.weights.items())) for each in observations if each.weights is not None}
    others = [weights for weights in seen if _shares(dict(weights)) != planned]
    if others:
        yield (
            "Some people were assigned by other weights than the definition's: arms or weights were changed while it "
            "ran, and who came earlier differs from who came later."
        )


def _shares(weights: Mapping[str, float]) -> dict[str, float] | None:
    whole = fsum(weights.values())
    return {name: round(weight / whole, 9) for name, weight in weights.items()} if whole > 0 else None


def _arms_fault(experiment: Experiment, observations: Sequence[Observation]) -> Iterator[str]:
    named = {arm.name for arm in experiment.arms}
    others = [observation.arm for observation in observations if observation.arm not in named]
    if others:
        yield f'Observations of other arms than the definition\'s: {len(others):,}, such as "{others[0]}".'


def _mixed_fault(everybody: Sequence[Person]) -> Iterator[str]:
    share = _mixed(everybody) / max(1, len(everybody))
    if share >= MIXED_SHARE:
        yield f"{share:.1%} of the people were seen in several arms: the assignment did not stick to the person."


def _mixed_note(everybody: Sequence[Person]) -> Iterator[str]:
    mixed = _mixed(everybody)
    if 0 < mixed < MIXED_SHARE * len(everybody):
        yield f"People seen in several arms, who count in their first one: {mixed:,}."


def _mixed(everybody: Sequence[Person]) -> int:
    return sum(person.is_mixed for person in everybody)


def _missing_notes(effects: Sequence[Effect]) -> Iterator[str]:
    for name in dict.fromkeys(effect.metric.name for effect in effects if any(effect.incomplete)):
        yield (
            f'Values of "{name}" are missing for some people and were left out, which favours an arm that fails on '
            'hard questions. With "missing" in the definition they count.'
        )


def _shared_alpha_note(experiment: Experiment) -> Iterator[str]:
    if len(experiment.treatments) > 1:
        yield (
            f"Each treatment has {experiment.alpha_each:.4f} of alpha on the primary metric, so that a difference by "
            f"chance in any of them is as rare as {experiment.alpha:g}."
        )


def _decided(experiment: Experiment, course: Course, effect: Effect) -> str:
    """What the decisive look found, with its interval; `course` is better or worse."""
    taken, found = course.decisive, effect.comparison
    assert taken is not None
    assert isinstance(found, Comparison)
    word = "better" if experiment.primary.gain(found.difference) > 0 else "worse"
    return (
        f'{course.arm} is {word} than {experiment.control.name} on "{effect.metric.name}" ({_found(effect)}): look '
        f"{taken.look.number} of {experiment.looks} crossed its boundary ({_z(taken)})."
    )


def _unproven(experiment: Experiment, course: Course, effect: Effect) -> str:
    return f"{_decided(experiment, course, effect)} That its guardrails are kept is not yet shown."


def _same(experiment: Experiment, course: Course, effect: Effect) -> str:
    return (
        f"The last of the planned looks found no difference between {course.arm} and {experiment.control.name} on "
        f'"{effect.metric.name}" ({_found(effect)}).'
    )


def _open(experiment: Experiment, course: Course, effect: Effect) -> str:
    taken = course.looks[-1]
    return (
        f"{course.arm}: look {taken.look.number} of {experiment.looks} did not reach its boundary ({_z(taken)}); the "
        f"next one comes at {_next_users(experiment, course)} users per arm."
    )


def _early(experiment: Experiment, course: Course, effect: Effect) -> str:
    there = int(course.progress * experiment.planned_users)
    return (
        f"{course.arm}: {there:,} of {experiment.planned_users:,} planned users per arm have come; the first look is "
        f"at {_next_users(experiment, course)}."
    )


def _unknown(experiment: Experiment, course: Course, effect: Effect) -> str:
    lack = LACKS[effect.comparison.lack] if isinstance(effect.comparison, Undefined) else "a look found no figures"
    return f'{course.arm} cannot be compared with {experiment.control.name} on "{effect.metric.name}": {lack}.'


def _harmful(experiment: Experiment, course: Course, effect: Effect) -> str:
    return f"{course.arm} breaches a guardrail, which settles it whatever the primary metric says."


def _guardrail_words(finding: GuardrailFinding) -> str:
    """What is known of a guardrail that is not certainly kept."""
    rail, name = finding.guardrail, finding.guardrail.metric.name
    is_breached = finding.state is GuardrailState.BREACHED
    if rail.ceiling is not None:
        evidence = f" (evidence {finding.e_value:,.0f} to 1)" if is_breached and finding.e_value is not None else ""
        said = f'Guardrail "{name}" is {finding.state.value} for {finding.arm}'
        return f"{said}: at most {rail.ceiling:.1%} of people are allowed{evidence}."
    if finding.worse_by is None:
        return f'Guardrail "{name}" is open for {finding.arm}: there are no figures to compare.'
    if is_breached:
        return (
            f'Guardrail "{name}" is breached for {finding.arm}: worse by at least {finding.worse_by.low:.4g}, where '
            f"{rail.margin:.4g} is allowed."
        )
    return (
        f'Guardrail "{name}" is open for {finding.arm}: it may be worse by up to {finding.worse_by.high:.4g}, where '
        f"{rail.margin:.4g} is allowed."
    )


def _z(taken: LookTaken) -> str:
    z = "none" if taken.z is None else f"{taken.z:+.2f}"
    return f"z {z}, boundary {taken.look.boundary:.2f}"


def _found(effect: Effect) -> str:
    if isinstance(effect.comparison, Undefined):
        return LACKS[effect.comparison.lack]
    interval = effect.comparison.interval
    return f"{_signed(effect.comparison.difference)}, {_signed(interval.low)} to {_signed(interval.high)}"


def _next_users(experiment: Experiment, course: Course) -> str:
    return f"{ceil((len(course.looks) + 1) / experiment.looks * experiment.planned_users):,}"


def _signed(value: float) -> str:
    return f"{value:+.4g}"


_WORDS: Mapping[Standing, Callable[[Experiment, Course, Effect], str]] = {
    Standing.BETTER: _decided,
    Standing.UNPROVEN: _unproven,
    Standing.SAME: _same,
    Standing.WORSE: _decided,
    Standing.HARMFUL: _harmful,
    Standing.OPEN: _open,
    Standing.EARLY: _early,
    Standing.UNKNOWN: _unknown,
}
"""The sentence for each standing."""

_SETTLED = frozenset({Standing.SAME, Standing.WORSE, Standing.HARMFUL})
"""Standings of a treatment that is out."""
