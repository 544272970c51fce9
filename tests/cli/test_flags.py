"""What `cmo flags` shows and changes, and what the doctor says of flags."""

import asyncio
import getpass
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from cmo.bootstrap.money import open_database
from cmo.cli import flag_checks
from cmo.cli.app import app
from cmo.cli.checks import Status
from cmo.settings import load_settings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CMO_STORAGE_DIR", str(tmp_path / "storage"))
    return tmp_path


def run(*arguments: str, reason: str | None = "to try it", text: str | None = None) -> Result:
    given = [] if reason is None else ["--reason", reason]
    return CliRunner().invoke(app, ["flags", *arguments, *given], env={"COLUMNS": "200"}, input=text)


def told(*arguments: str, **given: Any) -> str:
    """What the command says when it goes well."""
    result = run(*arguments, **given)
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def listed(*arguments: str) -> Any:
    return json.loads(told(*arguments, "--json", reason=None))


def refused(*arguments: str, **given: Any) -> str:
    result = run(*arguments, **given)
    assert result.exit_code == 1
    return " ".join(result.stderr.split())


def test_a_flag_is_created_raised_and_shown(folder: Path) -> None:
    assert "at version 1: gradual_rollout, 10 %" in told(
        "create", "ranking", "--status", "gradual_rollout", "--percentage", "10", "--owner", "ann"
    )
    assert "rollout_percentage: 10.0 -> 25.0" in told("set", "ranking", "--percentage", "25")

    assert "ranking gradual_rollout 25 % ann 2" in told("list", reason=None)
    (flag,) = listed("list")
    assert (flag["name"], flag["version"], flag["rollout_percentage"], flag["stale"]) == ("ranking", 2, 25.0, False)
    assert told("show", "ranking", reason=None) == (
        "# ranking, version 2. status: gradual_rollout rollout_percentage: 25.0 owner: ann"
    )
    assert listed("show", "ranking") == flag


def test_what_is_shown_can_be_given_back_as_a_file(folder: Path) -> None:
    file = folder / "flag.json"
    file.write_text(json.dumps({"status": "enabled", "segments": {"cohorts": {"new": {"enabled": False}}}}))
    told("create", "ranking", "--file", str(file))
    whole = run("show", "ranking", reason=None).stdout
    told("set", "ranking", "--status", "disabled")
    told("set", "ranking", "--file", "-", text=whole)
    assert run("show", "ranking", reason=None).stdout.replace("version 3", "version 1") == whole


def test_the_history_tells_who_why_and_what_and_any_version_comes_back(folder: Path) -> None:
    told("create", "ranking", "--author", "ann")
    told("set", "ranking", "--status", "enabled", reason="it went well")
    told("delete", "ranking", reason="not needed")
    assert "at version 4: enabled" in told("revert", "ranking", "2", reason="needed after all")

    lines = run("history", "ranking", reason=None).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["version", "4", "3", "2", "1"]
    assert "it went well" in lines[3]
    assert 'status: (default) -> "enabled"' in lines[3]
    assert [change["author"] for change in listed("history", "ranking")] == [getpass.getuser()] * 3 + ["ann"]
    assert [change["action"] for change in listed("history", "ranking")] == ["revert", "delete", "update", "create"]


def test_a_percentage_that_does_not_count_is_pointed_out(folder: Path) -> None:
    told("create", "ranking", "--status", "enabled")
    assert "enabled, whatever its percentage" in told("set", "ranking", "--percentage", "10")


def test_a_dry_run_shows_the_change_and_makes_none_not_even_a_database(folder: Path) -> None:
    assert "Nothing is changed" in told("create", "ranking", "--dry-run")
    assert list(folder.iterdir()) == []

    told("create", "ranking")
    dry = json.loads(told("set", "ranking", "--status", "enabled", "--dry-run", "--json"))
    assert (dry["dry_run"], dry["flag"]["version"]) == (True, 2)
    assert dry["changed"] == {"status": {"old": None, "new": "enabled"}}
    assert "Nothing is changed" in told("delete", "ranking", "--dry-run")
    assert "Nothing is changed" in told("revert", "ranking", "1", "--dry-run")
    assert [change["version"] for change in listed("history", "ranking")] == [1]


