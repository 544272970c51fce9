"""What `cmo shadow` prints, for people and for programs."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cmo.cli.app import app
from cmo.policy.shadow import LEAST_PEOPLE, Given, Outcome, Shadowed
from cmo.storage.database import Database, migrate
from cmo.storage.ledger import SqlLedger
from cmo.storage.shadow import SqlShadow
from cmo.values import Question

NOW = datetime.now(UTC)


def run(storage: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["shadow", "--storage", str(storage), *arguments])


def document(storage: Path, *arguments: str) -> dict[str, Any]:
    result = run(storage, "--json", *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    found: dict[str, Any] = json.loads(result.stdout)
    return found


async def _shadow(storage: Path, people: int) -> None:
    """A question of each of these people, a worse answer in the shadow of each; and one too dear ten days ago."""
    url = f"sqlite+aiosqlite:///{storage / 'cmo.sqlite3'}"
    await migrate(url)
    database = Database(url)
    store, ledger = SqlShadow(database, daily_usd=1.0), SqlLedger(database)
    for number in range(people):
        question = Question(text="?", user_id=f"user{number}", thread_id="t", asked_at=NOW, id=f"q{number}")
        await ledger.record(question, None, outcome="answered", seconds=1.0)
        given = Given(
            question_id=question.id, engine="lightrag", answered=True, quality=0.8, cost_usd=0.002, seconds=1.5
        )
        row = await store.begin(given, "perplexity", ceiling_usd=0.02, at=NOW)
        assert row is not None
        quality = 0.6 + 0.01 * (number % 2)
        shadowed = Shadowed(outcome=Outcome.ANSWERED, quality=quality, overlap=0.4, cost_usd=0.01, seconds=4.0)
        await store.end(row, shadowed)
    assert await store.begin(given, "perplexity", ceiling_usd=2.0, at=NOW - timedelta(days=10)) is None
    await database.close()


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_people_read_how_good_how_alike_how_dear_and_how_fast_the_shadow_was(storage: Path) -> None:
    asyncio.run(_shadow(storage, LEAST_PEOPLE))

    result = run(storage)

    assert result.exit_code == 0
    assert "Today: $0.20 of $0.50 spent or set aside." in result.stdout
    assert "Answers of lightrag, perplexity in the shadow" in result.stdout
    assert "21 questions: 20 answered, 1 not asked for want of budget." in result.stdout
    assert "lightrag 0.800, 0.800; perplexity 0.605, 0.605; mean difference -0.195, 95 % interval -0." in result.stdout
    assert "The answers of perplexity were worse than chance explains." in result.stdout
    assert "Words in common, mean of 20 pairs: 40%." in result.stdout
    assert "lightrag $0.0020, perplexity $0.0100" in result.stdout
    assert "1.5 s and 4.0 s" in result.stdout


def test_too_little_to_tell_is_said_plainly(storage: Path) -> None:
    asyncio.run(_shadow(storage, 3))

    text = run(storage).stdout

    assert f"Too little to tell: 3 pairs come from 3 of at least {LEAST_PEOPLE} people." in text
    assert "interval" not in text


def test_programs_get_one_document(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(_shadow(storage, 3))
    monkeypatch.setenv("CMO_SHADOW_DAILY_BUDGET_USD", "2")

    found = document(storage, "--days", "2")

    assert (found["budget_usd"], found["spent_today_usd"]) == (2.0, pytest.approx(0.03))
    assert found["since"] == str((NOW - timedelta(days=1)).date())
    (direction,) = found["directions"]
    assert (direction["engine"], direction["shadow"], direction["questions"]) == ("lightrag", "perplexity", 3)
    assert direction["outcomes"] == {**dict.fromkeys(map(str, Outcome), 0), "answered": 3}
    assert (direction["quality"]["pairs"], direction["quality"]["interval"]) == (3, None)
    assert direction["finding"].startswith("Too little to tell")
    assert (direction["figures"]["overlap"], direction["figures"]["shadow_seconds"]) == (pytest.approx(0.4), 4.0)


def test_before_any_question_nothing_is_made_and_the_flag_is_named(storage: Path) -> None:
    result = run(storage)

    assert result.exit_code == 0
    assert "shadow_mode" in result.stdout
    assert document(storage)["directions"] == []
    assert list(storage.iterdir()) == []


def test_no_days_are_wrong_usage(storage: Path) -> None:
    assert run(storage, "--days", "0").exit_code == 2
