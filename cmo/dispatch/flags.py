"""The flags of one process: a snapshot that answers at once, kept up to date in the background.

Asking for a flag reads memory and nothing else. The snapshot is replaced as a whole, at once after a change made here
and some seconds after one made elsewhere; when it cannot be read anew, the last one serves. What a flag is worth is
told in policy/flags.py; where flags are kept is not known here.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar

from cmo.errors import OracleError
from cmo.interfaces import Clock
from cmo.logs import fields
from cmo.policy.flags import FeatureVariant, FlagContext, FlagReason, FlagSet, FlagValue, MalformedFlag, evaluate
from cmo.values import Question

POLL_SECONDS = 1.0
"""How often changes made elsewhere are looked for. They have to be in force after 5 seconds at most."""

NOBODY = FlagContext()
"""Whom a flag is asked for when it is nobody in particular."""

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger(__name__)


class FlagSource(Protocol):
    """Where flags come from."""

    async def revision(self) -> str:
        """What differs when any flag has changed; to be asked often.

        Raises:
            OracleError: it cannot be read.
        """

    async def load(self) -> FlagSet:
        """All flags.

        Raises:
            OracleError: they cannot be read.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagCounts:
    """What there is and what was asked since the start. `failed_reads` counts looks at the source that went wrong.

    `evaluations` are by flag and reason; flags that do not exist are counted together, under "".
    """

    flags: int
    malformed: int
    failed_reads: int
    evaluations: Mapping[tuple[str, FlagReason], int]


class Flags:
    """All flags. Built once, opened and closed, used by all questions of a process, from one event loop."""

    def __init__(
        self,
        source: FlagSource,
        *,
        salt: str,
        clock: Clock,
        chance: Callable[[], float],
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """`salt` is the one all flags' salts are made from; `chance` draws a number from 0 to 1."""
        self._source = source
        self._salt = salt
        self._clock = clock
        self._chance = chance
        self._poll_seconds = poll_seconds
        self._snapshot = FlagSet(revision="", flags={})
        self._asked: Counter[tuple[str, FlagReason]] = Counter()
        self._failed_reads = 0
        self._reading = asyncio.Lock()
        self._polling: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Reads the flags and goes on looking for changes. When they cannot be read, there are none until they can."""
        await self.refresh()
        self._polling = asyncio.create_task(self._poll())

    async def close(self) -> None:
        """Looks for no more changes."""
        if self._polling is not None:
            self._polling.cancel()
            with suppress(asyncio.CancelledError):
                await self._polling

    @property
    def snapshot(self) -> FlagSet:
        """The flags as they are in force here."""
        return self._snapshot

    @property
    def counts(self) -> FlagCounts:
        """What there is, and what was asked."""
        return FlagCounts(
            flags=len(self._snapshot.flags),
            malformed=sum(isinstance(flag, MalformedFlag) for flag in self._snapshot.flags.values()),
            failed_reads=self._failed_reads,
            evaluations=dict(self._asked),
        )

    def evaluate(self, name: str, context: FlagContext = NOBODY, *, default: bool = False) -> FlagValue:
        """What the flag is worth for a person, and why.

        `default` is for a flag that does not exist, and for people who would have to be known; a flag that was
        switched off is off whatever the default.
        """
        flag = self._snapshot.flags.get(name)
        value = evaluate(flag, context, salt=self._salt, now=self._clock.now(), chance=self._chance, default=default)
        self._asked["" if flag is None else name, value.reason] += 1
        return value

    def is_feature_enabled(self, name: str, context: FlagContext = NOBODY, *, default: bool = False) -> bool:
        """Whether the feature is on for a person; see `evaluate`."""
        return self.evaluate(name, context, default=default).value

    def get_variant(self, name: str, context: FlagContext = NOBODY) -> FeatureVariant | None:
        """The form in which a person gets the feature; None when they do not, or when it has no forms."""
        return self.evaluate(name, context).variant

    async def refresh(self) -> None:
        """Returns when changes made so far are in force here, or could not be read."""
        async with self._reading:  # an older snapshot must not take the place of a newer one
            try:
                if await self._source.revision() != self._snapshot.revision:
                    self._put(await self._source.load())
            except OracleError:
                self._failed_reads += 1
                _log.warning("flags_read_failed", exc_info=True, extra=fields(serving=self._snapshot.revision))

    async def change(self, change: Awaitable[T]) -> T:
        """The result of a change to the source, which is in force here from now on."""
        result = await change
        await self.refresh()
        return result

    def _put(self, snapshot: FlagSet) -> None:
        known, self._snapshot = self._snapshot.flags, snapshot
        _log.info("flags_loaded", extra=fields(revision=snapshot.revision, flags=len(snapshot.flags)))
        for name, flag in snapshot.flags.items():
            if isinstance(flag, MalformedFlag) and known.get(name) != flag:
                _log.warning("flag_malformed", extra=fields(flag=name, problem=flag.problem))

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self._poll_seconds)
            try:
                await self.refresh()
            except Exception:  # a bug in a source must not leave this process with old flags for ever
                _log.exception("flags_poll_failed")


def asker_of(question: Question) -> FlagContext:
    """Whom flags are asked for when a question comes in: whoever asked it."""
    return FlagContext(user_id=question.user_id, cohort=question.cohort, region=question.region)


def feature_flag(
    name: str, *, flags: Flags | None = None, default: bool = False
) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Coroutine[Any, Any, T | None]]]:
    """Makes an async function, or method, run only for people who have the feature; for others it returns None.

    The function takes the person as its argument `context`, a FlagContext. Without `flags` those in the attribute
    `flags` of the method's object decide.

    Raises:
        TypeError: the function has no argument `context`.
    """

    def decorate(function: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T | None]]:
        signature = inspect.signature(function)
        if "context" not in signature.parameters:
            raise TypeError(f'{function.__qualname__} needs an argument "context" to be behind the flag "{name}"')

        @wraps(function)
        async def guarded(*args: P.args, **kwargs: P.kwargs) -> T | None:
            panel: Flags = flags if flags is not None else args[0].flags  # type: ignore[attr-defined]
            context = signature.bind(*args, **kwargs).arguments.get("context") or NOBODY
            if not panel.is_feature_enabled(name, context, default=default):
                return None
            return await function(*args, **kwargs)

        return guarded

    return decorate
