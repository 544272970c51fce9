"""What a run decides from names, sizes, times and inodes alone."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from cmo.library.changes import compare, may_have_moved, row_for, with_copies
from cmo.library.reader import FoundFile
from cmo.storage.manifest import FileRow
from cmo.values import FileStatus


def found(name: str, inode: int, *, size: int = 10, mtime_ns: int = 5, problem: str | None = None) -> FoundFile:
    return FoundFile(file=name, path=Path(name), size=size, mtime_ns=mtime_ns, inode=inode, problem=problem)


def known(name: str, inode: int, *, status: FileStatus = FileStatus.INDEXED, sha256: str = "") -> FileRow:
    return FileRow(path=name, size=10, mtime_ns=5, inode=inode, sha256=sha256 or f"hash-{inode}", status=status)


def names(files: tuple[FoundFile, ...]) -> list[str]:
    return [file.file for file in files]


def test_the_same_file_is_the_same() -> None:
    changes = compare([found("a", 1)], [known("a", 1)])
    assert changes.same == (known("a", 1),)
    assert (changes.moved, changes.open, changes.gone) == ((), (), ())


def test_a_file_that_differs_in_size_time_or_inode_is_opened() -> None:
    for other in (found("a", 1, size=11), found("a", 1, mtime_ns=6), found("a", 2)):
        assert names(compare([other], [known("a", 1)]).open) == ["a"]


def test_a_failed_file_is_opened_again_wherever_it_is() -> None:
    failed = known("a", 1, status=FileStatus.FAILED)
    assert names(compare([found("a", 1)], [failed]).open) == ["a"]
    moved = compare([found("b", 1)], [failed])
    assert names(moved.open) == ["b"]
    assert moved.gone == (failed,)


def test_an_unreadable_file_is_not_opened_again() -> None:
    corrupt = known("a", 1, status=FileStatus.CORRUPT)
    assert compare([found("a", 1)], [corrupt]).same == (corrupt,)


def test_a_hard_link_of_a_known_file_is_a_new_file() -> None:
    changes = compare([found("a", 1), found("b", 1)], [known("a", 1)])
    assert names(changes.open) == ["b"]
    assert not changes.moved


def test_files_below_a_folder_that_cannot_be_listed_are_left_alone() -> None:
    rows = [known("sub/a", 1), known("subway", 2)]
    changes = compare([found("sub", 0, problem="no permission")], rows)
    assert [row.path for row in changes.gone] == ["subway"]
    assert names(changes.problems) == ["sub"]


def test_a_known_file_that_must_not_be_opened_any_more_is_gone() -> None:
    changes = compare([found("a", 0, problem="a broken link")], [known("a", 1)])
    assert [row.path for row in changes.gone] == ["a"]


def test_only_files_of_a_size_that_is_missing_may_have_moved() -> None:
    changes = compare([found("new", 7), found("big", 8, size=99)], [known("old", 1)])
    assert names(may_have_moved(changes)) == ["new"]


def test_a_copy_of_what_is_gone_has_moved() -> None:
    changes = compare([found("new", 7), found("other", 8)], [known("old", 1)])
    settled = with_copies(changes, {"new": "hash-1", "other": "else"})
    assert [(move.before, move.row) for move in settled.moved] == [("old", row_for(found("new", 7), known("old", 1)))]
    assert names(settled.open) == ["other"]
    assert settled.gone == ()


_NAMES = st.sampled_from("abcde")
_INODES = st.integers(1, 4)


@given(
    st.dictionaries(_NAMES, st.tuples(_INODES, st.integers(10, 11))),
    st.dictionaries(_NAMES, st.tuples(_INODES, st.sampled_from(list(FileStatus)))),
)
def test_every_file_and_every_row_has_exactly_one_fate(
    files: dict[str, tuple[int, int]], rows: dict[str, tuple[int, FileStatus]]
) -> None:
    entries = [found(name, inode, size=size) for name, (inode, size) in files.items()]
    changes = compare(entries, [known(name, inode, status=status) for name, (inode, status) in rows.items()])
    here = [row.path for row in changes.same] + [move.row.path for move in changes.moved] + names(changes.open)
    assert sorted(here) == sorted(files)
    left = {row.path for row in changes.same} | {move.before for move in changes.moved}
    left |= {row.path for row in changes.gone} | set(names(changes.open))
    assert rows.keys() <= left | {move.row.path for move in changes.moved}
    assert len({move.before for move in changes.moved}) == len(changes.moved)
    assert not {row.path for row in changes.gone} & files.keys()


def test_settling_keeps_what_it_does_not_know() -> None:
    changes = compare([found("new", 7)], [known("old", 1)])
    assert with_copies(changes, {}) == changes
