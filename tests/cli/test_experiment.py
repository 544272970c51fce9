"""What `cmo experiment` prints and does, and what it costs to start."""

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from cmo.bootstrap.flags import open_flags
from cmo.bootstrap.money import SystemClock, open_database
from cmo.cli.app import app
from cmo.cli.experiment_views import analysis_as_json, print_analysis
from cmo.cli.output import out
from cmo.dispatch.assignments import Assignments
from cmo.dispatch.experiment_file import read_definition
from cmo.policy.analysis import analyse
from cmo.policy.experiment import Experiment
from cmo.policy.flags import MAIN_ROLLOUT, FlagContext
from cmo.policy.measuring import Kind, Observation
from cmo.settings import load_settings
from cmo.storage.assignments import SqlAssignments
from cmo.storage.database import Database
from cmo.storage.exposures import SqlExposures
from cmo.storage.ledger import SqlLedger
from cmo.values import Answer, Exposure, Measured, Question

DEFINITION = """
name = "graph"
hypothesis = "The graph helps."
start = 2026-03-01
duration_days = 28
planned_users_per_arm = 100

[primary]
name = "thumbs_up"
kind = "proportion"

[[secondaries]]
name = "quality_score"
kind = "mean"

[[guardrails]]
name = "cost_usd"
kind = "mean"
better = "lower"
margin = 0.5

[[guardrails]]
name = "error"
kind = "proportion"
better = "lower"
ceiling = 0.05

[[arms]]
name = "perplexity"
weight = 50

[[arms]]
name = "light[/]rag"
weight = 50
"""


def run(*arguments: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(app, ["experiment", *arguments], input=stdin, env={"COLUMNS": "200"})


def lines(users: int, *, winning: str = "light[/]rag") -> bytes:
    """Two thirds of the winning arm's users give a thumb up, a third of the other's."""
    rows: Iterable[dict[str, object]] = (
        {
            "user": f"{arm}{place}",
            "arm": arm,
            "metrics": {
                "thumbs_up": (place % 3 > 0) if arm == winning else (place % 3 == 0),
                "quality_score": 0.8 + place % 5 / 100,
                "cost_usd": 0.01 + place % 4 / 1000,
                "error": 0,
            },
        }
        for place in range(users)
        for arm in ("perplexity", "light[/]rag")
    )
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.fixture
def definition(tmp_path: Path) -> str:
    file = tmp_path / "graph.toml"
    file.write_text(DEFINITION)
    return str(file)


@pytest.fixture
def observed(tmp_path: Path) -> Path:
    return tmp_path / "observed.jsonl"


def analysed(observed: Path, definition: str, *options: str) -> Result:
    return run("analyse", str(observed), "--definition", definition, *options)


# plan-size


def test_a_share_is_planned_with_one_look_and_with_five() -> None:
    result = run("plan-size", "--baseline", "0.12", "--target", "0.15", "--users-per-day", "100", "--users", "1000")

    assert result.exit_code == 0
    assert "One look, at the end: 2,036 users per arm, 4,072 in all, days: 41." in result.stdout
    assert "5 looks on the way: 2,094 users per arm, 4,188 in all, days: 42." in result.stdout
    assert "With 1,000 users per arm and one look the probability is 50%." in result.stdout
    assert [line.split() for line in result.stdout.splitlines()[-2:]] == [
        ["4", "1,676", "34", "2.28", "0.0226"],
        ["5", "2,094", "42", "2.04", "0.0413"],
    ]


def test_programs_get_the_plan_as_numbers() -> None:
    plan = json.loads(run("plan-size", "--baseline", "0.12", "--target", "0.15", "--json").stdout)

    assert (plan["users_per_arm"], plan["with_looks"]["users_per_arm"], plan["days"]) == (2036, 2094, None)
    assert plan["with_looks"]["looks"][4]["z"] == pytest.approx(2.0401, abs=1e-4)


def test_a_mean_is_planned_by_its_standard_deviation_and_arms_share_alpha() -> None:
    two = json.loads(run("plan-size", "--difference", "0.1", "--sd", "0.2", "--json").stdout)
    four = json.loads(run("plan-size", "--difference", "0.1", "--sd", "0.2", "--arms", "4", "--json").stdout)

    assert (two["users_per_arm"], four["alpha_each"]) == (64, pytest.approx(0.05 / 3))
    assert four["users_per_arm"] > two["users_per_arm"]


def test_a_single_look_needs_no_table_of_others() -> None:
    result = run("plan-size", "--difference", "0.1", "--sd", "0.2", "--looks", "1", "--users", "64")

    assert "looks on the way" not in result.stdout
    assert "One look, at the end: 64 users per arm" in result.stdout
    assert "the probability is 80%" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("", "for a share"),
        ("--baseline 0.12", "for a share"),
        ("--baseline 0.12 --sd 1", "for a share"),
        ("--baseline 0.12 --target 0.15 --sd 1", "for a share"),
        ("--baseline 12 --target 15", "0.12 stands for 12 %"),
        ("--baseline 0.12 --target 0.12", "between 0 and 1"),
        ("--baseline nan --target 0.12", "between 0 and 1"),
        ("--difference 0 --sd 1", "must not be 0"),
        ("--difference nan --sd 1", "must not be 0"),
        ("--difference 1 --sd inf", "above 0"),
        ("--difference 1e-200 --sd 1", "more people than can be counted"),
        ("--baseline 0.12 --target 0.15 --power 80", "--power"),
        ("--baseline 0.12 --target 0.15 --looks 0", "--looks"),
        (f"--baseline 0.12 --target 0.15 --users 1{'0' * 400}", "--users"),
    ],
)
def test_what_cannot_be_planned_is_wrong_usage(arguments: str, problem: str) -> None:
    result = run("plan-size", *arguments.split())

    assert result.exit_code == 2
    assert problem in " ".join(result.output.replace("│", " ").split())


