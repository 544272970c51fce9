"""Server-sent events out of bytes, as the WHATWG standard has them, and a little more tolerant.

Only the data of an event is kept: neither its name nor its id. It refuses to know what the data mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

LONGEST_EVENT = 8 * 1024 * 1024
"""Bytes of one event at most. The longest one to expect is a whole answer with its sources, some hundred kilobytes."""

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventTooLong(ValueError):
    """An event has more than LONGEST_EVENT bytes."""


class EventReader:
    """The events of one response. Bytes go in as they come, however they are cut."""

    def __init__(self) -> None:
        self._line: list[bytes] = []
        self._data: list[bytes] = []
        self._size = 0
        self._first = True
        self._after_return = False

    def feed(self, chunk: bytes) -> Iterator[str]:
        """The data of each event that is complete with these bytes.

        Raises:
            EventTooLong: the server does not come to an end of its event.
        """
        if self._after_return:
            chunk = chunk.removeprefix(b"\n")
            self._after_return = not chunk
        if not chunk:
            return
        self._after_return = chunk.endswith(b"\r")
        *ends, rest = _LINE_END.split(chunk)
        for end in ends:
            self._grow(end)
            line = b"".join([*self._line, end])
            self._line = []
            yield from self._take(line)
        self._grow(rest)
        self._line.append(rest)

    def finish(self) -> Iterator[str]:
        """The data of an event whose lines are complete, but not followed by the blank line that should end it."""
        yield from self._take(b"")

    def _take(self, line: bytes) -> Iterator[str]:
        if self._first:
            line = line.removeprefix(_BYTE_ORDER_MARK)
            self._first = False
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        elif not line:
            if self._data:
                yield b"\n".join(self._data).decode("utf-8", "replace")
            self._data = []
            self._size = 0

    def _grow(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > LONGEST_EVENT:
            raise EventTooLong("an event does not end")
