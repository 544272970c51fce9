"""What fake Perplexity refuses: everything that is not documented, each with the documented error body.

The real service answers an unknown field with a 400, so a client must not meet a more generous fake.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tests.servers.fake import Refusal
from tests.servers.wire import Request

MOST_BYTES = 32 * 1024 * 1024
"""Larger requests are refused."""

MOST_DOMAINS = 20


AGENT_FIELDS = frozenset(
    """model input instructions language_preference max_output_tokens max_steps tools tool_choice store
    stream""".split()
)
TOOL_FIELDS = frozenset({"type", "search_context_size", "filters"})
FILTER_FIELDS = frozenset({"search_domain_filter", "search_recency_filter", "search_after_date_filter"})
CHAT_FIELDS = frozenset(
    """model messages stream stream_options max_tokens temperature top_p frequency_penalty presence_penalty
    response_format search_mode search_domain_filter search_recency_filter search_after_date_filter
    search_before_date_filter web_search_options return_images return_related_questions language_preference""".split()
)
"""What the requests may hold; anything else is a 400."""

_DATE = re.compile(r"\d{2}/\d{2}/\d{4}")


def refusal(status: int, message: str, kind: str, *, param: str | None = None) -> Refusal:
    """An error in the documented form."""
    error = {"message": message, "type": kind, "code": status}
    return Refusal(status=status, body={"error": error if param is None else {**error, "param": param}})


def agent_mistake(request: Request) -> Refusal | None:
    """What is wrong with a request to the Agent API."""
    return _too_large(request) or _agent_mistake(request.json)


def chat_mistake(request: Request) -> Refusal | None:
    """What is wrong with a request in the older format."""
    return _too_large(request) or _chat_mistake(request.json)


def _too_large(request: Request) -> Refusal | None:
    if len(request.body) > MOST_BYTES:
        return refusal(413, "Request body is larger than 32 MiB.", "request_too_large")
    return None


def _agent_mistake(body: Mapping[str, Any] | None) -> Refusal | None:
    if body is None:
        return _bad("The body is not a JSON object.")
    for name in ("model", "input"):
        if not isinstance(body.get(name), str) or not body[name]:
            return _bad(f"{name} is required and must be a text.", param=name)
    for name in ("max_output_tokens", "max_steps"):
        if name in body and (not isinstance(body[name], int) or body[name] < 1):
            return _bad(f"{name} must be a positive integer.", param=name)
    choice = body.get("tool_choice")
    if choice is not None and choice != {"type": "web_search"}:
        return _bad("tool_choice is not one of the tools.", param="tool_choice")
    return _unknown(body, AGENT_FIELDS) or _tools_mistake(body.get("tools", []))


def _tools_mistake(tools: Any) -> Refusal | None:
    if not isinstance(tools, list) or any(tool.get("type") != "web_search" for tool in tools):
        return _bad("tools must be a list of tools of type web_search.", param="tools")
    for tool in tools:
        if tool.get("search_context_size", "low") not in ("low", "medium", "high"):
            return _bad("search_context_size must be low, medium or high.", param="tools.search_context_size")
        filters = tool.get("filters") or {}
        mistake = _unknown(tool, TOOL_FIELDS) or _unknown(filters, FILTER_FIELDS) or _filter_mistake(filters)
        if mistake:
            return mistake
    return None


def _chat_mistake(body: Mapping[str, Any] | None) -> Refusal | None:
    if body is None:
        return _bad("The body is not a JSON object.")
    if not isinstance(body.get("model"), str) or not body.get("messages"):
        return _bad("model and messages are required.", param="messages")
    return _unknown(body, CHAT_FIELDS) or _filter_mistake(body)


def _filter_mistake(filters: Mapping[str, Any]) -> Refusal | None:
    domains = filters.get("search_domain_filter", [])
    if not isinstance(domains, list) or len(domains) > MOST_DOMAINS:
        return _bad(f"search_domain_filter takes at most {MOST_DOMAINS} domains.", param="search_domain_filter")
    if filters.get("search_recency_filter", "year") not in ("hour", "day", "week", "month", "year"):
        return _bad("search_recency_filter is not a period.", param="search_recency_filter")
    if not _DATE.fullmatch(filters.get("search_after_date_filter", "01/01/2026")):
        return _bad("search_after_date_filter must be MM/DD/YYYY.", param="search_after_date_filter")
    return None


def _unknown(given: Mapping[str, Any], known: frozenset[str]) -> Refusal | None:
    strangers = sorted(given.keys() - known)
    return _bad(f"Unknown field: {strangers[0]}", param=strangers[0]) if strangers else None


def _bad(message: str, *, param: str | None = None) -> Refusal:
    return refusal(400, message, "invalid_request", param=param)
