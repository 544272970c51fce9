"""`cmo shadow`: what answers in the shadow tell about the engine that gave them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from cmo.cli.options import JsonOption, StorageOption, settings_for
from cmo.cli.output import errors_as_sentences, print_json, say
from cmo.cli.records import from_records
from cmo.policy.budget import dollars, microdollars
from cmo.policy.shadow import SHADOW_MODE, Direction, Figures, Outcome, QualityPairs, directions, finding
from cmo.settings import Settings
from cmo.storage.database import Database
from cmo.storage.shadow import SqlShadow

DAYS_SHOWN = 30
"""How far back it goes without --days, today included."""

_WORDS = {
    Outcome.ANSWERED: "answered",
    Outcome.REFUSED: "found no answer",
    Outcome.FAILED: "failed",
    Outcome.LATE: "too late",
    Outcome.TOO_DEAR: "not asked for want of budget",
    Outcome.UNFINISHED: "not finished",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Report:
    """What the command shows: the days from `since` (UTC) on, and what today's shadows have cost or still may."""

    since: datetime
    spent_today_usd: float
    budget_usd: float
    directions: tuple[Direction, ...]


def shadow(
    days: Annotated[
        int, typer.Option("--days", min=1, max=36_500, metavar="N", help="How many days (UTC), today included.")
    ] = DAYS_SHOWN,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare answers that were given in the shadow with those that people got.

    For a sample of questions, by the flag shadow_mode, another engine answers in the background. Nobody sees that;
    here is how often it could, how good, how alike, how dear and how fast it was.
    """
    with errors_as_sentences(as_json=as_json):
        report = _report(settings_for(papers=None, storage=storage), days, datetime.now(UTC))
    if as_json:
        print_json(_as_json(report))
    else:
        _print(report)


def _report(settings: Settings, days: int, now: datetime) -> _Report:
    since = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days - 1)
    budget_usd = settings.shadow_daily_budget_usd

    async def look(database: Database) -> _Report:
        store = SqlShadow(database, daily_usd=budget_usd)
        return _Report(
            since=since,
            spent_today_usd=await store.spent_usd(now),
            budget_usd=budget_usd,
            directions=directions(await store.pairs(since)),
        )

    return from_records(settings, look) or _Report(
        since=since, spent_today_usd=0.0, budget_usd=budget_usd, directions=()
    )


def _as_json(report: _Report) -> dict[str, object]:
    return {
        "since": str(report.since.date()),
        "budget_usd": report.budget_usd,
        "spent_today_usd": report.spent_today_usd,
        "directions": [_direction_as_json(direction) for direction in report.directions],
    }


def _direction_as_json(direction: Direction) -> dict[str, object]:
    return {
        "engine": direction.engine,
        "shadow": direction.shadow,
        "questions": direction.questions,
        "outcomes": {outcome.value: count for outcome, count in direction.outcomes.items()},
        "quality": asdict(direction.quality) if direction.quality else None,
        "finding": finding(direction.quality, direction.shadow),
        "figures": asdict(direction.figures) if direction.figures else None,
    }


def _print(report: _Report) -> None:
    if not report.directions:
        say(
            f"No question was asked in the shadow since {report.since:%Y-%m-%d}. The flag {SHADOW_MODE} says which "
            "ones are; docs/shadow.md tells how to switch it on."
        )
        return
    say(f"In the shadow since {report.since:%Y-%m-%d} (UTC)", style="bold")
    spent, budget = dollars(microdollars(report.spent_today_usd)), dollars(microdollars(report.budget_usd))
    say(f"Today: {spent} of {budget} spent or set aside.")
    for direction in report.directions:
        say(f"\nAnswers of {direction.engine}, {direction.shadow} in the shadow", style="bold")
        for line in _lines(direction):
            say(line)


def _lines(direction: Direction) -> Iterable[str]:
    counts = (f"{count} {_WORDS[outcome]}" for outcome, count in direction.outcomes.items() if count)
    yield f"{direction.questions} questions: {', '.join(counts)}."
    if direction.quality:
        yield _quality_line(direction, direction.quality)
    yield finding(direction.quality, direction.shadow)
    if direction.figures:
        yield from _figure_lines(direction, direction.figures)


def _quality_line(direction: Direction, quality: QualityPairs) -> str:
    interval = (
        f", 95 % interval {quality.interval.low:+.3f} to {quality.interval.high:+.3f}" if quality.interval else ""
    )
    return (
        f"Quality, mean and median of {quality.pairs} pairs: "
        f"{direction.engine} {quality.mean:.3f}, {quality.median:.3f}; "
        f"{direction.shadow} {quality.shadow_mean:.3f}, {quality.shadow_median:.3f}; "
        f"mean difference {quality.difference:+.3f}{interval}."
    )


def _figure_lines(direction: Direction, figures: Figures) -> Iterable[str]:
    if figures.overlap is not None:
        yield f"Words in common, mean of {figures.overlaps} pairs: {figures.overlap:.0%}."
    yield (
        f"Cost, mean: {direction.engine} ${figures.cost_usd:.4f}, {direction.shadow} ${figures.shadow_cost_usd:.4f}. "
        f"Time, median: {figures.seconds:.1f} s and {figures.shadow_seconds:.1f} s."
    )
