"""A fake server: takes requests, plays the faults of its script, and keeps its own account of what it charges.

What an answer looks like is the business of an `Api`. Nothing is random, and nothing leaves the machine.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias

from tests.servers.faults import STATUS, Fault, Planned, Script
from tests.servers.wire import Listener, Request, Response

MTOK = 1_000_000
"""Prices are in dollars for so many tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What one call is charged. `told` is set when the client was told so (usage in the answer).

    Prices are in dollars per million tokens; `fee_usd` comes on top. `tokens_cached` are part of `tokens_in`.
    """

    model: str
    tokens_in: int
    tokens_out: int
    price_in: float
    price_out: float
    tokens_cached: int = 0
    price_cached: float = 0.0
    fee_usd: float = 0.0
    told: bool = False

    @property
    def input_usd(self) -> float:
        """For reading."""
        fresh = self.tokens_in - self.tokens_cached
        return (fresh * self.price_in + self.tokens_cached * self.price_cached) / MTOK

    @property
    def output_usd(self) -> float:
        """For writing."""
        return self.tokens_out * self.price_out / MTOK

    @property
    def cost_usd(self) -> float:
        """All of it."""
        return self.input_usd + self.output_usd + self.fee_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer that is none, and costs nothing."""

    status: int
    body: Mapping[str, Any] | str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """An answer in one body."""

    body: Mapping[str, Any]
    charge: Charge | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One piece of a stream as it goes out. `token` is set for text; `tells` when it carries the usage."""

    data: bytes
    token: bool = False
    tells: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """An answer in pieces."""

    frames: Sequence[Frame]
    charge: Charge
    kind: str


Reply: TypeAlias = Refusal | Whole | Stream


class Api(Protocol):
    """How one provider's answers look."""

    def reply(self, request: Request, fault: Fault) -> Reply:
        """The answer to a request, with the fault where that shows in what the answer says."""

    def refuse(self, fault: Fault, *, seconds: float, request: Request) -> Refusal:
        """The error body and headers of a fault that is told by the status."""

    def unauthorized(self, request: Request) -> Refusal:
        """The answer to a request without the right key."""


