"""Experiments that take the flag of the main rollout and give it back, and what was seen in them."""

import asyncio
import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from cmo.errors import OracleError
from cmo.policy.flags import MAIN_ROLLOUT, FeatureFlag, FeatureVariant, FlagStatus, Namespace
from cmo.policy.measuring import Observation
from cmo.policy.rollout_plan import canary, staged
from cmo.storage.assignments import SqlAssignments
from cmo.storage.database import Database
from cmo.storage.experiments import ExperimentAction, ExperimentState, SqlExperiments
from cmo.storage.exposures import SqlExposures
from cmo.storage.feedback import SqlFeedback
from cmo.storage.flags import Authorship, SqlFlags
from cmo.storage.ledger import SqlLedger
from cmo.storage.rollouts import Action, SqlRollouts
from cmo.values import Answer, Badge, Exposure, Feedback, Measured, Quality, Question, Thumb

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
ANN = Authorship(author="ann", reason="to find out", at=NOON - HOUR)
START = Authorship(author="bob", reason="all is ready", at=NOON)
STOP = Authorship(author="eve", reason="the time is over", at=NOON + 10 * HOUR)
LATER = NOON + 5 * HOUR

HALVES = {"web": 50.0, "papers": 50.0}


def ab_test(**weights: float) -> FeatureFlag:
    variants = tuple(FeatureVariant(name=name, weight=weight) for name, weight in weights.items())
    return FeatureFlag(name=MAIN_ROLLOUT, status=FlagStatus.AB_TEST, rollout_percentage=100, variants=variants)


FLAG = ab_test(**HALVES)
TENTH = FeatureFlag(name=MAIN_ROLLOUT, status=FlagStatus.GRADUAL_ROLLOUT, rollout_percentage=10, overrides={"u1": True})


@pytest.fixture
def store(database: Database) -> SqlExperiments:
    return SqlExperiments(database)


@pytest.fixture
def flags(database: Database) -> SqlFlags:
    return SqlFlags(database)


async def started(store: SqlExperiments, name: str = "graph") -> None:
    await store.create(name, "definition", ANN)
    await store.start(name, FLAG, START)


async def document(flags: SqlFlags) -> FeatureFlag | None:
    """The flag without its version and times."""
    flag = await flags.get(MAIN_ROLLOUT)
    assert flag is None or isinstance(flag, FeatureFlag)
    return flag and dataclasses.replace(flag, version=0, created_at=None, updated_at=None)


async def test_an_experiment_is_a_draft_then_runs_then_is_over(store: SqlExperiments) -> None:
    draft = await store.create("graph", "definition", ANN)
    assert (draft.state, draft.definition, draft.created_at) == (ExperimentState.DRAFT, "definition", ANN.at)

    running = await store.start("graph", FLAG, START)
    assert (running.state, running.started_at, running.flag_version) == (ExperimentState.RUNNING, NOON, 1)

    stopped = await store.stop("graph", STOP)
    assert (stopped.state, stopped.started_at, stopped.stopped_at) == (ExperimentState.STOPPED, NOON, STOP.at)
    assert await store.get("graph") == stopped
    assert [(event.action, event.by) for event in await store.history("graph")] == [
        (ExperimentAction.STOP, STOP),
        (ExperimentAction.START, START),
        (ExperimentAction.CREATE, ANN),
    ]


async def test_experiments_are_listed_newest_first_and_each_name_is_there_once(store: SqlExperiments) -> None:
    await store.create("old", "definition", ANN)
    await store.create("new", "definition", START)
    with pytest.raises(OracleError, match='an experiment "old" already'):
        await store.create("old", "other", START)
    assert [kept.name for kept in await store.list()] == ["new", "old"]


@pytest.mark.parametrize("before", [None, TENTH])
async def test_stopping_puts_the_flag_back_whatever_was_done_to_it(
    store: SqlExperiments, flags: SqlFlags, before: FeatureFlag | None
) -> None:
    if before is not None:
        await flags.create(before, ANN)
    await started(store)
    assert await document(flags) == FLAG
    running = await flags.get(MAIN_ROLLOUT)
    assert running is not None
    await flags.update(ab_test(web=10, papers=90), ANN, version=running.version)

    await store.stop("graph", STOP)
    assert await document(flags) == before
    assert (await flags.history(MAIN_ROLLOUT))[0].by == STOP


async def test_a_flag_that_was_deleted_meanwhile_is_put_back_too(store: SqlExperiments, flags: SqlFlags) -> None:
    await flags.create(TENTH, ANN)
    await started(store)
    await flags.delete(MAIN_ROLLOUT, ANN, version=2)
    await store.stop("graph", STOP)
    assert await document(flags) == TENTH


