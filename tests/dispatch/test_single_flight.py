import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import pytest

from cmo.dispatch.single_flight import FAILURES_SHARED, SingleFlight

WITHDRAWAL = "withdrawn"
MANY = 200


class ServerDown(Exception):
    """A failure everybody would meet."""


class OverBudget(Exception):
    """A failure of one person."""


class Source:
    """Gives streams of events and counts them. Events come when the test says so."""

    def __init__(self) -> None:
        self.streams: list[FakeStream] = []

    def __call__(self) -> AsyncIterator[str]:
        self.streams.append(FakeStream())
        return self.streams[-1].events()

    @property
    def open(self) -> int:
        return sum(stream.is_open for stream in self.streams)


class FakeStream:
    def __init__(self) -> None:
        self.is_open = False
        self.was_stopped = False
        self._script: asyncio.Queue[str | Exception | None] = asyncio.Queue()

    def send(self, *events: str | Exception | None) -> None:
        """The next events: texts, an error, or None for the end."""
        for event in events:
            self._script.put_nowait(event)

    async def events(self) -> AsyncIterator[str]:
        self.is_open = True
        try:
            while (event := await self._script.get()) is not None:
                if isinstance(event, Exception):
                    raise event
                yield event
        except asyncio.CancelledError:
            self.was_stopped = True
            raise
        finally:
            self.is_open = False


class Reader:
    """Somebody who asks and reads all they get."""

    def __init__(self, flights: SingleFlight[str], source: Source, key: str = "k") -> None:
        self.got: list[str] = []
        self._stream = flights.run(key, source)
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> list[str]:
        async with aclosing(cast("Any", self._stream)) as events:
            async for event in events:
                self.got.append(event)
        return self.got


