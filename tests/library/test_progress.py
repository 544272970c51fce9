"""What a run tells of itself while it goes on."""

from pathlib import Path

import pytest

from cmo.library.progress import Meter
from cmo.library.reader import FoundFile
from cmo.storage.manifest import FileRow
from cmo.values import FileReport, FileStatus, IndexProgress


class Stopwatch:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def file(name: str, size: int) -> FoundFile:
    return FoundFile(file=name, path=Path(name), size=size)


ROW = FileRow(path="known.pdf", size=9, mtime_ns=1, inode=1, sha256="", status=FileStatus.INDEXED, pages=3, passages=7)


@pytest.fixture
def told() -> list[IndexProgress]:
    return []


def test_what_is_known_already_is_done_from_the_start(told: list[IndexProgress]) -> None:
    Meter(told.append).begin([ROW], [file("a.pdf", 10)])
    assert told == [IndexProgress(files_done=1, files_total=2, pages=3, passages=7, seconds_left=None, file=None)]


def test_nothing_to_do_takes_no_time(told: list[IndexProgress]) -> None:
    Meter(told.append).begin([ROW], [])
    assert told[-1].seconds_left == 0.0


def test_the_time_left_goes_by_passages_and_bytes(told: list[IndexProgress]) -> None:
    watch = Stopwatch()
    meter = Meter(told.append, monotonic=watch)
    first, second = file("a.pdf", 1000), file("b.pdf", 3000)
    meter.begin([], [first, second])
    watch.now += 50  # getting ready is not counted
    meter.read(first, pages=2, passages=10)
    assert told[-1].seconds_left is None
    watch.now += 5
    meter.embedded(5)
    # A passage takes a second: 5 are left of this file, and 30 to come at 10 per 1000 bytes.
    assert told[-1].seconds_left == pytest.approx(35)
    watch.now += 5
    meter.inserted(first)
    assert told[-1].seconds_left == pytest.approx(30)
    meter.read(second, pages=2, passages=20)
    assert told[-1].seconds_left == pytest.approx(20)
    watch.now += 20
    meter.inserted(second)
    assert told[-1] == IndexProgress(files_done=2, files_total=2, pages=4, passages=30, seconds_left=0.0, file="b.pdf")


def test_a_passage_is_counted_once_however_often_it_is_told(told: list[IndexProgress]) -> None:
    meter = Meter(told.append)
    one = file("a.pdf", 10)
    meter.begin([], [one])
    meter.read(one, pages=1, passages=4)
    for done in (2, 2, 1, 9):
        meter.embedded(done)
    meter.inserted(one)
    assert [progress.passages for progress in told] == [0, 0, 2, 2, 2, 4, 4]


def test_an_unreadable_file_is_done(told: list[IndexProgress]) -> None:
    meter = Meter(told.append)
    one = file("a.pdf", 10)
    meter.begin([], [one])
    meter.skipped(one, FileReport(file="a.pdf", status=FileStatus.CORRUPT))
    assert (told[-1].files_done, told[-1].seconds_left) == (1, 0.0)
