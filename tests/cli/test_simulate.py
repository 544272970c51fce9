"""Simulated rollouts: healthy engines stay, broken ones go soon, and the naive rule gets both wrong. Simulated months:
all parts together do what each does alone."""

import asyncio
import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cmo.cli.app import app
from cmo.cli.simulated_engines import Behaviour
from cmo.cli.simulated_month import ENGINES, Scenario, lived
from cmo.cli.simulated_people import Crowd
from cmo.cli.simulated_rollout import Course, Service, simulated
from cmo.cli.simulated_trials import RolloutTrial
from cmo.cli.simulated_world import Rules
from cmo.policy.breaker import BreakerRules, QualityRules
from cmo.policy.budget import Limits
from cmo.policy.gates import GUARDRAILS, Criterion, Measure, Role
from cmo.policy.rollout import Hold, RolloutState
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


def test_an_engine_within_its_limits_but_worse_than_the_matched_control_is_held() -> None:
    limits = (Criterion(measure=Measure.ERROR_RATE, limit=0.2),)
    compared = replace(canary(start=50, hours=2), criteria=limits)
    worse = replace(HEALTHY, error_rate=0.13)
    (held,), _ = courses(worse, runs=1, per_minute=10, plan=compared)
    (passed,), _ = courses(worse, runs=1, per_minute=10, plan=replace(compared, matched_control=False))

    assert (held.completed_minute, held.rolled_back_minute, held.holds) == (None, None, {Hold.INCONCLUSIVE})
    assert passed.completed_minute is not None
    assert held.answers < 0.3 * 10 * 1440  # of half of the share


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


IN_TWO_STEPS = ("--share", "80", "--share", "100", "--hours", "2")

A_A = """
name = "a_a"
hypothesis = "Both engines are alike."
duration_days = 30
planned_users_per_arm = 8
looks = 2

[[arms]]
name = "perplexity"
weight = 50
overrides = { engine = "perplexity" }

[[arms]]
name = "lightrag"
weight = 50

[primary]
name = "quality_score"
kind = "mean"
missing = 0.0
"""


def month(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["simulate", "month", *arguments], env={"COLUMNS": "200"})


def lived_through(*arguments: str) -> dict[str, Any]:
    result = month("--json", *arguments)
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def told(found: dict[str, Any], subject: str) -> list[str]:
    """What happened of one kind, in the order of time."""
    return [each["words"] for each in found["happenings"] if each["subject"] == subject]


@pytest.fixture
def plan(tmp_path: Path) -> Callable[..., str]:
    def make(*arguments: str) -> str:
        file = tmp_path / "plan.json"
        planned = CliRunner().invoke(app, ["rollout", "plan", "--json", *arguments])
        file.write_bytes(planned.stdout_bytes)
        return str(file)

    return make


def test_a_month_brings_a_healthy_engine_to_everybody(plan: Callable[..., str]) -> None:
    file = plan(*IN_TWO_STEPS, "--approve", "80")
    found = lived_through("--days", "1", "--questions-per-day", "80", "--plan", file, "--engine", "lightrag:error=0")

    assert found["rollout"] == {"phase": "completed", "stage": 2, "percentage": 100.0}
    assert told(found, "rollout")[0] == "started: 80 % of people."
    assert "completed: From 80 % to 100 %." in told(found, "rollout")


def test_a_month_takes_an_engine_with_15_percent_errors_back_from_everybody(plan: Callable[..., str]) -> None:
    found = lived_through("--days", "1", "--plan", plan(*IN_TWO_STEPS), "--engine", "lightrag:error=0.15")

    assert found["rollout"]["percentage"] == 0.0
    assert told(found, "rollout")[-1].startswith("rolled back: error rate ")
    assert found["reasons"] == {"rollout": found["questions"]}


def test_while_an_engine_is_down_its_breaker_opens_and_the_other_one_answers() -> None:
    found = lived_through(
        *("--days", "1", "--questions-per-day", "80"),
        *("--engine", "lightrag:error=0", "--outage", "perplexity:1.2:12"),
    )

    assert told(found, "engine") == ["perplexity is down.", "perplexity is up again."]
    assert "perplexity, calls: closed to open." in told(found, "breaker")
    assert told(found, "breaker")[-1] == "perplexity, calls: half open to closed."
    assert found["unanswered"] == 0
    assert found["reasons"]["circuit_open"] > 5


def test_a_small_budget_ends_in_what_costs_nothing_and_is_never_overspent() -> None:
    found = lived_through("--days", "2", "--questions-per-day", "40", "--daily-budget", "0.02")

    assert 0.01 < found["dearest_day_usd"] <= 0.02
    assert found["answered_for_nothing"] > 20
    assert told(found, "budget").count("From here on questions get only what costs nothing.") == 2


