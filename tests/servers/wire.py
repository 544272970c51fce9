"""HTTP/1.1 on loopback down to each byte: requests are read, responses are written, split, held back or cut off.

It refuses to know what the requests ask for. Connections stay open between requests, as real servers keep them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from itertools import cycle
from typing import Any, TypeAlias

HEAD_LIMIT = 1024 * 1024
"""Bytes a request's head may take."""

AWKWARD_SIZES = (1, 2, 3, 5, 7, 11, 64)
"""Bytes between two splits, over and over; primes, so that they fall elsewhere in every line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client sent. Names of headers are in lower case; `json` is None when the body is no JSON object."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    json: dict[str, Any] | None

    @property
    def bearer(self) -> str | None:
        """The key of the Authorization header."""
        scheme, _, key = self.headers.get("authorization", "").partition(" ")
        return key if scheme == "Bearer" and key else None


class Response:
    """The way back to the client for one request. With `split`, everything goes out in awkward little pieces."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.split = False
        self.complete = False
        self.status: int | None = None

    async def whole(
        self, status: int, body: bytes, headers: Mapping[str, str], *, kind: str = "application/json"
    ) -> None:
        """A response with its length told in advance, or in chunks when it is split."""
        if self.split:
            await self.start(status, headers, kind=kind)
            await self.piece(body)
            await self.end()
            return
        await self.promise(status, len(body), headers, kind=kind)
        self.complete = True
        await self.raw(body)

    async def promise(
        self, status: int, length: int, headers: Mapping[str, str], *, kind: str = "application/json"
    ) -> None:
        """The head of a response of `length` bytes; whether they follow is another matter."""
        await self.raw(self._head(status, {**headers, "Content-Type": kind, "Content-Length": str(length)}))

    async def start(self, status: int, headers: Mapping[str, str], *, kind: str) -> None:
        """The head of a response that comes in chunks."""
        await self.raw(self._head(status, {**headers, "Content-Type": kind, "Transfer-Encoding": "chunked"}))

    async def piece(self, data: bytes) -> None:
        """A part of a response that comes in chunks."""
        for part in _awkward(data) if self.split else (data,):
            await self.raw(b"%x\r\n%b\r\n" % (len(part), part))

    async def end(self) -> None:
        """The proper end of a response that came in chunks."""
        self.complete = True
        await self.raw(b"0\r\n\r\n")

    async def raw(self, data: bytes) -> None:
        """Bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    def cut(self) -> None:
        """End the connection after what was sent so far, in the middle or not."""
        self.complete = True
        self._writer.close()

    def _head(self, status: int, headers: Mapping[str, str]) -> bytes:
        self.status = status
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {headers[name]}" for name in headers)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


Handler: TypeAlias = Callable[[Request, Response], Awaitable[None]]


class Listener:
    """Listens on loopback and hands each request to `handle`; it is cancelled when the client goes away."""

    def __init__(self, handle: Handler, *, changed: Callable[[], None]) -> None:
        self._handle = handle
        self._changed = changed
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._mishaps: list[BaseException] = []
        self.port = 0
        self.abandoned = 0

    @property
    def connections(self) -> int:
        """Connections open at this moment."""
        return len(self._tasks)

    async def open(self, port: int) -> None:
        """Begin to listen; port 0 finds a free one."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", port, limit=HEAD_LIMIT)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """End every connection and wait until the last is gone.

        Raises:
            ExceptionGroup: the server itself has a mistake, which must not pass for a fault that was asked for.
        """
        if self._server is None:
            return
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        if self._mishaps:
            raise BaseExceptionGroup("the fake server is broken", self._mishaps)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._converse(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._disconnected)
        self._changed()

    def _disconnected(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._mishaps.append(error)
        self._changed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async for request in _requests(reader):
                await self._exchange(request, reader, Response(writer))
                if writer.is_closing():
                    return
        except ConnectionError:
            return  # the client went away
        except asyncio.CancelledError:
            writer.transport.abort()  # what a client does not read would never be flushed
            raise
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _exchange(self, request: Request, reader: asyncio.StreamReader, response: Response) -> None:
        work = asyncio.ensure_future(self._handle(request, response))
        gone = asyncio.create_task(_end_of(reader))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            if not work.done() and not response.complete:
                self.abandoned += 1
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
            self._changed()


async def _end_of(reader: asyncio.StreamReader) -> None:
    """Return when the client has closed its side. A request sent before the answer to the last one is not expected."""
    if await reader.read(1):
        raise ValueError("the client sent something before it had its answer")


async def _requests(reader: asyncio.StreamReader) -> AsyncIterator[Request]:
    """The requests of one connection; they end when the client goes away or does not speak HTTP."""
    while True:
        try:
            request = await _request(reader)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            return
        yield request


async def _request(reader: asyncio.StreamReader) -> Request:
    head = await reader.readuntil(b"\r\n\r\n")
    line, *rest = head[:-4].decode("latin-1").split("\r\n")
    method, target, _ = line.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (each.partition(":") for each in rest)}
    body = await _body(reader, headers)
    path = target.partition("?")[0]
    return Request(method=method, path=path, headers=headers, body=body, json=_json_object(body))


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    parts = []
    while size := int(await reader.readline(), 16):
        parts.append(await reader.readexactly(size))
        await reader.readline()
    await reader.readline()
    return b"".join(parts)


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _awkward(data: bytes) -> list[bytes]:
    """The bytes in little parts, with a border inside every character that takes more than one byte."""
    parts, start, sizes = [], 0, cycle(AWKWARD_SIZES)
    size = next(sizes)
    for at in range(1, len(data)):
        if at - start >= size or 0x80 <= data[at] < 0xC0:
            parts.append(data[start:at])
            start, size = at, next(sizes)
    return [*parts, data[start:]]
