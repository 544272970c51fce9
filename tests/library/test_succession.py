"""Takeovers, what is known of them afterwards, and two that want to change the pointer at once."""

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cmo.errors import LibraryError
from cmo.library.generations import GenerationInfo, Recipe, create, current, generations, prepare
from cmo.library.health import Check, Health
from cmo.library.lock import writer_lock
from cmo.library.succession import HISTORY, Action, Event, Succession

RECIPE = Recipe(reader="1", passages="1", embedder="e", extractor="x", graph="g", schema="s")
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    prepare(tmp_path)
    return tmp_path


def built(storage: Path) -> GenerationInfo:
    info = create(storage, RECIPE)
    info.database.write_bytes(b"index")
    return info


def event(info: GenerationInfo, before: GenerationInfo | None, action: Action = Action.SWITCH) -> Event:
    name = before.name if before is not None else ""
    return Event(action=action, generation=info.name, before=name, author="ann", reason="to try", at=AT)


def changed(storage: Path, info: GenerationInfo, action: Action = Action.SWITCH) -> bool:
    return Succession(storage).take_over(info, event(info, current(storage), action))


def test_a_takeover_changes_the_pointer_and_is_told_of(storage: Path) -> None:
    first, second = built(storage), built(storage)

    assert changed(storage, first, Action.INDEX)
    assert changed(storage, second)

    assert current(storage) == second
    told = Succession(storage).events()
    assert [(one.action, one.generation, one.before) for one in told] == [
        (Action.INDEX, first.name, ""),
        (Action.SWITCH, second.name, first.name),
    ]
    assert (told[1].author, told[1].reason, told[1].at) == ("ann", "to try", AT)


def test_whoever_saw_another_generation_serve_changes_nothing(storage: Path) -> None:
    first, second, third = built(storage), built(storage), built(storage)
    changed(storage, first)
    late = event(third, first)
    changed(storage, second)

    assert not Succession(storage).take_over(third, late)
    assert current(storage) == second
    assert len(Succession(storage).events()) == 2


def test_of_many_at_once_exactly_one_takes_over(storage: Path) -> None:
    first, others = built(storage), [built(storage) for _ in range(8)]
    changed(storage, first)
    begin, took = threading.Barrier(len(others)), []

    def race(info: GenerationInfo) -> None:
        begin.wait()
        took.append(Succession(storage).take_over(info, event(info, first)))

    threads = [threading.Thread(target=race, args=[info]) for info in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(took) == [False] * 7 + [True]


def test_a_generation_that_is_gone_does_not_take_over(storage: Path) -> None:
    first, second = built(storage), built(storage)
    changed(storage, first)
    second.database.unlink()

    with pytest.raises(LibraryError, match="not there any more"):
        changed(storage, second)
    assert current(storage) == first
    assert len(Succession(storage).events()) == 1


def test_a_switch_does_not_wait_for_a_run(storage: Path) -> None:
    first, second = built(storage), built(storage)
    changed(storage, first)

    with writer_lock(storage):
        assert changed(storage, second)

    assert current(storage) == second


def test_what_served_before_is_known(storage: Path) -> None:
    first, second = built(storage), built(storage)
    assert Succession(storage).previous() is None
    changed(storage, first)
    assert Succession(storage).previous() is None
    changed(storage, second)
    assert Succession(storage).previous() == first.name
    changed(storage, first, Action.BACK)
    assert Succession(storage).previous() == second.name


@pytest.mark.parametrize("action", [Action.SWITCH, Action.BACK])
def test_a_generation_that_a_person_switched_away_from_stays_left_until_somebody_switches_to_it(
    storage: Path, action: Action
) -> None:
    first, second, third = built(storage), built(storage), built(storage)
    changed(storage, first)
    changed(storage, second, action)
    left = Succession(storage).left(first.name)
    assert left is not None
    assert (left.author, left.before) == ("ann", first.name)

    changed(storage, third, Action.INDEX)
    assert Succession(storage).left(first.name) is not None
    changed(storage, first)
    assert Succession(storage).left(first.name) is None


def test_a_generation_that_a_run_replaced_was_left_by_nobody(storage: Path) -> None:
    first, second = built(storage), built(storage)
    changed(storage, first)
    changed(storage, second, Action.INDEX)

    assert Succession(storage).left(first.name) is None


def test_the_last_check_is_known_and_is_no_takeover(storage: Path) -> None:
    first, second = built(storage), built(storage)
    changed(storage, first)
    changed(storage, second)
    bad = Health(generation=first.name, checks=(Check(name="file", passed=False, words="Torn."),))
    succession = Succession(storage)
    succession.note(Event.of_check(replace(bad, checks=()), author="bob", at=AT))
    succession.note(Event.of_check(bad, author="bob", at=AT + timedelta(days=1)))

    last = succession.last_check(first.name)
    assert last is not None
    assert (last.failed, last.reason, last.at) == (("file",), "Torn.", AT + timedelta(days=1))
    assert succession.last_check(second.name) is None
    assert (succession.previous(), succession.left(first.name) is not None) == (first.name, True)


def test_the_history_is_only_ever_added_to_and_half_a_line_spoils_no_other(storage: Path) -> None:
    first, second = built(storage), built(storage)
    changed(storage, first)
    history = storage / HISTORY
    begun = history.read_bytes()
    history.write_bytes(begun + b'{"action": "swi')

    changed(storage, second)

    assert history.read_bytes().startswith(begun)
    assert json.loads(history.read_bytes().splitlines()[-1])["generation"] == second.name
    assert [one.generation for one in Succession(storage).events()] == [first.name, second.name]


def test_after_a_crash_between_history_and_pointer_the_serving_one_is_still_followed_by_its_own_past(
    storage: Path,
) -> None:
    first, second, third = built(storage), built(storage), built(storage)
    changed(storage, first)
    changed(storage, second)
    Succession(storage).note(event(third, second))  # and the process died here

    assert Succession(storage).previous() == first.name


def test_a_history_that_cannot_be_read_is_an_error(storage: Path) -> None:
    (storage / HISTORY).mkdir()

    with pytest.raises(LibraryError, match="cannot be read"):
        Succession(storage).events()
    with pytest.raises(LibraryError, match="cannot be written"):
        changed(storage, built(storage))
    assert current(storage) is None


def test_what_is_cleared_away_is_decided_while_nobody_can_switch(storage: Path) -> None:
    infos = [built(storage) for _ in range(4)]
    changed(storage, infos[0])

    def kept() -> set[str]:
        switching.start()
        switching.join(timeout=0.1)
        assert switching.is_alive()
        return {infos[0].name, infos[3].name}

    switching = threading.Thread(target=changed, args=[storage, infos[3]])
    gone = Succession(storage).clear_away(kept)
    switching.join()

    assert gone == (infos[1].name, infos[2].name)
    assert generations(storage) == (infos[0], infos[3])
    assert current(storage) == infos[3]
