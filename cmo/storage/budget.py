"""The budget in the application's database: set aside before a call, booked after it.

What is set aside counts as spent until its call is over, and both are looked at and changed in one transaction, so that
calls made at once, also in several processes, cannot spend more together than there is. Which limit stands in the way
is decided by cmo/policy/budget.py; this module refuses to know what the calls are.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from cmo.errors import BudgetExhausted, StorageUnavailable
from cmo.interfaces import Clock
from cmo.logs import fields
from cmo.phrases import Phrase
from cmo.policy.budget import (
    MICRODOLLARS,
    BudgetAlert,
    BudgetScope,
    Limits,
    Period,
    left,
    levels_reached,
    microdollars,
    microdollars_at_most,
    obstacle,
    periods_of,
    refusal,
)
from cmo.storage.columns import UtcTime
from cmo.storage.database import Database, as_unavailable

EXPIRES_SECONDS = 1_200.0
"""Twice the longest time an answer may be given to come about; who still holds a reservation then has died."""

_UNUSABLE = Phrase(
    "The budget in the database cannot be read or written, so nothing that costs money is asked: "
    "check its disk and its permissions."
)

_log = logging.getLogger(__name__)
T = TypeVar("T")

_metadata = sa.MetaData()

_spent = sa.Table(
    "budget_spent",
    _metadata,
    sa.Column("scope", sa.String, primary_key=True),
    sa.Column("subject", sa.String, primary_key=True),
    sa.Column("starts_on", sa.Date, primary_key=True),
    sa.Column("spent_microdollars", sa.BigInteger, nullable=False),
)

_reservations = sa.Table(
    "budget_reservations",
    _metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("user_id", sa.String, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("microdollars", sa.BigInteger, nullable=False),
)

_alerts = sa.Table(
    "budget_alerts",
    _metadata,
    sa.Column("scope", sa.String, primary_key=True),
    sa.Column("subject", sa.String, primary_key=True),
    sa.Column("starts_on", sa.Date, primary_key=True),
    sa.Column("limit_microdollars", sa.BigInteger, primary_key=True),
    sa.Column("level", sa.String, primary_key=True),
)

_booking = sqlite.insert(_spent)
_BOOK = _booking.on_conflict_do_update(
    index_elements=_spent.primary_key.columns,
    set_={"spent_microdollars": _spent.c.spent_microdollars + _booking.excluded.spent_microdollars},
)
_FIGURES = sa.text(
    """
    SELECT
        (SELECT coalesce(sum(spent_microdollars), 0) FROM budget_spent
         WHERE scope = :scope AND subject = :subject AND starts_on = :starts_on),
        (SELECT coalesce(sum(microdollars), 0) FROM budget_reservations
         WHERE at >= :starts_at AND at < :resets_at AND :subject IN ('', user_id))
    """
).bindparams(
    sa.bindparam("starts_on", type_=sa.Date),
    sa.bindparam("starts_at", type_=UtcTime),
    sa.bindparam("resets_at", type_=UtcTime),
)
"""What is spent and what is reserved in one period."""
_RAISE = sqlite.insert(_alerts).on_conflict_do_nothing()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Money set aside for one question, in microdollars. What it comes to counts in the periods of `at`."""

    id: str
    user_id: str
    at: datetime
    amount: int


