"""Money set aside and booked, in a real database: never more than the limit, whatever happens to the calls."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cmo.errors import BudgetExhausted, EngineUnavailable, StorageUnavailable
from cmo.policy.budget import AlertLevel, BudgetAlert, BudgetScope, Limits, Scope
from cmo.storage.budget import EXPIRES_SECONDS, SqlBudget
from cmo.storage.database import Database

ROOT = Path(__file__).resolve().parents[2]
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
DOLLAR_A_DAY = Limits(daily_usd=1.0)


class SetClock:
    """A clock that shows what it was set to."""

    def __init__(self) -> None:
        self.time = NOON

    def now(self) -> datetime:
        return self.time


def url_of(file: Path) -> str:
    return f"sqlite+aiosqlite:///{file}"


@pytest.fixture
async def broken(tmp_path: Path) -> AsyncIterator[Database]:
    """Without its tables."""
    database = Database(url_of(tmp_path / "broken.sqlite3"))
    yield database
    await database.close()


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


def open_budget(
    database: Database,
    clock: SetClock,
    limits: Limits = DOLLAR_A_DAY,
    *,
    on_alert: Callable[[BudgetAlert], None] | None = None,
) -> SqlBudget:
    return SqlBudget(database, limits, clock=clock, alert_share=0.8, on_alert=on_alert)


async def spend(budget: SqlBudget, usd: float, *, user_id: str = "ann") -> None:
    await budget.settle(await budget.reserve(user_id, usd), usd)


async def figures(budget: SqlBudget, scope: Scope = Scope.DAY, *, user_id: str | None = None) -> tuple[float, float]:
    """What is spent and reserved in one scope."""
    state: dict[Scope, BudgetScope] = {state.period.scope: state for state in await budget.status(user_id)}
    return state[scope].spent_usd, state[scope].reserved_usd


async def test_what_is_reserved_counts_until_it_is_settled_at_its_real_cost(
    database: Database, clock: SetClock
) -> None:
    budget = open_budget(database, clock)

    reservation = await budget.reserve("ann", 0.10)
    assert await figures(budget) == (0.0, 0.10)
    assert await budget.left_usd("ann") == 0.90

    await budget.settle(reservation, 0.03)
    assert await figures(budget) == (0.03, 0.0)
    assert await budget.left_usd("ann") == 0.97


async def test_a_cost_above_what_was_reserved_is_booked_as_it_is(database: Database, clock: SetClock) -> None:
    budget = open_budget(database, clock)

    await budget.settle(await budget.reserve("ann", 0.90), 1.25)

    assert await figures(budget) == (1.25, 0.0)
    assert await budget.left_usd("ann") == 0.0


async def test_what_is_released_can_be_spent_by_somebody_else(database: Database, clock: SetClock) -> None:
    budget = open_budget(database, clock)

    await budget.release(await budget.reserve("ann", 1.00))

    await spend(budget, 1.00, user_id="ben")


async def test_a_reservation_ends_only_once(database: Database, clock: SetClock) -> None:
    budget = open_budget(database, clock)
    settled, released = await budget.reserve("ann", 0.10), await budget.reserve("ann", 0.10)

    await budget.settle(settled, 0.10)
    await budget.release(released)
    for reservation in (settled, released):
        await budget.settle(reservation, 0.10)
        await budget.release(reservation)

    assert await figures(budget) == (0.10, 0.0)


async def test_the_refusal_says_what_limit_what_is_spent_and_when_it_starts_anew(
    database: Database, clock: SetClock
) -> None:
    budget = open_budget(database, clock)
    await spend(budget, 0.95)

    with pytest.raises(BudgetExhausted, match=r"daily budget of \$1\.00 .* \$0\.95 is spent.* 2026-11-21 at 00:00 UTC"):
        await budget.reserve("ann", 0.10)
    await spend(budget, 0.05)


async def test_one_persons_limit_stops_nobody_else(database: Database, clock: SetClock) -> None:
    budget = open_budget(database, clock, Limits(user_daily_usd=0.10))
    await spend(budget, 0.10, user_id="ann")

    with pytest.raises(BudgetExhausted, match="Your daily budget"):
        await budget.reserve("ann", 0.01)
    await spend(budget, 0.10, user_id="ben")

    assert (await budget.left_usd("ann"), await budget.left_usd("zoe")) == (0.0, 0.10)
    assert await figures(budget, Scope.USER_DAY, user_id="ben") == (0.10, 0.0)


async def test_a_budget_of_zero_lets_pass_only_what_is_free(database: Database, clock: SetClock) -> None:
    budget = open_budget(database, clock, Limits(daily_usd=0.0))

    await budget.release(await budget.reserve("ann", 0.0))
    with pytest.raises(BudgetExhausted):
        await budget.reserve("ann", 0.000001)


async def test_days_and_months_start_anew_at_midnight_utc(database: Database, clock: SetClock) -> None:
    budget = open_budget(database, clock, Limits(daily_usd=1.0, monthly_usd=1.5))
    clock.time = datetime(2026, 11, 29, 23, 59, 59, tzinfo=UTC)
    await spend(budget, 1.00)
    with pytest.raises(BudgetExhausted, match="daily budget"):
        await budget.reserve("ann", 0.10)

    clock.time = datetime(2026, 11, 30, tzinfo=UTC)
    await spend(budget, 0.50)
    with pytest.raises(BudgetExhausted, match=r"monthly budget .* 2026-12-01 at 00:00 UTC"):
        await budget.reserve("ann", 0.10)

    clock.time = datetime(2026, 12, 1, tzinfo=UTC)
    await spend(budget, 1.00)


async def test_a_call_over_midnight_counts_on_the_day_it_began(database: Database, clock: SetClock) -> None:
    budget = open_budget(database, clock)
    clock.time = datetime(2026, 11, 20, 23, 59, 59, tzinfo=UTC)
    reservation = await budget.reserve("ann", 0.10)

    clock.time += timedelta(seconds=2)
    assert await figures(budget) == (0.0, 0.0)
    await budget.settle(reservation, 0.10)
    assert await figures(budget) == (0.0, 0.0)

    clock.time -= timedelta(seconds=2)
    assert await figures(budget) == (0.10, 0.0)


async def test_without_a_limit_nothing_is_stored_before_the_call(broken: Database, clock: SetClock) -> None:
    budget = open_budget(broken, clock, Limits())

    await budget.release(await budget.reserve("ann", 0.10))
    await budget.settle(await budget.reserve("ann", 0.10), 0.0)

    assert await budget.left_usd("ann") is None


async def test_what_is_free_needs_no_database(broken: Database, clock: SetClock) -> None:
    budget = open_budget(broken, clock)

    await budget.settle(await budget.reserve("ann", 0.0), 0.0)


async def test_a_limit_set_later_in_the_day_counts_what_was_spent_before(database: Database, clock: SetClock) -> None:
    unlimited = open_budget(database, clock, Limits())
    reservation = await unlimited.reserve("ann", 0.90)
    await unlimited.settle(reservation, 0.90)
    await unlimited.settle(reservation, 0.90)

    limited = open_budget(database, clock)

    assert await figures(limited) == (0.90, 0.0)
    with pytest.raises(BudgetExhausted):
        await limited.reserve("ann", 0.20)


async def test_a_free_call_that_costs_something_after_all_is_booked(database: Database, clock: SetClock) -> None:
    budget = open_budget(database, clock)

    await budget.settle(await budget.reserve("ann", 0.0), 0.02)

    assert await figures(budget) == (0.02, 0.0)


async def test_without_its_database_nothing_may_be_spent(database: Database, broken: Database, clock: SetClock) -> None:
    reservation = await open_budget(database, clock).reserve("ann", 0.10)
    budget = open_budget(broken, clock)

    for refused in (
        budget.reserve("ann", 0.10),
        budget.settle(reservation, 0.10),
        budget.release(reservation),
        budget.left_usd("ann"),
        budget.status(),
    ):
        with pytest.raises(StorageUnavailable, match="nothing that costs money"):
            await refused


@pytest.mark.parametrize("cost_usd", [-0.10, float("nan")])
async def test_a_cost_that_is_no_amount_is_refused_and_the_reservation_stays(
    database: Database, clock: SetClock, cost_usd: float
) -> None:
    budget = open_budget(database, clock)
    reservation = await budget.reserve("ann", 0.10)

    with pytest.raises(ValueError, match="no amount of money"):
        await budget.settle(reservation, cost_usd)

    assert await figures(budget) == (0.0, 0.10)


async def test_what_a_dead_process_had_reserved_is_booked_in_full(
    database: Database, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    dead = await open_budget(database, clock).reserve("ann", 0.40)
    budget = open_budget(database, clock)

    clock.time += timedelta(seconds=EXPIRES_SECONDS)
    await spend(budget, 0.10, user_id="ben")
    assert await figures(budget) == (0.10, 0.40)

    clock.time += timedelta(seconds=1)
    await spend(budget, 0.10, user_id="ben")
    assert await figures(budget) == (0.60, 0.0)
    assert await figures(budget, Scope.USER_DAY, user_id="ann") == (0.40, 0.0)
    assert "budget_reservations_expired" in caplog.text

    await budget.settle(dead, 0.10)
    assert await figures(budget) == (0.60, 0.0)


async def test_somebody_who_leaves_while_waiting_reserves_nothing(database: Database, clock: SetClock) -> None:
    budget = open_budget(database, clock)
    async with database.write():
        waiting = asyncio.create_task(budget.reserve("ann", 0.10))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await budget.close()

    assert await figures(budget) == (0.0, 0.0)


async def test_a_booking_goes_through_when_its_caller_is_cancelled(database: Database, clock: SetClock) -> None:
    budget = open_budget(database, clock)
    reservation = await budget.reserve("ann", 0.10)
    async with database.write():
        booking = asyncio.create_task(budget.settle(reservation, 0.07))
        await asyncio.sleep(0)
        booking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await booking
    await budget.close()

    assert await figures(budget) == (0.07, 0.0)


async def test_alerts_are_raised_at_the_share_and_at_the_limit_once_each(
    database: Database, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    raised: list[BudgetAlert] = []
    budget = open_budget(database, clock, on_alert=raised.append)

    levels = []
    for _ in range(10):
        await spend(budget, 0.10)
        levels.append([alert.level for alert in raised])

    assert levels[6:] == [[], [AlertLevel.NEAR], [AlertLevel.NEAR], [AlertLevel.NEAR, AlertLevel.SPENT]]
    assert [(alert.budget.spent_usd, alert.budget.limit_usd) for alert in raised] == [(0.8, 1.0), (1.0, 1.0)]
    assert [record.message for record in caplog.records] == ["budget_alert", "budget_alert"]


async def test_a_restart_repeats_no_alert_and_the_next_day_raises_it_again(database: Database, clock: SetClock) -> None:
    raised: list[BudgetAlert] = []
    await spend(open_budget(database, clock, on_alert=raised.append), 0.85)
    assert len(raised) == 1

    await spend(open_budget(database, clock, on_alert=raised.append), 0.05)
    assert len(raised) == 1

    clock.time += timedelta(days=1)
    await spend(open_budget(database, clock, on_alert=raised.append), 0.85)
    assert [alert.budget.period.starts_at.day for alert in raised] == [20, 21]


async def test_a_raised_limit_has_alerts_of_its_own(database: Database, clock: SetClock) -> None:
    raised: list[BudgetAlert] = []
    await spend(open_budget(database, clock, on_alert=raised.append), 1.00)

    await spend(open_budget(database, clock, Limits(daily_usd=2.0), on_alert=raised.append), 0.60)

    assert [(alert.level, alert.budget.limit_usd) for alert in raised] == [
        (AlertLevel.NEAR, 1.0),
        (AlertLevel.SPENT, 1.0),
        (AlertLevel.NEAR, 2.0),
    ]


async def test_a_budget_counts_as_spent_when_what_is_left_was_too_little(database: Database, clock: SetClock) -> None:
    raised: list[BudgetAlert] = []
    budget = open_budget(database, clock, on_alert=raised.append)
    await spend(budget, 0.95)

    for _ in range(2):
        with pytest.raises(BudgetExhausted):
            await budget.reserve("ann", 0.10)

    assert [alert.level for alert in raised] == [AlertLevel.NEAR, AlertLevel.SPENT]


async def test_fifty_questions_at_once_spend_the_budget_and_not_a_cent_more(
    database: Database, clock: SetClock
) -> None:
    budget = open_budget(database, clock)

    ended = await asyncio.gather(*(spend(budget, 0.10) for _ in range(50)), return_exceptions=True)

    assert [error for error in ended if not isinstance(error, BudgetExhausted)] == [None] * 10
    assert await figures(budget) == (1.00, 0.0)


async def test_cancels_and_failures_among_fifty_questions_leave_the_books_right(
    database: Database, clock: SetClock
) -> None:
    for run in range(20):
        clock.time = NOON + timedelta(days=run)
        budget = open_budget(database, clock)

        paid = await _fifty_questions(budget, random.Random(run))

        spent, reserved = await figures(budget)
        assert spent == pytest.approx(sum(paid), abs=1e-9)
        assert 0 < spent <= 1.0
        assert reserved == 0.0


async def _fifty_questions(budget: SqlBudget, chance: random.Random) -> list[float]:
    """What 50 questions at $0.10 paid of which some are stopped and some fail half-way, having cost a part of it."""
    paid: list[float] = []

    async def ask(end: str) -> None:
        reservation = await budget.reserve("ann", 0.10)
        cost = 0.0
        try:
            await asyncio.sleep(0)
            cost = 0.04 if end == "fails" else 0.10
            if end == "fails":
                raise EngineUnavailable("The engine broke off.")
        finally:
            if cost:
                paid.append(cost)
                await budget.settle(reservation, cost)
            else:
                await budget.release(reservation)

    ends = chance.choices(["answers", "fails", "stops"], weights=[6, 2, 2], k=50)
    tasks = {asyncio.create_task(ask(end)): end for end in ends}
    stopped = [task for task, end in tasks.items() if end == "stops"]
    while stopped:
        await asyncio.wait(tasks, timeout=chance.random() / 500)
        stopped.pop(chance.randrange(len(stopped))).cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await budget.close()
    return paid


SPEND_25 = """
import asyncio, sys
from datetime import UTC, datetime
from cmo.errors import BudgetExhausted
from cmo.policy.budget import Limits
from cmo.storage.budget import SqlBudget
from cmo.storage.database import Database

