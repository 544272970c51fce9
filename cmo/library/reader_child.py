"""The process that parses files for `reader.DocumentReader`: `python -m cmo.library.reader_child`.

It may hang, crash or run out of memory on a hostile file; the parent ends it and starts another one. It opens only the
files it is told to and keeps nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import math
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from pypdfium2 import PdfiumError  # type: ignore[import-untyped]

from cmo.errors import UnreadableDocument
from cmo.library.front_page import FrontPage, read_front_page
from cmo.library.metadata import find_metadata
from cmo.library.pdf import PageText, read_pdf, read_text
from cmo.library.reader import (
    EXIT_OUT_OF_MEMORY,
    LENGTH,
    MAX_REPLY_BYTES,
    PARSER,
    TEXT_SUFFIXES,
    Limits,
    ReadDocument,
    frame,
    open_at_once,
)
from cmo.phrases import Phrase
from cmo.values import FileStatus

if sys.platform != "win32":
    import resource

_HEAD_BYTES = 8192
_ALARM_MARGIN_SECONDS = 2


class Parser(Protocol):
    """What is called for each file."""

    def __call__(self, path: Path, limits: Limits) -> ReadDocument:
        """The document; raises UnreadableDocument when there is none to be had."""


def read_document(path: Path, limits: Limits) -> ReadDocument:
    """The document, parsed in this very process.

    Raises:
        UnreadableDocument: the file cannot be read, or is over the limits.
    """
    with open_at_once(path) as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(_HEAD_BYTES)
    if size == 0:
        raise UnreadableDocument(FileStatus.EMPTY, Phrase("The file is empty (0 bytes). Copy it again."))
    if size > limits.max_bytes:
        raise UnreadableDocument(FileStatus.TOO_LARGE, _over(size / 1e6, limits.max_bytes / 1e6, "MB"))
    if path.suffix.lower() in TEXT_SUFFIXES:
        return _described(read_text(path), FrontPage(), path, texts=[head.decode("utf-8", "replace")])
    front = _front_page(path)
    if front.page_count > limits.max_pages:
        raise UnreadableDocument(FileStatus.TOO_LARGE, _over(front.page_count, limits.max_pages, "pages"))
    pages = read_pdf(path)
    return _described(pages, front, path, texts=[page.text for page in pages])


def _over(found: float, allowed: float, unit: str) -> str:
    return f"The file has {found:,.0f} {unit}; at most {allowed:,.0f} are read. Split it into parts."


def _front_page(path: Path) -> FrontPage:
    try:
        return read_front_page(path)
    except PdfiumError:
        # Without a front page only title and authors are missing; whether the file can be read, `read_pdf` says.
        return FrontPage()


def _described(pages: tuple[PageText, ...], front: FrontPage, path: Path, *, texts: Sequence[str]) -> ReadDocument:
    found = find_metadata(front.lines, texts=texts, info=front.info, file_name=path.name)
    return ReadDocument(pages=pages, title=found.title, authors=found.authors, year=found.year, doi=found.doi)


def main() -> None:
    """Answers requests on standard input until it ends."""
    arguments = _arguments()
    _bound_memory(arguments.memory_bytes)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a parser prints must not get between the replies
    parser = _parser(arguments.parser)
    _send(replies, {"ready": True})
    try:
        for request in _requests(sys.stdin.buffer):
            _send(replies, _answer(parser, Path(request["path"]), Limits(**request["limits"])))
    except MemoryError:
        os._exit(EXIT_OUT_OF_MEMORY)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m cmo.library.reader_child", description=__doc__)
    parser.add_argument("--parser", default=PARSER, help="module:function called for a file")
    parser.add_argument("--memory-bytes", type=int, default=Limits().memory_bytes, help="limit of the address space")
    return parser.parse_args()


def _bound_memory(limit_bytes: int) -> None:
    if sys.platform == "win32":
        return
    with contextlib.suppress(ValueError, OSError):  # macOS refuses limits on the address space
        resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _parser(name: str) -> Parser:
    module, _, function = name.partition(":")
    parser: Parser = getattr(importlib.import_module(module), function)
    return parser


def _requests(requests: BinaryIO) -> Iterator[Any]:
    while len(header := requests.read(LENGTH.size)) == LENGTH.size:
        (length,) = LENGTH.unpack(header)
        yield json.loads(requests.read(length))


def _answer(parser: Parser, path: Path, limits: Limits) -> object:
    _set_alarm(math.ceil(limits.seconds) + _ALARM_MARGIN_SECONDS)
    try:
        return {"document": asdict(parser(path, limits))}
    except UnreadableDocument as problem:
        return _unreadable(problem.status, str(problem))
    except MemoryError:
        raise
    except Exception as error:
        # Anything can come out of a parser fed with a hostile file; the file fails and the rest goes on.
        traceback.print_exc()
        return _unreadable(FileStatus.FAILED, f"The PDF reader stopped with {type(error).__name__}. Save a fresh copy.")
    finally:
        _set_alarm(0)


def _set_alarm(seconds: int) -> None:
    """Lets the system end this process by then: a parser hanging in C must not outlive a parent that was killed."""
    if sys.platform != "win32":
        signal.alarm(seconds)


def _unreadable(status: FileStatus, reason: str) -> object:
    return {"unreadable": {"status": status.value, "reason": reason}}


def _send(replies: BinaryIO, message: object) -> None:
    content = frame(message)
    if len(content) > MAX_REPLY_BYTES:
        reason = Phrase("The file holds more than 256 MB of text. Split it into parts.")
        content = frame(_unreadable(FileStatus.TOO_LARGE, reason))
    replies.write(content)
    replies.flush()


if __name__ == "__main__":
    main()