# analyse


def test_people_see_what_to_do_first_and_the_figures_below(observed: Path, definition: str) -> None:
    observed.write_bytes(lines(102))
    result = analysed(observed, definition)

    assert result.exit_code == 0
    said = result.stdout.splitlines()
    assert said[:2] == ["graph: The graph helps.", "deploy_lightrag"]
    assert 'light[/]rag is better than perplexity on "thumbs_up"' in said[2]
    assert "Sample ratio: as configured (p-value 1.0000)." in said
    rows = [" ".join(line.split()) for line in said]
    assert "light[/]rag 50 102 102" in rows
    assert any(row.startswith("thumbs_up light[/]rag 33.3% 66.7% +33.3 pp") for row in rows)
    assert any(row.startswith("cost_usd light[/]rag kept") for row in rows)
    assert any(row.startswith("error light[/]rag kept evidence") for row in rows)


def test_programs_get_everything(observed: Path, definition: str) -> None:
    observed.write_bytes(lines(102))
    found = json.loads(analysed(observed, definition, "--json").stdout)

    assert found["recommendation"] == "deploy_lightrag"
    assert [arm["users"] for arm in found["arms"]] == [102, 102]
    assert (found["sample_ratio"]["p_value"], found["sample_ratio"]["is_off"]) == (1.0, False)
    (primary,) = found["primary"]
    assert (primary["basis"], primary["difference"]) == ("planned_look", pytest.approx(1 / 3, abs=0.03))
    assert primary["interval"][0] < primary["difference"] < primary["interval"][1]
    (secondary,) = found["secondaries"]
    assert (secondary["difference"], secondary["adjusted_p"]) == (pytest.approx(0, abs=1e-12), pytest.approx(1))
    assert [look["crossed"] for look in found["treatments"][0]["looks"]][-1] is True
    assert [rail["state"] for rail in found["guardrails"]] == ["kept", "kept"]


def test_the_first_users_are_shown_with_intervals_for_any_time(observed: Path, definition: str) -> None:
    observed.write_bytes(lines(10))
    found = json.loads(analysed(observed, definition, "--json").stdout)

    assert found["recommendation"] == "insufficient_data"
    assert {effect["basis"] for effect in (*found["primary"], *found["secondaries"])} == {"always_valid"}
    assert "10 of 100 planned users per arm have come; the first look is at 20." in found["reasons"][0]


