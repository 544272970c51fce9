"""`cmo costs`: what was spent, on what, and what may still be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

import typer
from rich.progress_bar import ProgressBar
from rich.table import Table

from cmo.cli.options import JsonOption, PapersOption, StorageOption, settings_for
from cmo.cli.output import fail, out, print_csv, print_json, printable, say
from cmo.cli.records import from_records
from cmo.errors import OracleError
from cmo.policy.budget import MICRODOLLARS, BudgetScope, Limits, Scope, dollars, periods_of
from cmo.policy.costs import CostFigures, CostGroup, CostRow, advice
from cmo.settings import Settings
from cmo.storage.budget import SqlBudget
from cmo.storage.costs import CostSpan, SqlCosts
from cmo.storage.database import Database

DAYS_SHOWN = 30
"""How far back the costs go that are shown without --since, today included."""

_BAR_WIDTH = 40
_NAMELESS = "(none)"

_BUDGETS = {Scope.DAY: "Today", Scope.MONTH: "This month", Scope.USER_DAY: "This person today"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """A clock that stands still for the length of a command, so that all its figures are of one moment."""

    moment: datetime

    def now(self) -> datetime:
        return self.moment


@dataclass(frozen=True, slots=True, kw_only=True)
class CostReport:
    """What the command shows."""

    by: CostGroup
    span: CostSpan
    rows: tuple[CostRow, ...]
    figures: CostFigures
    advice: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing was booked at all."""
        return not self.rows


