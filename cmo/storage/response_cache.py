"""Answers of engines, kept for the same question asked again. Never a reason why a question fails or waits.

What is kept is the finished draft and when it was made, as JSON, under a hash; the question itself is not kept, nor who
asked it. It refuses to know engines, and where the bytes lie (response_stores.py).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import unicodedata
import zlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticSerializationError

from cmo.errors import StorageUnavailable
from cmo.interfaces import Clock
from cmo.logs import fields
from cmo.storage.response_stores import ResponseStore
from cmo.values import Draft

FORMAT = b"3"
"""Version of the bytes and of the fields of a Draft, with which they begin. Others are not read."""

KEPT = timedelta(days=7)
"""How long an answer is there for the time when no engine answers; longer only when it is given again for longer."""

PATIENCE_SECONDS = 0.25
"""The store has this long for one step; a question would otherwise wait for a cache that is meant to save waiting."""

LARGEST_BYTES = 1_000_000
"""Larger answers are not kept, nor read. One of 600 words that cites 10 pages with their passages takes about
50,000."""

COMPRESSED_FROM_BYTES = 1_024

_PLAIN, _COMPRESSED = b"j", b"z"
_FINAL_SIGNS = " .,:;?!؟。।"
_FIRST_SIGNS = " ¿¡"
_SUPERSCRIPTS = str.maketrans({sign: f"^{plain}" for sign, plain in zip("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789", strict=True)})

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedDraft:
    """An answer of an earlier question, when it was made, and how long ago."""

    draft: Draft
    made_at: datetime
    age_seconds: float


def key_of(
    question: str,
    *,
    engine: str,
    mode: str,
    language: str,
    index_version: str,
    model: str,
    options: Sequence[str] = (),
) -> str:
    """The key of an answer, 64 hexadecimal digits: the same for the same question under the same circumstances.

    `question` is the standalone one. `options` are whatever else changes the answer, always in the same order.
    """
    circumstances = [normalised(question), engine, mode, language, index_version, model, list(options)]
    return hashlib.sha256(json.dumps(circumstances).encode()).hexdigest()


def normalised(question: str) -> str:
    """The question without what makes no difference: white space, final signs, capitals that begin a word, other forms
    of signs.

    Raised digits stay apart from others (10⁵ is not 105), and words with capitals inside keep them (CO is not Co);
    otherwise it is Unicode's NFKC with case folded (Unicode Standard, section 3.13, D146 and D147, without its removal
    of invisible signs).
    """
    text = " ".join(unicodedata.normalize("NFKC", question.translate(_SUPERSCRIPTS)).split())
    return " ".join(map(_folded, text.lstrip(_FIRST_SIGNS).rstrip(_FINAL_SIGNS).split()))


def _folded(word: str) -> str:
    if any(sign.isupper() for sign in word[1:]):
        return word
    text = unicodedata.normalize("NFD", word).casefold()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


class ResponseCache:
    """Drafts by key. Built once, used concurrently."""

    def __init__(self, store: ResponseStore, *, seconds: float, clock: Clock) -> None:
        """`seconds` is how long an answer is given again."""
        self._store = store
        self._seconds = seconds
        self._clock = clock
        self._steps: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Returns when the store is ready, or when it is clear that it is not; then nothing is kept."""
        try:
            await self._store.open()
        except StorageUnavailable as error:
            _failed("open", error)

    async def close(self) -> None:
        """Lets go of the store."""
        await self._store.close()

    async def ping(self) -> None:
        """Returns when the store answers.

        Raises:
            StorageUnavailable: it does not.
        """
        await self._soon(self._store.ping())

    async def get(self, key: str) -> CachedDraft | None:
        """One young enough to be given again."""
        return await self._younger(key, lambda entry: entry.fresh_seconds)

    async def get_stale(self, key: str) -> CachedDraft | None:
        """One of whatever age there is, for when no engine answers."""
        return await self._younger(key, _kept_seconds)

    async def put(self, key: str, draft: Draft, *, seconds: float | None = None) -> None:
        """Keep a draft; `seconds` shortens how long it is young enough. Degraded ones are not kept."""
        if draft.degraded:
            return
        fresh = self._seconds if seconds is None else min(seconds, self._seconds)
        entry = _Entry(made_at=self._clock.now(), fresh_seconds=fresh, draft=draft)
        value = _encoded(entry)
        if value is None:
            _log.info("response_cannot_be_kept")
            return
        try:
            await self._soon(self._store.write(key, value, seconds=_kept_seconds(entry)))
        except StorageUnavailable as error:
            _failed("write", error)

    async def _younger(self, key: str, limit_seconds: Callable[[_Entry], float]) -> CachedDraft | None:
        value = await self._read(key)
        entry = None if value is None else _decoded(value)
        if entry is None:
            return None
        # Clocks of several machines differ: nothing is younger than new.
        age = max(0.0, (self._clock.now() - entry.made_at).total_seconds())
        if age > limit_seconds(entry):
            return None
        return CachedDraft(draft=entry.draft, made_at=entry.made_at, age_seconds=age)

    async def _read(self, key: str) -> bytes | None:
        try:
            return await self._soon(self._store.read(key))
        except StorageUnavailable as error:
            _failed("read", error)
            return None

    async def _soon(self, step: Coroutine[Any, Any, T]) -> T:
        """The result of a step, which is given up after PATIENCE_SECONDS.

        It is a task of its own, because cancelling is no guarantee: redis-py loses a cancellation now and then while it
        waits for a free connection (2 of 1,250 with redis 8.1 on Python 3.11). Such a step ends by itself later.

        Raises:
            StorageUnavailable: it failed, or took too long.
        """
        task = asyncio.create_task(step)
        self._steps.add(task)
        task.add_done_callback(self._step_ended)
        try:
            done, _ = await asyncio.wait([task], timeout=PATIENCE_SECONDS)
        finally:
            task.cancel()
        if not done:
            raise StorageUnavailable(f"The store of kept answers took longer than {PATIENCE_SECONDS} seconds.")
        return task.result()

    def _step_ended(self, task: asyncio.Task[Any]) -> None:
        self._steps.discard(task)
        if not task.cancelled():
            task.exception()  # so that asyncio does not report those nobody waited for


