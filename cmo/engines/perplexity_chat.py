"""Perplexity's older wire format: POST /chat/completions, which some accounts and gateways still speak.

Perplexity stopped supporting it on 2026-09-27. It knows JSON and nothing of HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cmo.engines.perplexity_wire import (
    Ended,
    Found,
    Malformed,
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
    web_source,
)
from cmo.values import WebSource

_FINISHES = {
    "length": Status.INCOMPLETE,
    "cancelled": Status.CANCELLED,
    "error": Status.FAILED,
}
"""Reasons to finish that are no proper end; every other is one."""

_FILTERED = "content_filter"
_LAST = "[DONE]"
_TOLD = ("model", "citations", "search_results", "usage")
"""What chunks tell beside the text, each of them or only the last."""


class ChatFormat:
    """Chat completions. A WireFormat."""

    path = "/chat/completions"
    default_model = "sonar"

    def body(self, task: WebTask) -> dict[str, Any]:
        """The request. It always searches; the language can only be asked for in words."""
        body: dict[str, Any] = {
            "model": task.model,
            "messages": [
                {"role": "system", "content": f"{task.instructions} Answer in English."},
                {"role": "user", "content": task.question},
            ],
            "max_tokens": task.max_output_tokens,
            "web_search_options": {"search_context_size": task.search_context},
            "stream": task.stream,
        }
        if task.domains:
            body["search_domain_filter"] = list(task.domains)
        if task.recency:
            body["search_recency_filter"] = task.recency
        return body

    def reply(self, body: Mapping[str, Any]) -> Ended:
        """The answer in one body."""
        choices = parts(body, "choices")
        if part(body, "error"):
            return _ended(body, "error", "")
        if not choices:
            raise Malformed("no choices")
        return _ended(body, text(choices[0], "finish_reason"), text(part(choices[0], "message"), "content"))

    def reader(self) -> ChatReader:
        """A reader for one stream."""
        return ChatReader()


class ChatReader:
    """The chunks of one stream. A StreamReader; sources and usage come with any of them, mostly the last."""

    def __init__(self) -> None:
        self._told: dict[str, Any] = {}
        self._finish = ""

    def read(self, data: str) -> Iterator[Signal]:
        """What one chunk says."""
        if data.strip() == _LAST:
            yield _ended(self._told, self._finish, "")
            return
        chunk = json_object(data)
        self._told |= {name: chunk[name] for name in _TOLD if chunk.get(name)}
        if part(chunk, "error"):
            yield _ended(self._told, "error", "")
            return
        if chunk.get("citations") or chunk.get("search_results"):
            yield Found(sources=_sources(self._told))
        for choice in parts(chunk, "choices")[:1]:
            self._finish = text(choice, "finish_reason") or self._finish
            yield Wrote(text=text(part(choice, "delta"), "content"))

    def at_end(self) -> Ended | None:
        """Some gateways leave out the last line; a reason to finish is as good."""
        return _ended(self._told, self._finish, "") if self._finish else None


def _ended(told: Mapping[str, Any], finish: str, content: str) -> Ended:
    return Ended(
        status=_FINISHES.get(finish, Status.COMPLETED),
        model=model_name(told),
        text=content,
        sources=_sources(told),
        usage=_usage(part(told, "usage")),
        refused=finish == _FILTERED,
        token_limit=finish == "length",
    )


def _sources(told: Mapping[str, Any]) -> tuple[WebSource, ...]:
    """The pages in the order of `citations`, whose positions the markers name, counted from 1."""
    by_url = {text(result, "url"): result for result in parts(told, "search_results")}
    urls = told.get("citations") or list(by_url)
    labelled = enumerate(urls if isinstance(urls, list) else (), start=1)
    found = (web_source(str(at), {**by_url.get(url, {}), "url": url}) for at, url in labelled if isinstance(url, str))
    return tuple(source for source in found if source is not None)


def _usage(usage: Mapping[str, Any]) -> Usage | None:
    if not usage:
        return None
    return Usage(
        tokens_in=number(usage, "prompt_tokens"),
        tokens_cached=number(part(usage, "prompt_tokens_details"), "cached_tokens"),
        tokens_out=number(usage, "completion_tokens"),
        searches=number(usage, "num_search_queries"),
        cost_usd=dollars(part(usage, "cost")),
    )