def test_an_emergency_ends_the_rollout_and_without_money_questions_are_refused(
    plan: Callable[..., str], tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    found = lived_through(
        *("--days", "1", "--questions-per-day", "30", "--plan", plan(*IN_TWO_STEPS), "--keep", str(kept)),
        *("--daily-budget", "0.02", "--emergency", "lightrag:1.2:20"),
    )
    history = CliRunner().invoke(app, ["rollout", "history", "--storage", str(kept), "--json"])

    assert told(found, "rollout")[-1] == "emergency: Emergency stop. A made-up emergency."
    assert found["refused_for_money"] > 0
    assert found["dearest_day_usd"] <= 0.02
    assert "emergency" in history.stdout


@pytest.mark.parametrize("folder", ["kept", "~/kept"])
def test_a_month_kept_is_never_mixed_with_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "cmo.sqlite3").touch()

    assert "has a database already" in " ".join(month("--keep", folder, "--days", "1").output.split())


def test_a_month_is_kept_only_where_there_can_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = month("--keep", str(tmp_path / "file" / "kept"), "--days", "1", "--json")

    assert result.exit_code == 1
    assert "cannot be made: Not a directory" in json.loads(result.stdout)["error"]


def test_equal_engines_have_no_winner_and_different_ones_do(tmp_path: Path) -> None:
    file = tmp_path / "a_a.toml"
    file.write_text(A_A, encoding="utf-8")
    small = ("--experiment", str(file), "--people", "40", "--questions-per-day", "60", "--days", "2", "--seed", "2")
    equal = lived_through(*small)
    different = lived_through(*small, "--engine", "lightrag:quality=0.95", "--engine", "perplexity:quality=0.7")

    assert equal["experiment"]["recommendation"] == "keep_perplexity"
    assert [look["crossed"] for look in equal["experiment"]["treatments"][0]["looks"]] == [False, False]
    assert different["experiment"]["recommendation"] == "deploy_lightrag"
    assert any("crossed." in words for words in told(different, "experiment"))


def test_equal_seeds_give_equal_months_and_others_different_ones() -> None:
    short = ("--days", "1", "--questions-per-day", "20")
    found = [lived_through(*short, "--seed", seed) for seed in ("3", "3", "4")]

    assert found[0] == found[1] != found[2]


def test_people_see_a_month_day_by_day() -> None:
    result = month("--days", "2", "--questions-per-day", "30", "--degrade", "lightrag:2:quality=0.4,error=0.5")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]

    assert result.exit_code == 0
    assert lines[0] == "day 1 00:00 rollout started: 5 % of people."
    assert "day 2 00:00 engine lightrag is different from now on: quality 0.4, error 0.5." in lines
    assert any(line.startswith("perplexity ") for line in lines)
    assert lines[-1] == "Rollout: running, 5 % of people."


@pytest.fixture
def hears_ctrl_c() -> Iterator[None]:
    """Tests that a shell has started in the background are deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("hears_ctrl_c")
def test_ctrl_c_ends_a_month_with_what_there_is_so_far(tmp_path: Path) -> None:
    crowd = Crowd(people=10, questions_per_day=20, alike=0.2)
    scenario = Scenario(days=1, crowd=crowd, engines=dict.fromkeys(ENGINES, Behaviour()))
    rules = Rules(
        salt="",
        rollout_percentage=0,
        fallback=True,
        answer_seconds=60,
        breaker=BreakerRules(),
        quality=QualityRules(threshold=0.5),
        second_opinion_below=0.6,
        limits=Limits(),
        alert_share=0.8,
    )

    def interrupt(days: float) -> None:
        if days > 0.3:
            signal.raise_signal(signal.SIGINT)

    ended = asyncio.run(lived(scenario, rules, partial(RolloutTrial, STAGED), folder=tmp_path, progress=interrupt))

    assert 0.3 < ended.days < 0.5
    assert 0 < len(ended.served) < 20
    assert isinstance(ended.ending, RolloutState)


@pytest.mark.parametrize(
    "arguments",
    [
        "--engine bing:error=0.1",
        "--engine lightrag:speed=3",
        "--engine lightrag:error=2",
        "--engine lightrag",
        "--outage lightrag:0:2",
        "--outage lightrag:two:2",
        "--degrade lightrag:2",
        "--emergency lightrag:2:-1",
        "--questions-per-day 3000",
        "--days 366 --questions-per-day 2000",
        "--plan a --experiment b",
    ],
)
def test_a_month_that_cannot_be_made_up_is_wrong_usage(arguments: str) -> None:
    assert month(*arguments.split()).exit_code == 2


def test_an_experiment_that_could_not_be_run_is_told_in_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "a_a.toml"
    file.write_text(A_A.replace("quality_score", "beauty"), encoding="utf-8")
    result = month("--experiment", str(file), "--json")

    assert result.exit_code == 1
    assert 'The metric "beauty" is not measured in service.' in json.loads(result.stdout)["error"]


@pytest.mark.soak
def test_longer_months_of_equal_engines_have_a_winner_in_hardly_any_case(tmp_path: Path) -> None:
    file = tmp_path / "a_a.toml"
    file.write_text(A_A.replace("planned_users_per_arm = 8", "planned_users_per_arm = 30"), encoding="utf-8")
    small = ("--experiment", str(file), "--days", "15", "--questions-per-day", "40")
    found = [lived_through(*small, "--seed", str(seed))["experiment"] for seed in range(10)]
    crossed = sum(any(look["crossed"] for look in each["treatments"][0]["looks"]) for each in found)

    assert all(len(each["treatments"][0]["looks"]) == 2 for each in found)
    assert crossed <= 3
