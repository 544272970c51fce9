"""What is asked of Perplexity and what comes back, whatever the wire format (perplexity_agent.py, perplexity_chat.py).

Servers send more, less and other things than documented, so fields are read one by one, and what has not the expected
type counts as missing. Texts of the web are cut to size here and cleaned of control characters, not trusted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeAlias
from urllib.parse import quote, urlsplit

from cmo.values import WebSource

TITLE_CHARACTERS = 300
SNIPPET_CHARACTERS = 1_000
DATE_CHARACTERS = 40
MODEL_CHARACTERS = 100
ADDRESS_CHARACTERS = 2_000

_SAFE_IN_ADDRESS = "/:?#@!$&'*+,;=~%"
"""Signs that stay as they are. Brackets do not: an address must not be able to end a Markdown link."""


class Malformed(ValueError):
    """What the server sent is no answer in this wire format."""


class Status(StrEnum):
    """How the server says an answer ended."""

    COMPLETED = "completed"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebTask:
    """One question, to be answered in English, with the conditions of its search.

    `recency` is "" or a period such as "year".
    """

    model: str
    instructions: str
    question: str
    domains: tuple[str, ...]
    recency: str
    search_context: str
    max_output_tokens: int
    max_steps: int
    stream: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What the server says a call took. `cost_usd` is None when it does not say."""

    tokens_in: int
    tokens_cached: int
    tokens_out: int
    searches: int
    cost_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Searching:
    """These queries are being searched for."""

    queries: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A search brought these sources."""

    sources: tuple[WebSource, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrote:
    """The next piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The answer is over. What was streamed before need not be repeated here: `text` and `sources` may be empty.

    `refused` is set when the model declined to answer; `token_limit` when it was cut off at the limit on tokens.
    """

    status: Status
    model: str = ""
    text: str = ""
    queries: tuple[str, ...] = ()
    sources: tuple[WebSource, ...] = ()
    usage: Usage | None = None
    refused: bool = False
    token_limit: bool = False


Signal: TypeAlias = Searching | Found | Wrote | Ended


class StreamReader(Protocol):
    """Understands the events of one stream, in their order."""

    def read(self, data: str) -> Iterator[Signal]:
        """What one event says; events of unknown types say nothing.

        Raises:
            Malformed: it is no JSON object.
        """

    def at_end(self) -> Ended | None:
        """What a stream amounts to that ends here without having said so; None when it was cut off."""


class WireFormat(Protocol):
    """One way to speak to Perplexity."""

    @property
    def path(self) -> str:
        """Where its calls go, below the base address."""

    @property
    def default_model(self) -> str:
        """The model as this format names it."""

    def body(self, task: WebTask) -> dict[str, Any]:
        """The request; nothing but documented fields, because an unknown one is refused."""

    def reply(self, body: Mapping[str, Any]) -> Ended:
        """The answer in one body.

        Raises:
            Malformed: it is none.
        """

    def reader(self) -> StreamReader:
        """A reader for one stream."""


def json_object(data: str | bytes) -> Mapping[str, Any]:
    """A JSON object.

    Raises:
        Malformed: it is something else.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Malformed("no JSON") from error
    if not isinstance(value, dict):
        raise Malformed("no JSON object")
    return value


def part(of: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A field that is an object, empty when there is none."""
    value = of.get(name)
    return value if isinstance(value, dict) else {}


def parts(of: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    """The objects of a field that is a list."""
    value = of.get(name)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(of: Mapping[str, Any], name: str) -> str:
    """A field that is a text, as it is; "" when there is none."""
    value = of.get(name)
    return value if isinstance(value, str) else ""


def texts(of: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The texts of a field that is a list."""
    value = of.get(name)
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def number(of: Mapping[str, Any], name: str) -> int:
    """A field that counts something, 0 when there is none."""
    value = of.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def dollars(cost: Mapping[str, Any]) -> float | None:
    """The whole cost of a call as the server reports it, None when it does not, or in another currency."""
    value = cost.get("total_cost")
    if isinstance(value, bool) or not isinstance(value, int | float) or cost.get("currency", "USD") != "USD":
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def model_name(body: Mapping[str, Any]) -> str:
    """The model as the server names it."""
    return on_one_line(text(body, "model"), MODEL_CHARACTERS)


def on_one_line(value: str, characters: int) -> str:
    """A text without line breaks and control characters, cut to so many characters."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in value[: 4 * characters]).split())
    return line if len(line) <= characters else f"{line[: characters - 2].rstrip()} …"


def web_source(label: str, result: Mapping[str, Any]) -> WebSource | None:
    """One search result as a source; None when its address leads to no page of the web."""
    url = web_address(text(result, "url"))
    if url is None:
        return None
    site = (urlsplit(url).hostname or "").removeprefix("www.")
    return WebSource(
        label=label,
        url=url,
        title=on_one_line(text(result, "title"), TITLE_CHARACTERS) or site,
        site=site,
        snippet=on_one_line(text(result, "snippet"), SNIPPET_CHARACTERS),
        date=on_one_line(text(result, "date") or text(result, "last_updated"), DATE_CHARACTERS),
    )


def web_address(url: str) -> str | None:
    """An address that may be shown as a link: http or https, with a host and no password in it; else None."""
    url = url.strip()
    if not url.isprintable() or " " in url or len(url) > ADDRESS_CHARACTERS:
        return None
    try:
        split = urlsplit(url)
        usable = split.scheme in ("http", "https") and split.hostname and "@" not in split.netloc
    except ValueError:
        return None
    return quote(url, safe=_SAFE_IN_ADDRESS) if usable else None