async def test_one_experiment_runs_at_a_time(store: SqlExperiments, flags: SqlFlags) -> None:
    await started(store)
    await store.create("other", "definition", ANN)
    with pytest.raises(OracleError, match='experiment "graph" runs: stop it first'):
        await store.start("other", FLAG, START)
    await store.stop("graph", STOP)
    assert (await store.start("other", FLAG, STOP)).flag_version == 3


async def test_of_many_starts_at_once_one_succeeds(store: SqlExperiments, flags: SqlFlags) -> None:
    names = [f"e{number}" for number in range(5)]
    for name in names:
        await store.create(name, "definition", ANN)
    results = await asyncio.gather(*(store.start(name, FLAG, START) for name in names), return_exceptions=True)
    assert [type(result) for result in results].count(OracleError) == 4
    assert len(await flags.history(MAIN_ROLLOUT)) == 1


async def test_an_experiment_waits_for_a_rollout_to_end(store: SqlExperiments, database: Database) -> None:
    rollouts = SqlRollouts(database)
    await store.create("graph", "definition", ANN)
    await rollouts.start(staged(), ANN)
    with pytest.raises(OracleError, match="A rollout is under way"):
        await store.start("graph", FLAG, START)
    await rollouts.act(Action.ROLL_BACK, ANN)
    assert (await store.start("graph", FLAG, START)).state is ExperimentState.RUNNING
    with pytest.raises(OracleError, match='"graph"'):
        await rollouts.start(canary(), START)


async def test_an_experiment_is_started_once_and_stopped_while_it_runs(store: SqlExperiments) -> None:
    await store.create("graph", "definition", ANN)
    with pytest.raises(OracleError, match="does not run"):
        await store.stop("graph", STOP)
    await store.start("graph", FLAG, START)
    await store.stop("graph", STOP)
    with pytest.raises(OracleError, match="was started before"):
        await store.start("graph", FLAG, STOP)
    with pytest.raises(OracleError, match="does not run"):
        await store.stop("graph", STOP)


async def test_what_is_not_there_is_told(store: SqlExperiments) -> None:
    for wanted in (
        store.get("graph"),
        store.history("graph"),
        store.start("graph", FLAG, START),
        store.stop("graph", STOP),
        store.observations("graph", now=NOON),
    ):
        with pytest.raises(OracleError, match='no experiment "graph"'):
            await wanted


async def test_a_malformed_flag_is_not_taken_since_it_could_not_be_put_back(
    store: SqlExperiments, flags: SqlFlags, database: Database
) -> None:
    await flags.create(TENTH, ANN)
    async with database.write() as connection:
        await connection.execute(sa.text("UPDATE flags SET document = '{'"))
    await store.create("graph", "definition", ANN)
    with pytest.raises(OracleError, match="could not be put back"):
        await store.start("graph", FLAG, START)
    assert (await store.get("graph")).state is ExperimentState.DRAFT


async def test_a_stop_that_is_refused_leaves_everything_as_it_was(store: SqlExperiments, flags: SqlFlags) -> None:
    mine = Namespace(name="answers", start=0, end=50)
    await flags.create(dataclasses.replace(TENTH, namespace=mine), ANN)
    await started(store)
    await flags.create(FeatureFlag(name="taken", status=FlagStatus.ENABLED, namespace=mine), ANN)
    with pytest.raises(OracleError, match='shares people of the namespace "answers" with the flag "taken"'):
        await store.stop("graph", STOP)
    assert (await store.get("graph")).state is ExperimentState.RUNNING
    assert await document(flags) == FLAG


async def test_nothing_is_done_without_a_reason(store: SqlExperiments, flags: SqlFlags) -> None:
    with pytest.raises(OracleError, match="reason is missing"):
        await store.create("graph", "definition", dataclasses.replace(ANN, reason=" "))
    assert await store.list() == []
    await store.create("graph", "definition", ANN)
    with pytest.raises(OracleError, match="reason is missing"):
        await store.start("graph", FLAG, dataclasses.replace(START, reason=" "))
    assert await flags.get(MAIN_ROLLOUT) is None


async def test_a_trial_tells_what_would_come_of_it_and_changes_nothing(
    store: SqlExperiments, flags: SqlFlags, database: Database
) -> None:
    trial = SqlExperiments(database, trial=True)
    assert (await trial.create("graph", "definition", ANN)).state is ExperimentState.DRAFT
    assert await store.list() == []

    await store.create("graph", "definition", ANN)
    assert (await trial.start("graph", FLAG, START)).flag_version == 1
    assert (await store.get("graph")).state is ExperimentState.DRAFT
    assert await flags.get(MAIN_ROLLOUT) is None


