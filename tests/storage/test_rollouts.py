"""A rollout as it is kept: state, share and history are one, one process acts, and what people do goes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from cmo.errors import OracleError, StorageUnavailable
from cmo.policy.flags import (
    MAIN_ROLLOUT,
    FeatureFlag,
    FeatureVariant,
    FlagContext,
    FlagStatus,
    Segments,
    Share,
    evaluate,
)
from cmo.policy.gates import GateVerdict, Measure
from cmo.policy.rollout import Event, EventKind, Hold, Phase
from cmo.policy.rollout_plan import RolloutPlan, canary, linear, with_approval
from cmo.storage import exposures
from cmo.storage.database import Database
from cmo.storage.flags import LONGEST_REASON, Authorship, SqlFlags
from cmo.storage.rollouts import LEASE_SECONDS, Action, SqlRollouts, is_under_way
from tests.measured import pour

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PLAN = linear(start=20, increment=40, hours=1, answers=10)


def at(hours: float) -> datetime:
    return NOON + timedelta(hours=hours)


def ann(hours: float = 0, reason: str = "to try it") -> Authorship:
    return Authorship(author="ann", reason=reason, at=at(hours))


@pytest.fixture
def store(database: Database) -> SqlRollouts:
    return SqlRollouts(database)


@pytest.fixture
def flags(database: Database) -> SqlFlags:
    return SqlFlags(database)


async def answered(database: Database, count: int, hours: float, **how: Any) -> None:
    await database.book(lambda connection: pour(connection, count, at=at(hours), **how))


async def looked(
    store: SqlRollouts, hours: float, *, owner: str = "one", rests: int = 0, stopped: Authorship | None = None
) -> tuple[Event, ...]:
    return await store.tick(owner, now=at(hours), breaker_rests=rests, stopped=stopped)


async def share(flags: SqlFlags) -> tuple[FlagStatus, float]:
    flag = await flags.get(MAIN_ROLLOUT)
    assert isinstance(flag, FeatureFlag)
    return flag.status, flag.rollout_percentage


async def state_of(store: SqlRollouts) -> tuple[Phase, int]:
    rollout = await store.current()
    assert rollout is not None
    return rollout.state.phase, rollout.state.stage


async def kinds(store: SqlRollouts) -> list[str]:
    """What happened to the latest rollout, the oldest first."""
    rollout = await store.current()
    assert rollout is not None
    return [event.kind.value for event in await store.events(rollout.id, limit=100)][::-1]


async def started(store: SqlRollouts, plan: RolloutPlan = PLAN) -> None:
    await store.start(plan, ann())


# starting


async def test_a_started_rollout_is_in_force_with_its_first_share(store: SqlRollouts, flags: SqlFlags) -> None:
    rollout = await store.start(PLAN, ann(reason="the papers are indexed"))

    assert (rollout.state.phase, rollout.state.stage, rollout.started_at) == (Phase.RUNNING, 0, NOON)
    assert await share(flags) == (FlagStatus.GRADUAL_ROLLOUT, 20)
    (change,) = await flags.history(MAIN_ROLLOUT)
    assert (change.by.author, change.by.reason) == ("ann", "the papers are indexed")
    (event,) = await store.events(rollout.id, limit=10)
    assert (event.kind, event.by, event.words) == (EventKind.STARTED, "ann", "the papers are indexed")
    assert await store.current() == rollout


async def test_a_flag_keeps_what_people_made_of_it_but_what_would_get_in_the_way(
    store: SqlRollouts, flags: SqlFlags
) -> None:
    arms = (FeatureVariant(name="a", weight=1), FeatureVariant(name="b", weight=1))
    test = FeatureFlag(
        name=MAIN_ROLLOUT,
        status=FlagStatus.AB_TEST,
        rollout_percentage=50,
        variants=arms,
        overrides={"u1": "a", "u2": True},
        owner="bob",
        expires_at=at(1),
    )
    await flags.create(test, ann())
    await started(store)
    flag = await flags.get(MAIN_ROLLOUT)
    assert isinstance(flag, FeatureFlag)
    assert (flag.variants, dict(flag.overrides), flag.owner, flag.expires_at) == ((), {"u2": True}, "bob", None)


async def test_one_rollout_at_a_time_and_none_beside_an_experiment(store: SqlRollouts, database: Database) -> None:
    await started(store)
    with pytest.raises(OracleError, match="under way"):
        await store.start(PLAN, ann(1))
    await store.act(Action.ROLL_BACK, ann(1))
    row = "INSERT INTO experiments (name, definition, state, flag, created_at) VALUES ('modes', '', 'running', '', '')"
    await database.book(lambda connection: connection.execute(sa.text(row)))
    with pytest.raises(OracleError, match='"modes" is running'):
        await store.start(PLAN, ann(2))
    await database.book(lambda connection: connection.execute(sa.text("UPDATE experiments SET state = 'stopped'")))
    assert (await store.start(PLAN, ann(3))).id == 2


async def test_what_was_measured_before_does_not_count(store: SqlRollouts, database: Database) -> None:
    await answered(database, 40, -1, failed=True)
    await started(store)
    await answered(database, 40, -0.1, failed=True)  # asked before, answered since
    await answered(database, 40, 0.1, flag="another_flag", failed=True)
    assert await looked(store, 0.2) == ()
    rollout = await store.current()
    assert rollout is not None
    assert rollout.state.answers == 0


async def test_a_clock_set_back_to_before_the_start_hides_no_answers(store: SqlRollouts, database: Database) -> None:
    await started(store)
    await answered(database, 40, -5, failed=True)
    assert [event.kind for event in await looked(store, -4.9)] == [EventKind.ROLLED_BACK]


async def test_a_trial_tells_what_would_be_and_keeps_nothing(database: Database, flags: SqlFlags) -> None:
    trial = SqlRollouts(database, trial=True)
    assert (await trial.start(PLAN, ann())).state.percentage == 20
    assert await trial.current() is None
    assert await flags.get(MAIN_ROLLOUT) is None


# moving


async def test_it_moves_stage_by_stage_with_the_flag_and_tells_by_which_readings(
    store: SqlRollouts, flags: SqlFlags, database: Database
) -> None:
    await started(store)
    for hours, stage, percentage in ((1, 1, 60), (2, 2, 100)):
        await answered(database, 30, hours - 0.5)
        assert await looked(store, hours - 0.5) == ()
        (event,) = await looked(store, hours)
        assert (event.stage, event.percentage) == (stage, percentage)
        assert await share(flags) == (FlagStatus.GRADUAL_ROLLOUT, percentage)

    assert await kinds(store) == ["started", "advanced", "completed"]
    newest, *_ = await flags.history(MAIN_ROLLOUT)
    assert (newest.by.author, newest.by.reason, newest.version) == ("rollout", "From 60 % to 100 %.", 3)
    (moved, *_) = await store.events(1, limit=1)
    assert {gate.criterion.measure: gate.values for gate in moved.gates}[Measure.ERROR_RATE] == 30
    assert {gate.verdict for gate in moved.gates} == {GateVerdict.PASS}
    assert moved.by is None


async def test_it_rolls_back_by_itself_and_stays_so(store: SqlRollouts, flags: SqlFlags, database: Database) -> None:
    await started(store)
    await answered(database, 40, 0.1, failed=True)
    (event,) = await looked(store, 0.2)
    assert event.kind is EventKind.ROLLED_BACK
    assert "error rate 100.0%" in event.words
    assert await share(flags) == (FlagStatus.DISABLED, 0)
    await answered(database, 40, 0.3)
    assert await looked(store, 5) == ()
    assert await kinds(store) == ["started", "rolled_back"]


async def test_a_completed_rollout_still_rolls_back(store: SqlRollouts, flags: SqlFlags, database: Database) -> None:
    await started(store, linear(start=50, increment=50, hours=0, answers=1))
    await answered(database, 10, 0.1)
    await looked(store, 0.2)
    assert await state_of(store) == (Phase.COMPLETED, 1)
    await answered(database, 100, 0.3, failed=True)
    await looked(store, 0.4)
    assert await share(flags) == (FlagStatus.DISABLED, 0)


async def test_a_breaker_that_rests_again_and_again_rolls_back(store: SqlRollouts) -> None:
    await started(store)
    (event,) = await looked(store, 0.1, rests=2)
    assert event.kind is EventKind.ROLLED_BACK


async def test_a_hold_is_told_once(store: SqlRollouts) -> None:
    await started(store)
    (event,) = await looked(store, 2)
    assert (event.kind, event.words) == (EventKind.HELD, "No answers for 1 h: nothing can be told.")
    assert await looked(store, 3) == ()
    rollout = await store.current()
    assert rollout is not None
    assert Hold.NO_TRAFFIC in rollout.state.holds


async def test_the_other_engines_answers_are_passed_over_however_many(
    store: SqlRollouts, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exposures, "MOST_AT_ONCE", 10)
    await started(store)
    await answered(database, 25, 0.1, engine="perplexity", failed=True)
    await answered(database, 10, 0.2)
    for minute in range(4):
        await looked(store, 0.3 + minute / 60)
    rollout = await store.current()
    assert rollout is not None
    assert (rollout.state.answers, rollout.state.seen) == (10, 35)


async def test_a_canary_keeps_half_of_its_share_for_comparison_until_the_last_stage(
    store: SqlRollouts, flags: SqlFlags, database: Database
) -> None:
    await started(store, canary(start=10, hours=1, answers=10))
    assert await share(flags) == (FlagStatus.CANARY, 10)
    await answered(database, 40, 0.5, variant="canary")
    await answered(database, 30, 0.5, variant="control", engine="perplexity")
    await answered(database, 50, 0.5, engine="perplexity", failed=True)
    (event,) = await looked(store, 1)
    assert event.kind is EventKind.COMPLETED
    assert [(gate.values, gate.control) for gate in event.gates if gate.criterion.measure is Measure.ERROR_RATE] == [
        (40, 0.0)
    ]
    assert await share(flags) == (FlagStatus.GRADUAL_ROLLOUT, 100)


# people


async def test_approval_pause_and_resume_go_into_the_history_with_their_authors(
    store: SqlRollouts, flags: SqlFlags, database: Database
) -> None:
    await started(store, with_approval(PLAN, [20]))
    await answered(database, 30, 0.5)
    await looked(store, 1)
    assert await state_of(store) == (Phase.WAITING, 0)
    await store.act(Action.APPROVE, ann(1, "looks good"))
    await looked(store, 1.01)
    await store.act(Action.PAUSE, ann(1.1, "a holiday"))
    await store.act(Action.RESUME, ann(30, "back again"))

    assert await kinds(store) == ["started", "waiting", "approved", "advanced", "paused", "resumed"]
    assert await state_of(store) == (Phase.RUNNING, 1)
    assert await share(flags) == (FlagStatus.GRADUAL_ROLLOUT, 60)
    assert len(await flags.history(MAIN_ROLLOUT)) == 2  # only the share is its business
    events = await store.events(1, limit=2)
    assert [(event.by, event.words, event.at) for event in events] == [
        ("ann", "back again", at(30).timestamp()),
        ("ann", "a holiday", at(1.1).timestamp()),
    ]


@pytest.mark.parametrize("action", [None, Action.ROLL_BACK])
async def test_nobody_is_left_with_a_rolled_back_engine_and_another_start_finds_the_flag_as_people_made_it(
    store: SqlRollouts, flags: SqlFlags, action: Action | None
) -> None:
    testers = Segments(cohorts={"beta_testers": Share(percentage=100)})
    await flags.create(FeatureFlag(name=MAIN_ROLLOUT, segments=testers, overrides={"u2": True}), ann())
    people = [FlagContext(user_id="u1", cohort="beta_testers"), FlagContext(user_id="u2")]

    async def have_it() -> list[bool]:
        flag = await flags.get(MAIN_ROLLOUT)
        return [evaluate(flag, each, salt="", now=NOON, chance=lambda: 0.0).value for each in people]

    await started(store)
    assert await have_it() == [True, True]
    await (store.act(action, ann(1)) if action else looked(store, 1, rests=2))
    assert await have_it() == [False, False]
    await started(store)
    assert await have_it() == [True, True]


async def test_a_person_takes_everybody_back_at_once(store: SqlRollouts, flags: SqlFlags) -> None:
    await started(store)
    await store.act(Action.ROLL_BACK, ann(0.1, "complaints"))
    assert await share(flags) == (FlagStatus.DISABLED, 0)
    (newest, *_) = await flags.history(MAIN_ROLLOUT)
    assert (newest.by.author, newest.by.reason) == ("ann", "complaints")


async def test_what_cannot_be_done_is_refused_and_leaves_nothing(store: SqlRollouts) -> None:
    with pytest.raises(OracleError, match="There is no rollout"):
        await store.act(Action.PAUSE, ann())
    await started(store)
    before = await store.current()
    for action, words in ((Action.APPROVE, "nothing to approve"), (Action.RESUME, "cannot be resumed")):
        with pytest.raises(OracleError, match=words):
            await store.act(action, ann(1))
    with pytest.raises(OracleError, match="The reason is missing or wrong"):
        await store.act(Action.PAUSE, ann(1, reason=" "))
    assert await store.current() == before
    assert await kinds(store) == ["started"]


async def test_a_persons_change_of_the_flag_stays_and_pauses_the_rollout(
    store: SqlRollouts, flags: SqlFlags, database: Database
) -> None:
    await started(store)
    flag = await flags.get(MAIN_ROLLOUT)
    assert isinstance(flag, FeatureFlag)
    await flags.update(replace(flag, rollout_percentage=3), ann(0.1), version=1)
    await answered(database, 30, 0.5)

    (event,) = await looked(store, 2)
    assert (event.kind, event.by) == (EventKind.PAUSED, None)
    assert "Somebody has changed the flag" in event.words
    assert await looked(store, 3) == ()
    assert await share(flags) == (FlagStatus.GRADUAL_ROLLOUT, 3)

    await store.act(Action.RESUME, ann(4, "the complaint was about something else"))
    assert await share(flags) == (FlagStatus.GRADUAL_ROLLOUT, 20)
    await answered(database, 1, 4)
    assert [event.kind for event in await looked(store, 5)] == [EventKind.ADVANCED]


async def test_a_deleted_flag_pauses_the_rollout_and_resuming_makes_it_again(
    store: SqlRollouts, flags: SqlFlags
) -> None:
    await started(store)
    await flags.delete(MAIN_ROLLOUT, ann(), version=1)
    await looked(store, 0.1)
    assert await state_of(store) == (Phase.PAUSED, 0)
    assert await flags.get(MAIN_ROLLOUT) is None
    await store.act(Action.RESUME, ann(1))
    assert await share(flags) == (FlagStatus.GRADUAL_ROLLOUT, 20)


async def test_rolled_back_a_deleted_flag_does_not_leave_people_to_the_setting(
    store: SqlRollouts, flags: SqlFlags
) -> None:
    await started(store)
    await flags.delete(MAIN_ROLLOUT, ann(), version=1)
    await looked(store, 0.1)
    await store.act(Action.ROLL_BACK, ann(1))
    assert await share(flags) == (FlagStatus.DISABLED, 0)


async def test_guardrails_roll_back_also_what_a_person_has_changed(
    store: SqlRollouts, flags: SqlFlags, database: Database
) -> None:
    arms = (FeatureVariant(name="a", weight=1), FeatureVariant(name="b", weight=1))
    await started(store)
    flag = await flags.get(MAIN_ROLLOUT)
    assert isinstance(flag, FeatureFlag)
    changed = replace(flag, status=FlagStatus.AB_TEST, variants=arms, overrides={"u1": "a"})
    await flags.update(changed, ann(), version=1)
    await looked(store, 0.1)
    await answered(database, 40, 0.2, failed=True)
    await looked(store, 0.3)
    assert await share(flags) == (FlagStatus.DISABLED, 0)


async def test_a_flag_that_was_switched_off_is_not_switched_on_by_rolling_back(
    store: SqlRollouts, flags: SqlFlags
) -> None:
    await started(store)
    flag = await flags.get(MAIN_ROLLOUT)
    assert isinstance(flag, FeatureFlag)
    await flags.update(replace(flag, status=FlagStatus.DISABLED), ann(), version=1)
    rollout = await store.act(Action.ROLL_BACK, ann(1))
    assert (await share(flags))[0] is FlagStatus.DISABLED
    assert not rollout.overruled


async def test_a_completed_rollout_lets_go_of_a_flag_that_is_used_otherwise(
    store: SqlRollouts, flags: SqlFlags, database: Database
) -> None:
    await started(store, linear(start=50, increment=50, hours=0, answers=1))
    await answered(database, 10, 0.1)
    await looked(store, 0.2)
    flag = await flags.get(MAIN_ROLLOUT)
    assert isinstance(flag, FeatureFlag)
    await flags.update(replace(flag, rollout_percentage=70), ann(1), version=flag.version)
    await answered(database, 100, 1.1, failed=True)
    assert await looked(store, 1.2, rests=5, stopped=ann(1)) == ()
    with pytest.raises(OracleError, match="used otherwise"):
        await store.act(Action.ROLL_BACK, ann(2))
    assert (await share(flags))[1] == 70
    assert (await store.start(PLAN, ann(3))).state.stage == 0


async def test_an_emergency_stop_ends_the_rollout_for_good_in_its_authors_name(
    store: SqlRollouts, flags: SqlFlags
) -> None:
    await started(store)
    stop = Authorship(author="eve\n", reason="wrong doses\x1b" * LONGEST_REASON, at=at(0.1))
    (event,) = await looked(store, 0.1, stopped=stop)
    assert (event.kind, event.by) == (EventKind.EMERGENCY, "eve")
    assert await share(flags) == (FlagStatus.DISABLED, 0)
    (newest, *_) = await flags.history(MAIN_ROLLOUT)
    assert newest.by.author == "eve"
    assert len(newest.by.reason) <= LONGEST_REASON
    assert await looked(store, 0.2, stopped=stop) == ()
    assert await looked(store, 0.3) == ()


# processes


async def test_one_owner_acts_and_another_only_when_it_is_gone(store: SqlRollouts, database: Database) -> None:
    await started(store)
    await looked(store, 0.1, owner="one")
    gone = 0.1 + LEASE_SECONDS / 3600
    assert await looked(store, 0.1 + 0.5 * LEASE_SECONDS / 3600, owner="other", rests=2) == ()
    await answered(database, 1, 0.1)
    assert [event.kind for event in await looked(store, gone, owner="other", rests=2)] == [EventKind.ROLLED_BACK]
    lease = await store.lease()
    assert lease is not None
    assert (lease.owner, lease.until) == ("other", at(gone) + timedelta(seconds=LEASE_SECONDS))
    await store.release("other")
    assert await store.lease() is None


async def test_of_many_that_look_at_once_one_moves_it_by_one_stage(store: SqlRollouts, file: Path) -> None:
    databases = [Database(f"sqlite+aiosqlite:///{file}") for _ in range(4)]
    await started(store, linear(start=10, increment=10, hours=0, answers=1))
    await answered(databases[0], 30, 0.1)
    stores: Sequence[SqlRollouts] = [SqlRollouts(each) for each in databases]
    looks = [looked(each, 0.2, owner=str(number)) for number, each in enumerate(stores)]
    found = await asyncio.gather(*looks)
    assert sorted(len(events) for events in found) == [0, 0, 0, 1]
    assert await kinds(store) == ["started", "advanced"]
    for each in databases:
        await each.close()


async def test_nothing_of_a_change_is_kept_when_a_part_of_it_fails(
    store: SqlRollouts, flags: SqlFlags, database: Database
) -> None:
    await started(store)
    await answered(database, 30, 0.5)
    no_more = "CREATE TRIGGER full BEFORE INSERT ON rollout_events BEGIN SELECT RAISE(ABORT, 'full'); END"
    await database.book(lambda connection: connection.execute(sa.text(no_more)))
    before = await store.current()
    with pytest.raises(IntegrityError):
        await looked(store, 1)
    assert await store.current() == before
    assert await share(flags) == (FlagStatus.GRADUAL_ROLLOUT, 20)
    await database.book(lambda connection: connection.execute(sa.text("DROP TRIGGER full")))
    await looked(store, 1)
    assert await share(flags) == (FlagStatus.GRADUAL_ROLLOUT, 60)


# what is kept


async def test_the_history_can_only_be_added_to(store: SqlRollouts, database: Database) -> None:
    await started(store)
    for statement in ("UPDATE rollout_events SET words = ''", "DELETE FROM rollout_events"):
        with pytest.raises(IntegrityError, match="only added to"):
            await database.book(lambda connection, statement=statement: connection.execute(sa.text(statement)))


async def test_rollouts_are_listed_the_newest_first(store: SqlRollouts, database: Database) -> None:
    assert await store.current() is None
    assert not await database.look(is_under_way)
    await started(store)
    assert await database.look(is_under_way)
    await store.act(Action.ROLL_BACK, ann(1))
    assert not await database.look(is_under_way)
    await store.start(PLAN, ann(2))
    assert [rollout.id for rollout in await store.history(limit=10)] == [2, 1]
    assert [event.kind for event in await store.events(1, limit=1)] == [EventKind.ROLLED_BACK]


async def test_a_state_of_another_version_is_said_to_be_one(store: SqlRollouts, database: Database) -> None:
    await started(store)
    other = json.dumps({"version": 99})
    await database.book(lambda connection: connection.execute(sa.text("UPDATE rollouts SET state = :s"), {"s": other}))
    with pytest.raises(OracleError, match="another version of this program"):
        await store.current()
    with pytest.raises(OracleError, match="`cmo rollout start` starts another"):
        await store.act(Action.ROLL_BACK, ann(1))
    assert (await store.start(PLAN, ann(2))).id == 2


async def test_a_database_that_is_none_is_unavailable(file: Path) -> None:
    await asyncio.to_thread(file.write_bytes, b"no database" * 1000)
    database = Database(f"sqlite+aiosqlite:///{file}")
    store = SqlRollouts(database)
    with pytest.raises(StorageUnavailable):
        await store.current()
    with pytest.raises(StorageUnavailable):
        await store.start(PLAN, ann())
    await database.close()
