"""What has changed in the papers folder since it was last looked at. Opens nothing, decides from stat(2) alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from cmo.library.reader import FoundFile
from cmo.storage.manifest import FileRow
from cmo.values import FileStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A file that was known under the name `before`; `row` is what is to be known of it."""

    row: FileRow
    before: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The files of a folder, sorted by what has to be done.

    `same` need nothing, `moved` only their new name noted. `open` have to be looked into: they are new or differ, or
    failed the last time for a reason that may have passed. `gone` are rows whose file is there no more. `problems` are
    entries that must not be opened.
    """

    same: tuple[FileRow, ...] = ()
    moved: tuple[Move, ...] = ()
    open: tuple[FoundFile, ...] = ()
    gone: tuple[FileRow, ...] = ()
    problems: tuple[FoundFile, ...] = ()


def compare(found: Iterable[FoundFile], known: Iterable[FileRow]) -> Changes:
    """The changes that lead from what is known to what was found.

    A file is the same when path, size, modification time and inode are: whoever rewrites a file changes at least one.
    It has moved when all but the path are those of a row whose own file is not where it was. Rows below a folder that
    could not be listed are neither here nor gone: they are left alone.
    """
    entries = sorted(found, key=lambda file: file.file)
    problems = tuple(file for file in entries if file.problem)
    files = [file for file in entries if not file.problem]
    rows = {row.path: row for row in known}
    same = {file.file for file in files if file.file in rows and _identity(file) == _identity(rows[file.file])}
    loose = {_identity(row): row for path, row in rows.items() if path not in same}
    moved, to_open = [], []
    for file in files:
        row = rows[file.file] if file.file in same else loose.pop(_identity(file), None)
        if row is None or row.status is FileStatus.FAILED:
            to_open.append(file)
        elif file.file not in same:
            moved.append(Move(row=row_for(file, row), before=row.path))
    here = {file.file for file in files} | {move.before for move in moved}
    hidden = tuple(f"{problem.file}/" for problem in problems)
    return Changes(
        same=tuple(row for path, row in sorted(rows.items()) if path in same and row.status is not FileStatus.FAILED),
        moved=tuple(moved),
        open=tuple(to_open),
        gone=tuple(row for path, row in sorted(rows.items()) if path not in here and not path.startswith(hidden)),
        problems=problems,
    )


def may_have_moved(changes: Changes) -> tuple[FoundFile, ...]:
    """The files to be opened that could, by their size, be copies of what is gone."""
    sizes = {row.size for row in changes.gone if row.status is not FileStatus.FAILED}
    return tuple(file for file in changes.open if file.size in sizes)


def with_copies(changes: Changes, contents: Mapping[str, str]) -> Changes:
    """The changes, where a file with the content of one that is gone has moved; `contents` are SHA-256s by file."""
    missing = {row.sha256: row for row in changes.gone if row.status is not FileStatus.FAILED}
    moved = []
    for file in changes.open:
        row = missing.pop(contents.get(file.file, "unread"), None)
        if row is not None:
            moved.append(Move(row=row_for(file, row), before=row.path))
    here, origins = {move.row.path for move in moved}, {move.before for move in moved}
    return replace(
        changes,
        moved=(*changes.moved, *moved),
        open=tuple(file for file in changes.open if file.file not in here),
        gone=tuple(row for row in changes.gone if row.path not in origins),
    )


def row_for(file: FoundFile, row: FileRow) -> FileRow:
    """What is known of `row`'s content, noted for `file`."""
    return replace(row, path=file.file, size=file.size, mtime_ns=file.mtime_ns, inode=file.inode)


def _identity(file: FoundFile | FileRow) -> tuple[int, int, int]:
    return file.inode, file.size, file.mtime_ns
