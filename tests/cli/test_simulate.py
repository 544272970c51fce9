"""Simulated rollouts: healthy engines stay, broken ones go soon, and the naive rule gets both wrong."""

import json
from dataclasses import replace
from math import inf
from pathlib import Path
from statistics import median

import pytest
from typer.testing import CliRunner, Result

from cmo.cli.app import app
from cmo.cli.simulated_rollout import Course, Service, simulated
from cmo.policy.gates import GUARDRAILS, Criterion, Measure, Role
from cmo.policy.rollout import Hold
from cmo.policy.rollout_plan import RolloutPlan, canary, staged, with_approval


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["simulate", "rollout", *arguments], env={"COLUMNS": "200"})


STAGED = staged()
HEALTHY = Service(error_rate=0.03, quality=0.8, p95_seconds=6.0)
BROKEN = replace(HEALTHY, error_rate=0.15)


def courses(
    service: Service, *, runs: int, per_minute: float = 2.0, plan: RolloutPlan = STAGED
) -> tuple[list[Course], list[Course]]:
    return simulated(plan, service, per_minute=per_minute, days=1, runs=runs, seed=7)


def rolled_back(found: list[Course]) -> float:
    """The share of runs."""
    return sum(course.rolled_back_minute is not None for course in found) / len(found)


def answers_until(found: list[Course]) -> float:
    """The median over all runs; those that are never rolled back count as endless."""
    return median(course.answers if course.rolled_back_minute is not None else inf for course in found)


def test_a_healthy_service_stays_while_the_naive_rule_rolls_it_back_on_most_days() -> None:
    by_plan, by_rule = courses(HEALTHY, runs=20)

    assert rolled_back(by_plan) == 0
    assert rolled_back(by_rule) > 0.5
    assert sum(course.completed_minute is not None for course in by_plan) > 10


def test_a_broken_service_is_rolled_back_within_100_answers() -> None:
    by_plan, _ = courses(BROKEN, runs=40)

    assert answers_until(by_plan) <= 100
    assert {measure for course in by_plan for measure in course.broken} >= {Measure.ERROR_RATE}


@pytest.mark.soak
def test_at_full_size_a_healthy_day_is_hardly_ever_rolled_back_and_a_broken_one_within_100_answers() -> None:
    by_plan, by_rule = courses(HEALTHY, runs=1000)
    broken, _ = courses(BROKEN, runs=1000)

    assert rolled_back(by_plan) <= 0.01
    assert rolled_back(by_rule) > 0.5
    assert answers_until(broken) <= 100


@pytest.mark.parametrize(
    ("service", "measure"),
    [
        (BROKEN, Measure.ERROR_RATE),
        (replace(HEALTHY, quality=0.4), Measure.QUALITY),
        (replace(HEALTHY, p95_seconds=25.0), Measure.P95_SECONDS),
        (replace(HEALTHY, error_rate=0.9), Measure.BREAKER),
    ],
)
def test_each_guardrail_finds_alone_what_it_is_for(service: Service, measure: Measure) -> None:
    criteria = tuple(criterion for criterion in GUARDRAILS if criterion.measure is measure)
    by_plan, _ = courses(service, runs=4, per_minute=10, plan=replace(STAGED, criteria=criteria))

    assert [course.broken for course in by_plan] == [(measure,)] * 4


def test_without_questions_it_holds_and_says_so() -> None:
    by_plan, by_rule = courses(HEALTHY, runs=1, per_minute=0)

    assert by_plan == [Course(answers=0, holds=frozenset({Hold.NO_TRAFFIC}))]
    assert rolled_back(by_rule) == 0


def test_approvals_are_given_at_once() -> None:
    plan = with_approval(canary(hours=2), [5])
    by_plan, _ = courses(replace(HEALTHY, error_rate=0.001), runs=1, per_minute=20, plan=plan)

    assert by_plan[0].completed_minute is not None


def test_what_is_not_made_up_holds_nothing() -> None:
    signal = Criterion(measure=Measure.SATISFACTION, limit=0.7, role=Role.SIGNAL)
    with_signal = replace(STAGED, criteria=(*GUARDRAILS, signal))

    assert courses(HEALTHY, runs=1, plan=with_signal) == courses(HEALTHY, runs=1)


def test_equal_seeds_give_equal_results() -> None:
    assert courses(HEALTHY, runs=2) == courses(HEALTHY, runs=2)


def test_people_see_both_rules_side_by_side() -> None:
    result = run("--runs", "4", "--error-rate", "0.3")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]

    assert result.exit_code == 0
    assert lines[0].startswith("Engine: 30.0% errors, quality 0.80, 95 % of answers within 6 s. Plan: staged.")
    assert lines[2] == "rolled back rightly 4 of 4 (100.0%) 4 of 4 (100.0%)"
    assert any(line.startswith("Rolled back by (runs): ") for line in lines)


def test_rolling_back_a_service_within_all_limits_is_called_a_mistake() -> None:
    assert "rolled back by mistake" in run("--runs", "1").stdout


def test_programs_get_figures_for_a_plan_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    planned = CliRunner().invoke(app, ["rollout", "plan", "--strategy", "canary", "--hours", "2", "--json"])
    file.write_bytes(planned.stdout_bytes)
    found = json.loads(run("--plan", str(file), "--runs", "2", "--questions-per-minute", "20", "--json").stdout)

    assert found["within_limits"] is True
    assert found["gates"]["completed"] + found["gates"]["rolled_back"] == 2
    assert 2 <= found["gates"]["hours_until_completed"] < 6


def test_what_is_no_plan_is_told_in_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    missing = run("--plan", str(file))
    file.write_text("{}", encoding="utf-8")
    wrong = run("--plan", str(file), "--json")

    assert (missing.exit_code, wrong.exit_code) == (1, 1)
    assert "the plan cannot be read: No such file" in " ".join(missing.output.split())
    assert "it is no plan of" in json.loads(wrong.stdout)["error"]


@pytest.mark.parametrize(
    "arguments",
    [
        "--error-rate 3",
        "--runs 0",
        "--days 365 --runs 100000",
        "--days 365 --runs 1000 --questions-per-minute 0",
        "--quality 1",
    ],
)
def test_what_cannot_be_simulated_is_wrong_usage(arguments: str) -> None:
    assert run(*arguments.split()).exit_code == 2
