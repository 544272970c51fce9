"""Folders, the pointer and the fingerprint of generations."""

import stat
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cmo.errors import LibraryError
from cmo.library.generations import (
    POINTER,
    GenerationInfo,
    Recipe,
    create,
    current,
    generations,
    prepare,
    prune,
    serve,
    set_aside,
)

RECIPE = Recipe(reader="1", passages="1", embedder="minilm", extractor="words-1", graph="1.5.7", schema="1")


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    prepare(tmp_path / "storage")
    return tmp_path / "storage"


def built(storage: Path, recipe: Recipe = RECIPE) -> GenerationInfo:
    info = create(storage, recipe)
    info.database.write_bytes(b"index")
    return info


@pytest.mark.parametrize("step", [field.name for field in fields(Recipe)])
def test_a_change_in_any_step_is_another_fingerprint(step: str) -> None:
    other = replace(RECIPE, **{step: "changed"})
    assert other.fingerprint != RECIPE.fingerprint
    assert RECIPE.changes(other) == (step,)


def test_a_recipe_survives_being_written_down() -> None:
    assert Recipe.from_json(RECIPE.to_json()) == RECIPE


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"reader": "1"}', '{"spice": "salt"}', "3"])
def test_what_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"recipe|Expecting"):
        Recipe.from_json(text)


def test_storage_is_readable_by_its_user_only(storage: Path) -> None:
    info = create(storage, RECIPE)
    for folder in (storage, storage / "generations", info.folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_nothing_serves_at_first(storage: Path) -> None:
    built(storage)
    assert current(storage) is None
    assert current(storage / "missing") is None


def test_a_served_generation_is_the_current_one(storage: Path) -> None:
    info = built(storage)
    serve(storage, info)
    assert current(storage) == info
    assert info.name == f"g0001-{RECIPE.fingerprint[:8]}"
    assert info.made_by(RECIPE)


def test_a_swap_leaves_no_instant_without_a_whole_pointer(storage: Path) -> None:
    first, second = built(storage), built(storage, replace(RECIPE, embedder="other"))
    serve(storage, first)
    serve(storage, second)
    assert current(storage) == second
    assert sorted(path.name for path in storage.iterdir()) == [POINTER, "generations"]


def test_a_half_written_pointer_beside_the_real_one_changes_nothing(storage: Path) -> None:
    info = built(storage)
    serve(storage, info)
    (storage / f"{POINTER}.new").write_text("g0")
    assert current(storage) == info


@pytest.mark.parametrize("name", [b"", b"../../etc", b"g0009-00000000", b"g0001-zzzzzzzz\nmore", b"\xff\x00"])
def test_a_pointer_to_nothing_serves_nothing(storage: Path, name: bytes) -> None:
    (storage / POINTER).write_bytes(name)
    assert current(storage) is None


def test_an_unreadable_pointer_is_an_error(storage: Path) -> None:
    (storage / POINTER).mkdir()
    with pytest.raises(LibraryError, match="CURRENT cannot be read"):
        current(storage)


def test_numbers_are_never_used_twice(storage: Path) -> None:
    first = built(storage)
    set_aside(first, datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC))
    second = built(storage)
    assert second.number == 2
    assert generations(storage) == (second,)


def test_a_damaged_generation_is_set_aside_with_its_time(storage: Path) -> None:
    info = built(storage)
    serve(storage, info)
    place = set_aside(info, datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert place.name == f"{info.name}.damaged-20250102T030405"
    assert (place / "index.sqlite").read_bytes() == b"index"
    assert current(storage) is None


def test_pruning_keeps_what_it_is_told_and_the_latest_damaged(storage: Path) -> None:
    for day in (1, 2):
        set_aside(built(storage), datetime(2025, 1, day, tzinfo=UTC))
    third, fourth, fifth = built(storage), built(storage), built(storage)
    prune(storage, keep={fourth.name, fifth.name})
    names = sorted(path.name for path in (storage / "generations").iterdir())
    assert names == [f"g0002-{RECIPE.fingerprint[:8]}.damaged-20250102T000000", fourth.name, fifth.name]
    assert third.name not in names


def test_a_storage_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LibraryError, match="cannot be created"):
        prepare(tmp_path / "file" / "storage")
