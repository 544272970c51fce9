"""`cmo simulate`: what the rules of this program would do, tried out on made-up questions.

Nothing is read but a plan, and nothing is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from math import inf
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.table import Table

from cmo.cli.options import JsonOption
from cmo.cli.output import fail, out, print_json, say
from cmo.cli.simulated_rollout import DAY_MINUTES, Course, Service, simulated
from cmo.policy.gates import Measure
from cmo.policy.rollout_documents import plan_from
from cmo.policy.rollout_plan import RolloutPlan, staged

MOST = 20_000_000
"""Questions, and minutes, over all runs; more would take longer than anybody waits."""

group = typer.Typer(add_completion=False, rich_markup_mode="markdown", no_args_is_help=True)


@group.callback()
def simulate() -> None:
    """Try out on made-up questions what the rules of this program would do.

    docs/rollouts.md tells how to read it.
    """


@group.command()
def rollout(
    plan: Annotated[
        Path | None,
        typer.Option("--plan", metavar="FILE", help="What `cmo rollout plan --json` printed.", show_default="staged"),
    ] = None,
    error_rate: Annotated[float, typer.Option("--error-rate", min=0, max=1, help="Share of failed answers.")] = 0.03,
    quality: Annotated[
        float, typer.Option("--quality", min=0.01, max=0.99, help="Mean quality of the others, 0 to 1.")
    ] = 0.8,
    p95_seconds: Annotated[
        float, typer.Option("--p95-seconds", min=0.01, max=3600, help="Seconds within which 95 % of answers come.")
    ] = 6.0,
    per_minute: Annotated[
        float,
        typer.Option("--questions-per-minute", min=0, max=1000, help="Of all people; the new engine gets its share."),
    ] = 2.0,
    days: Annotated[int, typer.Option("--days", min=1, max=365, help="How long each run lasts.")] = 1,
    runs: Annotated[int, typer.Option("--runs", min=1, max=100_000, help="How many there are.")] = 200,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Equal seeds give equal results.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Run a rollout many times, and beside it the naive rule: roll back when over 5 % of the last 100 answers failed.

    The naive rule watches the same plan without gates. Both look once a minute.
    """
    if max(1.0, per_minute) * DAY_MINUTES * days * runs > MOST:
        raise typer.BadParameter(f"It would take too long. Allowed: {MOST:,} questions and minutes over all runs.")
    tried = staged() if plan is None else _plan_in(plan, as_json=as_json)
    service = Service(error_rate=error_rate, quality=quality, p95_seconds=p95_seconds)
    by_plan, by_rule = simulated(tried, service, per_minute=per_minute, days=days, runs=runs, seed=seed)
    if as_json:
        figures = {"gates": _figures(by_plan), "naive": _figures(by_rule)}
        print_json({**asdict(service), "runs": runs, "within_limits": _is_within(service, tried), **figures})
    else:
        say(
            f"Engine: {error_rate:.1%} errors, quality {quality:.2f}, 95 % of answers within {p95_seconds:g} s. "
            f"Plan: {tried.strategy}. Questions per minute: {per_minute:g}. Days: {days}. Runs: {runs:,}. Seed: {seed}."
        )
        _print(_figures(by_plan), _figures(by_rule), runs=runs, is_within=_is_within(service, tried))


def _plan_in(file: Path, *, as_json: bool) -> RolloutPlan:
    try:
        return plan_from(file.read_bytes())
    except OSError as error:
        fail(f"{file}: the plan cannot be read: {error.strerror}.", as_json=as_json)
    except ValueError as error:
        fail(f"{file}: it is no plan of `cmo rollout plan --json`. {error}", as_json=as_json)


def _is_within(service: Service, plan: RolloutPlan) -> bool:
    """Whether the engine keeps every limit of the plan, so that rolling it back is a mistake."""
    limits = {criterion.measure: criterion.limit for criterion in plan.criteria}
    return (
        service.error_rate <= limits.get(Measure.ERROR_RATE, 1)
        and service.quality >= limits.get(Measure.QUALITY, 0)
        and service.p95_seconds <= limits.get(Measure.P95_SECONDS, inf)
    )


def _figures(courses: Sequence[Course]) -> dict[str, Any]:
    """What became of all runs; medians are of the runs in which it happened, None without any."""
    ended = [course for course in courses if course.rolled_back_minute is not None]
    return {
        "rolled_back": len(ended),
        "rolled_back_by": Counter(measure.value for course in ended for measure in course.broken),
        "answers_until_rolled_back": _median([course.answers for course in ended]),
        "hours_until_rolled_back": _median_hours([course.rolled_back_minute for course in courses]),
        "completed": sum(course.completed_minute is not None for course in courses),
        "hours_until_completed": _median_hours([course.completed_minute for course in courses]),
        "held": Counter(hold.value for course in courses for hold in sorted(course.holds)),
    }


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None


def _median_hours(minutes: Sequence[int | None]) -> float | None:
    middle = _median([minute for minute in minutes if minute is not None])
    return None if middle is None else round(middle / 60, 2)


def _print(ours: dict[str, Any], naive: dict[str, Any], *, runs: int, is_within: bool) -> None:
    table = Table("", "by its gates", "by the naive rule", box=None, header_style="bold")
    for key, (what, shown) in _ROWS.items():
        mistake = (" by mistake" if is_within else " rightly") if key == "rolled_back" else ""
        table.add_row(what + mistake, *(shown(each[key], runs) for each in (ours, naive)))
    out.print(table)
    for key, what in (("rolled_back_by", "Rolled back by"), ("held", "Held by")):
        if ours[key]:
            counts = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in ours[key].items())
            say(f"{what} (runs): {counts}.")


def _share(count: int, runs: int) -> str:
    return f"{count:,} of {runs:,} ({count / runs:.1%})"


def _number(value: float | None, runs: int) -> str:
    return "-" if value is None else f"{value:,.1f}".removesuffix(".0")


_ROWS: Mapping[str, tuple[str, Callable[[Any, int], str]]] = {
    "rolled_back": ("rolled back", _share),
    "answers_until_rolled_back": ("  answers until then, median", _number),
    "hours_until_rolled_back": ("  hours until then, median", _number),
    "completed": ("reached the last stage", _share),
    "hours_until_completed": ("  hours until then, median", _number),
}