class SqlBudget:
    """What may still be spent. Built once per process; any number of processes may share a database.

    A reservation has to be settled or released exactly once; doing so again does nothing. One that is older than
    `expires_seconds` belongs to a process that died: it is booked as spent in full, because what its call really cost
    is not known, and that it cost nothing would be the dangerous guess.

    `alert_share` of a limit, and all of it, raise a `BudgetAlert` once for each period: it is logged, and handed to
    `on_alert` after it was stored.

    Raises (every method):
        StorageUnavailable: the database cannot be read or written. Nothing that costs money may be asked then.
    """

    def __init__(
        self,
        database: Database,
        limits: Limits,
        *,
        clock: Clock,
        alert_share: float,
        on_alert: Callable[[BudgetAlert], None] | None = None,
        expires_seconds: float = EXPIRES_SECONDS,
    ) -> None:
        self._database = database
        self._limits = limits
        self._clock = clock
        self._alert_share = alert_share
        self._on_alert = on_alert
        self._expires = timedelta(seconds=expires_seconds)
        self._not_stored: set[str] = set()
        self._under_way: set[asyncio.Task[Any]] = set()

    async def reserve(self, user_id: str, amount_usd: float) -> Reservation:
        """Set aside what a question can cost at most. Without any limit, and for 0, nothing needs to be stored.

        Raises:
            BudgetExhausted: it could exceed a limit; the message says which, what is spent and when it starts anew.
        """
        reservation = Reservation(
            id=uuid.uuid4().hex, user_id=user_id, at=self._clock.now(), amount=microdollars_at_most(amount_usd)
        )
        if reservation.amount == 0 or not self._limits.any:
            self._not_stored.add(reservation.id)
            return reservation
        reserving = self._start(self._reserve(reservation))
        try:
            await asyncio.shield(reserving)
        except asyncio.CancelledError:
            self._start(self._release_after(reserving, reservation))
            raise
        return reservation

    async def settle(self, reservation: Reservation, cost_usd: float) -> None:
        """Book what it really cost, be that more than was set aside. It is carried out even if the caller is cancelled.

        Raises:
            ValueError: the cost is negative or no number.
        """
        await asyncio.shield(self._start(self._settle(reservation, microdollars(cost_usd))))

    async def release(self, reservation: Reservation) -> None:
        """Give back what was set aside: it cost nothing. It is carried out even if the caller is cancelled."""
        await asyncio.shield(self._start(self._settle(reservation, 0)))

    async def left_usd(self, user_id: str) -> float | None:
        """What this person may still spend, None without any limit."""
        if not self._limits.any:
            return None
        amount = left(await self.status(user_id))
        return None if amount is None else amount / MICRODOLLARS

    async def status(self, user_id: str | None = None) -> tuple[BudgetScope, ...]:
        """How the budgets of today and this month stand, and that of one person when they are named."""
        periods = periods_of(self._clock.now(), user_id)
        with as_unavailable(_UNUSABLE):
            return await self._database.look(partial(self._budgets, periods=periods))

    async def close(self) -> None:
        """Wait for bookings under way. The database may be closed after that."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Work that goes on when nobody waits for it any more: what it did has to be known and told."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def _reserve(self, reservation: Reservation) -> None:
        with as_unavailable(_UNUSABLE):
            in_the_way, alerts = await self._database.book(partial(self._set_aside, reservation))
        self._tell(alerts)
        if in_the_way:
            raise BudgetExhausted(refusal(in_the_way, reservation.amount))

    async def _settle(self, reservation: Reservation, cost: int) -> None:
        stored = reservation.id not in self._not_stored
        self._not_stored.discard(reservation.id)
        if stored or cost:
            with as_unavailable(_UNUSABLE):
                alerts = await self._database.book(partial(self._take_down, reservation, cost, stored=stored))
            self._tell(alerts)

    async def _release_after(self, reserving: asyncio.Task[None], reservation: Reservation) -> None:
        """Give back what was set aside for somebody who had left before they got it."""
        await asyncio.wait((reserving,))
        if reserving.exception() is None:
            try:
                await self._settle(reservation, 0)
            except StorageUnavailable:
                _log.warning("budget_release_failed", exc_info=True)

    def _set_aside(
        self, reservation: Reservation, connection: sa.Connection
    ) -> tuple[BudgetScope | None, list[BudgetAlert]]:
        """What stands in the way of a reservation, and the alerts that raises; when nothing does, it is stored."""
        self._book_the_dead(reservation.at, connection)
        budgets = self._budgets(connection, periods_of(reservation.at, reservation.user_id))
        in_the_way = obstacle(budgets, reservation.amount)
        if in_the_way:
            return in_the_way, self._raise(connection, (in_the_way,), refused=reservation.amount)
        row = {"id": reservation.id, "user_id": reservation.user_id, "at": reservation.at}
        connection.execute(sa.insert(_reservations), {**row, "microdollars": reservation.amount})
        return None, []

    def _take_down(
        self, reservation: Reservation, cost: int, connection: sa.Connection, *, stored: bool
    ) -> list[BudgetAlert]:
        """Book a cost in place of its reservation, unless that was done before; the alerts it raises."""
        if stored and not _take_out(connection, reservation):
            return []
        periods = periods_of(reservation.at, reservation.user_id)
        _book(connection, periods, cost)
        return self._raise(connection, self._budgets(connection, periods)) if cost and self._limits.any else []

    def _book_the_dead(self, now: datetime, connection: sa.Connection) -> None:
        too_old = _reservations.c.at < now - self._expires
        dead = connection.execute(sa.delete(_reservations).where(too_old).returning(_reservations)).all()
        for row in dead:
            _book(connection, periods_of(row.at, row.user_id), row.microdollars)
        if dead:
            usd = sum(row.microdollars for row in dead) / MICRODOLLARS
            _log.warning("budget_reservations_expired", extra=fields(reservations=len(dead), booked_usd=usd))

    def _budgets(self, connection: sa.Connection, periods: Sequence[Period]) -> tuple[BudgetScope, ...]:
        return tuple(self._budget(connection, period) for period in periods)

    def _budget(self, connection: sa.Connection, period: Period) -> BudgetScope:
        times = {"starts_at": period.starts_at, "resets_at": period.resets_at}
        spent, reserved = connection.execute(_FIGURES, {**_key(period), **times}).one()
        return BudgetScope(period=period, limit=self._limits.microdollars(period.scope), spent=spent, reserved=reserved)

    def _raise(
        self, connection: sa.Connection, budgets: Iterable[BudgetScope], *, refused: int = 0
    ) -> list[BudgetAlert]:
        """The alerts that are due and were not raised before; from here on they count as raised."""
        due = [
            BudgetAlert(level=level, budget=budget)
            for budget in budgets
            for level in levels_reached(budget, self._alert_share, refused=refused)
        ]
        return [alert for alert in due if _is_first(connection, alert)]

    def _tell(self, alerts: Iterable[BudgetAlert]) -> None:
        for alert in alerts:
            budget = alert.budget
            facts = fields(
                scope=budget.period.scope.value,
                level=alert.level.value,
                spent_usd=budget.spent_usd,
                limit_usd=budget.limit_usd,
            )
            _log.warning("budget_alert", extra=facts)
            if self._on_alert:
                self._on_alert(alert)


def _take_out(connection: sa.Connection, reservation: Reservation) -> bool:
    """Whether the reservation was still there; it is not any more."""
    return connection.execute(sa.delete(_reservations).where(_reservations.c.id == reservation.id)).rowcount > 0


def _book(connection: sa.Connection, periods: Sequence[Period], cost: int) -> None:
    if cost:
        connection.execute(_BOOK, [{**_key(period), "spent_microdollars": cost} for period in periods])


def _is_first(connection: sa.Connection, alert: BudgetAlert) -> bool:
    row = {**_key(alert.budget.period), "limit_microdollars": alert.budget.limit, "level": alert.level.value}
    return connection.execute(_RAISE, row).rowcount > 0


def _key(period: Period) -> dict[str, Any]:
    return {"scope": period.scope.value, "subject": period.subject, "starts_on": period.starts_at.date()}
