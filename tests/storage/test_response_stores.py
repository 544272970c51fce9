"""The same rules for every store, on the real thing: memory, a SQLite file, and a Redis server of the test's own."""

import asyncio
import json
import logging
import os
import pickle
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cashews.backends.memory import Memory
from cashews.serialize import DEFAULT_SERIALIZER

from cmo.errors import SettingsError, StorageUnavailable
from cmo.storage.response_cache import FORMAT, PATIENCE_SECONDS, ResponseCache
from cmo.storage.response_stores import FILE, MemoryStore, ResponseStore, SqliteStore, store_at
from cmo.values import Draft

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = 5
HOUR = 3_600.0
MOMENT = 0.05


class FakeClock:
    def __init__(self) -> None:
        self.time = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def go_on(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class RedisServer:
    """A server on a free port of this machine, without files."""

    def __init__(self, program: str, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        nothing_kept = ("--save", "", "--appendonly", "no", "--dir", str(folder))
        command = (program, "--port", str(self.port), "--bind", "127.0.0.1", *nothing_kept)
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert any("Ready to accept connections" in line for line in self._process.stdout)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> Any:
        import redis

        return redis.Redis(port=self.port)

    def stop(self) -> None:
        self._process.terminate()
        self._process.communicate()


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    pytest.importorskip("redis", reason="the optional package redis is not installed")
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("the program redis-server is not installed")
    server = RedisServer(program, tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


Make = Callable[[], ResponseStore]


@pytest.fixture(params=["mem", "disk", "redis"])
def make(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Make:
    """Makes a store; those on disk and in Redis hold what the one before them held."""
    url = f"{request.param}://"
    if request.param == "redis":
        server = request.getfixturevalue("redis_server")
        server.client().flushall()
        url = server.url
    return lambda: store_at(url, folder=tmp_path / "storage", entries=ENTRIES, clock=clock)


@pytest.fixture
async def store(make: Make) -> AsyncIterator[ResponseStore]:
    store = make()
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def redis_store(redis_server: RedisServer, tmp_path: Path, clock: FakeClock) -> AsyncIterator[ResponseStore]:
    redis_server.client().flushall()
    store = store_at(redis_server.url, folder=tmp_path, entries=ENTRIES, clock=clock)
    await store.open()
    yield store
    await store.close()


async def test_bytes_come_back_as_they_were(store: ResponseStore) -> None:
    values = {"text": b"1j{}", "digits": b"bytes:12", "odd": bytes(range(256)), "long": b"x" * 1_000_000}
    for key, value in values.items():
        await store.write(key, value, seconds=HOUR)

    assert {key: await store.read(key) for key in values} == values
    assert await store.read("other") is None
    await store.ping()


async def test_writing_again_replaces(store: ResponseStore) -> None:
    await store.write("k", b"one", seconds=HOUR)
    await store.write("k", b"two", seconds=HOUR)

    assert await store.read("k") == b"two"


async def test_what_has_expired_is_not_there(store: ResponseStore, clock: FakeClock) -> None:
    await store.write("short", b"x", seconds=MOMENT)
    await store.write("long", b"y", seconds=HOUR)
    assert await store.read("short") == b"x"
    clock.go_on(MOMENT)
    await asyncio.sleep(MOMENT + 0.01)  # memory and Redis go by the machine's clock

    assert await store.read("short") is None
    assert await store.read("long") == b"y"


async def test_the_oldest_go_when_there_are_too_many(store: ResponseStore, clock: FakeClock) -> None:
    for number in range(ENTRIES + 3):
        await store.write(f"k{number}", b"x", seconds=HOUR)
        clock.go_on(1)

    there = [number for number in range(ENTRIES + 3) if await store.read(f"k{number}")]
    assert there == [3, 4, 5, 6, 7]


async def test_an_entry_written_again_is_no_longer_old_and_takes_no_more_room(
    store: ResponseStore, clock: FakeClock
) -> None:
    for number in (0, 1, 2, 3, 0, 0, 0, 4, 5):
        await store.write(f"k{number}", b"x", seconds=HOUR)
        clock.go_on(1)

    there = [number for number in range(6) if await store.read(f"k{number}")]
    assert there == [0, 2, 3, 4, 5]


async def test_in_memory_those_not_read_for_longest_go_first() -> None:
    store = MemoryStore(2)
    await store.open()
    for key in ("read", "unread"):
        await store.write(key, b"x", seconds=HOUR)
    await store.read("read")
    await store.write("another", b"x", seconds=HOUR)

    assert await store.read("read") == b"x"
    assert await store.read("unread") is None
    await store.close()


async def test_many_at_once_all_get_their_own(store: ResponseStore) -> None:
    for number in range(ENTRIES):
        await store.write(f"k{number}", b"%d." % number, seconds=HOUR)
    found = await asyncio.gather(*(store.read(f"k{number % ENTRIES}") for number in range(200)))

    assert found == [b"%d." % (number % ENTRIES) for number in range(200)]


async def test_writers_at_once_keep_to_the_limit(store: ResponseStore) -> None:
    await asyncio.gather(*(store.write(f"k{number}", b"x", seconds=HOUR) for number in range(50)))

    assert len([number for number in range(50) if await store.read(f"k{number}")]) == ENTRIES


@pytest.mark.parametrize("make", ["disk", "redis"], indirect=True)
async def test_answers_outlive_the_process_and_are_shared(make: Make) -> None:
    one, other = make(), make()
    await one.open()
    await one.write("k", b"x", seconds=HOUR)
    await other.open()
    assert await other.read("k") == b"x"
    await one.close()
    await other.close()

    later = make()
    await later.open()
    assert await later.read("k") == b"x"
    await later.close()


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return (os.mkdir, (str(self.folder),))


@pytest.fixture
def crater(tmp_path: Path) -> Path:
    return tmp_path / "made by a pickle"


def exploded(crater: Path) -> bool:
    return crater.exists()


def pickles(crater: Path) -> list[bytes]:
    """A pickle bare, under cashews' name for bytes, under our format, and under a signature of cashews."""
    bare = pickle.dumps(Bomb(crater))
    return [bare, b"bytes:" + bare, b"bytes:" + FORMAT + b"j" + bare, FORMAT + b"j" + bare, b"sum:0_" + bare]


def plant_in_redis(server: RedisServer, value: bytes) -> None:
    server.client().set("cmo:response:k", value)


def plant_on_disk(folder: Path, value: bytes) -> None:
    with closing(sqlite3.connect(folder / "storage" / FILE)) as connection, connection:
        connection.execute("INSERT OR REPLACE INTO responses VALUES ('k', ?, 0, 1e12)", (value,))


DRAFT = Draft(text="Alanine is an amino acid.", answered=True, model="embedded", citations=())


async def test_cashews_left_alone_runs_a_pickle_it_finds(crater: Path) -> None:
    """What the tests below are for: should this one fail, cashews has changed for the better."""
    await DEFAULT_SERIALIZER.decode(Memory(), key="k", value=pickles(crater)[0], default=None)

    assert exploded(crater)


async def test_a_pickle_planted_in_redis_is_a_miss_and_never_loaded(
    redis_server: RedisServer, redis_store: ResponseStore, clock: FakeClock, crater: Path
) -> None:
    cache = ResponseCache(redis_store, seconds=HOUR, clock=clock)
    for value in pickles(crater):
        plant_in_redis(redis_server, value)
        assert await cache.get_stale("k") is None

    assert not exploded(crater)


async def test_a_pickle_planted_on_disk_is_a_miss_and_never_loaded(
    tmp_path: Path, clock: FakeClock, crater: Path
) -> None:
    store = store_at("disk://", folder=tmp_path / "storage", entries=ENTRIES, clock=clock)
    cache = ResponseCache(store, seconds=HOUR, clock=clock)
    await cache.open()
    for value in pickles(crater):
        plant_on_disk(tmp_path, value)
        assert await cache.get_stale("k") is None
    await cache.close()

    assert not exploded(crater)


async def test_redis_holds_json_and_the_age_of_keys_and_nothing_else(
    redis_server: RedisServer, redis_store: ResponseStore, clock: FakeClock
) -> None:
    await ResponseCache(redis_store, seconds=HOUR, clock=clock).put("k", DRAFT)

    client = redis_server.client()
    assert sorted(client.keys()) == [b"cmo:response:k", b"cmo:responses"]
    value = client.get("cmo:response:k")
    assert value.startswith(b"bytes:" + FORMAT + b"j{")
    assert json.loads(value.removeprefix(b"bytes:" + FORMAT + b"j"))["draft"]["text"] == DRAFT.text
    assert client.zrange("cmo:responses", 0, -1, withscores=True) == [(b"cmo:response:k", clock.now().timestamp())]


async def test_the_file_holds_json(tmp_path: Path, clock: FakeClock) -> None:
    store = store_at("disk://", folder=tmp_path, entries=ENTRIES, clock=clock)
    cache = ResponseCache(store, seconds=HOUR, clock=clock)
    await cache.open()
    await cache.put("k", DRAFT)
    await cache.close()

    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        [(key, value)] = connection.execute("SELECT key, value FROM responses").fetchall()
    assert key == "k"
    assert value.startswith(FORMAT + b"j{")
    assert json.loads(value[2:])["draft"]["text"] == DRAFT.text


async def test_what_has_expired_leaves_the_file_at_the_next_writing(tmp_path: Path, clock: FakeClock) -> None:
    store = store_at("disk://", folder=tmp_path, entries=ENTRIES, clock=clock)
    await store.open()
    await store.write("old", b"x", seconds=HOUR)
    clock.go_on(HOUR)
    await store.write("new", b"y", seconds=HOUR)
    await store.close()

    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        assert connection.execute("SELECT key FROM responses").fetchall() == [("new",)]


async def test_foreign_values_under_our_keys_are_misses(
    redis_server: RedisServer, redis_store: ResponseStore, clock: FakeClock
) -> None:
    cache = ResponseCache(redis_store, seconds=HOUR, clock=clock)
    for value in (b"42", b"", b"text", b"bytes:", b"other:1j{}"):
        plant_in_redis(redis_server, value)
        assert await cache.get_stale("k") is None
    redis_server.client().delete("cmo:response:k")
    redis_server.client().lpush("cmo:response:k", "a list")

    assert await cache.get_stale("k") is None


async def test_no_more_than_the_limit_is_left_in_redis(
    redis_server: RedisServer, redis_store: ResponseStore, clock: FakeClock
) -> None:
    redis_server.client().set("of somebody else", "x")
    for number in range(3 * ENTRIES):
        await redis_store.write(f"k{number}", b"x", seconds=HOUR)
        clock.go_on(1)

    left = redis_server.client().keys()
    assert len([key for key in left if key.startswith(b"cmo:response:")]) == ENTRIES
    assert b"of somebody else" in left


async def test_an_answer_that_comes_too_late_is_not_given_to_the_next_question(
    redis_server: RedisServer, redis_store: ResponseStore, clock: FakeClock
) -> None:
    cache = ResponseCache(redis_store, seconds=HOUR, clock=clock)
    await cache.put("slow", DRAFT)
    redis_server.client().client_pause(int((PATIENCE_SECONDS + 0.1) * 1000), all=True)
    assert await asyncio.gather(*(cache.get("slow") for _ in range(10))) == [None] * 10
    redis_server.client().ping()  # waits for the end of the pause

    assert await asyncio.gather(*(cache.get("other") for _ in range(20))) == [None] * 20
    assert await cache.get("slow") is not None


async def test_without_a_server_everything_is_a_miss_and_once_it_is_there_everything_works(
    redis_server: RedisServer, tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    server = RedisServer("redis-server", tmp_path)
    url = f"redis://somebody:canary@127.0.0.1:{server.port}/0"
    server.stop()
    cache = ResponseCache(store_at(url, folder=tmp_path, entries=ENTRIES, clock=clock), seconds=HOUR, clock=clock)
    with caplog.at_level(logging.DEBUG):
        await cache.open()
        await cache.put("k", DRAFT)
        assert await cache.get("k") is None
        with pytest.raises(StorageUnavailable) as raised:
            await cache.ping()

    assert [record.getMessage() for record in caplog.records] == ["response_cache_failed"] * 2
    assert "canary" not in caplog.text + str(raised.value) + repr(cache)
    await cache.close()


async def test_a_server_that_accepts_and_never_answers_delays_nobody_for_long(
    redis_server: RedisServer, tmp_path: Path, clock: FakeClock
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=20) as deaf:
        url = f"redis://127.0.0.1:{deaf.getsockname()[1]}/0"
        cache = ResponseCache(store_at(url, folder=tmp_path, entries=ENTRIES, clock=clock), seconds=HOUR, clock=clock)
        await cache.open()
        loop = asyncio.get_running_loop()
        started = loop.time()
        assert await asyncio.gather(*(cache.get("k") for _ in range(50))) == [None] * 50
        assert loop.time() - started < PATIENCE_SECONDS + 1
        await cache.close()


async def test_a_damaged_file_is_thrown_away_when_it_is_opened(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / FILE).write_bytes(b"This is no database. " * 500)
    store = SqliteStore(tmp_path / FILE, entries=ENTRIES, clock=clock)
    await store.open()
    await store.write("k", b"x", seconds=HOUR)

    assert await store.read("k") == b"x"
    await store.close()


async def test_a_file_that_is_damaged_later_is_a_miss(tmp_path: Path, clock: FakeClock) -> None:
    store = SqliteStore(tmp_path / FILE, entries=ENTRIES, clock=clock)
    await store.open()
    with closing(sqlite3.connect(tmp_path / FILE)) as connection, connection:
        connection.execute("DROP TABLE responses")
    cache = ResponseCache(store, seconds=HOUR, clock=clock)
    await cache.put("k", DRAFT)

    assert await cache.get("k") is None
    await cache.close()


async def test_a_folder_that_cannot_be_made_is_a_miss(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "file").touch()
    store = store_at("disk://", folder=tmp_path / "file" / "storage", entries=ENTRIES, clock=clock)
    cache = ResponseCache(store, seconds=HOUR, clock=clock)
    await cache.open()
    await cache.put("k", DRAFT)

    assert await cache.get("k") is None
    with pytest.raises(StorageUnavailable):
        await cache.ping()
    await cache.close()


async def test_a_file_that_cannot_be_written_any_more_can_still_be_read(tmp_path: Path, clock: FakeClock) -> None:
    """As on a full disk: SQLite refuses to write, and says so."""
    store = SqliteStore(tmp_path / FILE, entries=ENTRIES, clock=clock)
    cache = ResponseCache(store, seconds=HOUR, clock=clock)
    await cache.open()
    await cache.put("before", DRAFT)
    with closing(sqlite3.connect(tmp_path / FILE)) as connection, connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON responses BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    await cache.put("k", DRAFT)
    with pytest.raises(StorageUnavailable):
        await store.write("k", b"x", seconds=HOUR)

    assert await cache.get("k") is None
    assert await cache.get("before") is not None
    await cache.close()


async def test_a_file_locked_by_another_program_delays_nobody_for_long(tmp_path: Path, clock: FakeClock) -> None:
    store = SqliteStore(tmp_path / FILE, entries=ENTRIES, clock=clock)
    cache = ResponseCache(store, seconds=HOUR, clock=clock)
    await cache.open()
    loop = asyncio.get_running_loop()
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        started = loop.time()
        await cache.put("k", DRAFT)
        assert await cache.get("k") is None
        assert loop.time() - started < 2 * PATIENCE_SECONDS + 1
    await cache.close()


REFUSED = [
    "disk.sqlite3",
    "file://x",
    "redis://",
    "redis:///0",
    "redis://host:port",
    "redis://host:99999",
    "redis://:canary@host:0",
    "redis://:canary@host?pickle_type=default&secret=x",
    "redis://:canary@[host",
    "rediss://host/0#x",
]


@pytest.mark.parametrize("url", REFUSED)
def test_a_url_that_cannot_be_used_is_refused_without_showing_it(url: str, tmp_path: Path, clock: FakeClock) -> None:
    with pytest.raises(SettingsError, match="CMO_CACHE_URL") as raised:
        store_at(url, folder=tmp_path, entries=ENTRIES, clock=clock)

    assert "canary" not in str(raised.value)
    assert raised.value.__cause__ is None


WITHOUT_REDIS = """
import sys
from datetime import UTC, datetime
from pathlib import Path
sys.modules["redis"] = None
from cmo.errors import SettingsError
from cmo.storage.response_stores import store_at
store_at("mem://", folder=Path(), entries=1, clock=None)
store_at("disk://", folder=Path(), entries=1, clock=None)
try:
    store_at("redis://host", folder=Path(), entries=1, clock=None)
except SettingsError as error:
    print(error)
"""


def test_redis_without_its_package_is_refused_with_what_to_install() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_REDIS], capture_output=True, text=True, cwd=ROOT, check=False)

    assert done.stdout.strip() == (
        'CMO_CACHE_URL asks for Redis, but the package "redis" is missing: '
        "pip install 'clinical-metabolomics-oracle[redis]'."
    ), done.stderr
