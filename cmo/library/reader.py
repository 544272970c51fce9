"""Finds the papers of a folder and has them read by a process that may hang or die without harm.

A PDF comes from anywhere and PDFium is written in C++, so parsing happens in one long-lived child process
(`reader_child`) with a time limit for each file and a memory limit. Requests and replies are JSON behind a four-byte
length: nothing that has touched a PDF is ever unpickled. How a file is parsed is not known here.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import stat
import struct
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from cmo.errors import LibraryError, UnreadableDocument
from cmo.library.layout import BlockKind
from cmo.library.pdf import Block, PageText
from cmo.phrases import Phrase
from cmo.values import FileStatus

TEXT_SUFFIXES = (".txt", ".md")
SUFFIXES = (".pdf", *TEXT_SUFFIXES)

MAX_REPLY_BYTES = 256 * 1024 * 1024
"""Longest reply taken from the child: 2000 dense pages are about 20 MB."""

START_SECONDS = 60.0
"""Patience for the child's imports; half a second is usual."""

LENGTH = struct.Struct("!I")
"""What stands before every message between the two processes: the number of bytes that follow."""

EXIT_OUT_OF_MEMORY = 70
"""Exit code of a child that came to the end of its memory."""

PARSER = "cmo.library.reader_child:read_document"
"""The function that reads a file."""

_DEATH_SECONDS = 5.0
_HASH_CHUNK_BYTES = 1024 * 1024
_IMPORT_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What reading one file may cost. `memory_bytes` bounds the child's address space where the system can."""

    seconds: float = 60.0
    max_bytes: int = 200_000_000
    max_pages: int = 2000
    memory_bytes: int = 4 * 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadDocument:
    """The text of a file and what it says about itself; `title` is never empty."""

    pages: tuple[PageText, ...]
    title: str
    authors: tuple[str, ...] = ()
    year: int | None = None
    doi: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """One entry of the papers folder that asks to be read.

    `file` is relative to the folder, with forward slashes. When `problem` is set, the entry cannot be read and must not
    be opened: it is reported as failed, for that reason.
    """

    file: str
    path: Path
    size: int = 0
    mtime_ns: int = 0
    inode: int = 0
    problem: str | None = None


def scan(folder: Path) -> list[FoundFile]:
    """Every .pdf, .txt and .md entry under the folder, sorted by `file`; nothing is opened, so nothing can block.

    Hidden files and folders are left out. A link to a file counts as that file; a link to a folder is not followed, so
    each folder is visited once.

    Raises:
        LibraryError: there is no such folder, or it may not be listed.
    """
    try:
        found = list(_found_in(folder, folder))
    except OSError as error:
        raise LibraryError(f"The papers folder {folder} cannot be listed: {error.strerror}.") from error
    return sorted(found, key=lambda one: one.file)


def _found_in(folder: Path, root: Path) -> Iterator[FoundFile]:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = Path(entry.path)
            if entry.name.startswith("."):
                continue
            if path.suffix.lower() in SUFFIXES:
                yield _found(path, root)
            elif entry.is_dir(follow_symlinks=False):
                yield from _found_in_subfolder(path, root)


def _found_in_subfolder(folder: Path, root: Path) -> Iterator[FoundFile]:
    try:
        yield from _found_in(folder, root)
    except OSError as error:
        problem = f"The folder cannot be listed: {error.strerror}. Allow it to be read."
        yield FoundFile(file=_relative(folder, root), path=folder, problem=problem)


def _found(path: Path, root: Path) -> FoundFile:
    file = _relative(path, root)
    try:
        file.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(file).decode("utf-8", "backslashreplace")
        return FoundFile(file=shown, path=path, problem=Phrase("The file's name is not valid UTF-8. Rename the file."))
    try:
        status = path.stat()
    except OSError as error:
        return FoundFile(file=file, path=path, problem=_inaccessible(path, error))
    return FoundFile(
        file=file,
        path=path,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        inode=status.st_ino,
        problem=_leads_out(path, root) or _not_a_file(status.st_mode),
    )


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _inaccessible(path: Path, error: OSError) -> str:
    if path.is_symlink():
        return Phrase("The link leads nowhere. Put the file itself into the folder, or remove the link.")
    return f"The file cannot be opened: {error.strerror}. Check that it is there and may be read."


