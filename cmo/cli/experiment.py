"""`cmo experiment`: how many people an experiment takes, running one, and what its observations say."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from cmo.cli.experiment_records import (
    Progress,
    event_as_json,
    events_table,
    experiment_as_json,
    experiments_table,
    kept_as_json,
    print_experiment,
    print_progress,
    progress_as_json,
)
from cmo.cli.experiment_views import analysis_as_json, plan_as_json, print_analysis, print_plan
from cmo.cli.flag_views import DRY
from cmo.cli.options import AuthorOption, DryRunOption, JsonOption, ReasonOption, StorageOption, readable, settings_for
from cmo.cli.output import errors_as_sentences, out, print_json, say
from cmo.cli.records import authorship, changed_records, from_records, refuse_written_flags
from cmo.dispatch.experiment_file import MOST_USERS, experiment_in, read_definition, read_observations, read_text
from cmo.errors import OracleError
from cmo.policy.analysis import analyse as analysed
from cmo.policy.experiment import Analysis, Experiment
from cmo.policy.experiment_in_service import flag_of, refuse_unfit
from cmo.policy.measuring import Observation
from cmo.policy.planning import MAX_LOOKS, MeanMove, ShareMove, size_plan
from cmo.settings import EngineChoice, QueryMode, Settings
from cmo.storage.experiments import ExperimentState, KeptExperiment, SqlExperiments

T = TypeVar("T")

MAX_ARMS = 20
"""Arms that can be planned for, the control among them."""

_STDIN = Path("-")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The experiment.", show_default=False)]
HtmlOption = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write a page with plots there, too.", show_default=False)
]
ForceOption = Annotated[bool, typer.Option("--force", help="Write over the file of --html when there is one.")]

group = typer.Typer(add_completion=False, rich_markup_mode="markdown", no_args_is_help=True)


@group.callback()
def experiment() -> None:
    """Plan an experiment, run it, and tell what its observations say.

    One at a time runs. docs/experiments.md tells what is measured and calculated, why, and how to read it.
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
        typer.Option(
            "--users", min=2, max=MOST_USERS, help="Tell the power of so many users per arm, too.", show_default=False
        ),
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
    html: HtmlOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Tell what the observations in a file say, and what to do.

    Run it as often as you like: the decision is made only at the looks that were planned.
    """
    with errors_as_sentences(as_json=as_json):
        experiment = read_definition(definition)
        _tell(experiment, _observations_in(file), stopped_at=None, html=html, force=force, as_json=as_json)


@group.command()
def create(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="What is planned.", show_default=False)],
    reason: ReasonOption,
    author: AuthorOption = None,
    dry_run: DryRunOption = False,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep what a file defines as an experiment that can be started, after checking that it can be run."""
    with errors_as_sentences(as_json=as_json):
        by, settings = authorship(author, reason), settings_for(papers=None, storage=storage)
        text = read_text(file)
        try:
            experiment = _fit(text, start=by.at)
        except OracleError as error:
            raise OracleError(f"{file}: {error}") from error
        kept = changed_records(
            settings,
            lambda database: SqlExperiments(database, trial=dry_run).create(experiment.name, text, by),
            dry_run=dry_run,
        )
    if as_json:
        print_json({"dry_run": dry_run, **experiment_as_json(kept, experiment)})
        return
    how = "" if dry_run else f' `cmo experiment start "{kept.name}"` starts it.'
    say(f'{DRY if dry_run else ""}The experiment "{kept.name}" is kept as a draft.{how}')


@group.command("list")
def list_experiments(storage: StorageOption = None, as_json: JsonOption = False) -> None:
    """List all experiments, the newest first."""
    with errors_as_sentences(as_json=as_json):
        settings = settings_for(papers=None, storage=storage)
        found = from_records(settings, lambda database: SqlExperiments(database).list()) or ()
    if as_json:
        print_json([kept_as_json(kept) for kept in found])
    elif found:
        out.print(experiments_table(found))
    else:
        say("There are no experiments yet: `cmo experiment create` makes one.")


@group.command()
def show(name: NameArgument, storage: StorageOption = None, as_json: JsonOption = False) -> None:
    """Show one experiment: who is served how, and its definition as it was given."""
    with errors_as_sentences(as_json=as_json):
        kept = _kept(settings_for(papers=None, storage=storage), name)
        experiment = _defined(kept)
    if as_json:
        print_json(experiment_as_json(kept, experiment))
    else:
        print_experiment(kept, experiment)


