"""`cmo experiment`: how many people an experiment takes, and what its observations say."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cmo.cli.experiment_views import analysis_as_json, plan_as_json, print_analysis, print_plan
from cmo.cli.options import JsonOption
from cmo.cli.output import fail, print_json
from cmo.dispatch.experiment_file import read_definition, read_observations
from cmo.errors import OracleError
from cmo.policy.analysis import analyse as analysed
from cmo.policy.experiment import Analysis
from cmo.policy.planning import MAX_LOOKS, MeanMove, ShareMove, size_plan

MAX_ARMS = 20
"""Arms that can be planned for, the control among them."""

_STDIN = Path("-")

group = typer.Typer(add_completion=False, rich_markup_mode="markdown", no_args_is_help=True)


@group.callback()
def experiment() -> None:
    """Plan how many people an experiment takes, and tell what its observations say.

    docs/experiments.md tells what is calculated, why, and how to read it.
    """


@group.command("plan-size")
def plan_size(
    baseline: Annotated[
        float | None,
        typer.Option("--baseline", metavar="SHARE", help="The share of people now, such as 0.12.", show_default=False),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option("--target", metavar="SHARE", help="The share worth finding, such as 0.15.", show_default=False),
    ] = None,
    difference: Annotated[
        float | None,
        typer.Option("--difference", help="For a mean: the difference worth finding.", show_default=False),
    ] = None,
    sd: Annotated[
        float | None,
        typer.Option("--sd", help="For a mean: its standard deviation between people.", show_default=False),
    ] = None,
    power: Annotated[float, typer.Option("--power", min=0.5, max=0.999, help="The chance to find it.")] = 0.8,
    alpha: Annotated[
        float, typer.Option("--alpha", min=0.0001, max=0.2, help="The chance to find a difference where there is none.")
    ] = 0.05,
    looks: Annotated[int, typer.Option("--looks", min=1, max=MAX_LOOKS, help="Looks at the data, evenly spaced.")] = 5,
    arms: Annotated[int, typer.Option("--arms", min=2, max=MAX_ARMS, help="Arms, the control among them.")] = 2,
    users_per_day: Annotated[
        float | None,
        typer.Option("--users-per-day", min=0.001, help="New people a day, over all arms.", show_default=False),
    ] = None,
    users: Annotated[
        int | None,
        typer.Option("--users", min=2, help="Tell the power of so many users per arm, too.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell how many users each arm of an experiment needs.

    For a share give --baseline and --target, for a mean --difference and --sd.
    """
    move = _move(baseline, target, difference, sd)
    try:
        plan = size_plan(move, power=power, alpha=alpha, looks=looks, arms=arms)
    except OverflowError:
        raise typer.BadParameter("So small a difference would take more people than can be counted.") from None
    reached = move.power(users=users, alpha=plan.alpha_each) if users else None
    if as_json:
        print_json(plan_as_json(plan, users_per_day=users_per_day, users=users, reached=reached))
    else:
        print_plan(plan, users_per_day=users_per_day, users=users, reached=reached)


@group.command()
def analyse(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help='JSON lines {"user", "arm", "metrics"}; - is stdin.', show_default=False),
    ],
    definition: Annotated[
        Path, typer.Option("--definition", metavar="FILE.toml", help="What was planned.", show_default=False)
    ],
    as_json: JsonOption = False,
) -> None:
    """Tell what the observations of an experiment say, and what to do.

    Run it as often as you like: the decision is made only at the looks that were planned.
    """
    try:
        found = _analysis(file, definition)
    except OracleError as error:
        fail(str(error), as_json=as_json)
    if as_json:
        print_json(analysis_as_json(found))
    else:
        print_analysis(found)


def _move(
    baseline: float | None, target: float | None, difference: float | None, sd: float | None
) -> ShareMove | MeanMove:
    if baseline is not None and target is not None and difference is None and sd is None:
        if not (0 < baseline < 1 and 0 < target < 1) or baseline == target:
            raise typer.BadParameter("--baseline and --target are two shares between 0 and 1: 0.12 stands for 12 %.")
        return ShareMove(baseline=baseline, target=target)
    if difference is not None and sd is not None and baseline is None and target is None:
        if not (difference and 0 < sd < float("inf") and abs(difference) < float("inf")):
            raise typer.BadParameter("--difference must not be 0, and --sd has to be above 0.")
        return MeanMove(difference=difference, sd=sd)
    raise typer.BadParameter("Give --baseline and --target for a share, or --difference and --sd for a mean.")


def _analysis(file: Path, definition: Path) -> Analysis:
    experiment = read_definition(definition)
    now = datetime.now(UTC)
    if file == _STDIN:
        return analysed(experiment, read_observations(sys.stdin.buffer), now=now)
    try:
        with file.open("rb") as lines:
            return analysed(experiment, read_observations(lines), now=now)
    except OSError as error:
        raise OracleError(f"{file}: the observations cannot be read: {error.strerror}.") from error