class FakeServer:
    """One provider on loopback; `async with` starts and ends it.

    `key`: the key that is asked for; None takes everybody. `delay_seconds` passes before each answer, `token_seconds`
    between two tokens of a stream. `trace` gets a line for each request.

    The charge of a stream grows with each token, so that one which ended early is charged as far as it came. A call
    that was refused or never got a first byte costs nothing.
    """

    def __init__(
        self, api: Api, *, base: str, port: int, key: str | None, delay_seconds: float, token_seconds: float
    ) -> None:
        self._api = api
        self._base = base
        self._port = port
        self._script = Script()
        self._changed = asyncio.Event()
        self._released = asyncio.Event()
        self._listener = Listener(self._handle, changed=self._note)
        self.key = key
        self.delay_seconds = delay_seconds
        self.token_seconds = token_seconds
        self.requests: list[Request] = []
        self.statuses: list[int] = []
        self.charges: list[Charge] = []
        self.first_token_sent_at: float | None = None
        self.trace: Callable[[str], None] | None = None

    async def __aenter__(self) -> Self:
        await self._listener.open(self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._listener.close()

    @property
    def url(self) -> str:
        """The base address to give to a client."""
        return f"http://127.0.0.1:{self._listener.port}{self._base}"

    @property
    def connections(self) -> int:
        """Connections open at this moment."""
        return self._listener.connections

    @property
    def abandoned(self) -> int:
        """Requests whose client went away before it had its whole answer."""
        return self._listener.abandoned

    @property
    def script_left(self) -> int:
        """Planned faults whose calls have not come."""
        return self._script.left

    @property
    def tokens_in(self) -> int:
        """Tokens read in all calls."""
        return sum(charge.tokens_in for charge in self.charges)

    @property
    def tokens_out(self) -> int:
        """Tokens written in all calls."""
        return sum(charge.tokens_out for charge in self.charges)

    @property
    def cost_usd(self) -> float:
        """What all calls were charged."""
        return sum(charge.cost_usd for charge in self.charges)

    def then(self, *faults: Fault, seconds: float = 0.2, on: str = "") -> None:
        """One fault for each of the next calls, after those already planned. `on`: only calls whose path ends so."""
        self._script.then(faults, seconds=seconds, on=on)

    def always(self, fault: Fault, *, seconds: float = 0.2, on: str = "") -> None:
        """A fault for every call for which no other is planned; Fault.NONE ends it."""
        self._script.always(fault, seconds=seconds, on=on)

    def release(self) -> None:
        """Let all calls go on that hang, and those to come not hang."""
        self._released.set()

    async def until(self, rule: Callable[[], bool], *, seconds: float = 10.0) -> None:
        """Wait until a rule holds that is about requests, connections or charges.

        Raises:
            TimeoutError: it did not come to hold.
        """
        async with asyncio.timeout(seconds):
            while not rule():
                self._changed.clear()
                await self._changed.wait()

    def _note(self) -> None:
        self._changed.set()

    async def _handle(self, request: Request, response: Response) -> None:
        self.requests.append(request)
        self._note()
        try:
            await self._answer(request, response)
        finally:
            self.statuses.append(response.status or 0)
            if self.trace is not None:
                self.trace(f"{request.method} {request.path} {response.status} ${self.cost_usd:.6f} in all")
            self._note()

    async def _answer(self, request: Request, response: Response) -> None:
        if self.key is not None and request.bearer != self.key:
            return await _refuse(self._api.unauthorized(request), response)
        planned = self._script.take(request.path)
        fault = planned.fault
        response.split = fault is Fault.SPLIT
        await asyncio.sleep(self.delay_seconds + (planned.seconds if fault is Fault.DELAY else 0.0))
        if fault is Fault.CUT_BEFORE_BYTE:
            return response.cut()
        if fault is Fault.HANG_BEFORE_BYTE:
            await self._hang()
        if fault in STATUS:
            return await _refuse(self._api.refuse(fault, seconds=planned.seconds, request=request), response)
        match self._api.reply(request, fault):
            case Refusal() as refusal:
                await _refuse(refusal, response)
            case Whole() as whole:
                await self._send(whole, fault, response)
            case Stream() as stream:
                await self._stream(stream, planned, response)

    async def _hang(self) -> None:
        await self._released.wait()

    async def _send(self, whole: Whole, fault: Fault, response: Response) -> None:
        body = json.dumps(whole.body, ensure_ascii=False).encode()
        half = _half(body)
        if whole.charge is not None:
            self._book(replace(whole.charge, told="usage" in whole.body and fault not in _UNTOLD))
        match fault:
            case Fault.MALFORMED_JSON:
                await response.whole(200, half, {})
            case Fault.ENDS_EARLY:
                await response.whole(200, b"", {})
            case Fault.CUT_MIDWAY:
                await response.promise(200, len(body), {})
                await response.raw(half)
                response.cut()
            case Fault.HANG_BEFORE_TOKEN | Fault.HANG_AFTER_TOKEN:
                sent = half if fault is Fault.HANG_AFTER_TOKEN else b""
                await response.promise(200, len(body), {})
                await response.raw(sent)
                await self._hang()
                response.complete = True
                await response.raw(body[len(sent) :])
            case _:
                await response.whole(200, body, {})

    async def _stream(self, stream: Stream, planned: Planned, response: Response) -> None:
        fault = planned.fault
        pause = planned.seconds if fault is Fault.SLOW_TOKENS else self.token_seconds
        trouble_at = _trouble_at(fault, stream.frames)
        await response.start(200, {"Cache-Control": "no-cache"}, kind=stream.kind)
        mine = self._book(replace(stream.charge, tokens_out=0))
        written = 0
        for number, frame in enumerate(stream.frames):
            if number == trouble_at and await self._trouble(fault, frame, response):
                return
            if frame.token:
                await asyncio.sleep(pause if written else 0.0)
                written += 1
                self.charges[mine] = replace(self.charges[mine], tokens_out=written)
            if frame.tells:
                self.charges[mine] = replace(stream.charge, told=True)
            await response.piece(frame.data)
            if frame.token and written == 1:
                self.first_token_sent_at = time.monotonic()
                self._note()
        await response.end()

    def _book(self, charge: Charge) -> int:
        """Take down a charge and return its place, as it may still grow."""
        self.charges.append(charge)
        self._note()
        return len(self.charges) - 1

    async def _trouble(self, fault: Fault, frame: Frame, response: Response) -> bool:
        """Let a stream run into its fault before this frame; true when that was its end."""
        match fault:
            case Fault.HANG_BEFORE_TOKEN | Fault.HANG_AFTER_TOKEN:
                await self._hang()
            case Fault.MALFORMED_JSON:
                await response.piece(_half(frame.data).rstrip() + b"\n\n")
            case Fault.CUT_MIDWAY:
                await response.piece(_half(frame.data))
                response.cut()
                return True
            case Fault.ENDS_EARLY:
                await response.end()
                return True
        return False


_UNTOLD = frozenset(
    {Fault.MALFORMED_JSON, Fault.ENDS_EARLY, Fault.CUT_MIDWAY} | {Fault.HANG_BEFORE_TOKEN, Fault.HANG_AFTER_TOKEN}
)
"""The faults after which no client can have read the usage of a whole body."""


def _trouble_at(fault: Fault, frames: Sequence[Frame]) -> int | None:
    """Before which frame of a stream a fault strikes."""
    tokens = [number for number, frame in enumerate(frames) if frame.token]
    if fault is Fault.HANG_BEFORE_TOKEN:
        return tokens[0] if tokens else 0
    if fault in (Fault.HANG_AFTER_TOKEN, Fault.MALFORMED_JSON):
        return tokens[0] + 1 if tokens else 0
    if fault in (Fault.CUT_MIDWAY, Fault.ENDS_EARLY):
        return tokens[len(tokens) // 2] if len(tokens) > 1 else len(frames) - 1
    return None


async def _refuse(refusal: Refusal, response: Response) -> None:
    if isinstance(refusal.body, str):
        await response.whole(refusal.status, refusal.body.encode(), refusal.headers, kind="text/html")
    else:
        await response.whole(refusal.status, json.dumps(refusal.body).encode(), refusal.headers)


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def sse(value: Mapping[str, Any] | str) -> bytes:
    """One server-sent event without a name: a line of data and a blank line."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"data: {text}\n\n".encode()


def first_half(pieces: Sequence[str]) -> Iterable[str]:
    """What there is of a text that stops in the middle; at least one piece if there is any."""
    return pieces[: max(1, len(pieces) // 2)]
