"""What `cmo route` says of a decision."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cmo.cli.app import app
from cmo.errors import QuestionTooLong
from cmo.policy.explanation import decision_as_json, explanation
from cmo.values import Decision, RoutingCheck
from tests.cli.fake_session import FakeApplication, open_for

DECISION = Decision(
    engine="perplexity",
    reason="rule:news",
    bucket=38.94,
    configuration="c0ffee",
    rule="news",
    fallbacks=("lightrag",),
    checks=(
        RoutingCheck(name="user_choice", matched=False, words="You left the choice to the router."),
        RoutingCheck(name="rule:news", matched=True, words="The question needs recent information."),
    ),
)


@pytest.fixture
def application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeApplication:
    """It makes DECISION."""
    monkeypatch.chdir(tmp_path)
    fake = FakeApplication()
    fake.pipeline.decision = DECISION
    open_for("route", fake, monkeypatch)
    return fake


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["route", *arguments])


def test_the_decision_is_made_for_whom_and_what_was_named(application: FakeApplication) -> None:
    groups = ("--engine", "lightrag", "--cohort", "beta_testers", "--region", "europe")
    run("What is new?", "--user", "ann", *groups)

    [asked] = application.pipeline.asked
    assert (asked.text, asked.user_id, asked.choice) == ("What is new?", "ann", "lightrag")
    assert (asked.cohort, asked.region) == ("beta_testers", "europe")


def test_without_options_it_is_made_for_a_person_of_no_group(application: FakeApplication) -> None:
    run("What is new?")

    [asked] = application.pipeline.asked
    assert (asked.user_id, asked.choice, asked.cohort, asked.region) == ("cli", None, "", "")


def test_people_read_the_same_lines_as_in_the_chat(application: FakeApplication) -> None:
    result = run("What is new?")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == explanation(DECISION)


def test_programs_get_every_rule_that_was_passed(application: FakeApplication) -> None:
    result = run("What is new?", "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout) == decision_as_json(DECISION)


@pytest.mark.parametrize("as_json", [False, True])
def test_when_nobody_could_be_asked_the_reason_is_told_with_exit_code_1(
    application: FakeApplication, as_json: bool
) -> None:
    application.pipeline.decision = replace(DECISION, engine=None, reason="no_engine", fallbacks=())

    result = run("What is new?", *(["--json"] if as_json else []))

    assert result.exit_code == 1
    assert "no_engine" in result.stdout


def test_a_question_that_cannot_be_routed_is_a_sentence(application: FakeApplication) -> None:
    application.pipeline.error = QuestionTooLong("The question has 2,001 characters; please ask in at most 2,000.")

    result = run("What is new?")

    assert result.exit_code == 1
    assert "please ask in at most 2,000" in " ".join(result.stderr.split())


@pytest.mark.parametrize("arguments", [(), ("  ",), ("What?", "--engine", "oracle"), ("What?", "more")], ids=" ".join)
def test_wrong_usage_is_exit_code_2(application: FakeApplication, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2
    assert application.pipeline.asked == []


def test_the_real_router_explains_itself_and_books_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERPLEXITY_API_KEY", "pplx-not-a-key")

    result = run("What is new in metabolomics?", "--user", "ann", "--storage", str(tmp_path / "storage"), "--json")

    decision = json.loads(result.stdout)
    assert (result.exit_code, decision["engine"], decision["reason"]) == (0, "perplexity", "only_engine")
    assert [check["name"] for check in decision["checks"] if check["matched"]] == ["only_engine"]
    with closing(sqlite3.connect(tmp_path / "storage" / "cmo.sqlite3")) as database:
        counts = [database.execute(f"SELECT count(*) FROM {table}").fetchone() for table in ("questions", "calls")]
    assert counts == [(0,), (0,)]
