"""Where flags led people and what came of it, written down and read again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from cmo.errors import StorageUnavailable
from cmo.policy.gates import Observed
from cmo.storage.database import Database
from cmo.storage.exposures import Seen, SqlExposures, last_measurement, seen_since
from cmo.storage.feedback import SqlFeedback
from cmo.storage.ledger import SqlLedger
from cmo.values import Answer, Exposure, Feedback, Measured, Question, Thumb

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FLAG = "lightrag_rollout"
HOME = Exposure(flag=FLAG, version=2, variant="", engine="lightrag")
MEASURED = Measured(variant="", failed=False, seconds=2.5, quality=0.8, cost_usd=0.001)
ANSWER = Answer(
    text="Alanine is an amino acid [1].",
    answered=True,
    language="en",
    engine="lightrag",
    model="embedded",
    reason="rollout",
    citations=(),
    cost_usd=0.001,
    seconds=2.5,
)


def question(name: str, at: datetime = NOON) -> Question:
    return Question(text="?", user_id=f"user of {name}", thread_id="t", asked_at=at, id=name)


async def expose(database: Database, name: str, exposure: Exposure = HOME, *, at: datetime = NOON) -> None:
    await SqlExposures(database).expose(question(name, at), exposure)


async def book(database: Database, name: str, measured: Measured | None = MEASURED) -> None:
    await SqlLedger(database).record(question(name), ANSWER, outcome="answered", seconds=2.5, measured=measured)


async def thumb(database: Database, name: str, given: Thumb | None, comment: str = "") -> None:
    said = Feedback(question_id=name, user_id=f"user of {name}", thumb=given, comment=comment, at=NOON)
    await SqlFeedback(database).give(said)


async def seen(database: Database, after: int = 0, since: datetime = NOON) -> tuple[Seen, ...]:
    return await database.look(partial(_seen, after, since))


def _seen(after: int, since: datetime, connection: object) -> tuple[Seen, ...]:
    return seen_since(connection, after, flag=FLAG, since=since)  # type: ignore[arg-type]


async def test_what_was_measured_is_seen_with_where_the_flag_had_led(database: Database) -> None:
    await expose(database, "a")
    await expose(database, "b", replace(HOME, variant="control", engine="perplexity"))
    await book(database, "b", replace(MEASURED, variant="control", failed=True, quality=None))
    await book(database, "a")

    assert await seen(database) == (
        Seen(
            engine="perplexity",
            variant="control",
            observed=Observed(number=1, failed=True, seconds=2.5, cost_usd=0.001),
        ),
        Seen(
            engine="lightrag",
            variant="",
            observed=Observed(number=2, failed=False, seconds=2.5, quality=0.8, cost_usd=0.001),
        ),
    )


async def test_each_look_sees_what_came_since_the_one_before(database: Database) -> None:
    for name in "abc":
        await expose(database, name)
        await book(database, name)

    assert [each.observed.number for each in await seen(database, 1)] == [2, 3]
    assert await database.look(last_measurement) == 3


async def test_exposures_of_another_flag_or_of_before_are_not_seen(database: Database) -> None:
    await expose(database, "a", replace(HOME, flag="another"))
    await expose(database, "b", at=NOON - timedelta(seconds=1))
    await book(database, "a")
    await book(database, "b")

    assert await seen(database) == ()


async def test_an_exposure_stays_when_nothing_comes_of_it(database: Database) -> None:
    await expose(database, "a")

    rows = await database.look(lambda connection: connection.exec_driver_sql("SELECT * FROM exposures").all())
    assert [(row.question_id, row.user_id, row.flag_version, row.engine) for row in rows] == [
        ("a", "user of a", 2, "lightrag")
    ]


async def test_questions_that_no_flag_was_asked_for_leave_no_measurement(database: Database) -> None:
    await book(database, "a", None)
    await thumb(database, "a", Thumb.UP)

    assert await database.look(last_measurement) == 0


async def test_a_thumb_is_a_measurement_of_its_own_once_for_each_change_of_mind(database: Database) -> None:
    await expose(database, "a")
    await book(database, "a")
    await thumb(database, "a", Thumb.UP)
    await thumb(database, "a", None)
    await thumb(database, "a", Thumb.UP, comment="The same, with a reason.")
    await thumb(database, "a", Thumb.DOWN)
    await thumb(database, "a", None)

    thumbs = [each.observed for each in await seen(database, 1)]
    assert [(each.failed, each.satisfied) for each in thumbs] == [(None, True), (None, False)]


async def test_the_calls_of_a_question_are_booked_with_its_variant(database: Database) -> None:
    from tests.test_pipeline import CALL

    measured = replace(MEASURED, variant="local")
    await SqlLedger(database).record(
        question("a"), ANSWER, outcome="answered", seconds=2.5, calls=[CALL], measured=measured
    )

    rows = await database.look(lambda connection: connection.exec_driver_sql("SELECT variant FROM calls").all())
    assert [row.variant for row in rows] == ["local"]


async def test_a_database_that_is_gone_is_told(database: Database) -> None:
    await database.book(lambda connection: connection.exec_driver_sql("DROP TABLE exposures"))

    with pytest.raises(StorageUnavailable, match="exposure could not be kept"):
        await expose(database, "a")