def test_variants_are_set_by_weight_and_keep_their_overrides(folder: Path) -> None:
    file = folder / "flag.yaml"
    file.write_text("variants:\n- {name: control, weight: 1}\n- {name: local, weight: 1, config_overrides: {k: 1}}\n")
    told("create", "modes", "--file", str(file), "--status", "ab_test", "--percentage", "100")
    told("set", "modes", "--variant", "control=0", "--variant", "local=100")
    assert listed("show", "modes")["variants"] == [
        {"name": "control", "weight": 0.0},
        {"name": "local", "weight": 100.0, "config_overrides": {"k": 1}},
    ]
    assert 'is on (ab_test). Variant: local. Overrides: {"k": 1}.' in told(
        "evaluate", "modes", "--user", "alice", reason=None
    )


def test_a_flag_is_evaluated_for_whoever_is_described(folder: Path) -> None:
    file = folder / "flag.yaml"
    file.write_text("status: enabled\nsegments: {condition: {attribute: questions, at_least: 10}}")
    told("create", "ranking", "--file", str(file))
    asked = ("evaluate", "ranking", "--user", "alice", "--attribute")
    assert listed(*asked, "questions=12")["value"] is True
    assert listed(*asked, "questions=9")["reason"] == "condition"
    assert listed(*asked, "questions=many")["reason"] == "condition"
    assert listed(*asked, f"questions={'[' * 20_000}")["reason"] == "condition"


def test_the_main_rollout_places_people_as_the_documents_do(folder: Path) -> None:
    told("create", "lightrag_rollout", "--status", "gradual_rollout", "--percentage", "50")
    found = listed("evaluate", "lightrag_rollout", "--user", "user123")
    assert found["bucket"] == pytest.approx(38.9368344422, abs=5e-11)
    assert (found["value"], found["reason"], found["version"]) == (True, "rollout", 1)


def test_parts_of_a_flag_can_be_taken_away(folder: Path) -> None:
    told("create", "ranking", "--expires", "2000-01-01", "--owner", "ann")
    assert "Expired on 2000-01-01" in told("list", reason=None)
    told("set", "ranking", "--unset", "expires_at", "--unset", "owner")
    assert "expires_at" not in listed("show", "ranking")


def test_what_is_wrong_is_said_with_what_is_allowed(folder: Path) -> None:
    assert "already" in (told("create", "ranking") and refused("create", "ranking"))
    assert "its name is wrong" in refused("create", "Ranking")
    assert 'no flag "other"' in refused("set", "other", "--status", "enabled")
    assert 'no flag "other"' in refused("history", "other", reason=None)
    assert "nothing to compare" in refused("set", "ranking", "--status", "ab_test")
    assert "somebody has changed it" in refused("set", "ranking", "--status", "enabled", "--if-version", "7")
    assert "The reason is missing" in refused("set", "ranking", "--status", "enabled", reason="x" * 501)
    assert "a day (2026-12-31)" in refused("set", "ranking", "--expires", "soon")
    assert "cannot be read" in refused("set", "ranking", "--file", "none.yaml")
    assert "wrong form" in refused("set", "ranking", "--file", "-", text="[]")
    assert 'says no "ownr"' in refused("set", "ranking", "--unset", "ownr")
    assert json.loads(run("show", "other", "--json", reason=None).stdout)["error"].startswith("There is no flag")