async def settle() -> None:
    """Lets every task go on until it waits for something that only the test can give."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def flights() -> SingleFlight[str]:
    return SingleFlight(withdrawal=WITHDRAWAL, concerns_all=lambda error: isinstance(error, ServerDown))


@pytest.fixture
def source() -> Source:
    return Source()


async def test_two_hundred_identical_questions_at_once_cost_one_call(
    flights: SingleFlight[str], source: Source
) -> None:
    readers = [Reader(flights, source) for _ in range(MANY)]
    await settle()
    [stream] = source.streams
    stream.send("a", "b", "c", None)

    assert await asyncio.gather(*(reader.task for reader in readers)) == [["a", "b", "c"]] * MANY
    assert len(source.streams) == 1


async def test_different_keys_are_asked_separately(flights: SingleFlight[str], source: Source) -> None:
    readers = [Reader(flights, source, key) for key in ("k1", "k2")]
    await settle()
    for number, stream in enumerate(source.streams):
        stream.send(f"answer {number}", None)

    assert await asyncio.gather(*(reader.task for reader in readers)) == [["answer 0"], ["answer 1"]]


async def test_followers_see_events_as_they_come_and_late_ones_from_the_beginning(
    flights: SingleFlight[str], source: Source
) -> None:
    leader, follower = Reader(flights, source), Reader(flights, source)
    await settle()
    source.streams[0].send("a", "b")
    await settle()
    assert leader.got == follower.got == ["a", "b"]

    late = Reader(flights, source)
    await settle()
    assert late.got == ["a", "b"]
    source.streams[0].send("c", None)

    assert await asyncio.gather(leader.task, follower.task, late.task) == [["a", "b", "c"]] * 3


async def test_a_slow_reader_delays_nobody_and_misses_nothing(flights: SingleFlight[str], source: Source) -> None:
    async with aclosing(cast("Any", flights.run("k", source))) as slow_leader:
        first = asyncio.create_task(anext(slow_leader))
        await settle()
        async with aclosing(cast("Any", flights.run("k", source))) as slow_follower:
            second = asyncio.create_task(anext(slow_follower))
            quick = Reader(flights, source)
            await settle()
            source.streams[0].send("a", "b", "c", None)

            assert await quick.task == ["a", "b", "c"]
            assert [await first, *[event async for event in slow_leader]] == ["a", "b", "c"]
            assert [await second, *[event async for event in slow_follower]] == ["a", "b", "c"]


async def test_what_has_ended_is_asked_anew(flights: SingleFlight[str], source: Source) -> None:
    for answer in ("first", "second"):
        reader = Reader(flights, source)
        await settle()
        source.streams[-1].send(answer, None)
        assert await reader.task == [answer]

    assert len(source.streams) == 2


async def test_a_follower_who_leaves_disturbs_nobody(flights: SingleFlight[str], source: Source) -> None:
    leader, leaver, follower = (Reader(flights, source) for _ in range(3))
    await settle()
    source.streams[0].send("a")
    await settle()
    leaver.task.cancel()
    await asyncio.wait([leaver.task])
    source.streams[0].send("b", None)

    assert await asyncio.gather(leader.task, follower.task) == [["a", "b"]] * 2
    assert not source.streams[0].was_stopped


async def test_when_the_leader_is_stopped_exactly_one_of_the_others_takes_over(
    flights: SingleFlight[str], source: Source
) -> None:
    leader, *others = (Reader(flights, source) for _ in range(MANY))
    await settle()
    leader.task.cancel()
    await asyncio.wait([leader.task])
    assert source.streams[0].was_stopped
    await settle()
    assert (len(source.streams), source.open) == (2, 1)
    source.streams[1].send("a", None)

    assert await asyncio.gather(*(reader.task for reader in others)) == [["a"]] * (MANY - 1)
    assert len(source.streams) == 2


async def test_a_leader_closed_half_way_has_its_text_taken_back_by_those_who_passed_it_on(
    flights: SingleFlight[str], source: Source
) -> None:
    leader, follower = Reader(flights, source), Reader(flights, source)
    await settle()
    source.streams[0].send("half an ans")
    await settle()
    leader.task.cancel()
    await settle()
    late = Reader(flights, source)
    source.streams[1].send("a whole answer", None)

    assert await follower.task == ["half an ans", WITHDRAWAL, "a whole answer"]
    assert await late.task == ["a whole answer"]


async def test_without_a_withdrawal_the_next_stream_simply_follows(source: Source) -> None:
    flights: SingleFlight[str] = SingleFlight()
    leader, follower = Reader(flights, source), Reader(flights, source)
    await settle()
    source.streams[0].send("half", ServerDown())
    await settle()
    source.streams[1].send("whole", None)

    assert await follower.task == ["half", "whole"]
    assert isinstance(leader.task.exception(), ServerDown)


async def test_stopping_one_leader_after_the_other_hands_over_each_time(
    flights: SingleFlight[str], source: Source
) -> None:
    readers = [Reader(flights, source) for _ in range(10)]
    for number, reader in enumerate(readers[:-1], start=1):
        await settle()
        assert (len(source.streams), source.open) == (number, 1)
        reader.task.cancel()
    await settle()
    source.streams[-1].send("a", None)

    assert await readers[-1].task == ["a"]


async def test_a_failure_is_its_leaders_alone_and_the_next_takes_over(
    flights: SingleFlight[str], source: Source
) -> None:
    leader, *others = (Reader(flights, source) for _ in range(MANY))
    await settle()
    source.streams[0].send(OverBudget())
    await settle()
    assert source.open == 1
    source.streams[1].send("a", None)

    assert await asyncio.gather(*(reader.task for reader in others)) == [["a"]] * (MANY - 1)
    assert isinstance(leader.task.exception(), OverBudget)
    assert len(source.streams) == 2


async def test_a_server_that_is_down_is_asked_twice_and_not_two_hundred_times(
    flights: SingleFlight[str], source: Source
) -> None:
    readers = [Reader(flights, source) for _ in range(MANY)]
    for number in range(FAILURES_SHARED):
        await settle()
        assert source.open == 1
        source.streams[number].send(ServerDown(f"attempt {number + 1}"))
    ends = await asyncio.gather(*(reader.task for reader in readers), return_exceptions=True)

    assert [str(end) for end in ends] == ["attempt 1", *["attempt 2"] * (MANY - 1)]
    assert len(source.streams) == FAILURES_SHARED


async def test_failures_of_single_people_are_never_shared(flights: SingleFlight[str], source: Source) -> None:
    readers = [Reader(flights, source) for _ in range(5)]
    for number in range(5):
        await settle()
        assert len(source.streams) == number + 1
        source.streams[number].send(OverBudget(f"of {number}"))
    ends = await asyncio.gather(*(reader.task for reader in readers), return_exceptions=True)

    assert [str(end) for end in ends] == [f"of {number}" for number in range(5)]


async def test_a_stopped_leader_counts_as_no_failure(flights: SingleFlight[str], source: Source) -> None:
    stopped, failed, third = (Reader(flights, source) for _ in range(3))
    await settle()
    stopped.task.cancel()
    await settle()
    source.streams[1].send(ServerDown())
    await settle()
    source.streams[2].send("a", None)

    assert await third.task == ["a"]
    assert isinstance(failed.task.exception(), ServerDown)


async def test_a_leader_that_is_closed_returns_when_its_stream_has_cleaned_up(
    flights: SingleFlight[str], source: Source
) -> None:
    running = flights.run("k", source)
    first = asyncio.create_task(anext(running))
    await settle()
    source.streams[0].send("a")
    assert await first == "a"
    await cast("Any", running).aclose()

    assert source.open == 0
    assert source.streams[0].was_stopped


async def test_no_task_is_left_behind(flights: SingleFlight[str], source: Source) -> None:
    before = asyncio.all_tasks()
    readers = [Reader(flights, source) for _ in range(5)]
    await settle()
    for reader in readers:
        reader.task.cancel()
    await asyncio.wait([reader.task for reader in readers])
    await settle()

    assert asyncio.all_tasks() == before
    assert source.open == 0
