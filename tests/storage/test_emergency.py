import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cmo.errors import StorageUnavailable
from cmo.storage.emergency import FILE, HISTORY, EmergencyFile

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ENGINES = ("lightrag", "perplexity")


def emergency(folder: Path) -> EmergencyFile:
    return EmergencyFile(folder, engines=ENGINES)


def test_without_a_stop_nothing_is_stopped(tmp_path: Path) -> None:
    assert emergency(tmp_path).stopped() == frozenset()
    assert emergency(tmp_path).current() is None


def test_every_process_sees_a_stop_at_its_next_look_and_after_a_restart(tmp_path: Path) -> None:
    other = emergency(tmp_path)
    assert other.stopped() == frozenset()

    made = emergency(tmp_path).stop(["lightrag"], author="ann", reason="wrong answers", at=NOW)

    assert other.stopped() == emergency(tmp_path).stopped() == {"lightrag"}
    assert other.current() == made


def test_a_second_stop_comes_beside_the_first(tmp_path: Path) -> None:
    file = emergency(tmp_path)
    file.stop(["perplexity"], author="ann", reason="one", at=NOW)

    assert file.stop(["lightrag"], author="bob", reason="two", at=NOW).engines == ENGINES
    assert file.stopped() == set(ENGINES)


def test_what_is_lifted_is_in_service_again_everywhere(tmp_path: Path) -> None:
    file, other = emergency(tmp_path), emergency(tmp_path)
    made = file.stop(["lightrag"], author="ann", reason="one", at=NOW)
    assert other.stopped() == {"lightrag"}

    assert file.lift(author="ann", reason="mended", at=NOW) == made
    assert file.stopped() == other.stopped() == frozenset()
    assert file.lift(author="ann", reason="again", at=NOW) is None


def test_the_history_tells_who_did_what_and_why_and_loses_nothing(tmp_path: Path) -> None:
    file = emergency(tmp_path)
    file.stop(["lightrag"], author="ann", reason="wrong answers", at=NOW)
    file.lift(author="bob", reason="mended", at=NOW)

    lines = [json.loads(line) for line in (tmp_path / HISTORY).read_text(encoding="utf-8").splitlines()]
    assert [(line["action"], line["author"], line["reason"]) for line in lines] == [
        ("stop", "ann", "wrong answers"),
        ("lift", "bob", "mended"),
    ]


def test_where_no_history_can_be_written_a_stop_holds_and_the_history_is_blamed(tmp_path: Path) -> None:
    (tmp_path / HISTORY).mkdir()
    file = emergency(tmp_path)

    with pytest.raises(StorageUnavailable, match=rf"{HISTORY} cannot be written: .* Stopped all the same: lightrag\."):
        file.stop(["lightrag"], author="ann", reason="wrong answers", at=NOW)
    with pytest.raises(StorageUnavailable, match=rf"{HISTORY} cannot be written: .* Stopped all the same: lightrag\."):
        file.lift(author="ann", reason="mended", at=NOW)

    assert file.stopped() == {"lightrag"}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"engines": ["third"]}', '{"engines": []}', "\udcff"])
def test_a_file_nobody_can_make_sense_of_stops_everything(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content, encoding="utf-8", errors="surrogateescape")

    found = emergency(tmp_path).current()

    assert found is not None
    assert (found.engines, found.readable) == (ENGINES, False)


def test_a_file_is_read_again_only_when_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = emergency(tmp_path)
    file.stop(["lightrag"], author="ann", reason="one", at=NOW)
    assert file.stopped() == {"lightrag"}
    monkeypatch.setattr(Path, "read_text", None)

    assert file.stopped() == {"lightrag"}


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageUnavailable, match="EMERGENCY_STOP cannot be written"):
        emergency(tmp_path / "file").stop(["lightrag"], author="ann", reason="one", at=NOW)


def test_a_stop_leaves_nothing_half_written_behind(tmp_path: Path) -> None:
    emergency(tmp_path).stop(["lightrag"], author="ann", reason="one", at=NOW)

    assert sorted(os.listdir(tmp_path)) == [FILE, HISTORY]
