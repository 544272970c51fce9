import os
from pathlib import Path

import pytest

from cmo.dispatch.flags import Flags
from cmo.dispatch.flags_file import FileFlags, GivenFlags, document_in, yaml_of
from cmo.errors import FlagMalformed, SettingsError
from cmo.policy.flags import FeatureFlag, FlagStatus, MalformedFlag
from tests.dispatch.test_flags import Clock

FILE = """\
flags:
  ranking:
    status: enabled
    owner: ann
    expires_at: 2026-12-31
    environments:
      staging: {status: gradual_rollout, rollout_percentage: 50}
      production: {status: gradual_rollout, rollout_percentage: 10}
  broken: {status: ajar}
"""


def file_flags(path: Path, environment: str = "development") -> FileFlags:
    return FileFlags(path, environment=environment, environments=("development", "staging", "production"))


def written(folder: Path, text: str) -> Path:
    path = folder / "flags.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("environment", "status", "percentage"),
    [("development", "enabled", 0), ("staging", "gradual_rollout", 50), ("production", "gradual_rollout", 10)],
)
async def test_a_flag_can_differ_between_environments(
    tmp_path: Path, environment: str, status: str, percentage: float
) -> None:
    found = (await file_flags(written(tmp_path, FILE), environment).load()).flags["ranking"]
    assert isinstance(found, FeatureFlag)
    assert (found.status, found.rollout_percentage, found.owner) == (status, percentage, "ann")
    assert found.expires_at is not None


async def test_a_malformed_flag_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    flags = (await file_flags(written(tmp_path, FILE)).load()).flags
    assert list(flags) == ["broken", "ranking"]
    assert isinstance(flags["broken"], MalformedFlag)
    assert 'Flag "broken": "status" has a wrong value' in flags["broken"].problem


async def test_flags_of_a_namespace_that_share_people_are_not_both_in_force(tmp_path: Path) -> None:
    part = "status: enabled, namespace: {name: n, from: %s, to: %s}"
    table = f"a: {{{part % (0, 50)}}}, b: {{{part % (50, 80)}}}, c: {{{part % (40, 60)}}}"
    flags = (await file_flags(written(tmp_path, f"flags: {{{table}}}")).load()).flags
    assert [isinstance(flag, MalformedFlag) for flag in flags.values()] == [False, False, True]
    assert isinstance(flags["c"], MalformedFlag)
    assert 'shares people of the namespace "n" with the flag "a"' in flags["c"].problem


@pytest.mark.parametrize("environments", ["[]", "{test: {}}", "{staging: 5}"])
async def test_unknown_environments_make_a_flag_malformed(tmp_path: Path, environments: str) -> None:
    path = written(tmp_path, f"flags: {{ranking: {{status: enabled, environments: {environments}}}}}")
    found = (await file_flags(path).load()).flags["ranking"]
    assert isinstance(found, MalformedFlag)
    assert "tables named development or staging or production" in found.problem


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "wrong form"),
        ("flags: []", "wrong form"),
        ("flags: {}\nmore: 1", "wrong form"),
        ("flags: {a: {}, a: {}}", '"a" stands there twice'),
        ("flags: {a: {status: enabled, status: disabled}}", '"status" stands there twice'),
        ("flags: [", "no YAML"),
        ("flags: !!python/object/apply:os.getcwd []", "no YAML"),
        ("[" * 2_000, "no YAML"),
    ],
)
async def test_a_file_that_cannot_be_understood_is_named_with_what_is_wrong(
    tmp_path: Path, text: str, told: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SettingsError) as refused:
        await file_flags(path).load()
    assert str(refused.value).startswith(f"CMO_FLAGS_FILE: {path} ")
    assert told in str(refused.value)


async def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for reading in (file_flags(tmp_path / "none").load(), file_flags(tmp_path / "none").revision()):
        with pytest.raises(SettingsError, match="cannot be read: No such file"):
            await reading


async def test_a_file_is_read_again_when_it_was_written_and_a_mistake_in_it_changes_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, "flags: {ranking: {status: enabled}}")
    flags = Flags(file_flags(path), salt="s", clock=Clock(), chance=lambda: 0.5)
    await flags.refresh()
    assert flags.is_feature_enabled("ranking")

    written(tmp_path, "flags: {")
    await flags.refresh()
    assert flags.is_feature_enabled("ranking")

    written(tmp_path, "flags: {ranking: {status: disabled}}")
    os.utime(path, (0, 0))
    await flags.refresh()
    assert not flags.is_feature_enabled("ranking")


async def test_flags_of_a_setting_are_on_off_or_on_for_a_share() -> None:
    found = await GivenFlags(("c=25.5", "a=on", "b=off", "d=0")).load()
    assert found.revision == await GivenFlags(()).revision()
    assert {
        name: (flag.status, flag.rollout_percentage)
        for name, flag in found.flags.items()
        if isinstance(flag, FeatureFlag)
    } == {
        "a": (FlagStatus.GRADUAL_ROLLOUT, 100),
        "b": (FlagStatus.DISABLED, 0),
        "c": (FlagStatus.GRADUAL_ROLLOUT, 25.5),
        "d": (FlagStatus.DISABLED, 0),
    }


def test_json_is_read_too_and_what_is_written_can_be_read() -> None:
    document = {"status": "enabled", "metadata": {"names": ["Zoë", "on", "2026-12-31", "1"]}}
    assert document_in('{"status": "enabled"}') == {"status": "enabled"}
    assert document_in(yaml_of(document)) == document


def test_text_that_is_no_yaml_says_where() -> None:
    with pytest.raises(FlagMalformed, match="line 2"):
        document_in("a: 1\nb: [")