@pytest.mark.parametrize(
    "arguments",
    [
        ("set", "ranking"),
        ("set", "ranking", "--percentage", "101"),
        ("set", "ranking", "--variant", "control"),
        ("evaluate", "ranking", "--attribute", "plan"),
        ("revert", "ranking", "0"),
        (),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(folder: Path, arguments: tuple[str, ...]) -> None:
    told("create", "ranking")
    assert run(*arguments, reason=None if not arguments or arguments[0] == "evaluate" else "x").exit_code == 2


@pytest.mark.parametrize(
    "command", [("create", "x"), ("set", "x", "--owner", "a"), ("delete", "x"), ("revert", "x", "1")]
)
def test_no_change_without_a_reason(folder: Path, command: tuple[str, ...]) -> None:
    assert run(*command, reason=None).exit_code == 2
    assert run(*command, reason=" ").exit_code == 2
    assert list(folder.iterdir()) == []


def test_without_flags_that_is_said_and_no_database_is_made(folder: Path) -> None:
    assert "There are no flags yet" in told("list", reason=None)
    assert listed("list") == []
    assert list(folder.iterdir()) == []


def test_flags_of_a_file_are_shown_and_changed_only_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "flags.yaml"
    file.write_text("flags: {ranking: {status: enabled}, broken: {status: ajar}}")
    monkeypatch.setenv("CMO_FLAGS_FROM", "file")
    monkeypatch.setenv("CMO_FLAGS_FILE", str(file))
    assert "Malformed, so it is off." in told("list", reason=None)
    assert listed("evaluate", "ranking")["value"] is True
    for command in (("create", "x"), ("set", "ranking", "--owner", "a"), ("delete", "ranking")):
        assert "change them there" in refused(*command)
    assert "change them there" in refused("history", "ranking", reason=None)


def found_by_the_doctor(*statements: str) -> tuple[Status, str]:
    """After these statements, where there are any."""
    return asyncio.run(_found_by_the_doctor(*statements))


async def _found_by_the_doctor(*statements: str) -> tuple[Status, str]:
    settings = load_settings(env_file=None)
    if statements:
        async with AsyncExitStack() as stack:
            database = await open_database(settings, stack)
            async with database.write() as connection:
                for statement in statements:
                    await connection.execute(sa.text(statement))
    finding = await flag_checks.flags(settings)
    return finding.status, finding.detail


def test_the_doctor_names_malformed_flags_and_the_owners_of_stale_ones(folder: Path) -> None:
    assert found_by_the_doctor() == (Status.OK, "There are none.")
    assert list(folder.iterdir()) == []
    row = "INSERT INTO flags VALUES ('{name}', 1, '{document}', '{at}', '{at}')"
    new = row.format(name="new", document="{}", at="2100-01-01 00:00:00.000000")
    old = row.format(name="old", document='{"owner"\\: "ann"}', at="2020-01-01 00:00:00.000000")
    assert found_by_the_doctor(new) == (Status.OK, "Flags: 1.")
    assert found_by_the_doctor(old) == (Status.WARNING, "Stale: old (ann).")
    assert found_by_the_doctor("UPDATE flags SET document = '1'") == (
        Status.WARNING,
        'Flag "new": the flag has a wrong form. Allowed: a table of keys and values. '
        'Flag "old": the flag has a wrong form. Allowed: a table of keys and values.',
    )


@pytest.mark.parametrize(
    ("override", "complaint"),
    [('{"engine": "google"}', "Allowed: lightrag, perplexity"), ('{"speed": 9}', '"speed" is unknown')],
)
def test_a_variant_of_the_rollout_may_change_only_what_the_router_knows(
    folder: Path, override: str, complaint: str
) -> None:
    variants = f'[{{"name": "a", "weight": 1, "config_overrides": {override}}}, {{"name": "b", "weight": 1}}]'
    document = f'{{"status": "ab_test", "variants": {variants}}}'
    said = refused("create", "lightrag_rollout", "--file", "-", text=document)

    assert complaint in said
    assert 'Variant "a"' in said
    told("create", "another", "--file", "-", text=document)
