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
from cmo.phrases import Phrase
from cmo.policy.retry import retry_after

UNREACHABLE = Phrase("Perplexity cannot be reached. Check the network, and PERPLEXITY_BASE_URL if it is set.")
BROKE_OFF = Phrase("The connection to Perplexity broke off.")
UNREADABLE = Phrase("Perplexity sent something that is no answer.")
NOT_FINISHED = Phrase("Perplexity could not finish its answer.")
NOTHING_WRITTEN = Phrase("Perplexity stopped before it had written anything.")
RETIRED = Phrase("Perplexity has retired this wire format for the account: set PERPLEXITY_WIRE_FORMAT=agent.")
NO_CREDIT = Phrase("The Perplexity account has no credit left: top it up.")

_RETIRED_TYPE = "chat_completions_not_available"
_REFUSALS = MappingProxyType(
    {
        400: Phrase("Perplexity does not accept the request: check PERPLEXITY_MODEL and PERPLEXITY_DOMAINS."),
        401: Phrase("Perplexity refuses the key: check PERPLEXITY_API_KEY."),
        402: NO_CREDIT,
        403: Phrase("Perplexity does not let this key ask: check PERPLEXITY_API_KEY."),
        404: Phrase(
            "Perplexity is not at this address, or has no such model: check PERPLEXITY_BASE_URL and PERPLEXITY_MODEL."
        ),
        413: Phrase("The question is too large for Perplexity."),
    }
)

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
        self.words = message
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
        trouble = Phrase("is getting too many questions") if status == 429 else Phrase("has an error of its own")
        when = Phrase("in {n} s", n=math.ceil(wait)) if wait else Phrase("in a while")
        words = Phrase(
            "Perplexity {trouble} (HTTP {status}): please ask again {when}.", trouble=trouble, status=status, when=when
        )
        return CallFailed(words, again=True, wait_seconds=wait, charged=False, status=status)
    unexpected = Phrase("Perplexity answered in an unexpected way (HTTP {status}).", status=status)
    return CallFailed(_REFUSALS.get(status, unexpected), charged=False, status=status)


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
