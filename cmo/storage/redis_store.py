"""Kept answers in Redis through cashews' backend. Importing this needs the optional package redis.

Beside the answers lies a sorted set of their keys by age, because cashews has no limit of entries for Redis, and Redis'
own (`maxmemory`) counts everything on the server.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cashews.backends.redis import Redis
from cashews.exceptions import CacheBackendInteractionError
from cashews.serialize import NULL_SERIALIZER

from cmo.errors import StorageUnavailable
from cmo.interfaces import Clock

PREFIX = "cmo:response:"
AGES = "cmo:responses"
"""The sorted set of keys; the score is the time of writing, in seconds since 1970."""

_FORGET_OLDEST = """
redis.call("ZADD", KEYS[1], ARGV[2], ARGV[1])
local too_many = redis.call("ZCARD", KEYS[1]) - ARGV[3]
if too_many > 0 then
    local oldest = redis.call("ZPOPMIN", KEYS[1], too_many)
    for place = 1, #oldest, 2 do
        redis.call("UNLINK", oldest[place])
    end
end
"""


class RedisStore:
    """Bytes in Redis, shared by all processes with the same URL; their limits of entries should be the same."""

    def __init__(self, url: str, *, entries: int, clock: Clock) -> None:
        """Connect to nothing yet."""
        self._redis = _LimitedRedis(url)
        self._entries = entries
        self._clock = clock

    async def open(self) -> None:
        """Returns at once: connections are made when they are needed."""
        await self._redis.init()  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """Lets go of the connections."""
        await self._redis.close()  # type: ignore[no-untyped-call]

    async def ping(self) -> None:
        """Returns when the server answers."""
        with _told_as_ours():
            await self._redis.ping()

    async def read(self, key: str) -> bytes | None:
        """The bytes, or None."""
        with _told_as_ours():
            value = await self._redis.get(PREFIX + key)
        return value if isinstance(value, bytes) else None

    async def write(self, key: str, value: bytes, *, seconds: float) -> None:
        """Keeps the bytes."""
        with _told_as_ours():
            await self._redis.set(PREFIX + key, value, expire=seconds)
            await self._redis.forget_oldest(PREFIX + key, self._clock.now().timestamp(), self._entries)


class _LimitedRedis(Redis):
    """cashews' backend, which never unpickles, tells its failures, and can keep to a number of entries."""

    def __init__(self, url: str) -> None:
        # Without a serializer cashews takes one that unpickles whatever it finds.
        super().__init__(url, suppress=False, serializer=NULL_SERIALIZER)

    async def forget_oldest(self, latest: str, now: float, entries: int) -> None:
        """Take down when `latest` was written, and delete the oldest until `entries` are left."""
        await self._client.eval(_FORGET_OLDEST, 1, AGES, latest, now, entries)


@contextmanager
def _told_as_ours() -> Iterator[None]:
    try:
        yield
    except CacheBackendInteractionError as error:
        raise StorageUnavailable("Redis cannot be used: check CMO_CACHE_URL and the server.") from error
