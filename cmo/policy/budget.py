"""What may be spent: limits, the periods they hold for, what stands in an amount's way, and when to raise an alert.

Pure: the time is an argument, and what was spent comes from whoever keeps the books. Amounts are whole microdollars,
so that sums are exact; all periods are days and calendar months in UTC.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from cmo.phrases import Phrase, joined

MICRODOLLARS = 1_000_000
"""Millionths of a dollar in one."""

_CENT = MICRODOLLARS // 100


class Scope(StrEnum):
    """What a limit is for."""

    DAY = "day"
    MONTH = "month"
    USER_DAY = "user_day"


class AlertLevel(StrEnum):
    """How much of a budget is gone: a set share of it, or so much that questions are refused."""

    NEAR = "near"
    SPENT = "spent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may be spent at most, in US dollars: by all in a day and in a month, by one person in a day. None: no limit.

    A limit of 0 forbids whatever costs anything.
    """

    daily_usd: float | None = None
    monthly_usd: float | None = None
    user_daily_usd: float | None = None

    def microdollars(self, scope: Scope) -> int | None:
        """The limit of one scope."""
        usd = {Scope.DAY: self.daily_usd, Scope.MONTH: self.monthly_usd, Scope.USER_DAY: self.user_daily_usd}[scope]
        return None if usd is None else microdollars(usd)

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return any(self.microdollars(scope) is not None for scope in Scope)


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """The time for which a budget holds, [starts_at, resets_at). `subject` is whose it is, "" for all people's."""

    scope: Scope
    subject: str
    starts_at: datetime
    resets_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetScope:
    """How one budget stands, in microdollars. `reserved` is set aside for calls under way; `limit` None is no limit."""

    period: Period
    limit: int | None
    spent: int
    reserved: int

    @property
    def left(self) -> int | None:
        """What may still be spent, None without a limit."""
        return None if self.limit is None else max(0, self.limit - self.spent - self.reserved)

    @property
    def limit_usd(self) -> float | None:
        """The limit in US dollars."""
        return None if self.limit is None else self.limit / MICRODOLLARS

    @property
    def spent_usd(self) -> float:
        """What is spent, in US dollars."""
        return self.spent / MICRODOLLARS

    @property
    def reserved_usd(self) -> float:
        """What is set aside, in US dollars."""
        return self.reserved / MICRODOLLARS


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetAlert:
    """A budget has come to a level; raised once for each period, level and limit."""

    level: AlertLevel
    budget: BudgetScope


def microdollars(usd: float) -> int:
    """An amount in the nearest whole microdollars.

    Raises:
        ValueError: it is negative or no number.
    """
    return round(_amount(usd) * MICRODOLLARS)


def microdollars_at_most(usd: float) -> int:
    """The least whole microdollars that an amount does not exceed.

    Raises:
        ValueError: it is negative or no number.
    """
    # 0.07 dollars are 70000.00000000001 microdollars in floating point.
    return math.ceil(round(_amount(usd) * MICRODOLLARS, 3))


def periods_of(moment: datetime, user_id: str | None = None) -> tuple[Period, ...]:
    """The day and the month a moment belongs to; the day of that person as well when one is named."""
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    next_day = day + timedelta(days=1)
    month = day.replace(day=1)
    next_month = (month + timedelta(days=31)).replace(day=1)
    for_all = (
        Period(scope=Scope.DAY, subject="", starts_at=day, resets_at=next_day),
        Period(scope=Scope.MONTH, subject="", starts_at=month, resets_at=next_month),
    )
    if user_id is None:
        return for_all
    return (*for_all, Period(scope=Scope.USER_DAY, subject=user_id, starts_at=day, resets_at=next_day))


def obstacle(budgets: Sequence[BudgetScope], amount: int) -> BudgetScope | None:
    """The budget in the way of an amount; of several the one that starts anew last, since waiting is for that one."""
    in_the_way = [budget for budget in budgets if budget.left is not None and amount > budget.left]
    return max(in_the_way, key=lambda budget: budget.period.resets_at, default=None)


def left(budgets: Sequence[BudgetScope]) -> int | None:
    """What may still be spent under all of them, None without a limit."""
    return min((budget.left for budget in budgets if budget.left is not None), default=None)


def refusal(budget: BudgetScope, amount: int) -> str:
    """Why an amount may not be spent, for the person who asked."""
    assert budget.limit is not None
    facts = {
        "budget": _NAMES[budget.period.scope],
        "limit": dollars(budget.limit),
        "most": dollars(amount),
        "spent": dollars(budget.spent),
    }
    why = (
        Phrase(
            "{budget} of {limit} does not allow this question, which could cost up to {most}: {spent} is spent and "
            "{reserved} is set aside for questions under way.",
            reserved=dollars(budget.reserved),
            **facts,
        )
        if budget.reserved
        else Phrase(
            "{budget} of {limit} does not allow this question, which could cost up to {most}: {spent} is spent.",
            **facts,
        )
    )
    anew = budget.period.resets_at
    return joined((why, Phrase("It starts anew on {day} at {time} UTC.", day=f"{anew:%Y-%m-%d}", time=f"{anew:%H:%M}")))


def levels_reached(budget: BudgetScope, alert_share: float, *, refused: int = 0) -> tuple[AlertLevel, ...]:
    """The levels a budget has come to. `alert_share`, 0 to 1, is where the first one lies.

    `refused` is an amount it has just stood in the way of. Since every call is checked beforehand, a budget is seldom
    spent to the last cent: it counts as spent, too, when what is left of it beyond that share was too little.
    """
    if not budget.limit or not budget.spent or budget.spent < round(budget.limit * alert_share):
        return ()
    if budget.spent + max(refused, 1) > budget.limit:
        return (AlertLevel.NEAR, AlertLevel.SPENT)
    return (AlertLevel.NEAR,)


def dollars(amount: int) -> str:
    """Microdollars as text, in cents where they are whole cents."""
    if amount % _CENT == 0:
        return f"${amount / MICRODOLLARS:,.2f}"
    return f"${amount / MICRODOLLARS:,.6f}".rstrip("0")


_NAMES = {
    Scope.DAY: Phrase("The daily budget"),
    Scope.MONTH: Phrase("The monthly budget"),
    Scope.USER_DAY: Phrase("Your daily budget"),
}


def _amount(usd: float) -> float:
    if not 0 <= usd < math.inf:
        raise ValueError(f"{usd} is no amount of money")
    return usd