def _leads_out(path: Path, root: Path) -> str | None:
    """What cannot be shown is not read: the server sends no file from outside the papers folder."""
    if not path.is_symlink() or path.resolve().is_relative_to(root.resolve()):
        return None
    return Phrase(
        "The link leads out of the papers folder, and only pages inside it can be shown. Put the file itself there."
    )


def _not_a_file(mode: int) -> str | None:
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISDIR(mode):
        return Phrase("This is a folder with the name of a document. Rename it to have the files in it read.")
    return Phrase("This is not a file but a pipe, socket or device. Remove it from the papers folder.")


def hash_file(path: Path) -> str:
    """The SHA-256 of the file's content in hexadecimal digits. Reads the whole file: call it in a thread.

    Raises:
        UnreadableDocument: it cannot be opened, is no regular file, or changed while it was read.
    """
    with open_at_once(path) as file:
        before = os.fstat(file.fileno())
        digest = hashlib.sha256()
        try:
            while chunk := file.read(_HASH_CHUNK_BYTES):
                digest.update(chunk)
            after = os.fstat(file.fileno())
            named = path.stat()
        except OSError as error:
            raise UnreadableDocument(FileStatus.FAILED, _inaccessible(path, error)) from error
    if not _version(before) == _version(after) == _version(named):
        reason = Phrase("The file changed while it was being read. Index again when it is complete.")
        raise UnreadableDocument(FileStatus.FAILED, reason)
    return digest.hexdigest()


def _version(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def open_at_once(path: Path) -> BinaryIO:
    """The file, opened for reading without waiting for a writer should it have become a pipe.

    Raises:
        UnreadableDocument: it is gone, may not be read, or is no regular file.
    """
    try:
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - the caller closes it
    except OSError as error:
        raise UnreadableDocument(FileStatus.FAILED, _inaccessible(path, error)) from error
    problem = _not_a_file(os.fstat(file.fileno()).st_mode)
    if problem:
        file.close()
        raise UnreadableDocument(FileStatus.FAILED, problem)
    return file


def _without_waiting(name: str, flags: int) -> int:
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


class DocumentReader:
    """Reads files one at a time in a child process, which is started when first needed and replaced when it breaks.

    Use it as an asynchronous context manager, or `close` it.
    """

    def __init__(self, limits: Limits | None = None, *, parser: str = PARSER) -> None:
        """A reader; nothing is started yet.

        Args:
            limits: what one file may cost.
            parser: "module:function" of what the child calls for each file, with the signature of `read_document`. It
                is there for tests, which need a parser that hangs or dies.
        """
        self._limits = limits or Limits()
        self._parser = parser
        self._child: asyncio.subprocess.Process | None = None
        self._one_at_a_time = asyncio.Lock()
        self._closed = False

    async def __aenter__(self) -> DocumentReader:
        """The reader itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Closes the reader."""
        await self.close()

    async def read(self, path: Path) -> ReadDocument:
        """The document's pages and what it says about itself.

        Cancelling kills the child at once; the next call starts another one.

        Raises:
            UnreadableDocument: the file cannot be read; says what became of it, why, and what to do.
            LibraryError: the child process cannot be started, or the reader is closed.
        """
        async with self._one_at_a_time:
            child = await self._running_child()
            try:
                outcome = await self._outcome(child, path)
            except BaseException:
                await self._end_child()
                raise
        if isinstance(outcome, UnreadableDocument):
            raise outcome
        return outcome

    async def close(self) -> None:
        """Ends the child process, at once, whatever it is doing. May be called more than once."""
        self._closed = True
        await self._end_child()

    async def _running_child(self) -> asyncio.subprocess.Process:
        if self._closed:
            raise LibraryError("The document reader is closed.")
        if self._child is None or self._child.returncode is not None:
            self._child = None
            self._child = await self._start()
        return self._child

    async def _start(self) -> asyncio.subprocess.Process:
        arguments = ["--parser", self._parser, "--memory-bytes", str(self._limits.memory_bytes)]
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-X", "utf8", "-m", "cmo.library.reader_child", *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=_IMPORT_ROOT,
        )
        ready = False
        try:
            async with asyncio.timeout(START_SECONDS):
                await _receive(child)
            ready = True
        except (TimeoutError, asyncio.IncompleteReadError) as error:
            raise LibraryError("The process that reads the papers does not start; its messages say why.") from error
        finally:
            if not ready:
                await _kill(child)
        return child

    async def _outcome(self, child: asyncio.subprocess.Process, path: Path) -> ReadDocument | UnreadableDocument:
        """What the child says of the file; raises when it cannot go on after this file."""
        try:
            async with asyncio.timeout(self._limits.seconds):
                return _outcome_of(await _exchange(child, self._request(path)))
        except TimeoutError as error:
            raise _failed(f"takes longer than {self._limits.seconds:g} seconds to read") from error
        except (asyncio.IncompleteReadError, OSError) as error:
            if self._closed:
                raise LibraryError("The document reader was closed while it was reading.") from error
            raise _failed(await self._cause_of_death(child)) from error
        except (ValueError, KeyError, TypeError) as error:
            raise _failed("made the PDF reader answer nonsense") from error

    async def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await _kill(child)

    def _request(self, path: Path) -> object:
        return {"path": str(path.absolute()), "limits": asdict(self._limits)}

    async def _cause_of_death(self, child: asyncio.subprocess.Process) -> str:
        await _kill(child)
        if child.returncode == EXIT_OUT_OF_MEMORY:
            return f"needs more than {self._limits.memory_bytes / 1024**3:.1f} GB of memory"
        return "made the PDF reader crash"


