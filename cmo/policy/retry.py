"""When a call over the network is tried again, and how long it may take. Pure; who calls whom is nothing to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

ATTEMPTS = 2
"""How often one call is tried at most."""
SHORTEST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 0.6
"""Before the second attempt, when the server does not say how long; drawn at random so that callers spread out."""
LEAST_LEFT_SECONDS = 1.0
"""A second attempt is made only when so much time is left for it."""

_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """How long a call may take, in seconds: to connect, to the first piece of text of an attempt, and in all.

    `total_seconds` includes the second attempt and the wait before it.
    """

    connect_seconds: float = 5.0
    first_token_seconds: float = 20.0
    total_seconds: float = 60.0


def retry_after(header: str | None, now: datetime) -> float | None:
    """The seconds a Retry-After header asks to wait, given as a number or as a date (RFC 9110, section 10.2.3)."""
    header = (header or "").strip()
    if _SECONDS.fullmatch(header):
        return float(header)
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - now).total_seconds())
