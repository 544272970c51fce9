"""Perplexity's Agent API on the wire: POST /v1/agent, as of November 2026.

The fields are those of Perplexity's API reference, https://docs.perplexity.ai/docs/agent-api. It knows JSON and nothing
of HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from cmo.engines.perplexity_wire import (
    Ended,
    Found,
    Malformed,
    Searching,
    Signal,
    Status,
    Usage,
    WebTask,
    Wrote,
    dollars,
    json_object,
    model_name,
    number,
    part,
    parts,
    text,
    texts,
    web_source,
)
from cmo.values import WebSource

_ENDS = {
    "response.completed": Status.COMPLETED,
    "response.incomplete": Status.INCOMPLETE,
    "response.failed": Status.FAILED,
    "response.cancelled": Status.CANCELLED,
    "error": Status.FAILED,
}


class AgentFormat:
    """The Agent API. A WireFormat."""

    path = "/v1/agent"
    default_model = "perplexity/sonar"

    def body(self, task: WebTask) -> dict[str, Any]:
        """The request. Search is not automatic: the tool has to be offered and chosen."""
        tool: dict[str, Any] = {"type": "web_search", "search_context_size": task.search_context}
        filters: dict[str, Any] = {}
        if task.domains:
            filters["search_domain_filter"] = list(task.domains)
        if task.recency:
            filters["search_recency_filter"] = task.recency
        if filters:
            tool["filters"] = filters
        return {
            "model": task.model,
            "input": task.question,
            "instructions": task.instructions,
            "language_preference": "en",
            "max_output_tokens": task.max_output_tokens,
            "max_steps": task.max_steps,
            "tools": [tool],
            "tool_choice": {"type": "web_search"},
            "store": False,
            "stream": task.stream,
        }

    def reply(self, body: Mapping[str, Any]) -> Ended:
        """The answer in one body."""
        told = text(body, "status")
        if told in tuple(Status):
            return _ended(body, Status(told))
        if part(body, "error"):
            return _ended(body, Status.FAILED)
        if not isinstance(body.get("output"), list):
            raise Malformed("neither a status nor an output")
        return _ended(body, Status.INCOMPLETE if told else Status.COMPLETED)

    def reader(self) -> AgentReader:
        """A reader for one stream."""
        return AgentReader()


class AgentReader:
    """The events of one stream. A StreamReader; it remembers nothing."""

    def read(self, data: str) -> Iterator[Signal]:
        """What one event says."""
        event = json_object(data)
        kind = text(event, "type")
        match kind:
            case "response.reasoning.search_queries":
                yield Searching(queries=texts(event, "queries"))
            case "response.reasoning.search_results":
                yield Found(sources=_sources(event))
            case "response.output_text.delta":
                yield Wrote(text=text(event, "delta"))
            case "response.output_item.done" if text(part(event, "item"), "type") == "search_results":
                yield Found(sources=_sources(part(event, "item")))
            case _ if kind in _ENDS:
                yield _ended(part(event, "response"), _ENDS[kind])

    def at_end(self) -> Ended | None:
        """A stream without its last event was cut off."""
        return None


def _ended(response: Mapping[str, Any], status: Status) -> Ended:
    items = parts(response, "output")
    searches = [item for item in items if text(item, "type") == "search_results"]
    contents = [parts(item, "content") for item in items if text(item, "type") == "message"]
    refusals = [text(piece, "refusal") for piece in chain(*contents) if text(piece, "type") == "refusal"]
    written = "\n\n".join(filter(None, map(_written, contents)))
    return Ended(
        status=status,
        model=model_name(response),
        text=written or "\n\n".join(refusals),
        queries=tuple(chain(*(texts(item, "queries") for item in searches))),
        sources=tuple(chain(*(_sources(item) for item in searches))),
        usage=_usage(part(response, "usage")),
        refused=bool(refusals) and not written,
        token_limit=text(part(response, "incomplete_details"), "reason") == "max_output_tokens",
    )


def _written(content: Sequence[Mapping[str, Any]]) -> str:
    return "".join(text(piece, "text") for piece in content if text(piece, "type") == "output_text")


def _sources(item: Mapping[str, Any]) -> tuple[WebSource, ...]:
    """The results; markers name them by id, never by position."""
    found = (web_source(_label(result.get("id")), result) for result in parts(item, "results"))
    return tuple(source for source in found if source is not None)


def _label(id_: object) -> str:
    """The id as markers write it, without leading zeros; "" when it cannot be named by a marker."""
    digits = str(id_).removeprefix("web:")
    return str(int(digits)) if re.fullmatch("[0-9]{1,3}", digits) else ""


def _usage(usage: Mapping[str, Any]) -> Usage | None:
    if not usage:
        return None
    details = part(usage, "input_tokens_details")
    return Usage(
        tokens_in=number(usage, "input_tokens"),
        tokens_cached=number(details, "cached_tokens") or number(details, "cache_read_input_tokens"),
        tokens_out=number(usage, "output_tokens"),
        searches=number(part(part(usage, "tool_calls_details"), "search_web"), "invocation"),
        cost_usd=dollars(part(usage, "cost")),
    )