class Noon:
    def now(self):
        return datetime(2026, 11, 20, 12, tzinfo=UTC)

async def spend(budget):
    reservation = await budget.reserve("ann", 0.10)
    await asyncio.sleep(0.001)
    await budget.settle(reservation, 0.10)

async def main(url):
    database = Database(url)
    budget = SqlBudget(database, Limits(daily_usd=1.0), clock=Noon(), alert_share=0.8)
    print("ready", flush=True)
    sys.stdin.readline()
    ended = await asyncio.gather(*(spend(budget) for _ in range(25)), return_exceptions=True)
    print([repr(error) for error in ended if error and not isinstance(error, BudgetExhausted)], ended.count(None))
    await database.close()

asyncio.run(main(sys.argv[1]))
"""


async def test_two_processes_at_once_share_one_budget(file: Path, database: Database, clock: SetClock) -> None:
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", SPEND_25, url_of(file), cwd=ROOT, stdin=pipe, stdout=pipe
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    outputs = [output for output, _ in await asyncio.gather(*(process.communicate(b"go\n") for process in processes))]

    errors, paid = zip(*(output.decode().rsplit(maxsplit=1) for output in outputs), strict=True)
    assert errors == ("[]", "[]")
    assert sum(map(int, paid)) == 10
    assert await figures(open_budget(database, clock)) == (1.00, 0.0)