@pytest.mark.parametrize("users", [0, 1])
def test_nobody_and_one_user_are_no_error(observed: Path, definition: str, users: int) -> None:
    observed.write_bytes(lines(users))

    assert json.loads(analysed(observed, definition, "--json").stdout)["recommendation"] == "insufficient_data"
    assert "insufficient_data" in analysed(observed, definition).stdout


def test_figures_of_an_invalid_experiment_are_not_shown_to_people(observed: Path, definition: str) -> None:
    observed.write_bytes(lines(102) + b'{"user": "eve", "arm": "other", "metrics": {"thumbs_up": 1}}\n')
    result = analysed(observed, definition)

    assert result.stdout.splitlines()[1] == "invalid"
    assert '"other"' in result.stdout
    assert "thumbs_up" not in result.stdout


values = st.none() | st.floats() | st.sampled_from([0.0, 1.0, 1e300, -1e-300])
measured = st.dictionaries(st.sampled_from(["thumbs_up", "quality_score", "cost_usd", "error"]), values)
observations = st.tuples(st.integers(0, 9), measured).map(
    lambda drawn: Observation(user=str(drawn[0]), arm=("perplexity", "light[/]rag")[drawn[0] % 2], metrics=drawn[1])
)


@settings(max_examples=60, deadline=None)
@given(seen=st.lists(observations, max_size=40), kind=st.sampled_from(Kind), planned=st.integers(2, 5))
def test_whatever_is_measured_is_analysed_and_is_json(seen: list[Observation], kind: Kind, planned: int) -> None:
    plan = experiment()
    plan = replace(plan, planned_users=planned, primary=replace(plan.primary, kind=kind))
    found = analyse(plan, seen, now=plan.start)

    json.dumps(analysis_as_json(found), allow_nan=False)
    assert found.reasons
    with out.capture():
        print_analysis(found)


def experiment() -> Experiment:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "graph.toml"
        file.write_text(DEFINITION)
        return read_definition(file)


def test_observations_come_from_stdin_too(definition: str) -> None:
    result = run("analyse", "-", "--definition", definition, "--json", stdin=lines(10))

    assert json.loads(result.stdout)["observations"] == 20


def test_bad_input_is_told_in_a_sentence(observed: Path, definition: str) -> None:
    missing = analysed(observed, definition)
    observed.write_bytes(lines(1) + b"{}\n")
    broken = analysed(observed, definition, "--json")

    assert (missing.exit_code, broken.exit_code) == (1, 1)
    assert "the observations cannot be read: No such file" in " ".join(missing.stderr.split())
    assert json.loads(broken.stdout) == {"error": 'Line 3 of the observations: "user": Field required.'}


def test_the_analysis_can_be_written_as_a_page_but_not_over_another_file_unawares(
    observed: Path, definition: str
) -> None:
    observed.write_bytes(lines(0))
    page = observed.with_suffix(".html")
    page.write_text("mine", encoding="utf-8")

    result = analysed(observed, definition, "--html", str(page), "--json")
    assert (result.exit_code, page.read_text(encoding="utf-8")) == (1, "mine")
    assert "exists. Allowed: another one, or --force" in json.loads(result.stdout)["error"]

    said = analysed(observed, definition, "--html", str(page), "--force").stdout
    assert f"The page is in {page}." in said
    assert "light[/]rag" in page.read_text(encoding="utf-8")


def test_a_page_that_cannot_be_written_is_told(observed: Path, definition: str) -> None:
    observed.write_bytes(lines(0))
    result = analysed(observed, definition, "--html", str(observed.parent / "nowhere" / "page.html"))

    assert result.exit_code == 1
    assert "the page cannot be written: No such file or directory" in " ".join(result.stderr.split())


# in service

