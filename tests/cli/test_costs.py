"""What `cmo costs` prints, for people, programs and spreadsheets."""

import asyncio
import csv
import io
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cmo.cli.app import app
from cmo.policy.budget import Limits
from cmo.storage.budget import SqlBudget
from cmo.storage.database import Database, migrate
from cmo.storage.ledger import SqlLedger
from cmo.values import Answer, CallOutcome, CallStage, ModelCall, Question

WEB = "perplexity/sonar"


class Now:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


def run(storage: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["costs", "--storage", str(storage), *arguments])


def document(storage: Path, *arguments: str) -> dict[str, Any]:
    result = run(storage, "--json", *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    found: dict[str, Any] = json.loads(result.stdout)
    return found


async def _spend(storage: Path, *users: str) -> None:
    url = f"sqlite+aiosqlite:///{storage / 'cmo.sqlite3'}"
    await migrate(url)
    database = Database(url)
    budget = SqlBudget(database, Limits(), clock=Now(), alert_share=0.8)
    for user_id in users:
        call = ModelCall(
            engine="perplexity",
            model=WEB,
            stage=CallStage.ANSWER,
            outcome=CallOutcome.OK,
            tokens_in=1_200,
            tokens_out=300,
            cost_usd=0.0028,
        )
        question = Question(text="?", user_id=user_id, thread_id="t", asked_at=datetime.now(UTC))
        answer = Answer(
            text="Yes [1].",
            answered=True,
            language="en",
            engine="perplexity",
            model=WEB,
            reason="rollout",
            citations=(),
            cost_usd=call.cost_usd,
            seconds=1.0,
        )
        await SqlLedger(database).record(question, answer, outcome="answered", seconds=1.0, calls=[call])
        await budget.settle(await budget.reserve(user_id, 0.01), call.cost_usd)
    await database.close()


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which two people asked three questions today."""
    monkeypatch.chdir(tmp_path)
    asyncio.run(_spend(tmp_path, "ann", "ann", "ben"))
    return tmp_path


def test_people_see_a_table_a_bar_for_each_row_the_budgets_and_advice(storage: Path) -> None:
    result = run(storage, "--by", "user")

    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["ann", "2", "2", "2", "2,400", "600", "$0.0056", "$0.0000", "$0.0028"] in lines
    assert ["total", "3", "3", "3", "3,600", "900", "$0.0084", "$0.0000", "$0.0028"] in lines
    bars = {line[0]: len(line[1]) for line in lines if line and line[-1].startswith("$") and set("━-") & set(line[1])}
    assert bars == {"ann": 40, "ben": 20}
    assert "Today: $0.0084 spent, no limit." in result.stdout
    assert "LIGHTRAG_DAILY_BUDGET" in result.stdout


def test_budgets_are_those_of_the_settings(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIGHTRAG_DAILY_BUDGET", "1")
    monkeypatch.setenv("CMO_USER_DAILY_BUDGET", "0.01")

    text = run(storage, "--user", "ann").stdout
    budgets = {budget["scope"]: budget for budget in document(storage, "--user", "ann")["budgets"]}

    assert "Today: $0.0084 of $1.00 spent; starts anew on " in text
    assert "This person today: $0.0056 of $0.01 spent; starts anew on " in text
    assert (budgets["day"]["spent_usd"], budgets["day"]["limit_usd"]) == (0.0084, 1.0)
    assert (budgets["user_day"]["spent_usd"], budgets["user_day"]["limit_usd"]) == (0.0056, 0.01)
    assert budgets["month"]["limit_usd"] is None


def test_programs_get_one_document(storage: Path) -> None:
    found = document(storage, "--by", "engine")

    assert (found["by"], found["user"]) == ("engine", None)
    assert found["rows"] == [
        {
            "engine": "perplexity",
            "questions": 3,
            "answers": 3,
            "cached": 0,
            "calls": 3,
            "tokens_in": 3_600,
            "tokens_cached": 0,
            "tokens_out": 900,
            "cost_usd": 0.0084,
            "wasted_usd": 0.0,
            "estimated_usd": 0.0,
            "per_answer_usd": 0.0028,
        }
    ]
    assert {"engine": "perplexity", **found["total"]} == found["rows"][0]


@pytest.mark.parametrize("by", ["day", "engine", "model", "user", "stage"])
def test_spreadsheets_get_the_same_rows_as_programs(storage: Path, by: str) -> None:
    result = run(storage, "--by", by, "--csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))

    assert result.exit_code == 0
    for row, expected in zip(rows, document(storage, "--by", by)["rows"], strict=True):
        assert list(row) == list(expected)
        assert row[by] == expected[by]
        assert float(row["cost_usd"]) == expected["cost_usd"]
        assert int(row["tokens_in"]) == expected["tokens_in"]


@pytest.mark.parametrize("user_id", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_name_becomes_a_formula_in_a_spreadsheet(storage: Path, user_id: str) -> None:
    asyncio.run(_spend(storage, user_id))

    result = run(storage, "--by", "user", "--csv")

    cells = [row[0] for row in csv.reader(io.StringIO(result.stdout, newline=""))]
    assert f"'{user_id}" in cells
    assert user_id not in cells


def test_a_name_cannot_steer_the_terminal(storage: Path) -> None:
    asyncio.run(_spend(storage, "\x1b[2Jeve"))

    assert "\x1b" not in run(storage, "--by", "user").stdout


def test_an_empty_ledger_says_so_and_is_no_failure(storage: Path) -> None:
    long_ago = ("--since", "2020-01-01", "--until", "2020-01-31")

    assert run(storage, *long_ago).exit_code == 0
    assert "The ledger is empty for 2020-01-01 to 2020-01-31" in run(storage, *long_ago).stdout
    assert document(storage, *long_ago)["rows"] == []
    assert len(run(storage, "--csv", *long_ago).stdout.splitlines()) == 1


def test_looking_makes_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(tmp_path / "storage")

    assert result.exit_code == 0
    assert "The ledger is empty" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_without_dates_the_last_thirty_days_are_shown(storage: Path) -> None:
    found = document(storage)

    assert found["until"] == found["rows"][-1]["day"]
    assert (datetime.fromisoformat(found["until"]) - datetime.fromisoformat(found["since"])).days == 29


def test_a_database_that_cannot_be_read_is_exit_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cmo.sqlite3").write_bytes(b"This is not a database. " * 100)

    told, as_json = run(tmp_path), run(tmp_path, "--json")

    assert (told.exit_code, as_json.exit_code) == (1, 1)
    assert "cmo.sqlite3 cannot be used" in " ".join(told.stderr.split())
    assert "cmo.sqlite3 cannot be used" in json.loads(as_json.stdout)["error"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--by", "colour"),
        ("--since", "yesterday"),
        ("--since", "2026-02-30"),
        ("--since", "2026-02-02", "--until", "2026-02-01"),
        ("--json", "--csv"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert run(tmp_path, *arguments).exit_code == 2


def test_no_model_is_loaded_and_no_price_list() -> None:
    code = "import sys, cmo.cli.costs; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert set(done.stdout.split()).isdisjoint({"onnxruntime", "lightrag", "chainlit", "openai", "genai_prices"})
