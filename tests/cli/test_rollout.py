"""What `cmo rollout plan` prints, and what it refuses."""

import json

import pytest
from typer.testing import CliRunner, Result

from cmo.cli.app import app


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["rollout", "plan", *arguments], env={"COLUMNS": "200"})


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
