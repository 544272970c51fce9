"""Who belongs to a share of the people: a place from 0 to 100 for each person, the same in every process.

Pure. Refuses to know what the share is for, and never uses Python's `hash()`, which differs between processes.
"""

from __future__ import annotations

import hashlib

HASH_VERSION = 1
"""Changes whenever people would get other places than before; what was decided by other places is told by it."""

LARGEST = 16**8 - 1
"""The largest number a person can have."""


def number(user_id: str, salt: str) -> int:
    """The person's number under this salt, 0 to LARGEST, evenly spread over people.

    The last eight hexadecimal digits of a SHA-256.
    """
    digest = hashlib.sha256(f"{user_id}:{salt}".encode("utf-8", "surrogatepass")).hexdigest()
    return int(digest[-8:], 16)


def bucket(user_id: str, salt: str) -> float:
    """The person's place under this salt in percent, 0 to 100: their number as a share of the largest."""
    return number(user_id, salt) / LARGEST * 100


def within(place: float, percentage: float) -> bool:
    """Whether a place belongs to the first `percentage` of all.

    At 0 none does, not even the place 0, and from 100 on all do, whatever the arithmetic of fractions says.
    """
    if percentage <= 0:
        return False
    return percentage >= 100 or place <= percentage


def is_assigned(user_id: str, salt: str, percentage: float) -> bool:
    """Whether the person belongs to `percentage` of all people. A larger percentage moves nobody out."""
    return within(bucket(user_id, salt), percentage)


def salt_of(base: str, name: str) -> str:
    """The salt of the flag or experiment `name`, so that each picks other people. The main rollout uses `base` bare."""
    return f"{base}:{name}"
