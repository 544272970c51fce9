"""`cmo rollout`: what a rollout would do, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer
from rich.table import Table

from cmo.cli.options import JsonOption
from cmo.cli.output import out, print_json, say
from cmo.policy.gates import GUARDRAILS, Criterion, Measure, Role, limit_words
from cmo.policy.rollout_documents import plan_document
from cmo.policy.rollout_plan import RolloutPlan, Strategy, canary, exponential, linear, staged, with_approval

group = typer.Typer(add_completion=False, rich_markup_mode="markdown", no_args_is_help=True)


@group.callback()
def rollout() -> None:
    """Plan how a new engine reaches people, stage by stage.

    docs/rollouts.md tells how stages end and what rolls back. `cmo simulate rollout` tries a plan out.
    """


@group.command()
def plan(
    strategy: Annotated[Strategy, typer.Option("--strategy", help="How the share grows.")] = Strategy.STAGED,
    share: Annotated[
        list[float] | None,
        typer.Option("--share", help="staged: the share of each stage in percent; repeat it.", show_default=False),
    ] = None,
    start: Annotated[
        float | None, typer.Option("--start", help="The other strategies: the first share.", show_default=False)
    ] = None,
    increment: Annotated[
        float | None, typer.Option("--increment", help="linear: what is added each time.", show_default=False)
    ] = None,
    factor: Annotated[
        float | None, typer.Option("--factor", help="exponential: what it is multiplied by.", show_default=False)
    ] = None,
    hours: Annotated[
        list[float] | None,
        typer.Option(
            "--hours", help="The least time of each stage; staged: repeat it for each but the last.", show_default=False
        ),
    ] = None,
    answers: Annotated[
        int | None, typer.Option("--answers", min=1, help="The least answers of each stage.", show_default=False)
    ] = None,
    approve: Annotated[
        list[float] | None,
        typer.Option("--approve", help="A share that is left only with approval; repeat it.", show_default=False),
    ] = None,
    max_error_rate: Annotated[float, typer.Option("--max-error-rate", help="Guardrail: a share of answers.")] = 0.05,
    min_quality: Annotated[float, typer.Option("--min-quality", help="Guardrail: the mean composite, 0 to 1.")] = 0.6,
    max_seconds: Annotated[float, typer.Option("--max-seconds", help="Guardrail: for 95 % of answers.")] = 10.0,
    min_satisfaction: Annotated[
        float | None,
        typer.Option("--min-satisfaction", help="Signal: the share of thumbs up.", show_default=False),
    ] = None,
    max_cost: Annotated[
        float | None, typer.Option("--max-cost", help="Signal: dollars per answer.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the stages of a rollout: shares, earliest times, answers needed, and what holds it or rolls it back.

    With --json it can be given to `cmo simulate rollout --plan`.
    """
    limits = {
        Measure.ERROR_RATE: max_error_rate,
        Measure.QUALITY: min_quality,
        Measure.P95_SECONDS: max_seconds,
        Measure.SATISFACTION: min_satisfaction,
        Measure.COST_USD: max_cost,
    }
    given = {"shares": share, "start": start, "increment": increment, "factor": factor, "hours": hours}
    try:
        made = _plan(strategy, {**given, "answers": answers}, approve or (), limits)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if as_json:
        print_json({**plan_document(made), "timetable": timetable(made)})
    else:
        print_plan(made)


def timetable(plan: RolloutPlan) -> list[dict[str, object]]:
    """When each stage can begin at the earliest, in hours from the start, and after how many answers of the engine."""
    rows: list[dict[str, object]] = []
    seconds, answers = 0.0, 0
    for number, stage in enumerate(plan.stages, start=1):
        rows.append(
            {
                "stage": number,
                "percentage": stage.percentage,
                "earliest_hours": seconds / 3600,
                "answers_before": answers,
                "approval_before": number > 1 and plan.stages[number - 2].needs_approval,
            }
        )
        seconds += stage.minimum_seconds
        answers += stage.minimum_answers
    return rows


def print_plan(plan: RolloutPlan) -> None:
    """A plan for people."""
    table = Table(
        "stage", "share", "begins at the earliest", "lasts at least", "approval", box=None, header_style="bold"
    )
    for row, stage in zip(timetable(plan), plan.stages, strict=True):
        is_last = stage is plan.stages[-1]
        table.add_row(
            str(row["stage"]),
            f"{stage.percentage:g} %",
            f"after {row['earliest_hours']:g} h and {row['answers_before']:,} answers",
            "-" if is_last else f"{stage.minimum_seconds / 3600:g} h and {stage.minimum_answers:,} answers",
            "needed to go on" if stage.needs_approval else "",
        )
    out.print(table)
    for role, what in _ROLES.items():
        limits = [limit_words(criterion) for criterion in plan.criteria if criterion.role is role]
        if limits:
            say(f"{what}: {'; '.join(limits)}.")
    say("A stage also needs its averages within all limits. Without traffic, or without a reading, it holds.")


_ROLES = {Role.GUARDRAIL: "Rolled back on evidence against", Role.SIGNAL: "Held on evidence against"}

_MAKERS: Mapping[Strategy, tuple[Callable[..., RolloutPlan], frozenset[str]]] = {
    Strategy.LINEAR: (linear, frozenset({"start", "increment", "hours", "answers"})),
    Strategy.EXPONENTIAL: (exponential, frozenset({"start", "factor", "hours", "answers"})),
    Strategy.CANARY: (canary, frozenset({"start", "hours", "answers"})),
    Strategy.STAGED: (staged, frozenset({"shares", "hours", "answers"})),
}
"""What makes a plan of each strategy, and from which options."""


def _plan(
    strategy: Strategy,
    options: Mapping[str, Any],
    approve: Sequence[float],
    limits: Mapping[Measure, float | None],
) -> RolloutPlan:
    maker, known = _MAKERS[strategy]
    given = {name: value for name, value in options.items() if value not in (None, [])}
    foreign = sorted(given.keys() - known)
    if foreign:
        raise ValueError(f"--{foreign[0].removesuffix('s')} is not for {strategy}.")
    if "hours" in given and strategy is not Strategy.STAGED:
        given["hours"] = _single(given["hours"])
    return with_approval(replace(maker(**given), criteria=_criteria(limits)), approve)


def _single(hours: list[float]) -> float:
    if len(hours) > 1:
        raise ValueError("All stages last as long: give --hours once. Only staged has durations of their own.")
    return hours[0]


def _criteria(limits: Mapping[Measure, float | None]) -> tuple[Criterion, ...]:
    guarded = {criterion.measure for criterion in GUARDRAILS}
    chosen = [
        Criterion(measure=measure, limit=limit, role=Role.GUARDRAIL if measure in guarded else Role.SIGNAL)
        for measure, limit in limits.items()
        if limit is not None
    ]
    return (*chosen, *(criterion for criterion in GUARDRAILS if criterion.measure not in limits))
