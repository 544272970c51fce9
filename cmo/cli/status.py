"""`cmo status`: how the engines, their breakers and the budgets stand, and how answers were received."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.table import Table
from rich.text import Text

from cmo.bootstrap.answering import Application
from cmo.cli.options import JsonOption, PapersOption, StorageOption, settings_for
from cmo.cli.output import errors_as_sentences, out, print_json, printable, say
from cmo.cli.session import open_session
from cmo.dispatch.breakers import BreakerView, QualityView
from cmo.policy.breaker import LETTING_PASS, BreakerState
from cmo.policy.budget import BudgetScope
from cmo.policy.satisfaction import Satisfaction

DAYS_SUMMED = 30
"""How far back answers count for how they were received."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """One engine: whether it can be asked, and how its recent calls went."""

    name: str
    available: bool
    breaker: BreakerView


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What the command shows."""

    engines: tuple[EngineStatus, ...]
    received: tuple[Satisfaction, ...]
    budgets: tuple[BudgetScope, ...]


def status(papers: PapersOption = None, storage: StorageOption = None, as_json: JsonOption = False) -> None:
    """Show engines, circuit breakers and budgets as they stand now.

    With the mean quality of each engine's answers in the last 30 days, and what people thought of them.
    """
    with (
        errors_as_sentences(as_json=as_json),
        open_session(settings_for(papers=papers, storage=storage)) as session,
    ):
        seen = session.run(_look(session.application))
    if as_json:
        print_json(
            {
                "engines": [*map(_engine_as_json, seen.engines)],
                "received": [*map(_received_as_json, seen.received)],
                "budgets": [*map(_budget_as_json, seen.budgets)],
            }
        )
    else:
        _print(seen)


async def _look(application: Application) -> _Seen:
    views = {view.engine: view for view in application.breakers.views()}
    engines = [
        EngineStatus(name=engine.name, available=await engine.is_available(), breaker=views[engine.name])
        for engine in application.engines
    ]
    since = datetime.now(UTC) - timedelta(days=DAYS_SUMMED)
    return _Seen(
        engines=tuple(engines),
        received=await application.feedback.satisfaction(since),
        budgets=await application.budget.status(),
    )


def _print(seen: _Seen) -> None:
    table = Table("engine", "ready", "breaker", "calls", "failed", "slow", "quality", box=None, header_style="bold")
    for one in seen.engines:
        view = one.breaker
        table.add_row(
            printable(one.name),
            "yes" if one.available else "no",
            Text(_state(view), style="green" if view.state in LETTING_PASS else "bold red"),
            str(view.calls),
            str(view.failed),
            str(view.slow),
            Text(_quality(view.quality), style="" if view.quality.state in LETTING_PASS else "bold red"),
        )
    out.print(table)
    for received in seen.received:
        say(_received(received))
    for budget in seen.budgets:
        limit = ", no limit" if budget.limit_usd is None else f" of ${budget.limit_usd:.2f}"
        say(
            f"{budget.period.scope.value}: ${budget.spent_usd:.4f} spent{limit}, "
            f"${budget.reserved_usd:.4f} set aside; starts anew {budget.period.resets_at:%Y-%m-%d %H:%M} UTC"
        )


def _state(view: BreakerView) -> str:
    why_not = "it only measures" if view.state is BreakerState.METRICS_ONLY else "nobody else could answer"
    held = f" (would open, but {why_not})" if view.held else ""
    return f"{view.state.value}{held}{_again(view.next_try)}"


def _quality(view: QualityView) -> str:
    mean = "-" if view.mean is None else f"{view.mean:.2f}"
    return mean if view.state is BreakerState.CLOSED else f"{mean} ({view.state.value}{_again(view.next_try)})"


def _received(of: Satisfaction) -> str:
    quality = "-" if of.mean_quality is None else f"{of.mean_quality:.2f}"
    thumbs = f"{of.ups} of {of.ups + of.downs}"
    if of.share is not None and of.interval is not None:
        low, high = of.interval
        thumbs += f" ({of.share:.0%}, 95% interval {low:.0%} to {high:.0%})"
    return (
        f"{of.engine}, last {DAYS_SUMMED} days: answers: {of.answers}, mean quality: {quality} "
        f"(assessed: {of.assessed}, not assessed: {of.not_assessed}), thumbs up: {thumbs}"
    )


def _again(next_try: datetime | None) -> str:
    return f", next try {next_try:%H:%M:%S} UTC" if next_try else ""


def _engine_as_json(one: EngineStatus) -> dict[str, Any]:
    return {"name": one.name, "available": one.available, "breaker": _plain(asdict(one.breaker))}


def _received_as_json(of: Satisfaction) -> dict[str, Any]:
    return {"days": DAYS_SUMMED, **asdict(of), "share": of.share, "interval": of.interval}


def _budget_as_json(budget: BudgetScope) -> dict[str, Any]:
    return {
        "scope": budget.period.scope.value,
        "limit_usd": budget.limit_usd,
        "spent_usd": budget.spent_usd,
        "reserved_usd": budget.reserved_usd,
        "resets_at": budget.period.resets_at.isoformat(),
    }


def _plain(value: Any) -> Any:
    """The value with times as text, for JSON."""
    match value:
        case dict():
            return {key: _plain(inner) for key, inner in value.items()}
        case datetime():
            return value.isoformat()
        case _:
            return value
