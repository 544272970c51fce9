"""What can go wrong at a server, and in which order it does. How each fault looks on the wire is known elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

HUGE_BYTES = 1024 * 1024
"""Length of a line or field that is longer than any reader expects."""

CENSUS_PATH = "/models"
"""A list of models is asked for to see whether the server is there; faults are for calls, unless they name it."""


class Fault(StrEnum):
    """One thing that goes wrong. Those that take a time say so; the time is given in seconds with the script."""

    NONE = "none"
    """Nothing: this call goes well."""

    DELAY = "delay"
    """The answer comes whole, but `seconds` late."""
    SLOW_TOKENS = "slow-tokens"
    """`seconds` pass between two tokens of a stream."""
    HANG_BEFORE_BYTE = "hang-before-byte"
    """Nothing comes at all; the connection stays open."""
    HANG_BEFORE_TOKEN = "hang-before-token"
    """The head of the response comes, and what stands before the text; then nothing."""
    HANG_AFTER_TOKEN = "hang-after-token"
    """One token comes (or half of a whole body), then nothing."""

    CUT_BEFORE_BYTE = "cut-before-byte"
    """The connection ends without a response."""
    CUT_MIDWAY = "cut-midway"
    """The connection ends in the middle of a line (or body)."""
    ENDS_EARLY = "ends-early"
    """After half of the text the response ends as if it were complete; a whole body is empty."""
    MALFORMED_JSON = "malformed-json"
    """After the first token comes a line whose JSON is broken; a whole body is broken JSON."""
    SPLIT = "split"
    """All bytes come in little pieces, split inside characters, names and line ends."""
    HUGE_LINE = "huge-line"
    """One line of the stream, or one field of the body, is a megabyte long."""
    UNKNOWN_EVENTS = "unknown-events"
    """Comments, events, fields and items of types that nobody has heard of are mixed in."""

    RATE_LIMIT = "429"
    """Too many requests, without a word on when to come back."""
    RATE_LIMIT_SECONDS = "429-seconds"
    """Too many requests; Retry-After tells `seconds`."""
    RATE_LIMIT_DATE = "429-date"
    """Too many requests; Retry-After tells a date which is `seconds` from now."""
    SERVER_ERROR = "500"
    """An internal error."""
    BAD_GATEWAY = "502"
    """A proxy's HTML page instead of an answer."""
    UNAVAILABLE = "503"
    """Overloaded."""
    UNAUTHORIZED = "401"
    """The key is wrong; as some gateways do, the message repeats it."""
    RETIRED = "403-retired"
    """Perplexity: this wire format is not served any more. OpenAI: the model is gone."""
    TOO_LARGE = "413"
    """The request is too large."""
    NO_CREDIT_400 = "400-credit"
    """The account is empty, told as a bad request."""
    NO_CREDIT_402 = "402-credit"
    """The account is empty, told as payment required."""
    NO_CREDIT_429 = "429-credit"
    """The account is empty, told as OpenAI does: like a rate limit, but of type insufficient_quota."""

    FAILED = "failed"
    """HTTP 200, and the answer says that it failed before there was any text."""
    FAILED_MIDWAY = "failed-midway"
    """HTTP 200, and the answer says that it failed after half of the text."""
    ERROR_EVENT = "error-event"
    """HTTP 200, and after half of the text nothing but an error comes; a whole body is nothing but an error."""
    INCOMPLETE = "incomplete"
    """The text stops in the middle, and the answer says so: the limit on tokens was reached."""
    CANCELLED = "cancelled"
    """Perplexity: the answer says that it was cancelled after half of the text. OpenAI: a filter stopped it."""
    NO_SOURCES = "no-sources"
    """An answer without any marker; from Perplexity also without search results."""
    STRAY_MARKERS = "stray-markers"
    """The text has markers that name no source, [99] and [web:7], and an address that no search found."""


STATUS = MappingProxyType(
    {
        Fault.RATE_LIMIT: 429,
        Fault.RATE_LIMIT_SECONDS: 429,
        Fault.RATE_LIMIT_DATE: 429,
        Fault.SERVER_ERROR: 500,
        Fault.BAD_GATEWAY: 502,
        Fault.UNAVAILABLE: 503,
        Fault.UNAUTHORIZED: 401,
        Fault.RETIRED: 403,
        Fault.TOO_LARGE: 413,
        Fault.NO_CREDIT_400: 400,
        Fault.NO_CREDIT_402: 402,
        Fault.NO_CREDIT_429: 429,
    }
)
"""The faults that are told by the status of the response."""

HALF_TEXT = frozenset({Fault.FAILED_MIDWAY, Fault.ERROR_EVENT, Fault.INCOMPLETE, Fault.CANCELLED})
"""The faults after which there is no more than half of the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A fault that waits for its call. `on` is how the call's path ends; "" is any call."""

    fault: Fault
    seconds: float
    on: str

    def fits(self, path: str) -> bool:
        """Whether this call is meant."""
        return path.endswith(self.on) if self.on else not path.endswith(CENSUS_PATH)


NOTHING = Planned(fault=Fault.NONE, seconds=0.0, on="")


class Script:
    """The faults of the calls to come: first those planned one after the other, then those that always strike."""

    def __init__(self) -> None:
        self._next: list[Planned] = []
        self._always: list[Planned] = []

    def then(self, faults: Iterable[Fault], *, seconds: float, on: str) -> None:
        """One fault for each of the next calls."""
        self._next += (Planned(fault=fault, seconds=seconds, on=on) for fault in faults)

    def always(self, fault: Fault, *, seconds: float, on: str) -> None:
        """This fault for every call when nothing else is planned."""
        self._always = [each for each in self._always if each.on != on]
        self._always.append(Planned(fault=fault, seconds=seconds, on=on))

    def take(self, path: str) -> Planned:
        """What strikes a call that comes now."""
        for planned in self._next:
            if planned.fits(path):
                self._next.remove(planned)
                return planned
        return next((planned for planned in self._always if planned.fits(path)), NOTHING)

    @property
    def left(self) -> int:
        """Planned faults whose calls have not come."""
        return len(self._next)