@group.command()
def start(
    name: NameArgument,
    reason: ReasonOption,
    author: AuthorOption = None,
    dry_run: DryRunOption = False,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start an experiment now: the flag of the main rollout spreads people over its arms."""
    with errors_as_sentences(as_json=as_json):
        by, settings = authorship(author, reason), settings_for(papers=None, storage=storage)
        refuse_written_flags(settings)
        experiment = _fit(_kept(settings, name).definition, start=by.at)
        flag = flag_of(experiment)
        kept = changed_records(
            settings,
            lambda database: SqlExperiments(database, trial=dry_run).start(experiment.name, flag, by),
            dry_run=dry_run,
        )
    if as_json:
        print_json({"dry_run": dry_run, **experiment_as_json(kept, experiment)})
        return
    say(
        f'{DRY if dry_run else ""}The experiment "{kept.name}" runs with {experiment.share_percent:g} % of people, by '
        f'version {kept.flag_version} of the flag "{kept.flag}". Leave that flag alone until the experiment is stopped.'
    )


@group.command()
def status(name: NameArgument, storage: StorageOption = None, as_json: JsonOption = False) -> None:
    """Tell how far an experiment is: people in each arm, the sample ratio, the next look. No effects."""
    with errors_as_sentences(as_json=as_json):
        now, settings = datetime.now(UTC), settings_for(papers=None, storage=storage)
        kept, seen = _seen(settings, name, now)
        found = analysed(_defined(kept), seen, now=now, stopped_at=kept.stopped_at)
        progress = Progress(kept=kept, analysis=found, observations=seen, now=now)
    if as_json:
        print_json(progress_as_json(progress))
    else:
        print_progress(progress)


@group.command()
def report(
    name: NameArgument,
    html: HtmlOption = None,
    force: ForceOption = False,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what the observations of an experiment say, and what to do.

    Run it as often as you like: the decision is made only at the looks that were planned.
    """
    with errors_as_sentences(as_json=as_json):
        kept, seen = _seen(settings_for(papers=None, storage=storage), name, datetime.now(UTC))
        if kept.state is ExperimentState.DRAFT:
            raise OracleError(f'The experiment "{kept.name}" was not started, so there is nothing to report.')
        _tell(_defined(kept), seen, stopped_at=kept.stopped_at, html=html, force=force, as_json=as_json)


@group.command()
def stop(
    name: NameArgument,
    reason: ReasonOption,
    author: AuthorOption = None,
    dry_run: DryRunOption = False,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop an experiment for good: the flag becomes what it was before the start. Reports stay possible."""
    with errors_as_sentences(as_json=as_json):
        by, settings = authorship(author, reason), settings_for(papers=None, storage=storage)
        _kept(settings, name)
        kept = changed_records(
            settings,
            lambda database: SqlExperiments(database, trial=dry_run).stop(readable(name), by),
            dry_run=dry_run,
        )
    if as_json:
        print_json({"dry_run": dry_run, **kept_as_json(kept)})
        return
    say(
        f'{DRY if dry_run else ""}The experiment "{kept.name}" is stopped, and the flag "{kept.flag}" is what it was '
        "before."
    )


@group.command()
def history(name: NameArgument, storage: StorageOption = None, as_json: JsonOption = False) -> None:
    """Show who created, started and stopped an experiment, when and why, the newest first."""
    with errors_as_sentences(as_json=as_json):
        settings = settings_for(papers=None, storage=storage)
        events = _found(settings, lambda store: store.history(readable(name)))
    if as_json:
        print_json([event_as_json(event) for event in events])
    else:
        out.print(events_table(events))


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


def _observations_in(file: Path) -> list[Observation]:
    if file == _STDIN:
        return list(read_observations(sys.stdin.buffer))
    try:
        with file.open("rb") as lines:
            return list(read_observations(lines))
    except OSError as error:
        raise OracleError(f"{file}: the observations cannot be read: {error.strerror}.") from error


def _tell(
    experiment: Experiment,
    observations: Sequence[Observation],
    *,
    stopped_at: datetime | None,
    html: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Print what the observations say, and write it as a page when that is wanted."""
    if html is not None and html.exists() and not force:
        raise OracleError(f"The file {html} exists. Allowed: another one, or --force to write over it.")
    found = analysed(experiment, observations, now=datetime.now(UTC), stopped_at=stopped_at)
    if html is not None:
        _write_page(html, found, observations)
    if as_json:
        print_json(analysis_as_json(found))
        return
    print_analysis(found)
    if html is not None:
        say(f"The page is in {html}.")


def _write_page(html: Path, found: Analysis, observations: Sequence[Observation]) -> None:
    from cmo.exports.experiment_page import page  # loads what nothing else here needs

    try:
        html.write_text(page(found, observations), encoding="utf-8")
    except OSError as error:
        raise OracleError(f"{html}: the page cannot be written: {error.strerror}.") from error


def _fit(text: str, *, start: datetime) -> Experiment:
    """The experiment that a definition's text defines, if it can be run."""
    experiment = experiment_in(text, start=start)
    refuse_unfit(experiment, engines=tuple(map(str, EngineChoice)), modes=tuple(map(str, QueryMode)))
    return experiment


def _kept(settings: Settings, name: str) -> KeptExperiment:
    return _found(settings, lambda store: store.get(readable(name)))


def _seen(settings: Settings, name: str, now: datetime) -> tuple[KeptExperiment, Sequence[Observation]]:
    async def look(store: SqlExperiments) -> tuple[KeptExperiment, Sequence[Observation]]:
        return await store.get(readable(name)), await store.observations(readable(name), now=now)

    return _found(settings, look)


def _found(settings: Settings, look: Callable[[SqlExperiments], Awaitable[T]]) -> T:
    found = from_records(settings, lambda database: look(SqlExperiments(database)))
    if found is None:
        raise OracleError("There are no experiments yet: `cmo experiment create` makes one.")
    return found


def _defined(kept: KeptExperiment) -> Experiment:
    """What is planned, with the moment of the start where there was one."""
    return experiment_in(kept.definition, start=kept.started_at or kept.created_at)