class _Entry(BaseModel):
    """What is kept. `fresh_seconds` is the age up to which it is given again."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    made_at: AwareDatetime
    fresh_seconds: float
    draft: Draft


def _kept_seconds(entry: _Entry) -> float:
    return max(entry.fresh_seconds, KEPT.total_seconds())


def _encoded(entry: _Entry) -> bytes | None:
    """Format, whether it is compressed, and JSON; None when it is too large, or no proper Unicode."""
    try:
        text = entry.model_dump_json().encode()
    except PydanticSerializationError:
        return None
    if len(text) > LARGEST_BYTES:
        return None
    if len(text) < COMPRESSED_FROM_BYTES:
        return FORMAT + _PLAIN + text
    return FORMAT + _COMPRESSED + zlib.compress(text)


def _decoded(value: bytes) -> _Entry | None:
    """The entry; None for what this version did not write."""
    head, text = value[: len(FORMAT) + 1], value[len(FORMAT) + 1 :]
    if head == FORMAT + _COMPRESSED:
        text = _decompressed(text)
    elif head != FORMAT + _PLAIN:
        return None
    try:
        return _Entry.model_validate_json(text) if len(text) <= LARGEST_BYTES else None
    except ValidationError:
        return None


def _decompressed(data: bytes) -> bytes:
    """At most one byte more than may be, however much is packed into `data`; nothing if it is damaged."""
    try:
        return zlib.decompressobj().decompress(data, LARGEST_BYTES + 1)
    except zlib.error:
        return b""


def _failed(step: str, error: Exception) -> None:
    """Tells by its type only: messages of other programs may name addresses with passwords."""
    cause = error.__cause__ or error
    _log.warning("response_cache_failed", extra=fields(step=step, error=type(cause).__name__))
