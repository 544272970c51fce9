"""What `cmo experiment` prints, and what it costs to start."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from cmo.cli.app import app
from cmo.cli.experiment_views import analysis_as_json, print_analysis
from cmo.cli.output import out
from cmo.dispatch.experiment_file import read_definition
from cmo.policy.analysis import analyse
from cmo.policy.experiment import Experiment
from cmo.policy.measuring import Kind, Observation

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
    assert "Sample ratio: as configured (p = 1.0000)." in said
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


def test_neither_the_help_nor_a_plan_waits_for_scipy() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from cmo.cli.app import app; run = CliRunner().invoke\n"
        "codes = [run(app, ['experiment', *rest.split()]).exit_code for rest in "
        "('--help', 'analyse --help', 'plan-size --baseline 0.12 --target 0.15')]\n"
        "print(codes, sorted({'scipy', 'statsmodels', 'pandas', 'sqlalchemy', 'lightrag'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[0, 0, 0] []"
