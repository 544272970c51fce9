"""`cmo simulate`: what the rules of this program would do, tried out on made-up questions.

Nothing is read but settings, a plan or a definition, and nothing is kept unless that is asked for.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from math import inf
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from cmo.bootstrap.breakers import breaker_rules, quality_rules
from cmo.bootstrap.money import limits_of
from cmo.cli.month_options import behaviours, changes, outages, stops
from cmo.cli.month_views import month_as_json, print_month
from cmo.cli.options import JsonOption, settings_for
from cmo.cli.output import err, errors_as_sentences, out, print_json, say
from cmo.cli.rollout_options import plan_in
from cmo.cli.simulated_month import ENGINES, START, MakeTrial, Scenario, lived
from cmo.cli.simulated_people import Crowd
from cmo.cli.simulated_rollout import DAY_MINUTES, Course, Service, simulated
from cmo.cli.simulated_trials import ExperimentTrial, RolloutTrial
from cmo.cli.simulated_world import DATABASE, Rules
from cmo.dispatch.experiment_file import experiment_in, read_text
from cmo.errors import OracleError
from cmo.policy.experiment_in_service import refuse_unfit
from cmo.policy.gates import Measure
from cmo.policy.rollout_plan import RolloutPlan, staged
from cmo.settings import QueryMode, Settings

MOST = 20_000_000
"""Questions, and minutes, over all runs; more would take longer than anybody waits."""

MOST_A_DAY = 2_000
"""Questions in a day of a made-up month; they are answered one after the other, and more would stand in line."""

MOST_QUESTIONS = 200_000
"""Questions in a made-up month; they take some milliseconds each."""

group = typer.Typer(add_completion=False, rich_markup_mode="markdown", no_args_is_help=True)


@group.callback()
def simulate() -> None:
    """Try out on made-up questions what the rules of this program would do.

    docs/rollouts.md and docs/simulate.md tell how to read it.
    """


@group.command()
def rollout(
    plan: Annotated[
        Path | None,
        typer.Option("--plan", metavar="FILE", help="What `cmo rollout plan --json` printed.", show_default="staged"),
    ] = None,
    error_rate: Annotated[float, typer.Option("--error-rate", min=0, max=1, help="Share of failed answers.")] = 0.03,
    quality: Annotated[
        float,
        typer.Option("--quality", min=0.01, max=0.99, help="Mean quality of the others, 0 to 1."),
    ] = 0.8,
    p95_seconds: Annotated[
        float,
        typer.Option("--p95-seconds", min=0.01, max=3600, help="Seconds within which 95 % of answers come."),
    ] = 6.0,
    per_minute: Annotated[
        float,
        typer.Option(
            "--questions-per-minute",
            min=0,
            max=1000,
            help="Of all people; the new engine gets its share.",
        ),
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
    with errors_as_sentences(as_json=as_json):
        tried = staged() if plan is None else plan_in(plan)
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


@group.command()
def month(
    days: Annotated[int, typer.Option("--days", min=1, max=366, help="How long it lasts.")] = 30,
    people: Annotated[int, typer.Option("--people", min=1, max=100_000, help="How many ask.")] = 100,
    per_day: Annotated[
        float, typer.Option("--questions-per-day", min=0, max=MOST_A_DAY, help="Of all people.")
    ] = 200.0,
    alike: Annotated[
        float,
        typer.Option("--alike", min=0, max=1, help="How alike one person's questions are: 0 not, 1 the same."),
    ] = 0.2,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            "--engine",
            metavar="NAME:FIGURE=NUMBER,...",
            help="What an engine is like: error, quality, p95, cost.",
            show_default="error=0.03,quality=0.8,p95=6,cost=0.002",
        ),
    ] = None,
    outage: Annotated[
        list[str] | None, typer.Option("--outage", metavar="NAME:DAY:HOURS", help="When an engine is down.")
    ] = None,
    degrade: Annotated[
        list[str] | None,
        typer.Option("--degrade", metavar="NAME:DAY:FIGURE=NUMBER,...", help="From when on an engine is otherwise."),
    ] = None,
    emergency: Annotated[
        list[str] | None,
        typer.Option("--emergency", metavar="NAME:DAY:HOURS", help="When somebody stops an engine."),
    ] = None,
    daily_budget: Annotated[
        float | None,
        typer.Option(
            "--daily-budget",
            min=0,
            max=1_000_000,
            help="Dollars a day for all.",
            show_default="the setting",
        ),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", metavar="FILE", help="What `cmo rollout plan --json` printed.", show_default="staged"),
    ] = None,
    experiment: Annotated[
        Path | None,
        typer.Option("--experiment", metavar="FILE", help="An experiment in place of a rollout.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Equal seeds give equal months.")] = 1,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="DIR", help="Keep its database, for `cmo ... --storage DIR`."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Live through a month of made-up people and engines with the real program, and tell what happened.

    Routing, breakers, budgets, and a rollout or an experiment are those of the program, under its settings, on a
    database of their own. Approvals are given at once. Ctrl-C ends it with what there is so far.
    """
    if plan is not None and experiment is not None:
        raise typer.BadParameter("Give --plan or --experiment: both would act through the same flag.")
    if per_day * days > MOST_QUESTIONS:
        raise typer.BadParameter(f"It would take too long. Allowed: {MOST_QUESTIONS:,} questions in all.")
    scenario = Scenario(
        days=days,
        crowd=Crowd(people=people, questions_per_day=per_day, alike=alike),
        engines=behaviours(engine or ()),
        outages=outages(outage or ()),
        changes=changes(degrade or ()),
        stops=stops(emergency or ()),
        seed=seed,
    )
    with errors_as_sentences(as_json=as_json), _folder(keep) as folder, _progress(days) as progress:
        rules = _rules(settings_for(papers=None, storage=None), daily_budget)
        make_trial = _trial(plan, experiment)
        found = asyncio.run(lived(scenario, rules, make_trial, folder=folder, progress=progress))
    if as_json:
        print_json(month_as_json(found))
    else:
        print_month(found)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Where the month's database is; it is gone afterwards unless it is to be kept.

    Raises:
        OracleError: there is a database already, or there can be no folder.
    """
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="cmo-month-") as folder:
            yield Path(folder)
        return
    kept = keep.expanduser().absolute()
    if (kept / DATABASE).exists():
        raise OracleError(f"{keep} has a database already. Name a folder that is empty or not there.")
    try:
        kept.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OracleError(f"The folder {keep} cannot be made: {error.strerror}.") from error
    yield kept


@contextmanager
def _progress(days: int) -> Iterator[Callable[[float], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("A made-up month", total=days)
        yield lambda day: bar.update(task, completed=day)


def _trial(plan: Path | None, experiment: Path | None) -> MakeTrial:
    if experiment is None:
        return partial(RolloutTrial, staged() if plan is None else plan_in(plan))
    definition = read_text(experiment)
    try:
        refuse_unfit(experiment_in(definition, start=START), engines=ENGINES, modes=[mode.value for mode in QueryMode])
    except OracleError as error:
        raise OracleError(f"{experiment}: {error}") from error
    return partial(ExperimentTrial, definition)


def _rules(settings: Settings, daily_budget: float | None) -> Rules:
    limits = limits_of(settings)
    return Rules(
        salt=settings.hash_salt,
        rollout_percentage=settings.rollout,
        fallback=settings.fallback,
        answer_seconds=settings.answer_timeout_seconds,
        breaker=breaker_rules(settings),
        quality=quality_rules(settings),
        second_opinion_below=settings.second_opinion_below,
        limits=limits if daily_budget is None else replace(limits, daily_usd=daily_budget),
        alert_share=settings.cost_alert_threshold,
    )


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
