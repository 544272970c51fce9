"""How `cmo experiment` shows plans and analyses: tables for people, documents for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from math import ceil, isfinite

from rich.table import Table
from rich.text import Text

from cmo.cli.output import out, printable, say
from cmo.exports.experiment_words import amount, apart, p_value, span
from cmo.policy.experiment import (
    Analysis,
    Basis,
    Course,
    Effect,
    GuardrailFinding,
    GuardrailState,
    LookTaken,
    Recommendation,
)
from cmo.policy.planning import MeanMove, SizePlan
from cmo.policy.recommendation import LACKS
from cmo.policy.statistics import Comparison, EffectSize, Interval, Undefined

FEW_USERS = 50
"""Users in an arm below which Hedges' g is shown instead of Cohen's d."""

_COLOURS = {
    Recommendation.DEPLOY_LIGHTRAG: "bold green",
    Recommendation.KEEP_PERPLEXITY: "bold",
    Recommendation.CONTINUE_TESTING: "bold cyan",
    Recommendation.INSUFFICIENT_DATA: "bold yellow",
    Recommendation.INVALID: "bold red",
}
_STATES = {GuardrailState.KEPT: "green", GuardrailState.OPEN: "yellow", GuardrailState.BREACHED: "bold red"}


def plan_as_json(
    plan: SizePlan, *, users_per_day: float | None, users: int | None, reached: float | None
) -> dict[str, object]:
    """A plan; `days` are None when it is not known how many people come."""
    return {
        **asdict(plan.move),
        "power": plan.power,
        "alpha": plan.alpha,
        "alpha_each": plan.alpha_each,
        "arms": plan.arms,
        "users_per_arm": plan.users,
        "days": _days(plan, plan.users, users_per_day),
        "with_looks": {
            "users_per_arm": plan.users_with_looks,
            "days": _days(plan, plan.users_with_looks, users_per_day),
            "looks": [
                {
                    "number": look.number,
                    "users_per_arm": _users_at(plan, look.share),
                    "days": _days(plan, _users_at(plan, look.share), users_per_day),
                    "z": look.boundary,
                    "alpha": look.alpha,
                }
                for look in plan.looks
            ],
        },
        "given": None if users is None else {"users_per_arm": users, "power": reached},
    }


def print_plan(plan: SizePlan, *, users_per_day: float | None, users: int | None, reached: float | None) -> None:
    """A plan as sentences, and its looks as a table."""
    say(f"To find {_move(plan)} with a probability of {plan.power:.0%}, at a two-sided alpha of {plan.alpha:g}:")
    say(f"One look, at the end: {_need(plan, plan.users, users_per_day)}.")
    if len(plan.looks) > 1:
        say(f"{len(plan.looks)} looks on the way: {_need(plan, plan.users_with_looks, users_per_day)}.")
    if users is not None and reached is not None:
        say(f"With {users:,} users per arm and one look the probability is {reached:.0%}.")
    table = Table("look", "users per arm", "day", "z that decides", "p that decides", box=None, header_style="bold")
    for look in plan.looks:
        there = _users_at(plan, look.share)
        days = _days(plan, there, users_per_day)
        table.add_row(
            str(look.number),
            f"{there:,}",
            "-" if days is None else f"{days:,}",
            f"{look.boundary:.2f}",
            p_value(look.alpha),
        )
    out.print(table)


def analysis_as_json(found: Analysis) -> dict[str, object]:
    """An analysis whole; figures that do not exist are None, with the reason beside them."""
    experiment = found.experiment
    return {
        "experiment": experiment.name,
        "hypothesis": experiment.hypothesis,
        "recommendation": found.recommendation.value,
        "reasons": list(found.reasons),
        "notes": list(found.notes),
        "observations": found.observations,
        "arms": [
            {
                "name": each.arm.name,
                "weight": each.arm.weight,
                "overrides": {name: str(value) for name, value in each.arm.overrides.items()},
                "users": each.users,
                "expected_users": each.expected,
            }
            for each in found.arms
        ],
        "sample_ratio": ratio_as_json(found),
        "planned_users_per_arm": experiment.planned_users,
        "detectable_difference": None if found.detectable is None else _finite(found.detectable),
        "treatments": [_course_as_json(course) for course in found.courses],
        "primary": [_effect_as_json(effect) for effect in found.primary],
        "secondaries": [_effect_as_json(effect) for effect in found.secondaries],
        "guardrails": [_guardrail_as_json(finding) for finding in found.guardrails],
    }


def print_analysis(found: Analysis) -> None:
    """An analysis from the recommendation down to the figures behind it."""
    experiment = found.experiment
    say(f"{experiment.name}: {experiment.hypothesis}")
    say(found.recommendation.value, style=_COLOURS[found.recommendation])
    for sentence in (*found.reasons, *found.notes):
        say(f"- {sentence}")
    out.print(_arms_table(found))
    say(ratio_words(found))
    if found.recommendation is Recommendation.INVALID:
        return
    out.print(_effects_table("primary", found.primary))
    looks = [(course, taken) for course in found.courses for taken in course.looks]
    if looks:
        out.print(_looks_table(looks))
    if found.detectable is not None:
        metric, share = experiment.primary, f"{experiment.power:.0%}"
        say(
            f"The planned {experiment.planned_users:,} users per arm show a difference of "
            f"{apart(metric, found.detectable, sign='')} with a probability of {share}."
        )
    if found.secondaries:
        out.print(_effects_table("secondary", found.secondaries))
    if found.guardrails:
        out.print(_guardrails_table(found.guardrails))


def ratio_as_json(found: Analysis) -> dict[str, object] | None:
    """Whether people were spread over the arms as configured; None before there was anybody."""
    if isinstance(found.ratio, Undefined):
        return None
    return {"p_value": found.ratio.p_value, "is_off": found.ratio.is_off}


def ratio_words(found: Analysis) -> str:
    """Whether people were spread over the arms as configured."""
    if isinstance(found.ratio, Undefined):
        return "Nobody was observed yet."
    word = "off" if found.ratio.is_off else "as configured"
    return f"Sample ratio: {word} (p-value {p_value(found.ratio.p_value)})."


def _move(plan: SizePlan) -> str:
    move = plan.move
    if isinstance(move, MeanMove):
        return f"a difference of {move.difference:g} in a mean with a standard deviation of {move.sd:g}"
    return f"a move from {move.baseline:.4g} to {move.target:.4g} in a share"


def _need(plan: SizePlan, users: int, users_per_day: float | None) -> str:
    days = _days(plan, users, users_per_day)
    time = "" if days is None else f", days: {days:,}"
    return f"{users:,} users per arm, {users * plan.arms:,} in all{time}"


def _users_at(plan: SizePlan, share: float) -> int:
    return ceil(share * plan.users_with_looks)


def _days(plan: SizePlan, users: int, users_per_day: float | None) -> int | None:
    return None if users_per_day is None else ceil(users * plan.arms / users_per_day)


def _course_as_json(course: Course) -> dict[str, object]:
    return {
        "arm": course.arm,
        "standing": course.standing.value,
        "progress": course.progress,
        "looks": [
            {
                "number": taken.look.number,
                "users": {"control": taken.users[0], "treatment": taken.users[1]},
                "z": taken.z,
                "boundary": taken.look.boundary,
                "crossed": taken.decides,
            }
            for taken in course.looks
        ],
    }


def _effect_as_json(effect: Effect) -> dict[str, object]:
    size = effect.size if isinstance(effect.size, EffectSize) else None
    return {
        "metric": effect.metric.name,
        "kind": effect.metric.kind.value,
        "better": effect.metric.better.value,
        "arm": effect.arm,
        "basis": effect.basis.value,
        "users": {"control": effect.users[0], "treatment": effect.users[1]},
        "incomplete": {"control": effect.incomplete[0], "treatment": effect.incomplete[1]},
        "control": effect.values[0],
        "treatment": effect.values[1],
        **_comparison_as_json(effect.comparison),
        "adjusted_p": effect.adjusted_p,
        "relative": _comparison_as_json(effect.relative),
        "cohens_d": _finite(size.cohens_d) if size else None,
        "hedges_g": _finite(size.hedges_g) if size else None,
    }


def _comparison_as_json(found: Comparison | Undefined) -> dict[str, object]:
    if isinstance(found, Undefined):
        return {"difference": found.difference, "interval": None, "p_value": None, "undefined": found.lack.value}
    return {"difference": found.difference, "interval": _ends(found.interval), "p_value": found.p_value}


def _guardrail_as_json(finding: GuardrailFinding) -> dict[str, object]:
    return {
        "metric": finding.guardrail.metric.name,
        "arm": finding.arm,
        "state": finding.state.value,
        "margin": finding.guardrail.margin,
        "ceiling": finding.guardrail.ceiling,
        "worse_by": _ends(finding.worse_by) if finding.worse_by else None,
        "e_value": None if finding.e_value is None else _finite(finding.e_value),
    }


def _ends(interval: Interval) -> list[float | None]:
    return [_finite(interval.low), _finite(interval.high)]


def _finite(value: float) -> float | None:
    """JSON knows neither infinity nor NaN."""
    return value if isfinite(value) else None


def _arms_table(found: Analysis) -> Table:
    table = Table("arm", "weight", "users", "expected", box=None, header_style="bold")
    for each in found.arms:
        row = (f"{each.arm.weight:g}", f"{each.users:,}", f"{each.expected:,.0f}")
        table.add_row(Text(printable(each.arm.name)), *row)
    return table


def _effects_table(title: str, effects: Sequence[Effect]) -> Table:
    table = Table(
        title, "arm", "control", "arm's", "difference", "interval", "p", "relative", "size", "valid", box=None
    )
    table.header_style = "bold"
    for effect in effects:
        table.add_row(Text(printable(effect.metric.name)), Text(printable(effect.arm)), *_effect_cells(effect))
    return table


def _effect_cells(effect: Effect) -> Iterable[str]:
    metric = effect.metric
    control, treatment = ("-" if value is None else amount(metric, value) for value in effect.values)
    valid = "at any time" if effect.basis is Basis.ALWAYS_VALID else "at the look"
    if isinstance(effect.comparison, Undefined):
        return control, treatment, "-", LACKS[effect.comparison.lack], "-", "-", "-", valid
    found = effect.comparison
    p = found.p_value if effect.adjusted_p is None else effect.adjusted_p
    return (
        control,
        treatment,
        apart(metric, found.difference),
        span(metric, found.interval),
        p_value(p),
        "-" if isinstance(effect.relative, Undefined) else f"{effect.relative.difference:+.1%}",
        _size(effect),
        valid,
    )


def _size(effect: Effect) -> str:
    if not isinstance(effect.size, EffectSize):
        return "-"
    if min(effect.users) < FEW_USERS:
        return f"g {effect.size.hedges_g:+.2f}"
    return f"d {effect.size.cohens_d:+.2f}"


def _looks_table(looks: Iterable[tuple[Course, LookTaken]]) -> Table:
    table = Table("look", "arm", "users", "z", "boundary", "", box=None, header_style="bold")
    for course, taken in looks:
        z = "-" if taken.z is None else f"{taken.z:+.2f}"
        row = (f"{sum(taken.users):,}", z, f"{taken.look.boundary:.2f}", "crossed" if taken.decides else "")
        table.add_row(str(taken.look.number), Text(printable(course.arm)), *row)
    return table


def _guardrails_table(findings: Iterable[GuardrailFinding]) -> Table:
    table = Table("guardrail", "arm", "state", "worse by", "allowed", box=None, header_style="bold")
    for finding in findings:
        metric, rail = finding.guardrail.metric, finding.guardrail
        worse = "-" if finding.worse_by is None else span(metric, finding.worse_by)
        if finding.e_value is not None:
            worse = f"evidence {finding.e_value:,.1f}"
        allowed = (
            f"{rail.ceiling:.1%} of people" if rail.ceiling is not None else apart(metric, rail.margin or 0.0, sign="")
        )
        state = Text(finding.state.value, style=_STATES[finding.state])
        table.add_row(Text(printable(metric.name)), Text(printable(finding.arm)), state, worse, allowed)
    return table
