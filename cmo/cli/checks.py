"""What `cmo doctor` finds: the values, and how a look at something becomes a check.

A check FAILED when questions cannot be answered because of it; whatever else is not as it should be is a WARNING.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from cmo.errors import OracleError
from cmo.settings import Settings

_log = logging.getLogger(__name__)


class Status(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, and what to do about it when it is not as it should be."""

    status: Status
    detail: str
    advice: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    finding: Finding


Look = Callable[[Settings], Awaitable[Finding]]


async def examine(settings: Settings, looks: Sequence[tuple[str, Look]]) -> tuple[Check, ...]:
    """The outcome of all looks, one after the other."""
    return tuple([Check(name, await _found(look, settings)) for name, look in looks])


async def _found(look: Look, settings: Settings) -> Finding:
    try:
        return await look(settings)
    except OracleError as error:
        return Finding(Status.FAILED, str(error))
    except Exception as error:  # a doctor that breaks down over what it finds would be of no use
        _log.debug("check_failed", exc_info=True)
        return Finding(Status.FAILED, f"{type(error).__name__}: {error}", "With LOG_LEVEL=DEBUG the log says more.")
