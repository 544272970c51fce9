"""How `cmo simulate month` shows a month: what happened day by day, then sums; the same as a document for programs."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from statistics import fmean

from rich.table import Table
from rich.text import Text

from cmo.cli.experiment_views import analysis_as_json, print_analysis
from cmo.cli.output import out, printable, say
from cmo.cli.simulated_month import Happening, Month, Served, Subject
from cmo.cli.simulated_people import DAY_SECONDS
from cmo.policy.experiment import Analysis
from cmo.policy.rollout import RolloutState
from cmo.policy.routing import Reason

_NUMBER = re.compile(r"\d[\d.,]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sums:
    """`stood_in` counts the answers of an engine that was not meant to answer, but for second opinions."""

    questions: int
    unanswered: int
    stood_in: int
    second_opinions: int
    refused_for_money: int
    answered_for_nothing: int
    cost_usd: float
    dearest_day_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _EngineSums:
    """`asked` and `failed` count calls. The others are of the answers that were shown; None without any.

    `p95_seconds` are of the whole question, with what was tried before.
    """

    asked: int
    failed: int
    answers: int
    quality: float | None
    p95_seconds: float | None


def month_as_json(month: Month) -> dict[str, object]:
    """A month with everything that happened. Times are in days, and the first day is 1."""
    return {
        "days": round(month.days, 4),
        **asdict(_sums(month.served)),
        "engines": {name: asdict(_of_engine(month, name)) for name in month.asked},
        "reasons": Counter(each.reason for each in month.served),
        **_ending_as_json(month.ending),
        "happenings": [
            {"day": round(1 + each.at / DAY_SECONDS, 4), "subject": each.subject.value, "words": each.words}
            for each in month.happenings
        ],
    }


def print_month(month: Month) -> None:
    """A month as a timeline, sums, and what came of the rollout or the experiment."""
    out.print(_timeline(month.happenings))
    out.print(_sums_table(month))
    out.print(_engines(month))
    match month.ending:
        case RolloutState() as state:
            say(f"Rollout: {_phase(state)}, {state.percentage:g} % of people.", style="bold")
        case Analysis() as analysis:
            print_analysis(analysis)


def _sums(served: Sequence[Served]) -> _Sums:
    by_day: dict[int, float] = defaultdict(float)
    for each in served:
        by_day[_day(each.at)] += each.cost_usd
    return _Sums(
        questions=len(served),
        unanswered=sum(not each.answered_by for each in served),
        stood_in=sum(each.answered_by not in ("", each.engine) and not each.second_opinion for each in served),
        second_opinions=sum(each.second_opinion for each in served),
        refused_for_money=sum(not each.engine and each.reason == Reason.BUDGET_EXHAUSTED for each in served),
        answered_for_nothing=sum(each.free and each.answered_by != "" for each in served),
        cost_usd=round(sum(by_day.values()), 6),
        dearest_day_usd=round(max(by_day.values(), default=0.0), 6),
    )


def _of_engine(month: Month, name: str) -> _EngineSums:
    shown = [each for each in month.served if each.answered_by == name]
    qualities = [each.quality for each in shown if each.quality is not None]
    seconds = sorted(each.seconds for each in shown)
    return _EngineSums(
        asked=month.asked[name],
        failed=month.failed[name],
        answers=len(shown),
        quality=round(fmean(qualities), 4) if qualities else None,
        p95_seconds=round(seconds[ceil(0.95 * len(seconds)) - 1], 3) if seconds else None,
    )


def _ending_as_json(ending: RolloutState | Analysis) -> dict[str, object]:
    if isinstance(ending, Analysis):
        return {"experiment": analysis_as_json(ending)}
    return {"rollout": {"phase": ending.phase.value, "stage": ending.stage + 1, "percentage": ending.percentage}}


def _timeline(happenings: Iterable[Happening]) -> Table:
    """A row for everything; one for all that happened on the same day and differ in nothing but numbers."""
    alike: dict[tuple[int, str], list[Happening]] = defaultdict(list)
    for each in happenings:
        words = each.words if each.subject is Subject.EXPERIMENT else _NUMBER.sub("", each.words)
        alike[_day(each.at), words].append(each)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    shown = 0
    for (day, _), them in alike.items():
        first, often = them[0], f" ({len(them)} times until {_time(them[-1])})" if len(them) > 1 else ""
        begin = f"day {day}" if day != shown else ""
        table.add_row(begin, _time(first), first.subject.value, Text(printable(first.words + often)))
        shown = day
    return table


def _sums_table(month: Month) -> Table:
    sums = _sums(month.served)
    rows = {
        "days": f"{month.days:.1f}",
        "questions": f"{sums.questions:,}",
        "  without an answer": f"{sums.unanswered:,}",
        "  refused for want of money": f"{sums.refused_for_money:,}",
        "  answered for nothing": f"{sums.answered_for_nothing:,}",
        "  answered by the other engine after a failure": f"{sums.stood_in:,}",
        "  with a second opinion": f"{sums.second_opinions:,}",
        "cost": f"${sums.cost_usd:.4f}",
        "  of the dearest day": f"${sums.dearest_day_usd:.4f}",
    }
    table = Table(box=None, show_header=False)
    for what, value in rows.items():
        table.add_row(what, value)
    return table


def _engines(month: Month) -> Table:
    table = Table("engine", "asked", "failed", "answers", "quality", "95 % within", box=None, header_style="bold")
    for name in month.asked:
        sums = _of_engine(month, name)
        quality = "-" if sums.quality is None else f"{sums.quality:.2f}"
        within = "-" if sums.p95_seconds is None else f"{sums.p95_seconds:.1f} s"
        table.add_row(name, f"{sums.asked:,}", f"{sums.failed:,}", f"{sums.answers:,}", quality, within)
    return table


def _day(at: float) -> int:
    return 1 + int(at // DAY_SECONDS)


def _time(happening: Happening) -> str:
    minutes = int(happening.at % DAY_SECONDS // 60)
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _phase(state: RolloutState) -> str:
    return state.phase.replace("_", " ")
