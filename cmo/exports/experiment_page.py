"""An experiment as one HTML file: what to do and why, the figures behind it, and plots with what they say in words.

Pure. The page loads nothing and runs nothing, so that it can be sent to somebody and be read years later; the same
input gives the same page. Names and texts from outside are shown as they are, never as markup. An invalid experiment
shows no effects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources

from cmo.exports import experiment_plots
from cmo.exports.experiment_plots import ArmShare, ArmValues, PowerPoint
from cmo.exports.experiment_timeline import Timeline, timelines
from cmo.exports.experiment_words import amount, apart, p_value, span
from cmo.exports.references import on_one_line
from cmo.policy.experiment import (
    Analysis,
    ArmUsers,
    Basis,
    Effect,
    Experiment,
    GuardrailFinding,
    LookTaken,
    Recommendation,
)
from cmo.policy.measuring import Figures, Kind, Metric, Observation, estimate, figures, people
from cmo.policy.planning import MeanMove, detectable_difference
from cmo.policy.recommendation import LACKS
from cmo.policy.statistics import LARGEST, ROUNDING, EffectSize, Interval, SampleRatio, Undefined

TEMPLATE = "experiment_page.html"

CURVE_POINTS = 60

_WORDS = {
    Recommendation.DEPLOY_LIGHTRAG: "Deploy LightRAG",
    Recommendation.KEEP_PERPLEXITY: "Keep Perplexity",
    Recommendation.CONTINUE_TESTING: "Continue testing",
    Recommendation.INSUFFICIENT_DATA: "Insufficient data",
    Recommendation.INVALID: "Invalid: no effects are shown, because they would mean nothing",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of texts; the first cell of each row names it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A plot with what it says in words; without `svg` the caption says why there is none."""

    title: str
    caption: str
    svg: str | None = None


