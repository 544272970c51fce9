"""What `cmo feedback` lists."""

import asyncio
import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cmo.cli.app import app
from cmo.storage.database import Database, migrate
from cmo.storage.feedback import SqlFeedback
from cmo.storage.ledger import SqlLedger
from cmo.values import Answer, Badge, Decision, Feedback, Quality, Question, Thumb

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
QUALITY = Quality(relevance=0.9, accuracy=0.8, consistency=0.9, composite=0.87, badge=Badge.GOOD, sentences=())
ANSWER = Answer(
    text="Glucose rises [1].",
    answered=True,
    language="en",
    engine="lightrag",
    model="m",
    reason="rollout",
    citations=(),
    cost_usd=0.0123,
    seconds=0.5,
    decision=Decision(engine="lightrag", reason="rollout", bucket=1.5, configuration="0123"),
    quality=QUALITY,
)


async def _give(storage: Path, *said: tuple[Thumb, str]) -> None:
    url = f"sqlite+aiosqlite:///{storage / 'cmo.sqlite3'}"
    await migrate(url)
    database = Database(url)
    for minute, (thumb, comment) in enumerate(said):
        asked = Question(text="What?", user_id="[/]ann", thread_id="t", asked_at=NOON, id=f"q{minute}")
        await SqlLedger(database).record(asked, ANSWER, outcome="answered", seconds=1.0)
        at = NOON + timedelta(minutes=minute)
        given = Feedback(question_id=asked.id, user_id="[/]ann", thumb=thumb, comment=comment, at=at)
        await SqlFeedback(database).give(given)
    await database.close()


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a thumb up and, later, a thumb down."""
    monkeypatch.chdir(tmp_path)
    asyncio.run(_give(tmp_path, (Thumb.UP, ""), (Thumb.DOWN, "=1+1 [/]\nbad")))
    return tmp_path


def run(storage: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["feedback", "--storage", str(storage), *arguments], env={"COLUMNS": "160"})


def test_people_see_the_newest_first_with_engine_quality_and_cost(storage: Path) -> None:
    result = run(storage)

    assert result.exit_code == 0
    assert [" ".join(line.split()) for line in result.stdout.splitlines()] == [
        "when thumb person engine quality cost comment",
        "2026-03-01 12:01 down [/]ann lightrag (rollout) 0.87 $0.0123 =1+1 [/] bad",
        "2026-03-01 12:00 up [/]ann lightrag (rollout) 0.87 $0.0123",
    ]


def test_programs_get_the_whole_decision_and_no_more_than_asked_for(storage: Path) -> None:
    (found,) = json.loads(run(storage, "--json", "--limit", "1").stdout)

    assert (found["question_id"], found["thumb"], found["comment"]) == ("q1", "down", "=1+1 [/]\nbad")
    assert (found["engine"], found["composite"], found["cost_usd"]) == ("lightrag", 0.87, 0.0123)
    assert (found["decision"]["reason"], found["decision"]["bucket"]) == ("rollout", 1.5)


def test_a_comment_is_no_formula_in_a_spreadsheet(storage: Path) -> None:
    newest, oldest = csv.DictReader(io.StringIO(run(storage, "--csv").stdout, newline=""))

    assert (newest["comment"], newest["thumb"]) == ("'=1+1 [/]\nbad", "down")
    assert (oldest["comment"], oldest["composite"]) == ("", "0.87")


def test_without_any_feedback_that_is_said_and_no_database_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert "Nobody has said anything" in run(tmp_path).stdout
    assert json.loads(run(tmp_path, "--json").stdout) == []
    assert list(tmp_path.iterdir()) == []


def test_one_form_is_chosen(storage: Path) -> None:
    assert run(storage, "--csv", "--json").exit_code == 2