SERVED = """
name = "papers_first"
hypothesis = "The papers help more people."
duration_days = 28
planned_users_per_arm = 20
looks = 1

[primary]
name = "conversion"
kind = "proportion"

[[guardrails]]
name = "error"
kind = "proportion"
better = "lower"
ceiling = 0.05

[[arms]]
name = "web"
weight = 50
overrides = { engine = "perplexity" }

[[arms]]
name = "papers"
weight = 50
overrides = { mode = "hybrid" }
"""


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The file of an experiment that can be run, in a storage folder that does not exist yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CMO_STORAGE_DIR", str(tmp_path / "storage"))
    (tmp_path / "papers.toml").write_text(SERVED)
    return "papers.toml"


def told(*arguments: str) -> str:
    """What the command says when it goes well."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def done(*arguments: str) -> str:
    return told(*arguments, "--reason", "to find out", "--author", "ann")


def known(*arguments: str) -> Any:
    return json.loads(told(*arguments, "--json"))


def refused(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 1
    return " ".join(result.stderr.split())


def ask(people: Iterable[int]) -> dict[str, str]:
    """Who got which arm: each asks once, and only the papers have an answer."""
    return asyncio.run(_ask(people))


async def _ask(people: Iterable[int]) -> dict[str, str]:
    settings = load_settings()
    async with AsyncExitStack() as stack:
        database = await open_database(settings, stack)
        flags = await open_flags(settings, database, SystemClock(), stack)
        assignments = Assignments(flags, SqlAssignments(database), clock=SystemClock())
        return {f"u{number}": await _asked(f"u{number}", assignments, database) for number in people}


async def _asked(user: str, assignments: Assignments, database: Database) -> str:
    value = await assignments.evaluate(MAIN_ROLLOUT, FlagContext(user_id=user))
    assert value.variant is not None
    arm = value.variant.name
    question = Question(text="What is alanine?", user_id=user, thread_id="t", asked_at=datetime.now(UTC))
    exposure = Exposure(flag=MAIN_ROLLOUT, version=value.version, variant=arm, engine="lightrag")
    await SqlExposures(database).expose(question, exposure)
    answer = Answer(
        text="It is.",
        answered=arm == "papers",
        language="en",
        engine="lightrag",
        model="m",
        reason=f"variant:{arm}",
        citations=(),
        cost_usd=0.01,
        seconds=1.0,
    )
    measured = Measured(variant=arm, failed=False, seconds=1.0, quality=None, cost_usd=0.01)
    outcome = "answered" if answer.answered else "refused"
    await SqlLedger(database).record(question, answer, outcome=outcome, seconds=1.0, measured=measured)
    return arm


def test_an_experiment_goes_from_its_definition_to_a_report_and_gives_the_flag_back(planned: str) -> None:
    assert "kept as a draft" in done("create", planned)
    assert "papers_first draft" in told("list")
    assert "was not started" in refused("report", "papers_first")
    assert 'runs with 100 % of people, by version 1 of the flag "lightrag_rollout"' in done("start", "papers_first")

    ask(range(10))
    status = known("status", "papers_first")
    assert (status["state"], status["planned_days"], status["invalid_because"]) == ("running", 28, [])
    assert sum(arm["users"] for arm in status["arms"]) == sum(arm["questions"] for arm in status["arms"]) == 10
    assert status["next_looks"] == [{"arm": "papers", "number": 1, "users_per_arm": 20}]
    assert "papers: look 1 of 1 comes at 20 people per arm; now" in told("status", "papers_first")

    ask(range(10, 60))
    report = known("report", "papers_first", "--html", "page.html")
    assert (report["recommendation"], report["observations"]) == ("deploy_lightrag", 60)
    assert (report["primary"][0]["control"], report["primary"][0]["treatment"]) == (0, 1)
    assert "papers_first" in Path("page.html").read_text(encoding="utf-8")
    assert "papers_first: The papers help more people. deploy_lightrag" in told("report", "papers_first")

    assert 'the flag "lightrag_rollout" is what it was before' in done("stop", "papers_first")
    assert known("list")[0]["state"] == "stopped"
    assert known("report", "papers_first")["recommendation"] == "deploy_lightrag"
    assert [event["action"] for event in known("history", "papers_first")] == ["stop", "start", "create"]
    assert "ann create to find out" in told("history", "papers_first")
    assert flag_commands("history", "lightrag_rollout")[0]["action"] == "delete"


def test_no_look_is_promised_to_an_experiment_that_was_stopped(planned: str) -> None:
    for command in (("create", planned), ("start", "papers_first"), ("stop", "papers_first")):
        done(*command)
    assert known("status", "papers_first")["next_looks"] == []
    assert "It was stopped on" in known("report", "papers_first")["reasons"][-1]


def flag_commands(*arguments: str) -> Any:
    return json.loads(CliRunner().invoke(app, ["flags", *arguments, "--json"]).stdout)


def test_changed_weights_move_nobody_and_make_the_experiment_invalid(planned: str) -> None:
    done("create", planned)
    done("start", "papers_first")
    arms = ask(range(20))
    flag_commands("set", "lightrag_rollout", "--variant", "web=10", "--variant", "papers=90", "--reason", "impatience")
    assert ask(range(20)) == arms

    report = known("report", "papers_first")
    assert report["recommendation"] == "invalid"
    assert "weights were changed while it ran" in report["reasons"][0]
    assert "Invalid: Some people were assigned by other weights" in told("status", "papers_first")


def test_a_second_experiment_is_refused_while_one_runs(planned: str) -> None:
    Path("second.toml").write_text(SERVED.replace("papers_first", "second"))
    for file in (planned, "second.toml"):
        done("create", file)
    done("start", "papers_first")

    assert 'The experiment "papers_first" runs: stop it first.' in refused("start", "second", "--reason", "why not")


def test_what_cannot_be_run_is_refused_with_the_file_the_arm_and_what_is_allowed(planned: str) -> None:
    Path(planned).write_text(SERVED.replace('mode = "hybrid"', "temprature = 0.2"))

    said = refused("create", planned, "--reason", "to try it")
    assert 'papers.toml: Arm "papers": The override "temprature" is unknown. Allowed: engine, mode' in said
    assert not Path("storage").exists()


def test_an_experiment_is_shown_with_who_is_served_how_and_what_was_planned(planned: str) -> None:
    done("create", planned)

    said = told("show", "papers_first")
    assert "A draft, created on" in said
    assert "web 50 perplexity papers 50 lightrag mode hybrid" in said
    assert run("show", "papers_first").stdout.endswith(SERVED)
    assert known("show", "papers_first")["definition"] == SERVED
    assert known("show", "papers_first")["arms"][1] == {
        "name": "papers",
        "weight": 50,
        "engine": "lightrag",
        "overrides": {"mode": "hybrid"},
    }


def test_a_dry_run_of_an_experiment_changes_nothing(planned: str) -> None:
    assert "Nothing is changed, this would be" in done("create", planned, "--dry-run")
    assert not Path("storage").exists()

    done("create", planned)
    assert json.loads(done("start", "papers_first", "--dry-run", "--json"))["state"] == "running"
    assert known("list")[0]["state"] == "draft"
    done("start", "papers_first")
    assert "Nothing is changed" in done("stop", "papers_first", "--dry-run")
    assert known("list")[0]["state"] == "running"


def test_looking_for_experiments_makes_no_database(planned: str) -> None:
    assert "There are no experiments yet" in told("list")
    for command in ("show", "status", "report", "history"):
        assert "There are no experiments yet" in refused(command, "papers_first")
    for command in ("start", "stop"):
        assert "There are no experiments yet" in refused(command, "papers_first", "--reason", "to try it")
    assert not Path("storage").exists()


def test_an_experiment_is_not_started_beside_flags_that_are_written_down(
    planned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done("create", planned)
    monkeypatch.setenv("CMO_FLAGS_FROM", "environment")

    assert "The flags are written in CMO_FLAGS" in refused("start", "papers_first", "--reason", "to try it")


def test_neither_the_help_nor_a_plan_waits_for_scipy() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from cmo.cli.app import app; run = CliRunner().invoke\n"
        "codes = [run(app, ['experiment', *rest.split()]).exit_code for rest in "
        "('--help', 'analyse --help', 'plan-size --baseline 0.12 --target 0.15')]\n"
        "print(codes, sorted({'scipy', 'statsmodels', 'pandas', 'matplotlib', 'lightrag'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[0, 0, 0] []"
