"""What `cmo rollout` shows, changes and refuses."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from typer.testing import CliRunner, Result

from cmo.cli import rollout_checks
from cmo.cli.app import app
from cmo.cli.checks import Status
from cmo.settings import load_settings
from cmo.storage.database import Database
from cmo.storage.rollouts import SqlRollouts
from tests.measured import pour

T = TypeVar("T")


def call(*arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(app, ["rollout", *arguments], env={"COLUMNS": "200"}, input=text)


def run(*arguments: str) -> Result:
    return call("plan", *arguments)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CMO_STORAGE_DIR", str(tmp_path / "storage"))
    return tmp_path


def told(command: str, *arguments: str, reason: str | None = "to try it", text: str | None = None) -> str:
    """What the command says when it goes well."""
    result = call(command, *arguments, *([] if reason is None else ["--reason", reason]), text=text)
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def shown(command: str, *arguments: str) -> Any:
    return json.loads(told(command, *arguments, "--json", reason=None))


def refused(*arguments: str, code: int = 1) -> str:
    result = call(*arguments)
    assert result.exit_code == code
    return " ".join(result.output.replace("│", " ").split())


def in_database(work: Callable[[Database], Awaitable[T]]) -> T:
    async def run_in_it() -> T:
        database = Database(load_settings().database)
        try:
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(run_in_it())


def answer(count: int, *, failed: bool = False) -> None:
    """So many answers, and a look of the application at them."""
    now = datetime.now(UTC)

    async def answered(database: Database) -> None:
        await database.book(lambda connection: pour(connection, count, at=now, failed=failed))
        await SqlRollouts(database).tick("server-1", now=now + timedelta(seconds=1), breaker_rests=0)

    in_database(answered)


# plans


def test_people_see_the_stages_and_what_rolls_back() -> None:
    result = run("--approve", "50", "--max-cost", "0.02")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]

    assert result.exit_code == 0
    assert lines[1] == "1 5 % after 0 h and 0 answers 1 h and 30 answers"
    assert lines[4] == "4 50 % after 7 h and 90 answers 8 h and 30 answers needed to go on"
    assert lines[5] == "5 100 % after 15 h and 120 answers -"
    assert lines[6].startswith("Rolled back on evidence against: error rate at most 5.0%; quality at least 0.60;")
    assert lines[7] == "Held on evidence against: cost per answer at most $0.0200."


def test_programs_get_the_plan_and_its_timetable() -> None:
    found = json.loads(run("--strategy", "linear", "--start", "50", "--increment", "25", "--json").stdout)

    assert [row["percentage"] for row in found["timetable"]] == [50, 75, 100]
    assert [row["earliest_hours"] for row in found["timetable"]] == [0, 2, 4]
    assert [row["answers_before"] for row in found["timetable"]] == [0, 30, 60]
    assert found["plan"]["strategy"] == "linear"
    assert [each["measure"] for each in found["plan"]["criteria"]] == [
        "error_rate",
        "quality",
        "p95_seconds",
        "breaker",
    ]


@pytest.mark.parametrize(
    ("arguments", "shares"),
    [
        ("--strategy exponential --start 10 --factor 3", [10, 30, 90, 100]),
        ("--strategy canary --start 2 --hours 48", [2, 100]),
        ("--share 10 --share 60 --hours 3", [10, 60]),
    ],
)
def test_each_strategy_takes_its_options(arguments: str, shares: list[float]) -> None:
    found = json.loads(run(*arguments.split(), "--json").stdout)

    assert [row["percentage"] for row in found["timetable"]] == shares


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("--strategy canary --increment 5", "--increment is not for canary"),
        ("--strategy linear --share 5", "--share is not for linear"),
        ("--strategy linear --hours 1 --hours 2", "give --hours once"),
        ("--hours 1", "Each stage but the last needs its hours"),
        ("--approve 7", "No stage to be left has a share of 7 %"),
        ("--max-error-rate 5", "The limit of error_rate is 5"),
        ("--strategy linear --increment 0", "grows by 1 or more"),
        ("--strategy jump", "--strategy"),
        ("--answers 0", "--answers"),
    ],
)
def test_plans_that_make_no_sense_are_wrong_usage(arguments: str, problem: str) -> None:
    result = run(*arguments.split())

    assert result.exit_code == 2
    assert problem in " ".join(result.output.replace("│", " ").split())


# rollouts


def test_without_a_rollout_looking_makes_nothing(folder: Path) -> None:
    assert told("status", reason=None) == "There is no rollout yet: `cmo rollout start` starts one."
    assert shown("status") is None
    assert "no such rollout" in refused("history")
    assert not (folder / "storage").exists()


def test_a_dry_run_tells_what_would_be_and_makes_nothing(folder: Path) -> None:
    said = told("start", "--share", "20", "--share", "100", "--hours", "3", "--dry-run")
    assert said == "Nothing is changed, this would be: Rollout 1 is running: stage 1 of 2, 20 %."
    assert not (folder / "storage").exists()


def test_status_tells_where_it_stands_what_gates_say_and_what_comes_next(folder: Path) -> None:
    assert told("start", "--approve", "5", "--author", "ann") == "Rollout 1 is running: stage 1 of 5, 5 %."
    assert "No process is looking at it" in told("status", reason=None)
    answer(12)

    said = told("status", reason=None)
    assert "Last: started," in said
    assert "by ann. to try it" in said
    assert "Answers in this stage: 12 of 30 needed." in said
    assert "error rate at most 5.0% error rate 0.0% 12 pass" in said
    assert "It does not move on yet: its time is not over; there are too few answers." in said
    assert "after 18 more answers, with approval, if all gates pass." in said
    assert "Watched by server-1, last look" in said

    found = shown("status")
    assert (found["phase"], found["stage"], found["stages"], found["percentage"]) == ("running", 1, 5, 5.0)
    assert (found["answers"], found["answers_needed"], found["holds"]) == (12, 30, ["time", "sample"])
    assert {gate["measure"]: gate["verdict"] for gate in found["gates"]} == dict.fromkeys(
        ("error_rate", "quality", "p95_seconds", "breaker"), "pass"
    )
    since = datetime.fromisoformat(found["since"])
    assert found["next"] == {
        "percentage": 15.0,
        "not_before": (since + timedelta(hours=1)).isoformat(),
        "answers_missing": 18,
        "needs_approval": True,
    }
    assert (found["watched_by"], found["overruled"]) == ("server-1", False)


def test_a_look_to_come_of_a_clock_that_was_set_back_is_no_look(folder: Path) -> None:
    told("start")
    later = datetime.now(UTC) + timedelta(days=1)
    in_database(lambda database: SqlRollouts(database).tick("server-1", now=later, breaker_rests=0))
    assert "No process is looking at it" in told("status", reason=None)


def test_people_approve_pause_resume_and_take_back(folder: Path) -> None:
    told("start", "--hours", "0", "--share", "20", "--share", "100", "--approve", "20")
    answer(30)
    said = told("status", reason=None)
    assert "Rollout 1 is waiting: stage 1 of 2, 20 %." in said
    assert "Next: 100 %, when somebody approves it: `cmo rollout approve`." in said

    assert told("approve", "--dry-run").startswith("Nothing is changed, this would be: Rollout 1 is running")
    assert "is running" in told("approve")
    assert "is paused" in told("pause", reason="a holiday")
    assert "Next: 100 %, not before it is resumed" in told("status", reason=None)
    assert "is running" in told("resume")
    assert told("rollback", reason="complaints") == "Rollout 1 is rolled back: stage 1 of 2, 0 %."

    said = told("status", reason=None)
    assert "Last: rolled back," in said
    assert "complaints" in said
    assert "Next:" not in said
    assert [event["kind"] for event in shown("history")] == [
        "rolled_back",
        "resumed",
        "paused",
        "approved",
        "waiting",
        "started",
    ]


def test_the_history_tells_by_which_readings_it_moved_also_of_earlier_rollouts(folder: Path) -> None:
    told("start", "--hours", "0", "--share", "20", "--share", "100")
    answer(30, failed=True)
    told("start", "--author", "bob")
    assert "started 1 5 % bob to try it" in told("history", reason=None)

    said = told("history", "--rollout", "1", reason=None)
    assert "rolled back 1 0 % rollout error rate 100.0%: beyond the limit, and not by chance" in said
    assert "error rate 100.0% (fail (proven))" in said
    (back, _) = shown("history", "--rollout", "1")
    assert (back["author"], back["percentage"]) == ("rollout", 0.0)
    assert {gate["measure"]: gate["values"] for gate in back["gates"]}["error_rate"] == 30
    assert "--rollout" in refused("history", "--rollout", "9" * 30, code=2)


def test_what_cannot_be_done_is_said_with_exit_code_1(folder: Path) -> None:
    told("start")
    assert "A rollout is under way." in refused("start", "--reason", "again")
    assert "There is nothing to approve: it is running." in refused("approve", "--reason", "go")
    assert json.loads(refused("resume", "--reason", "go", "--json"))["error"].startswith("The rollout stays as it is.")
    assert "Missing option '--reason'" in refused("pause", code=2)


def test_an_engine_that_is_stopped_is_brought_to_nobody(folder: Path) -> None:
    CliRunner().invoke(app, ["emergency", "stop", "--engine", "lightrag", "--reason", "wrong doses"])
    assert "The engine lightrag is stopped." in refused("start", "--reason", "to try it")
    CliRunner().invoke(app, ["emergency", "lift", "--reason", "corrected"])
    assert "is running" in told("start")


def test_the_doctor_names_what_somebody_should_look_at(folder: Path) -> None:
    def found() -> tuple[Status, str]:
        finding = asyncio.run(rollout_checks.rollout(load_settings()))
        return finding.status, finding.detail

    assert found() == (Status.OK, "There is none.")
    told("start", "--hours", "0", "--share", "20", "--share", "100", "--approve", "20", "--answers", "5")
    status, detail = found()
    assert status is Status.WARNING
    assert "No process is looking at it" in detail
    answer(5)
    assert found() == (
        Status.WARNING,
        "Rollout 1 is running: stage 1 of 2, 20 %. Held: a gate is inconclusive.",
    )
    answer(30)
    assert "Somebody has to approve its next stage." in found()[1]
    told("approve")
    answer(1)
    assert found() == (Status.OK, "Rollout 1 is completed: stage 2 of 2, 100 %.")


def test_flags_that_are_written_down_cannot_be_moved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMO_FLAGS_FROM", "environment")
    assert "The flags are written in CMO_FLAGS" in refused("start", "--reason", "to try it")


def test_a_plan_that_was_printed_can_be_started(folder: Path) -> None:
    printed = run("--strategy", "canary", "--start", "7", "--json").stdout
    assert told("start", "--plan", "-", text=printed) == "Rollout 1 is running: stage 1 of 2, 7 %."
    assert shown("status")["plan"] == json.loads(printed)["plan"]


@pytest.mark.parametrize(
    ("arguments", "problem", "code"),
    [
        ("--plan plan.json --answers 5", "--plan is the whole plan", 2),
        ("--plan missing.json", "missing.json: the plan cannot be read: No such file", 1),
        ("--plan plan.json", "it is no plan of `cmo rollout plan --json`", 1),
        ("--share 5 --share 100 --hours 1e12", "A stage takes 0 seconds to 366 days", 2),
    ],
)
def test_a_plan_that_cannot_be_read_is_refused(folder: Path, arguments: str, problem: str, code: int) -> None:
    (folder / "plan.json").write_text("[]")
    assert problem in refused("start", "--reason", "to try it", *arguments.split(), code=code)


def test_a_flag_that_somebody_changed_is_pointed_out(folder: Path) -> None:
    told("start", "--hours", "0", "--share", "20", "--share", "100", "--answers", "10")
    change = ["flags", "set", "lightrag_rollout", "--percentage", "3", "--reason", "complaints"]
    CliRunner().invoke(app, change)
    answer(1)
    said = told("status", reason=None)
    assert "Rollout 1 is paused" in said
    assert "Somebody has changed its flag: `cmo flags history lightrag_rollout`" in said
    told("resume")
    answer(30)
    assert "is completed" in told("status", reason=None)
    CliRunner().invoke(app, change)
    said = told("status", reason=None)
    assert "Its flag was changed since, so that it is watched no more." in said
    assert "Watched by" not in said