async def test_the_history_cannot_be_rewritten(store: SqlExperiments, database: Database) -> None:
    await store.create("graph", "definition", ANN)
    for change in ("DELETE FROM experiment_events", "UPDATE experiment_events SET author = 'eve'"):
        with pytest.raises(IntegrityError, match="only added to"):
            async with database.write() as connection:
                await connection.execute(sa.text(change))


async def test_variants_of_before_the_start_do_not_stick(store: SqlExperiments, database: Database) -> None:
    assignments = SqlAssignments(database)
    await assignments.keep(MAIN_ROLLOUT, "u1", "papers", instead_of="", at=NOON - HOUR)
    await assignments.keep("ranking", "u1", "fast", instead_of="", at=NOON - HOUR)
    await started(store)
    assert await assignments.assigned("u1") == {"ranking": "fast"}


async def test_variants_of_an_experiment_do_not_outlive_it(
    store: SqlExperiments, flags: SqlFlags, database: Database
) -> None:
    assignments = SqlAssignments(database)
    await flags.create(ab_test(web=10, papers=90), ANN)
    await started(store)
    await assignments.keep(MAIN_ROLLOUT, "u1", "papers", instead_of="", at=NOON)
    await store.stop("graph", STOP)
    assert await assignments.assigned("u1") == {}


# what was seen


