"""One writer per index: two processes writing one index would lose each other's documents.

The lock is a kernel lock on the file `.writer` in the storage folder, so it dies with the process that holds it,
however that ends. What stands in the file only tells a person who holds it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from cmo.errors import LibraryError, WriterLocked

LOCK_FILE = ".writer"


@contextmanager
def writer_lock(storage: Path) -> Iterator[None]:
    """Hold the writer lock of the index at `storage` for the length of a `with` block.

    Raises:
        WriterLocked: another process holds it; the message says which, where and since when.
        LibraryError: the storage folder cannot be written, or its file system knows no locks.
    """
    descriptor = _open(storage / LOCK_FILE)
    try:
        _lock(descriptor, storage)
        _write(descriptor, json.dumps(_this_process()).encode())
        try:
            yield
        finally:
            # The file stays: removing it would let a third process lock a file that a second one is waiting at.
            _write(descriptor, b"")
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        # O_CLOEXEC (Python's default): a child started while the lock is held must not keep it alive.
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise LibraryError(
            f"The index folder {path.parent} cannot be written ({error.strerror}): make it writable or choose another."
        ) from error


def _lock(descriptor: int, storage: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise WriterLocked(_refusal(storage, _read(descriptor))) from error
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "?")
        raise LibraryError(
            f"The index folder {storage} cannot be locked ({name}): put it on a file system of this machine."
        ) from error


def _refusal(storage: Path, holder: bytes) -> str:
    try:
        facts = json.loads(holder)
        who = f"process {facts['pid']} on {facts['host']} since {facts['since']} ({facts['command']})"
    except (ValueError, KeyError, TypeError):
        # The holder has locked the file and not yet written its name into it, or is just letting go.
        who = "another process"
    return f"The index in {storage} is being written by {who}: wait until it is done, or stop it."


def _this_process() -> dict[str, str | int]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200],
    }


def _read(descriptor: int) -> bytes:
    return os.pread(descriptor, 4096, 0)


def _write(descriptor: int, content: bytes) -> None:
    # The lock holds without its label: a full disk is reported where it stops the work, not here.
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, content, 0)