def page(analysis: Analysis, observations: Sequence[Observation]) -> str:
    """The page of an experiment, for a .html file in UTF-8. `observations` are those that were analysed, in order."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=_shown, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(resources.files("cmo.exports").joinpath(TEMPLATE).read_text("utf-8"))
    return template.render(
        experiment=analysis.experiment,
        recommendation=analysis.recommendation.value,
        words=_WORDS[analysis.recommendation],
        reasons=analysis.reasons,
        notes=analysis.notes,
        facts=_facts(analysis.experiment),
        tables=list(_tables(analysis)),
        plots=list(_plots(analysis, observations)),
    )


def _shown(value: object) -> object:
    """Texts without characters that steer a display; what is markup already stays."""
    return on_one_line(value) if type(value) is str else value


def _facts(experiment: Experiment) -> str:
    looks = "1 look" if experiment.looks == 1 else f"{experiment.looks} looks"
    return (
        f"Start {experiment.start:%Y-%m-%d}, planned for {experiment.duration.days} days and "
        f"{experiment.planned_users:,} people per arm; {looks}, alpha {experiment.alpha:g}, "
        f"power {experiment.power:.0%}. The control is {experiment.control.name}."
    )


def _tables(analysis: Analysis) -> Iterator[Table]:
    yield _arms_table(analysis)
    if analysis.recommendation is Recommendation.INVALID:
        return
    yield _effects_table("Primary metric", analysis.primary)
    looks = [(course.arm, taken) for course in analysis.courses for taken in course.looks]
    if looks:
        yield _looks_table(looks)
    if analysis.secondaries:
        yield _effects_table("Secondary metrics", analysis.secondaries)
    if analysis.guardrails:
        yield _guardrails_table(analysis.guardrails)


def _plots(analysis: Analysis, observations: Sequence[Observation]) -> Iterator[Plot]:
    """An invalid experiment has that of the sample ratio alone."""
    if analysis.recommendation is Recommendation.INVALID:
        yield _ratio_plot(analysis)
        return
    for number, line in enumerate(timelines(analysis, observations), start=1):
        yield _course_plot(analysis, analysis.primary[number - 1], line, number=number)
    yield from _distribution_plots(analysis.experiment, observations)
    yield _ratio_plot(analysis)
    yield _power_plot(analysis)


def _arms_table(analysis: Analysis) -> Table:
    return Table(
        title="People",
        columns=("arm", "weight", "people", "expected"),
        rows=tuple(
            (each.arm.name, f"{each.arm.weight:g}", f"{each.users:,}", _expected(each)) for each in analysis.arms
        ),
        note=_ratio_words(analysis),
    )


def _expected(each: ArmUsers) -> str:
    return f"{each.expected:,.1f}".removesuffix(".0")


def _ratio_words(analysis: Analysis) -> str:
    if not isinstance(analysis.ratio, SampleRatio):
        return "Nobody was observed yet."
    word = "off" if analysis.ratio.is_off else "as configured"
    return f"The sample ratio is {word} (p-value {p_value(analysis.ratio.p_value)})."


def _effects_table(title: str, effects: Sequence[Effect]) -> Table:
    return Table(
        title=title,
        columns=("metric", "arm", "control", "arm’s", "difference", "interval", "p", "relative", "size", "valid"),
        rows=tuple((effect.metric.name, effect.arm, *_effect_cells(effect)) for effect in effects),
    )


def _effect_cells(effect: Effect) -> tuple[str, ...]:
    metric, found = effect.metric, effect.comparison
    values = tuple(amount(metric, value) for value in effect.values)
    valid = "at any time" if effect.basis is Basis.ALWAYS_VALID else "at the look"
    if isinstance(found, Undefined):
        return *values, "–", f"none: {LACKS[found.lack]}", "–", "–", "–", valid
    relative = "–" if isinstance(effect.relative, Undefined) else f"{effect.relative.difference:+.1%}"
    return (
        *values,
        apart(metric, found.difference),
        span(metric, found.interval),
        p_value(found.p_value if effect.adjusted_p is None else effect.adjusted_p),
        relative,
        f"g {effect.size.hedges_g:+.2f}" if isinstance(effect.size, EffectSize) else "–",
        valid,
    )


def _looks_table(looks: Sequence[tuple[str, LookTaken]]) -> Table:
    return Table(
        title="Planned looks",
        columns=("look", "arm", "people", "z", "boundary", "crossed"),
        rows=tuple(
            (
                f"{taken.look.number}",
                arm,
                f"{sum(taken.users):,}",
                "–" if taken.z is None else f"{taken.z:+.2f}",
                f"{taken.look.boundary:.2f}",
                "yes" if taken.decides else "no",
            )
            for arm, taken in looks
        ),
    )


def _guardrails_table(findings: Sequence[GuardrailFinding]) -> Table:
    return Table(
        title="Guardrails",
        columns=("metric", "arm", "state", "worse by", "allowed", "valid"),
        rows=tuple(_guardrail_cells(finding) for finding in findings),
    )


def _guardrail_cells(finding: GuardrailFinding) -> tuple[str, ...]:
    rail, metric = finding.guardrail, finding.guardrail.metric
    worse = "–" if finding.worse_by is None else span(metric, finding.worse_by)
    if finding.e_value is not None:
        worse = f"evidence {finding.e_value:,.1f} to 1"
    if rail.ceiling is not None:
        allowed = f"{rail.ceiling:.1%} of people"
    else:
        allowed = apart(metric, rail.margin or 0.0, sign="")
    return metric.name, finding.arm, finding.state.value, worse, allowed, "at any time"


def _course_plot(analysis: Analysis, effect: Effect, line: Timeline, *, number: int) -> Plot:
    experiment, metric = analysis.experiment, analysis.experiment.primary
    title = f"Effect over time: {line.arm} against {experiment.control.name}, {metric.name}"
    if isinstance(effect.comparison, Undefined) or not line.moments:
        lack = LACKS[effect.comparison.lack] if isinstance(effect.comparison, Undefined) else "no figures"
        return Plot(title=title, caption=f"There is no effect to draw: {lack}.")
    found = effect.comparison
    caption = (
        f"{line.arm} against {experiment.control.name} on {metric.name}: {apart(metric, found.difference)}, interval "
        f"{span(metric, found.interval)}, {_validity(effect)}. {metric.better.value.capitalize()} is better. The band "
        f"is the interval that may be looked at at any time (alpha {experiment.alpha_each:.4g}). {_looks_words(line)}"
    )
    svg = experiment_plots.course(line, metric, number=number, label=title, name=f"course-{number}")
    return Plot(title=title, caption=caption, svg=svg)


def _validity(effect: Effect) -> str:
    basis = "valid at any time" if effect.basis is Basis.ALWAYS_VALID else "of the look that counts"
    return f"{basis} ({sum(effect.users):,} people)"


def _looks_words(line: Timeline) -> str:
    if not line.looks:
        return "No planned look has been reached."
    numbers = f"Diamonds are planned looks ({len(line.looks)} taken) with the intervals that decide there"
    crossed = next((each.taken.look.number for each in line.looks if each.taken.decides), None)
    if crossed is None:
        return f"{numbers}; none crossed its boundary."
    return f"{numbers}, filled where the boundary was crossed: from look {crossed} on its figures stand (broken line)."


def _distribution_plots(experiment: Experiment, observations: Sequence[Observation]) -> Iterator[Plot]:
    metrics = (experiment.primary, *experiment.secondaries, *(rail.metric for rail in experiment.guardrails))
    names = {arm.name for arm in experiment.arms}
    everybody = people(observation for observation in observations if observation.arm in names)
    for number, metric in enumerate(dict.fromkeys(metrics), start=1):
        groups = [
            (arm.name, figures(metric, [person for person in everybody if person.arm == arm.name]))
            for arm in experiment.arms
        ]
        draw = _shares_plot if metric.kind is Kind.PROPORTION else _histogram_plot
        yield draw(metric, groups, name=f"spread-{number}")


def _shares_plot(metric: Metric, groups: Sequence[tuple[str, Figures]], *, name: str) -> Plot:
    title = f"Shares of people: {metric.name}"
    arms = [_arm_share(place, arm, group) for place, (arm, group) in enumerate(groups) if group.numerators]
    if not arms:
        return Plot(title=title, caption=f"Nothing was measured of {metric.name}.")
    parts = [f"{each.name} {each.share:.1%} ({each.interval.low:.1%} to {each.interval.high:.1%})" for each in arms]
    caption = (
        f"{metric.name}, people of whom it was seen at least once: {'; '.join(parts)}. In brackets, and as lines, "
        "Wilson’s 95 % intervals of each arm by itself, for this one look at all people so far."
    )
    return Plot(title=title, caption=caption, svg=experiment_plots.shares(arms, label=title, name=name))


def _arm_share(place: int, arm: str, group: Figures) -> ArmShare:
    """Wilson EB (1927), J Am Stat Assoc 22:209-212, doi:10.1080/01621459.1927.10502953."""
    from statsmodels.stats.proportion import proportion_confint  # type: ignore[import-untyped]

    count = group.count
    low, high = proportion_confint(count.successes, count.users, alpha=0.05, method="wilson")
    interval = Interval(low=float(low), high=float(high))
    return ArmShare(place=place, name=arm, share=count.successes / count.users, interval=interval)


def _histogram_plot(metric: Metric, groups: Sequence[tuple[str, Figures]], *, name: str) -> Plot:
    title = f"People’s figures: {metric.name}"
    arms = [_arm_values(place, arm, group) for place, (arm, group) in enumerate(groups) if group.numerators]
    values = [value for each in arms for value in each.values]
    if not values:
        return Plot(title=title, caption=f"Nothing was measured of {metric.name}.")
    if not max(map(abs, values)) <= LARGEST:
        return Plot(title=title, caption=f"{metric.name} cannot be drawn: a value is too large to be a measurement.")
    if max(values) - min(values) <= ROUNDING * max(map(abs, values)):
        return Plot(
            title=title, caption=f"Everybody has the same {metric.name}: {values[0]:.4g} (people: {len(values):,})."
        )
    parts = [f"{each.name} {amount(metric, each.value)} ({len(each.values):,} people)" for each in arms]
    figure = "mean of the people’s means" if metric.kind is Kind.MEAN else "sum of all values over their number"
    caption = (
        f"{metric.name}, how the means of each person’s values spread among all people so far. The {figure}, drawn as "
        f"lines: {'; '.join(parts)}. The outermost bins hold all that lies beyond."
    )
    return Plot(title=title, caption=caption, svg=experiment_plots.histogram(arms, metric, label=title, name=name))


def _arm_values(place: int, arm: str, group: Figures) -> ArmValues:
    found = estimate(group)
    means = group.numerators
    if group.metric.kind is Kind.RATIO:
        means = tuple(above / below for above, below in zip(group.numerators, group.denominators, strict=True))
    value = None if isinstance(found, Undefined) else found.value
    return ArmValues(place=place, name=arm, values=means, value=value)


def _ratio_plot(analysis: Analysis) -> Plot:
    title = "Sample ratio: people against expected"
    if not isinstance(analysis.ratio, SampleRatio):
        return Plot(title=title, caption=_ratio_words(analysis))
    parts = [f"{each.arm.name} {each.users:,} of {_expected(each)} expected" for each in analysis.arms]
    return Plot(
        title=title,
        caption=f"{'; '.join(parts)}. {_ratio_words(analysis)}",
        svg=experiment_plots.sample_ratio(analysis.arms, label=title, name="ratio"),
    )


def _power_plot(analysis: Analysis) -> Plot:
    """For the difference that the planned users show with the planned power, in standard deviations of the control."""
    experiment = analysis.experiment
    planned, alpha = experiment.planned_users, experiment.alpha_each
    standardised = detectable_difference(1.0, users=planned, power=experiment.power, alpha=alpha)
    move = MeanMove(difference=standardised, sd=1.0)

    def at(users: int) -> PowerPoint:
        return PowerPoint(users=users, power=move.power(users=users, alpha=alpha))

    so_far = [(course.arm, at(int(course.progress * planned))) for course in analysis.courses]
    widest = max(planned, *(point.users for _, point in so_far)) * 5 // 4
    curve = [at(users) for users in range(1, widest + 1, max(1, widest // CURVE_POINTS))]
    difference = f"{standardised:.3g} standard deviations"
    if analysis.detectable is not None:
        difference = f"{apart(experiment.primary, analysis.detectable, sign='')} ({difference})"
    parts = [f"{arm} is at {point.users:,} per arm, {point.power:.0%}" for arm, point in so_far]
    title = "Power against people per arm"
    caption = (
        f"The chance to find a difference of {difference} on {experiment.primary.name} with one look at so many people "
        f"per arm. Planned: {planned:,} people, {at(planned).power:.0%}; so far: {'; '.join(parts)}. A smaller "
        "difference takes more people."
    )
    svg = experiment_plots.power(curve, planned=at(planned), so_far=so_far, label=title, name="power")
    return Plot(title=title, caption=caption, svg=svg)