class Service:
    """Does what the oracle does for a question whose engine the flag chose."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def exposed(
        self, user: str = "u1", variant: str = "web", *, at: datetime = NOON + MINUTE, version: int = 1
    ) -> Question:
        question = Question(text="What is alanine?", user_id=user, thread_id="t1", asked_at=at)
        exposure = Exposure(flag=MAIN_ROLLOUT, version=version, variant=variant, engine="perplexity")
        await SqlExposures(self._database).expose(question, exposure)
        return question

    async def booked(
        self,
        question: Question,
        *,
        outcome: str = "answered",
        missed: bool | None = False,
        quality: float | None = 0.8,
        seconds: float = 2.0,
    ) -> None:
        answer = None if outcome in ("failed", "stopped") else answer_of(quality, answered=outcome == "answered")
        measured = Measured(variant="web", failed=missed, seconds=seconds, quality=quality, cost_usd=0.01)
        await SqlLedger(self._database).record(question, answer, outcome=outcome, seconds=seconds, measured=measured)

    async def thumb(self, question: Question, thumb: Thumb | None, *, at: datetime | None = None) -> None:
        at = at or question.asked_at + MINUTE
        feedback = Feedback(question_id=question.id, user_id=question.user_id, thumb=thumb, comment="", at=at)
        await SqlFeedback(self._database).give(feedback)


def answer_of(quality: float | None, *, answered: bool) -> Answer:
    return Answer(
        text="Alanine rises [1].",
        answered=answered,
        language="en",
        engine="perplexity",
        model="m",
        reason="variant:web",
        citations=(),
        cost_usd=0.01,
        seconds=2.0,
        quality=None
        if quality is None
        else Quality(relevance=0.9, accuracy=0.5, consistency=0.75, composite=quality, badge=Badge.GOOD, sentences=()),
    )


@pytest.fixture
def service(database: Database) -> Service:
    return Service(database)


async def seen(store: SqlExperiments, now: datetime = LATER) -> list[Observation]:
    return list(await store.observations("graph", now=now))


async def test_a_question_is_seen_with_its_person_arm_time_weights_and_measures(
    store: SqlExperiments, service: Service
) -> None:
    await started(store)
    question = await service.exposed()
    await service.booked(question)
    await service.thumb(question, Thumb.UP)

    (only,) = await seen(store)
    assert dataclasses.replace(only, revised=()) == Observation(
        user="u1",
        arm="web",
        at=NOON + MINUTE + timedelta(seconds=2),
        weights=HALVES,
        metrics={
            "impression": 1,
            "conversion": 1,
            "error": 0,
            "response_time_ms": 2000,
            "quality_score": 0.8,
            "satisfaction": 1,
            "cost_usd": 0.01,
        },
    )


async def test_a_thumb_that_was_taken_back_does_not_count(store: SqlExperiments, service: Service) -> None:
    await started(store)
    question = await service.exposed()
    await service.booked(question)
    await service.thumb(question, Thumb.DOWN)
    assert (await seen(store))[0].metrics["conversion"] == 0
    await service.thumb(question, None)
    (only,) = await seen(store)
    assert (only.metrics["conversion"], "satisfaction" in only.metrics) == (1, False)


async def test_a_thumb_counts_from_the_moment_it_was_given(store: SqlExperiments, service: Service) -> None:
    await started(store)
    question = await service.exposed()
    await service.booked(question)
    await service.thumb(question, Thumb.UP)
    await service.thumb(question, Thumb.DOWN, at=question.asked_at + HOUR)

    (only,) = await seen(store)
    moments = (question.asked_at, question.asked_at + MINUTE, question.asked_at + HOUR)
    then = [only.as_known(moment).metrics for moment in moments]
    assert [metrics.get("satisfaction") for metrics in then] == [None, 1, 0]
    assert [metrics["conversion"] for metrics in then] == [1, 1, 0]
    assert then[-1] == only.metrics


async def test_what_is_seen_later_never_comes_before_what_was_seen(store: SqlExperiments, service: Service) -> None:
    await started(store)
    slow = await service.exposed("slow", at=NOON + MINUTE)
    lost = await service.exposed("lost", at=NOON + 2 * MINUTE)
    await service.booked(await service.exposed("quick", at=NOON + 3 * MINUTE))
    before = await seen(store, now=NOON + 4 * MINUTE)
    await service.booked(slow, seconds=600)
    after = await seen(store, now=lost.asked_at + HOUR)

    assert [each.user for each in before] == ["quick"]
    assert [each.user for each in after] == ["quick", "slow", "lost"]
    assert after[0] == before[0]


async def test_an_arm_that_is_served_otherwise_than_at_the_start_is_another_one(
    store: SqlExperiments, flags: SqlFlags, service: Service
) -> None:
    await started(store)
    web, papers = FLAG.variants
    other = dataclasses.replace(papers, config_overrides={"top_k": 3})
    await flags.update(dataclasses.replace(FLAG, variants=(web, other)), ANN, version=1)
    for version in (1, 2):
        for variant in ("web", "papers"):
            await service.exposed(f"{variant}{version}", variant, version=version)
    assert [each.arm for each in await seen(store)] == ["web", "papers", "web", "papers of version 2"]


async def test_an_engine_that_was_stood_in_for_is_an_error_of_its_arm(store: SqlExperiments, service: Service) -> None:
    await started(store)
    await service.booked(await service.exposed(), missed=True)
    (only,) = await seen(store)
    assert (only.metrics["error"], only.metrics["conversion"]) == (1, 1)


async def test_a_question_that_is_not_booked_is_waited_for_and_then_lost(
    store: SqlExperiments, service: Service
) -> None:
    await started(store)
    question = await service.exposed()
    assert await seen(store, now=question.asked_at + HOUR - MINUTE) == []
    (only,) = await seen(store, now=question.asked_at + HOUR)
    assert (only.metrics["error"], only.metrics["quality_score"]) == (1, None)


async def test_only_what_the_experiment_s_flag_led_somewhere_while_it_ran_is_seen(
    store: SqlExperiments, flags: SqlFlags, service: Service
) -> None:
    await flags.create(ab_test(web=1, papers=1), ANN)
    await started(store)
    await service.exposed("before", version=1)  # a process that had not heard of the start yet
    await service.exposed("outside", variant="", version=2)
    await service.exposed("inside", version=2)
    await store.stop("graph", STOP)
    await service.exposed("after", version=2, at=STOP.at)
    assert [each.user for each in await seen(store, now=STOP.at + 2 * HOUR)] == ["inside"]


async def test_a_question_asked_before_the_stop_and_led_by_the_flag_of_after_it_is_not_seen(
    store: SqlExperiments, flags: SqlFlags, service: Service
) -> None:
    await flags.create(ab_test(old=1, new=1), ANN)
    await started(store)
    await service.exposed("inside", version=2)
    await store.stop("graph", STOP)
    await service.exposed("under way", variant="old", version=3, at=STOP.at - timedelta(seconds=1))
    assert [each.user for each in await seen(store, now=STOP.at + 2 * HOUR)] == ["inside"]


async def test_each_question_has_the_weights_by_which_it_was_assigned_and_its_place_in_time(
    store: SqlExperiments, flags: SqlFlags, service: Service
) -> None:
    await started(store)
    await flags.update(ab_test(web=10, papers=90), ANN, version=1)
    await service.exposed("second", version=2, at=NOON + 2 * HOUR)
    await service.exposed("first", version=1, at=NOON + HOUR)
    assert [(each.user, each.weights) for each in await seen(store)] == [
        ("first", HALVES),
        ("second", {"web": 10, "papers": 90}),
    ]


async def test_a_draft_has_seen_nothing(store: SqlExperiments, service: Service) -> None:
    await store.create("graph", "definition", ANN)
    await service.exposed()
    assert await seen(store) == []
