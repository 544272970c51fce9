"""How `cmo experiment` shows experiments in service: what is planned, how far they are, and who did what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from rich.table import Table
from rich.text import Text

from cmo.cli.experiment_views import ratio_as_json, ratio_words
from cmo.cli.output import out, printable, say
from cmo.policy.experiment import Analysis, Arm, Course, Experiment, Recommendation
from cmo.policy.experiment_in_service import engine_in
from cmo.policy.measuring import Observation
from cmo.policy.planning import planned_looks
from cmo.settings import EngineChoice
from cmo.storage.experiments import ExperimentEvent, KeptExperiment

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """An experiment at a moment, with what was seen in it by then."""

    kept: KeptExperiment
    analysis: Analysis
    observations: Sequence[Observation]
    now: datetime

    @property
    def days(self) -> float:
        """How long it has run."""
        if self.kept.started_at is None:
            return 0.0
        return ((self.kept.stopped_at or self.now) - self.kept.started_at) / _DAY

    @property
    def planned_days(self) -> float:
        """How long it was to run."""
        return self.analysis.experiment.duration / _DAY

    @property
    def questions(self) -> Counter[str]:
        """How many questions were asked in each arm."""
        return Counter(observation.arm for observation in self.observations)

    @property
    def next_looks(self) -> tuple[NextLook, ...]:
        """The looks to come; there are none after a stop."""
        return () if self.kept.stopped_at is not None else tuple(next_looks(self.analysis))

    @property
    def faults(self) -> tuple[str, ...]:
        """Why it is worth nothing."""
        return self.analysis.reasons if self.analysis.recommendation is Recommendation.INVALID else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NextLook:
    """A treatment's next planned look at the data: when it and the control have so many users each."""

    arm: str
    number: int
    users: int


def next_looks(found: Analysis) -> Iterator[NextLook]:
    """The next look of each treatment that has not had all of them."""
    experiment = found.experiment
    looks = planned_looks(experiment.looks, experiment.alpha_each)
    for course in found.courses:
        if course.decisive is None and len(course.looks) < len(looks):
            look = looks[len(course.looks)]
            yield NextLook(arm=course.arm, number=look.number, users=ceil(look.share * experiment.planned_users))


def experiments_table(found: Iterable[KeptExperiment]) -> Table:
    """Experiments, a line each."""
    table = Table("experiment", "state", "created", "started", "stopped", box=None, header_style="bold")
    for kept in found:
        times = (kept.created_at, kept.started_at, kept.stopped_at)
        table.add_row(Text(printable(kept.name)), kept.state.value, *map(_minute, times))
    return table


def events_table(events: Iterable[ExperimentEvent]) -> Table:
    """What was done with an experiment."""
    table = Table("when", "who", "what", "why", box=None, header_style="bold")
    for event in events:
        who, why = Text(printable(event.by.author)), Text(printable(event.by.reason))
        table.add_row(f"{event.by.at:%Y-%m-%d %H:%M:%S}", who, event.action.value, why)
    return table


def event_as_json(event: ExperimentEvent) -> dict[str, object]:
    """Something that was done with an experiment."""
    return {
        "at": event.by.at.isoformat(),
        "action": event.action.value,
        "author": event.by.author,
        "reason": event.by.reason,
    }


def kept_as_json(kept: KeptExperiment) -> dict[str, object]:
    """An experiment without what is in its definition."""
    return {
        "name": kept.name,
        "state": kept.state.value,
        "created_at": kept.created_at.isoformat(),
        "started_at": kept.started_at and kept.started_at.isoformat(),
        "stopped_at": kept.stopped_at and kept.stopped_at.isoformat(),
        "flag": kept.flag,
        "flag_version": kept.flag_version,
    }


def experiment_as_json(kept: KeptExperiment, experiment: Experiment) -> dict[str, object]:
    """An experiment with its arms and its definition."""
    return {
        **kept_as_json(kept),
        "hypothesis": experiment.hypothesis,
        "share_percent": experiment.share_percent,
        "arms": [
            {"name": arm.name, "weight": arm.weight, "engine": _engine(arm), "overrides": dict(arm.overrides)}
            for arm in experiment.arms
        ],
        "definition": kept.definition,
    }


def print_experiment(kept: KeptExperiment, experiment: Experiment) -> None:
    """An experiment for people, its definition as it was given."""
    say(f"{kept.name}: {experiment.hypothesis}")
    say(f"{_life(kept)} {experiment.share_percent:g} % of people take part.")
    table = Table("arm", "weight", "engine", "overrides", box=None, header_style="bold")
    for arm in experiment.arms:
        overrides = ", ".join(f"{key} {value}" for key, value in arm.overrides.items() if key != "engine")
        table.add_row(Text(printable(arm.name)), f"{arm.weight:g}", _engine(arm), Text(printable(overrides)))
    out.print(table)
    say(f"\n{kept.definition.strip()}")


def progress_as_json(progress: Progress) -> dict[str, object]:
    """How far an experiment is."""
    found, questions = progress.analysis, progress.questions
    return {
        **kept_as_json(progress.kept),
        "days": round(progress.days, 3),
        "planned_days": progress.planned_days,
        "planned_users_per_arm": found.experiment.planned_users,
        "arms": [
            {
                "name": each.arm.name,
                "users": each.users,
                "expected_users": each.expected,
                "questions": questions[each.arm.name],
            }
            for each in found.arms
        ],
        "sample_ratio": ratio_as_json(found),
        "progress": {course.arm: course.progress for course in found.courses},
        "next_looks": [
            {"arm": look.arm, "number": look.number, "users_per_arm": look.users} for look in progress.next_looks
        ],
        "invalid_because": list(progress.faults),
    }


def print_progress(progress: Progress) -> None:
    """How far an experiment is, for people."""
    found, kept = progress.analysis, progress.kept
    say(f"{kept.name}: {found.experiment.hypothesis}")
    say(_life(kept))
    if kept.started_at is None:
        return
    say(f"Day {progress.days:.1f} of {progress.planned_days:g}.")
    for fault in progress.faults:
        say(f"Invalid: {fault}", style="bold red")
    out.print(_arms_table(progress))
    say(ratio_words(found))
    courses = {course.arm: course for course in found.courses}
    for look in progress.next_looks:
        say(_look_words(look, courses[look.arm], found.experiment))


def _arms_table(progress: Progress) -> Table:
    questions, experiment = progress.questions, progress.analysis.experiment
    table = Table("arm", "engine", "weight", "people", "planned", "questions", box=None, header_style="bold")
    for each in progress.analysis.arms:
        arm = each.arm
        row = (f"{arm.weight:g}", f"{each.users:,}", f"{experiment.planned_users:,}", f"{questions[arm.name]:,}")
        table.add_row(Text(printable(arm.name)), _engine(arm), *row)
    return table


def _look_words(look: NextLook, course: Course, experiment: Experiment) -> str:
    there = int(course.progress * experiment.planned_users)
    return (
        f"{look.arm}: look {look.number} of {experiment.looks} comes at {look.users:,} people per arm; now {there:,}."
    )


def _life(kept: KeptExperiment) -> str:
    if kept.started_at is None:
        return f"A draft, created on {_minute(kept.created_at)}."
    if kept.stopped_at is None:
        return f"Runs since {_minute(kept.started_at)}."
    return f"Ran from {_minute(kept.started_at)} to {_minute(kept.stopped_at)}."


def _minute(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def _engine(arm: Arm) -> str:
    return engine_in(arm, home=EngineChoice.LIGHTRAG)
