"""What can go wrong in a call to Perplexity, in words for a person, and whether a second try may help.

Of what a server says when it refuses, nothing gets into the words: it could be anything, the key included.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from cmo.engines.perplexity_wire import Malformed, json_object, part, text
from cmo.policy.retry import retry_after

UNREACHABLE = "Perplexity cannot be reached. Check the network, and PERPLEXITY_BASE_URL if it is set."
BROKE_OFF = "The connection to Perplexity broke off."
UNREADABLE = "Perplexity sent something that is no answer."
NOT_FINISHED = "Perplexity could not finish its answer."
NOTHING_WRITTEN = "Perplexity stopped before it had written anything."
RETIRED = "Perplexity has retired this wire format for the account: set PERPLEXITY_WIRE_FORMAT=agent."
NO_CREDIT = "The Perplexity account has no credit left: top it up."

_RETIRED_TYPE = "chat_completions_not_available"
_REFUSALS = MappingProxyType(
    {
        400: "Perplexity does not accept the request: check PERPLEXITY_MODEL and PERPLEXITY_DOMAINS.",
        401: "Perplexity refuses the key: check PERPLEXITY_API_KEY.",
        402: NO_CREDIT,
        403: "Perplexity does not let this key ask: check PERPLEXITY_API_KEY.",
        404: "Perplexity is not at this address, or has no such model: check PERPLEXITY_BASE_URL and PERPLEXITY_MODEL.",
        413: "The question is too large for Perplexity.",
    }
)
_BUSY = "Perplexity is getting too many questions"
_BROKEN = "Perplexity has an error of its own"

_CREDIT_TYPE = re.compile(r"credit|balance|billing|payment|insufficient_(?:quota|funds)")
_CREDIT_WORDS = re.compile(r"(?i)\b(?:credits?|billing|insufficient balance)\b")


class CallFailed(Exception):
    """A call brought no answer; the message is for a person.

    `again` is set when a second try may go better, after `wait_seconds` if the server says so. `charged` is cleared
    when the server has surely not worked on it. `status` is the HTTP status of a refusal, else 0.
    """

    def __init__(
        self,
        message: str,
        *,
        again: bool = False,
        wait_seconds: float | None = None,
        charged: bool = True,
        status: int = 0,
    ) -> None:
        super().__init__(message)
        self.again = again
        self.wait_seconds = wait_seconds
        self.charged = charged
        self.status = status


def refusal(status: int, body: bytes, headers: Mapping[str, str], now: datetime) -> CallFailed:
    """A response with an error status."""
    error = _error(body)
    kind = f"{text(error, 'type')} {text(error, 'code')}"
    if _is_about_credit(status, kind, text(error, "message")):
        return CallFailed(NO_CREDIT, charged=False, status=status)
    if status == 403 and _RETIRED_TYPE in kind:
        return CallFailed(RETIRED, charged=False, status=status)
    if status == 429 or status >= 500:
        wait = retry_after(headers.get("retry-after"), now)
        when = f"in {math.ceil(wait)} second{'s' * (wait > 1)}" if wait else "in a while"
        words = f"{_BUSY if status == 429 else _BROKEN} (HTTP {status}): please ask again {when}."
        return CallFailed(words, again=True, wait_seconds=wait, charged=False, status=status)
    words = _REFUSALS.get(status, f"Perplexity answered in an unexpected way (HTTP {status}).")
    return CallFailed(words, charged=False, status=status)


def _is_about_credit(status: int, kind: str, message: str) -> bool:
    """Whether the account is empty. Only a bad request needs its message read for that: others have a type."""
    if status == 402:
        return True
    return 400 <= status < 500 and bool(_CREDIT_TYPE.search(kind) or (status == 400 and _CREDIT_WORDS.search(message)))


def _error(body: bytes) -> Mapping[str, Any]:
    """The error object of a body; empty when it is a proxy's page or the like."""
    try:
        return part(json_object(body), "error")
    except Malformed:
        return {}
