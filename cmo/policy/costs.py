"""What was spent, summed up, and what follows from it. Pure: the sums come from the ledger, the time is an argument.

Amounts are whole microdollars. It refuses to guess: a piece of advice is given only when the figures show it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from cmo.policy.budget import BudgetScope, Scope, dollars
from cmo.pricing import retires_on
from cmo.values import CallStage

WORTH_TELLING = 0.1
"""Share of the cost from which on a loss is worth a sentence."""

MAIN_PART = 0.5
"""Share of the cost from which on one stage is what the money goes to."""

RETIREMENT_DAYS = 60
"""How long before its end a model is warned of."""


class CostGroup(StrEnum):
    """What costs can be broken down by."""

    DAY = "day"
    ENGINE = "engine"
    MODEL = "model"
    USER = "user"
    STAGE = "stage"


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRow:
    """The sums of one day, engine, model, user or stage, which `key` names; "" is what has none.

    `questions` are those asked, `answers` those of them that were answered, `cached` those of the answers that had been
    given before. `cost` is what all `calls` to models took. Of it, `asking` was for questions and not for indexing,
    `wasted` for calls that failed or were stopped, and `estimated` is our own count, for servers that did not tell.
    """

    key: str
    questions: int = 0
    answers: int = 0
    cached: int = 0
    calls: int = 0
    tokens_in: int = 0
    tokens_cached: int = 0
    tokens_out: int = 0
    cost: int = 0
    asking: int = 0
    wasted: int = 0
    estimated: int = 0

    @property
    def per_answer(self) -> int | None:
        """What an answer took on average, failed attempts included; None without answers."""
        return round(self.asking / self.answers) if self.answers else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CostFigures:
    """Everything that advice on costs goes by."""

    total: CostRow
    stages: Sequence[CostRow]
    models: Sequence[CostRow]
    budgets: Sequence[BudgetScope]


def advice(figures: CostFigures, now: datetime) -> tuple[str, ...]:
    """What the figures suggest to do or to know, as sentences; often nothing."""
    return tuple(sentence for rule in _RULES for sentence in rule(figures, now))


def _waste(figures: CostFigures, now: datetime) -> list[str]:
    total = figures.total
    if not total.wasted or total.wasted < WORTH_TELLING * total.cost:
        return []
    return [
        f"{_share(total.wasted, total.cost)} of the cost, {dollars(total.wasted)}, went into calls that failed or were "
        "stopped. `cmo doctor` says whether an engine is ill."
    ]


def _estimates(figures: CostFigures, now: datetime) -> list[str]:
    total = figures.total
    if not total.estimated or total.estimated < WORTH_TELLING * total.cost:
        return []
    return [
        f"{_share(total.estimated, total.cost)} of the cost, {dollars(total.estimated)}, is an estimate, because the "
        "server did not tell what the call took. Compare it with the provider's bill."
    ]


def _extraction(figures: CostFigures, now: datetime) -> list[str]:
    spent = sum(row.cost for row in figures.stages if row.key == CallStage.EXTRACT)
    if not spent or spent < MAIN_PART * figures.total.cost:
        return []
    return [
        f"{_share(spent, figures.total.cost)} of the cost, {dollars(spent)}, went into finding entities in papers. "
        "LIGHTRAG_EXTRACTION=dictionary does that for nothing."
    ]


def _cache(figures: CostFigures, now: datetime) -> list[str]:
    total = figures.total
    made = total.answers - total.cached
    if not total.cached or not made or not total.asking:
        return []
    saved = round(total.asking / made * total.cached)
    return [
        f"{total.cached} of {total.answers} answers had been given before and cost nothing, which saved about "
        f"{dollars(saved)} at the average of the others."
    ]


def _pace(figures: CostFigures, now: datetime) -> list[str]:
    """Whether the month's budget will not last, once a day of it has passed."""
    budget = next((budget for budget in figures.budgets if budget.period.scope is Scope.MONTH), None)
    if budget is None or not budget.limit or budget.spent >= budget.limit:
        return []
    period = budget.period
    passed, whole = now - period.starts_at, period.resets_at - period.starts_at
    if passed < timedelta(days=1) or budget.spent / budget.limit <= passed / whole:
        return []
    ends_at = period.starts_at + passed * (budget.limit / budget.spent)
    return [f"At this month's pace its budget of {dollars(budget.limit)} is spent on {ends_at:%Y-%m-%d}."]


def _no_limit(figures: CostFigures, now: datetime) -> list[str]:
    if not figures.total.cost or any(budget.limit is not None for budget in figures.budgets):
        return []
    return ["Nothing limits what is spent: LIGHTRAG_DAILY_BUDGET and LIGHTRAG_MONTHLY_BUDGET would."]


def _retirements(figures: CostFigures, now: datetime) -> list[str]:
    days = {row.key: retires_on(row.key) for row in figures.models if row.calls}
    return [_farewell(model, day, now.date()) for model, day in days.items() if day and _is_near(day, now.date())]


def _is_near(day: date, today: date) -> bool:
    return (day - today).days < RETIREMENT_DAYS


def _farewell(model: str, day: date, today: date) -> str:
    is_gone = day <= today
    return f"The model {model} {'left' if is_gone else 'leaves'} its provider's API on {day}: set another one."


_RULES: tuple[Callable[[CostFigures, datetime], list[str]], ...] = (
    _no_limit,
    _pace,
    _waste,
    _estimates,
    _extraction,
    _cache,
    _retirements,
)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}"