def costs(
    by: Annotated[CostGroup, typer.Option("--by", help="What the costs are broken down by.")] = CostGroup.DAY,
    since: Annotated[
        datetime | None,
        typer.Option("--since", formats=["%Y-%m-%d"], metavar="DATE", help="First day (UTC).", show_default="30 days"),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option("--until", formats=["%Y-%m-%d"], metavar="DATE", help="Last day (UTC).", show_default="today"),
    ] = None,
    user: Annotated[str | None, typer.Option("--user", metavar="ID", help="Only what this person spent.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the rows as CSV and nothing else on stdout.")] = False,
    papers: PapersOption = None,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what was spent, and what may still be.

    Costs are broken down by day, engine, model, user or stage; then come the budgets, and what the figures suggest.
    """
    if as_csv and as_json:
        raise typer.BadParameter("Give --csv or --json, not both.")
    now = datetime.now(UTC)
    span = _span(since, until, user, today=now.date())
    try:
        report = _report(settings_for(papers=papers, storage=storage), by, span, now)
    except OracleError as error:
        fail(str(error), as_json=as_json)
    if as_json:
        print_json(report_as_json(report))
    elif as_csv:
        _print_csv(report)
    else:
        _print(report)


def _span(since: datetime | None, until: datetime | None, user: str | None, *, today: date) -> CostSpan:
    last = until.date() if until else today
    first = since.date() if since else last - timedelta(days=DAYS_SHOWN - 1)
    if first > last:
        raise typer.BadParameter(f"--since {first} is after --until {last}.")
    return CostSpan(since=first, until=last, user_id=user)


def _report(settings: Settings, by: CostGroup, span: CostSpan, now: datetime) -> CostReport:
    limits = Limits(
        daily_usd=settings.daily_budget_usd,
        monthly_usd=settings.monthly_budget_usd,
        user_daily_usd=settings.user_daily_budget_usd,
    )
    found = from_records(settings, lambda database: _read(database, settings, limits, by, span, now))
    rows, figures = found or ((), _nothing_yet(limits, span, now))
    return CostReport(by=by, span=span, rows=rows, figures=figures, advice=advice(figures, now))


async def _read(
    database: Database, settings: Settings, limits: Limits, by: CostGroup, span: CostSpan, now: datetime
) -> tuple[tuple[CostRow, ...], CostFigures]:
    sums = SqlCosts(database)
    budget = SqlBudget(database, limits, clock=_Moment(moment=now), alert_share=settings.cost_alert_threshold)
    figures = CostFigures(
        total=await sums.total(span),
        stages=await sums.rows(CostGroup.STAGE, span),
        models=await sums.rows(CostGroup.MODEL, span),
        budgets=await budget.status(span.user_id),
    )
    return await sums.rows(by, span), figures


def _nothing_yet(limits: Limits, span: CostSpan, now: datetime) -> CostFigures:
    """The figures as long as no question has made the database; looking must not make it."""
    budgets = [
        BudgetScope(period=period, limit=limits.microdollars(period.scope), spent=0, reserved=0)
        for period in periods_of(now, span.user_id)
    ]
    return CostFigures(total=CostRow(key="total"), stages=(), models=(), budgets=budgets)


def report_as_json(report: CostReport) -> dict[str, object]:
    """The report as `cmo costs --json` prints it."""
    return {
        "by": report.by.value,
        "since": str(report.span.since),
        "until": str(report.span.until),
        "user": report.span.user_id,
        "rows": [{report.by.value: row.key, **_row_as_json(row)} for row in report.rows],
        "total": _row_as_json(report.figures.total),
        "budgets": [_budget_as_json(budget) for budget in report.figures.budgets],
        "advice": list(report.advice),
    }


def _row_as_json(row: CostRow) -> dict[str, object]:
    return {
        "questions": row.questions,
        "answers": row.answers,
        "cached": row.cached,
        "calls": row.calls,
        "tokens_in": row.tokens_in,
        "tokens_cached": row.tokens_cached,
        "tokens_out": row.tokens_out,
        "cost_usd": row.cost / MICRODOLLARS,
        "wasted_usd": row.wasted / MICRODOLLARS,
        "estimated_usd": row.estimated / MICRODOLLARS,
        "per_answer_usd": None if row.per_answer is None else row.per_answer / MICRODOLLARS,
    }


def _budget_as_json(budget: BudgetScope) -> dict[str, object]:
    return {
        "scope": budget.period.scope.value,
        "limit_usd": budget.limit_usd,
        "spent_usd": budget.spent_usd,
        "reserved_usd": budget.reserved_usd,
        "resets_at": budget.period.resets_at.isoformat(),
    }


def _print_csv(report: CostReport) -> None:
    """The rows as CSV, money in dollars with six decimals, so that a sum of them is exact."""
    header = [report.by.value, *_row_as_json(CostRow(key=""))]
    print_csv([header, *([row.key, *map(_cell, _row_as_json(row).values())] for row in report.rows)])


def _cell(value: object) -> object:
    return f"{value:.6f}" if isinstance(value, float) else value


def _print(report: CostReport) -> None:
    span = f"{report.span.since} to {report.span.until}"
    if report.is_empty:
        say(f"The ledger is empty for {span}: no question was asked, and no model was called.")
    else:
        say(f"Costs by {report.by.value}, {span} (UTC)", style="bold")
        out.print(_table(report))
        out.print(_chart(report.rows))
    for budget in report.figures.budgets:
        say(_budget_line(budget))
    for sentence in report.advice:
        say(sentence, style="yellow")


def _table(report: CostReport) -> Table:
    table = Table(box=None, header_style="bold", show_footer=True, collapse_padding=True, pad_edge=False)
    table.add_column(report.by.value, "total", overflow="fold", min_width=10)
    for name, sum_of_all in zip(_COLUMNS, _cells(report.figures.total), strict=True):
        table.add_column(name, sum_of_all, justify="right", no_wrap=True)
    for row in report.rows:
        table.add_row(_label(row), *_cells(row))
    return table


_COLUMNS = ("asked", "answered", "calls", "tokens in", "out", "cost", "wasted", "an answer")


def _cells(row: CostRow) -> Iterable[str]:
    counts = (row.questions, row.answers, row.calls, row.tokens_in, row.tokens_out)
    per_answer = "" if row.per_answer is None else _short(row.per_answer)
    return (*(f"{count:,}" for count in counts), _short(row.cost), _short(row.wasted), per_answer)


def _short(amount: int) -> str:
    """Money in a table; --json and --csv have it to the last digit."""
    return f"${amount / MICRODOLLARS:,.4f}"


def _chart(rows: Sequence[CostRow]) -> Table:
    """A bar for what each row cost."""
    chart = Table.grid(padding=(0, 1))
    dearest = max(row.cost for row in rows)
    for row in rows if dearest else ():
        bar = ProgressBar(total=dearest, completed=row.cost, width=_BAR_WIDTH)
        chart.add_row(_label(row), bar, _short(row.cost))
    return chart


def _label(row: CostRow) -> str:
    return printable(row.key) or _NAMELESS


def _budget_line(budget: BudgetScope) -> str:
    name = _BUDGETS[budget.period.scope]
    if budget.limit is None:
        return f"{name}: {dollars(budget.spent)} spent, no limit."
    reserved = f", {dollars(budget.reserved)} set aside for questions under way" if budget.reserved else ""
    return (
        f"{name}: {dollars(budget.spent)} of {dollars(budget.limit)} spent{reserved}; "
        f"starts anew on {budget.period.resets_at:%Y-%m-%d at %H:%M} UTC."
    )