def _failed(cause: str) -> UnreadableDocument:
    reason = f"The file {cause}. Print it to a new PDF and index again, or remove it."
    return UnreadableDocument(FileStatus.FAILED, reason)


async def _exchange(child: asyncio.subprocess.Process, request: object) -> Any:
    assert child.stdin is not None
    child.stdin.write(frame(request))
    await child.stdin.drain()
    return await _receive(child)


async def _receive(child: asyncio.subprocess.Process) -> Any:
    assert child.stdout is not None
    (length,) = LENGTH.unpack(await child.stdout.readexactly(LENGTH.size))
    if length > MAX_REPLY_BYTES:
        raise ValueError(f"reply of {length} bytes")
    return json.loads(await child.stdout.readexactly(length))


async def _kill(child: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        child.kill()
    # A process waiting for a dead file server cannot even be killed; then it is left behind.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DEATH_SECONDS):
            await child.wait()


def _outcome_of(reply: Any) -> ReadDocument | UnreadableDocument:
    if "unreadable" in reply:
        return UnreadableDocument(FileStatus(reply["unreadable"]["status"]), str(reply["unreadable"]["reason"]))
    fields = reply["document"]
    return ReadDocument(
        pages=tuple(_page(page) for page in fields["pages"]),
        title=str(fields["title"]),
        authors=tuple(str(author) for author in fields["authors"]),
        year=None if fields["year"] is None else int(fields["year"]),
        doi=None if fields["doi"] is None else str(fields["doi"]),
    )


def _page(page: Any) -> PageText:
    return PageText(text=str(page["text"]), blocks=tuple(_block(block) for block in page["blocks"]))


def _block(block: Any) -> Block:
    return Block(start=int(block["start"]), end=int(block["end"]), kind=BlockKind(block["kind"]))


def frame(message: object) -> bytes:
    """The message as it goes over the pipe."""
    # A lone surrogate, as a broken font map yields, becomes a question mark: one character for one, so spans hold.
    content = json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")
    return LENGTH.pack(len(content)) + content
