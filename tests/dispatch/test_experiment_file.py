"""Definitions and observations as they are written down."""

import re
from datetime import UTC, datetime, timedelta
from math import isnan
from pathlib import Path

import pytest

from cmo.dispatch.experiment_file import experiment_in, read_definition, read_observations
from cmo.errors import OracleError
from cmo.policy.experiment import Arm, Experiment, Guardrail
from cmo.policy.experiment_in_service import refuse_unfit
from cmo.policy.measuring import Better, Kind, Metric, Observation

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "experiments.md"

SHORT = """
name = "graph"
hypothesis = "The graph helps."
start = 2026-03-01
duration_days = 28
planned_users_per_arm = 2094

[primary]
name = "thumbs_up"
kind = "proportion"

[[arms]]
name = "perplexity"
weight = 50

[[arms]]
name = "lightrag"
weight = 50
"""
LONG = f"""
power = 0.9
alpha = 0.01
looks = 3
{SHORT}overrides = {{ mode = "hybrid", temperature = 0.2 }}

[[secondaries]]
name = "quality_score"
kind = "mean"
missing = 0

[[guardrails]]
name = "cost_usd"
kind = "ratio"
better = "lower"
margin = 0.01

[[guardrails]]
name = "error"
kind = "proportion"
better = "lower"
ceiling = 0.05
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "graph.toml"


def test_a_short_definition_has_the_usual_power_alpha_and_looks(file: Path) -> None:
    file.write_text(SHORT)

    assert read_definition(file) == Experiment(
        name="graph",
        hypothesis="The graph helps.",
        arms=(Arm(name="perplexity", weight=50), Arm(name="lightrag", weight=50)),
        primary=Metric(name="thumbs_up", kind=Kind.PROPORTION),
        start=datetime(2026, 3, 1, tzinfo=UTC),
        duration=timedelta(days=28),
        planned_users=2094,
        power=0.8,
        alpha=0.05,
        looks=5,
    )


def test_a_long_definition_says_everything(file: Path) -> None:
    file.write_text(LONG)
    found = read_definition(file)

    assert (found.power, found.alpha, found.looks) == (0.9, 0.01, 3)
    assert found.treatments[0].overrides == {"mode": "hybrid", "temperature": 0.2}
    assert found.secondaries == (Metric(name="quality_score", kind=Kind.MEAN, missing=0.0),)
    assert found.guardrails == (
        Guardrail(metric=Metric(name="cost_usd", kind=Kind.RATIO, better=Better.LOWER), margin=0.01),
        Guardrail(metric=Metric(name="error", kind=Kind.PROPORTION, better=Better.LOWER), ceiling=0.05),
    )


@pytest.mark.parametrize(
    ("written", "instead", "problem"),
    [
        ('kind = "proportion"', 'kind = "median"', "\"primary.kind\": Input should be 'proportion', 'mean' or"),
        ('name = "lightrag"', 'name = "perplexity"', "two arms have the same name"),
        ("planned_users_per_arm = 2094", "planned_users = 2094", '"planned_users_per_arm": Field required'),
        ("duration_days = 28", "duration_days = 28\nseed = 1", '"seed": Extra inputs are not permitted'),
        ("start = 2026-03-01", 'start = "soon"', '"start": should be a date or time'),
        ("weight = 50", "weight = 0", '"arms.1.weight": Input should be greater than 0'),
        ('kind = "proportion"', 'kind = "proportion"\nmissing = 1', '"primary": "missing" is not for a proportion'),
        ("margin = 0.01", "", '"guardrails.1": give either "margin" or "ceiling"'),
        ("margin = 0.01", "margin = 0.01\nceiling = 0.5", '"guardrails.1": give either'),
        ("margin = 0.01", "ceiling = 0.5", '"guardrails.1": "ceiling" is for kind'),
        ("alpha = 0.01", "alpha = 5", '"alpha": Input should be less than'),
        ("alpha = 0.01", "share_percent = 0", '"share_percent": Input should be greater than 0'),
        ("start = 2026-03-01", "", '"start": missing'),
        ("start = 2026-03-01", "start = 9999-12-31", '"start": too late'),
        ("[primary]", "[primary", "the definition is no TOML"),
        ("alpha = 0.01", f"alpha = {'[' * 5_000}", "the definition is no TOML that can be read"),
        ("alpha = 0.01", f"alpha = {'1' * 5_000}", "the definition is no TOML that can be read"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(file: Path, written: str, instead: str, problem: str) -> None:
    assert written in LONG
    file.write_text(LONG.replace(written, instead, 1))

    with pytest.raises(OracleError) as error:
        read_definition(file)
    assert problem in str(error.value)
    assert str(file) in str(error.value)


def test_one_that_runs_in_service_began_when_it_was_started() -> None:
    began = datetime(2026, 3, 5, 9, 30, tzinfo=UTC)

    for text in (SHORT, SHORT.replace("start = 2026-03-01\n", "")):
        assert experiment_in(text, start=began).start == began


def test_everybody_takes_part_unless_the_definition_says_how_many() -> None:
    assert experiment_in(SHORT).share_percent == 100
    assert experiment_in(f"share_percent = 20\n{SHORT}").share_percent == 20


def test_an_experiment_has_two_arms_or_more(file: Path) -> None:
    file.write_text(SHORT[: SHORT.rindex("[[arms]]")])

    with pytest.raises(OracleError, match='"arms"'):
        read_definition(file)


def test_a_file_that_is_not_there_or_no_text_is_told(file: Path) -> None:
    with pytest.raises(OracleError, match="cannot be read: No such file"):
        read_definition(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OracleError, match="UTF-8"):
        read_definition(file)


def test_observations_are_a_line_each_with_what_they_know() -> None:
    lines = (
        b'\xef\xbb\xbf{"user": "ann", "arm": "a"}\n',
        b"\n",
        b'{"user": "bob", "arm": "b", "metrics": {"score": null, "clicks": 2}, "at": "2026-03-01T09:30:00+01:00",'
        b' "weights": {"a": 1, "b": 1}}',
    )

    assert list(read_observations(lines)) == [
        Observation(user="ann", arm="a", metrics={}),
        Observation(
            user="bob",
            arm="b",
            metrics={"score": None, "clicks": 2.0},
            at=datetime(2026, 3, 1, 8, 30, tzinfo=UTC),
            weights={"a": 1.0, "b": 1.0},
        ),
    ]


def test_a_value_that_is_not_a_number_is_read_as_one_that_could_not_be_measured() -> None:
    (found,) = read_observations([b'{"user": "ann", "arm": "a", "metrics": {"score": NaN}}'])

    score = found.metrics["score"]
    assert score is not None
    assert isnan(score)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"not json", "Invalid JSON"),
        (b"[]", "should be an object"),
        (b'{"arm": "a"}', '"user": Field required'),
        (b'{"user": "", "arm": "a"}', '"user": String should have at least 1 character'),
        (
            b'{"user": "ann", "arm": "a", "metrics": {"score": "good"}}',
            '"metrics.score": Input should be a valid number',
        ),
        (b'{"user": "ann", "arm": "a", "metric": {}}', '"metric": Extra inputs'),
        (b'{"user": "ann", "arm": "a", "at": "noon"}', '"at": should be a date or time'),
        (b'{"user": "\xff", "arm": "a"}', "Invalid JSON"),
    ],
)
def test_a_line_that_is_none_is_told_with_its_number_and_without_its_content(line: bytes, problem: str) -> None:
    with pytest.raises(OracleError) as error:
        list(read_observations([b'{"user": "ann", "arm": "a"}', line]))
    assert str(error.value).startswith("Line 2 of the observations: ")
    assert problem in str(error.value)
    assert "good" not in str(error.value)


def test_the_examples_of_the_guide_can_be_read(file: Path) -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    ((definition,), (observations,)) = (
        re.findall(rf"```{kind}\n(.*?)```", guide, re.DOTALL) for kind in ("toml", "json")
    )
    file.write_text(definition)
    found = read_definition(file)

    arms = [observation.arm for observation in read_observations(observations.encode().splitlines())]
    assert sorted(arms) == sorted(arm.name for arm in found.arms)
    assert (found.planned_users, len(found.guardrails)) == (2094, 2)
    refuse_unfit(found, engines=("lightrag", "perplexity"), modes=("hybrid",))
