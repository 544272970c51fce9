"""Calls to an OpenAI-compatible server, over real HTTP to a fake one that can be told what goes wrong."""

import asyncio
import logging
import math
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmo.errors import ModelUnavailable
from cmo.interfaces import ChatModel, Embedder
from cmo.models.openai import CUT_OFF, OpenAIChat
from cmo.models.openai_embedding import OpenAIEmbedder
from cmo.models.openai_server import OpenAIServer
from cmo.policy.retry import Deadlines, retry_after
from cmo.pricing import Price
from cmo.values import CallOutcome, CallStage, ModelCall, Prompt
from tests.servers import FakeOpenAI, Fault
from tests.servers.fake import FakeServer, Reply, Whole
from tests.servers.openai import PRICES, OpenAI
from tests.servers.wire import Request

CANARY_KEY = "canary-4f1d0c-KEY"
ANSWER = "Glucose rises in diabetes. [1] Lactate rises in sepsis. [2]"
PROMPT = Prompt(system="Answer in one sentence.", user="What rises? " * 20, max_tokens=50)
LUNA = Price(in_usd=0.10, cached_usd=0.01, out_usd=0.50)
PATIENT = Deadlines(connect_seconds=10.0, first_token_seconds=20.0, total_seconds=40.0)
HASTY = Deadlines(connect_seconds=10.0, first_token_seconds=0.5, total_seconds=5.0)
HASTIER = Deadlines(connect_seconds=10.0, first_token_seconds=0.5, total_seconds=0.6)
HANGS = (Fault.HANG_BEFORE_BYTE, Fault.HANG_BEFORE_TOKEN, Fault.HANG_AFTER_TOKEN)
PASSING = (Fault.RATE_LIMIT, Fault.SERVER_ERROR, Fault.BAD_GATEWAY, Fault.UNAVAILABLE, Fault.CUT_BEFORE_BYTE)
LASTING = {
    Fault.UNAUTHORIZED: "refuses the key",
    Fault.RETIRED: "does not know the model gpt-6-luna",
    Fault.TOO_LARGE: "too large",
    Fault.NO_CREDIT_400: "no credit",
    Fault.NO_CREDIT_402: "no credit",
    Fault.NO_CREDIT_429: "no credit",
}


class Calls:
    """A server, a model behind it, and what was booked."""

    def __init__(self, fake: Any, server: OpenAIServer) -> None:
        self.fake = fake
        self.server = server
        self.booked: list[ModelCall] = []
        self.has_booked = asyncio.Event()

    def book(self, call: ModelCall) -> None:
        self.booked.append(call)
        self.has_booked.set()

    def chat(self, *, model: str = "gpt-6-luna", price: Price | None = LUNA) -> OpenAIChat:
        return OpenAIChat(self.server, model=model, engine="lightrag", price=price)

    def embedder(self, *, dimension: int = 1536) -> OpenAIEmbedder:
        return OpenAIEmbedder(
            self.server,
            model="text-embedding-3-small",
            dimension=dimension,
            price=Price(in_usd=0.02, cached_usd=0.02, out_usd=0.0),
            engine="lightrag",
            book=self.book,
        )

    async def streamed(self, prompt: Prompt = PROMPT, *, into: list[str] | None = None) -> list[str]:
        pieces = [] if into is None else into
        async for piece in self.chat().stream(prompt, stage=CallStage.ANSWER, book=self.book):
            pieces.append(piece)
        return pieces

    async def whole(self, prompt: Prompt = PROMPT) -> str:
        return await self.chat().complete(prompt, stage=CallStage.ANSWER, book=self.book)

    @property
    def outcomes(self) -> list[CallOutcome]:
        return [call.outcome for call in self.booked]

    @property
    def cost_usd(self) -> float:
        return sum(call.cost_usd for call in self.booked)


@pytest.fixture
async def fake() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI(key=CANARY_KEY) as fake:
        fake.answer(ANSWER)
        yield fake


@pytest.fixture
async def calls(fake: FakeOpenAI) -> AsyncIterator[Calls]:
    async with opened(fake) as server:
        yield Calls(fake, server)


@pytest.fixture
async def hasty(fake: FakeOpenAI) -> AsyncIterator[Calls]:
    async with opened(fake, deadlines=HASTY) as server:
        yield Calls(fake, server)


@pytest.fixture
async def hastier(fake: FakeOpenAI) -> AsyncIterator[Calls]:
    async with opened(fake, deadlines=HASTIER) as server:
        yield Calls(fake, server)


def opened(fake: FakeOpenAI, *, deadlines: Deadlines = PATIENT, key: str = CANARY_KEY) -> OpenAIServer:
    return OpenAIServer(base_url=fake.url, api_key=key, deadlines=deadlines, chance=lambda: 0.0)


async def asked(calls: Calls, *, streaming: bool) -> str:
    return "".join(await calls.streamed()) if streaming else await calls.whole()


both = pytest.mark.parametrize("streaming", [True, False], ids=["streamed", "whole"])


def test_it_is_a_chat_model_and_an_embedder(calls: Calls) -> None:
    chat: ChatModel = calls.chat()
    embedder: Embedder = calls.embedder()
    assert chat.name == "gpt-6-luna"
    assert embedder.fingerprint == "openai:text-embedding-3-small:1536"


# What goes well.


async def test_the_text_comes_in_pieces(calls: Calls) -> None:
    pieces = await calls.streamed()
    assert len(pieces) > 3
    assert "".join(pieces) == ANSWER


@both
async def test_cost_and_tokens_are_those_of_the_server(calls: Calls, streaming: bool) -> None:
    calls.fake.cache(10)
    assert await asked(calls, streaming=streaming) == ANSWER
    [call] = calls.booked
    assert (call.tokens_in, call.tokens_cached, call.tokens_out) == (calls.fake.tokens_in, 10, calls.fake.tokens_out)
    assert call.cost_usd == pytest.approx(calls.fake.cost_usd, abs=1e-12)
    assert call.outcome is CallOutcome.OK
    assert call.stage is CallStage.ANSWER
    assert call.engine == "lightrag"
    assert not call.estimated
    assert call.seconds > 0


@both
@pytest.mark.parametrize("fault", [Fault.SPLIT, Fault.UNKNOWN_EVENTS, Fault.HUGE_LINE, Fault.DELAY])
async def test_odd_framing_and_unknown_fields_change_nothing(calls: Calls, fault: Fault, streaming: bool) -> None:
    calls.fake.answer("β-Hydroxybutyrate: 酮体 ↑. [1]")
    calls.fake.then(fault, seconds=0.1)
    assert await asked(calls, streaming=streaming) == "β-Hydroxybutyrate: 酮体 ↑. [1]"
    assert calls.cost_usd == pytest.approx(calls.fake.cost_usd, abs=1e-12)


@both
async def test_a_server_of_ones_own_costs_nothing(calls: Calls, streaming: bool) -> None:
    chat = calls.chat(model="smollm", price=None)
    if streaming:
        assert [piece async for piece in chat.stream(PROMPT, stage=CallStage.ANSWER, book=calls.book)]
    else:
        await chat.complete(PROMPT, stage=CallStage.ANSWER, book=calls.book)
    [call] = calls.booked
    assert call.cost_usd == 0
    assert call.tokens_in > 0
    assert chat.ceiling_usd(PROMPT) == 0


async def test_one_connection_serves_calls_that_follow_each_other(calls: Calls) -> None:
    for _ in range(3):
        await calls.streamed()
        await calls.whole()
    assert calls.fake.connections == 1


async def test_closing_the_server_closes_its_connections(fake: FakeOpenAI) -> None:
    async with opened(fake) as server:
        await Calls(fake, server).streamed()
    await fake.until(lambda: fake.connections == 0)


async def test_a_text_that_reached_its_limit_ends_with_a_mark(calls: Calls) -> None:
    prompt = Prompt(system="s", user="u", max_tokens=3)
    assert await calls.streamed(prompt) == ["Glucose", " rises", " in", CUT_OFF]


async def test_calls_at_once_do_not_mix(calls: Calls) -> None:
    calls.fake.answer(lambda body: str(body["messages"][1]["content"]))
    prompts = [Prompt(system="s", user=f"question {number}", max_tokens=50) for number in range(20)]
    texts = await asyncio.gather(*(calls.whole(prompt) for prompt in prompts))
    assert texts == [prompt.user for prompt in prompts]
    assert calls.cost_usd == pytest.approx(calls.fake.cost_usd, abs=1e-12)


# What is sent.


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("gpt-6-luna", {"reasoning_effort": "none", "temperature": 0.0, "max_completion_tokens": 50}),
        ("openai/gpt-6-luna", {"reasoning_effort": "none", "temperature": 0.0, "max_completion_tokens": 50}),
        ("gpt-5.2-mini", {"reasoning_effort": "none", "temperature": 0.0, "max_completion_tokens": 50}),
        ("gpt-5-nano", {"reasoning_effort": "minimal", "max_completion_tokens": 50}),
        ("o4-mini", {"reasoning_effort": "low", "max_completion_tokens": 50}),
        ("gpt-4o", {"temperature": 0.0, "max_tokens": 50}),
        ("olmo-2-7b", {"temperature": 0.0, "max_tokens": 50}),
    ],
)
async def test_a_request_holds_what_every_server_knows(calls: Calls, model: str, settings: dict[str, object]) -> None:
    await calls.chat(model=model).complete(PROMPT, stage=CallStage.ANSWER, book=calls.book)
    [request] = calls.fake.requests
    messages = [{"role": "system", "content": PROMPT.system}, {"role": "user", "content": PROMPT.user}]
    assert request.json == {"model": model, "messages": messages, **settings}


async def test_a_temperature_of_its_own_is_sent_with_a_prompt(calls: Calls) -> None:
    await calls.whole(Prompt(system="s", user="u", max_tokens=50, temperature=0.7))
    assert (calls.fake.requests[0].json or {})["temperature"] == 0.7


async def test_json_is_asked_for_in_the_standard_way(calls: Calls) -> None:
    await calls.whole(Prompt(system="JSON", user="u", max_tokens=50, json=True))
    assert (calls.fake.requests[0].json or {})["response_format"] == {"type": "json_object"}


async def test_half_surrogates_of_broken_fonts_can_be_sent(calls: Calls) -> None:
    await calls.whole(Prompt(system="s", user="broken \ud800 font", max_tokens=50))
    assert (calls.fake.requests[0].json or {})["messages"][1]["content"] == "broken ? font"


@both
async def test_the_environment_adds_nothing(fake: FakeOpenAI, streaming: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "from-the-environment")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    async with opened(fake) as server:
        await asked(Calls(fake, server), streaming=streaming)
    assert "from-the-environment" not in str(fake.requests[0].headers)


async def test_a_server_that_asks_for_no_key_needs_none() -> None:
    async with FakeOpenAI() as fake, OpenAIServer(base_url=fake.url) as server:
        assert await Calls(fake, server).whole()


# What goes wrong, and the one retry.


@both
@pytest.mark.parametrize("fault", PASSING)
async def test_passing_trouble_is_overcome_by_the_second_attempt(calls: Calls, fault: Fault, streaming: bool) -> None:
    calls.fake.then(fault)
    assert await asked(calls, streaming=streaming) == ANSWER
    assert calls.outcomes == [CallOutcome.FAILED, CallOutcome.OK]


@both
@pytest.mark.parametrize("fault", PASSING)
async def test_there_is_one_retry_and_no_more(calls: Calls, fault: Fault, streaming: bool) -> None:
    calls.fake.always(fault)
    with pytest.raises(ModelUnavailable, match=r"The (model server|connection).*127\.0\.0\.1"):
        await asked(calls, streaming=streaming)
    assert calls.outcomes == [CallOutcome.FAILED] * 2
    assert len(calls.fake.requests) == 2


@both
@pytest.mark.parametrize(("fault", "words"), LASTING.items())
async def test_lasting_trouble_is_told_at_once(calls: Calls, fault: Fault, words: str, streaming: bool) -> None:
    calls.fake.then(fault)
    with pytest.raises(ModelUnavailable, match=words):
        await asked(calls, streaming=streaming)
    [call] = calls.booked
    assert (call.outcome, call.cost_usd, call.tokens_in, call.estimated) == (CallOutcome.FAILED, 0.0, 0, True)


@both
async def test_the_second_attempt_waits_as_long_as_the_server_asks(calls: Calls, streaming: bool) -> None:
    calls.fake.then(Fault.RATE_LIMIT_SECONDS, seconds=1.0)
    started = asyncio.get_running_loop().time()
    assert await asked(calls, streaming=streaming) == ANSWER
    assert asyncio.get_running_loop().time() - started >= 1.0


@pytest.mark.parametrize("fault", [Fault.RATE_LIMIT_SECONDS, Fault.RATE_LIMIT_DATE])
async def test_a_wait_that_does_not_fit_is_not_begun(calls: Calls, fault: Fault) -> None:
    calls.fake.then(fault, seconds=60)
    started = asyncio.get_running_loop().time()
    with pytest.raises(ModelUnavailable, match="busy"):
        await calls.streamed()
    assert asyncio.get_running_loop().time() - started < 20.0
    assert len(calls.booked) == 1


@pytest.mark.parametrize("fault", [Fault.HANG_BEFORE_BYTE, Fault.HANG_BEFORE_TOKEN])
async def test_no_first_token_in_time_is_tried_once_more(hasty: Calls, fault: Fault) -> None:
    hasty.fake.then(fault)
    assert "".join(await hasty.streamed()) == ANSWER
    failed, done = hasty.booked
    assert failed.estimated
    assert failed.tokens_in > 0
    assert failed.tokens_out == 0
    assert not done.estimated
    await hasty.fake.until(lambda: hasty.fake.abandoned == 1)


async def test_a_server_that_keeps_silent_is_given_up_within_the_deadline(hasty: Calls) -> None:
    hasty.fake.always(Fault.HANG_BEFORE_TOKEN)
    started = asyncio.get_running_loop().time()
    with pytest.raises(ModelUnavailable, match=r"did not answer within 0\.5 s"):
        await hasty.streamed()
    assert asyncio.get_running_loop().time() - started < HASTY.total_seconds
    await hasty.fake.until(lambda: hasty.fake.abandoned == 2)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault.CUT_MIDWAY, "broke off"),
        (Fault.ENDS_EARLY, "broke off"),
        (Fault.MALFORMED_JSON, "cannot be read"),
        (Fault.FAILED_MIDWAY, "reported an error"),
        (Fault.ERROR_EVENT, "reported an error"),
        (Fault.CANCELLED, "filter"),
    ],
)
async def test_nothing_is_repeated_after_the_first_token(calls: Calls, fault: Fault, words: str) -> None:
    calls.fake.then(fault)
    pieces: list[str] = []
    with pytest.raises(ModelUnavailable, match=words):
        await calls.streamed(into=pieces)
    assert pieces
    assert ANSWER.startswith("".join(pieces))
    [call] = calls.booked
    assert call.outcome is CallOutcome.FAILED
    assert call.tokens_out > 0
    assert len(calls.fake.requests) == 1
    assert call.cost_usd >= calls.fake.cost_usd


@pytest.mark.parametrize("fault", HANGS)
async def test_a_whole_answer_that_does_not_come_is_given_up_at_the_deadline(hastier: Calls, fault: Fault) -> None:
    hastier.fake.then(fault)
    with pytest.raises(ModelUnavailable, match=r"did not answer within 0\.6 s"):
        await hastier.whole()
    await hastier.fake.until(lambda: hastier.fake.abandoned == 1)
    assert hastier.outcomes == [CallOutcome.FAILED]


async def test_a_text_that_stops_coming_is_given_up_at_the_deadline(hastier: Calls) -> None:
    hastier.fake.then(Fault.HANG_AFTER_TOKEN)
    with pytest.raises(ModelUnavailable, match=r"did not answer within 0\.6 s"):
        await hastier.streamed()
    await hastier.fake.until(lambda: hastier.fake.abandoned == 1)
    [call] = hastier.booked
    assert (call.outcome, call.estimated) == (CallOutcome.FAILED, True)


@pytest.mark.parametrize("fault", [Fault.MALFORMED_JSON, Fault.ENDS_EARLY])
async def test_a_whole_answer_that_cannot_be_read_is_not_asked_for_again(calls: Calls, fault: Fault) -> None:
    calls.fake.then(fault)
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        await calls.whole()
    [call] = calls.booked
    assert call.estimated
    assert call.tokens_in > 0


@both
async def test_an_error_in_place_of_an_answer_is_tried_once_more(calls: Calls, streaming: bool) -> None:
    calls.fake.then(Fault.FAILED)
    assert await asked(calls, streaming=streaming) == ANSWER
    assert calls.outcomes == [CallOutcome.FAILED, CallOutcome.OK]


@both
async def test_an_empty_answer_is_none(calls: Calls, streaming: bool) -> None:
    calls.fake.answer("")
    with pytest.raises(ModelUnavailable, match="empty answer"):
        await asked(calls, streaming=streaming)
    [call] = calls.booked
    assert call.cost_usd == pytest.approx(calls.fake.cost_usd, abs=1e-12)


async def test_text_without_end_is_stopped(calls: Calls) -> None:
    calls.fake.answer("x" * 100_000)
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        await calls.streamed()


async def test_a_server_that_is_not_there_is_told_as_such(fake: FakeOpenAI) -> None:
    async with OpenAIServer(base_url="http://127.0.0.1:9/v1", deadlines=HASTY, chance=lambda: 0.0) as server:
        calls = Calls(fake, server)
        with pytest.raises(ModelUnavailable, match=r"cannot be reached.*OPENAI_BASE_URL"):
            await calls.streamed()
    assert [(call.tokens_in, call.cost_usd) for call in calls.booked] == [(0, 0.0), (0, 0.0)]


# Stopped calls.


async def test_closing_the_stream_ends_the_call_at_the_server(calls: Calls) -> None:
    calls.fake.token_seconds = 0.02
    async with aclosing(calls.chat().stream(PROMPT, stage=CallStage.ANSWER, book=calls.book)) as stream:
        await anext(stream)
    await calls.fake.until(lambda: calls.fake.abandoned == 1 and calls.fake.connections == 0)
    [call] = calls.booked
    assert call.outcome is CallOutcome.STOPPED
    assert call.estimated
    assert call.tokens_out > 0


@both
@pytest.mark.parametrize("fault", HANGS)
async def test_cancelling_ends_the_call_at_the_server(calls: Calls, fault: Fault, streaming: bool) -> None:
    calls.fake.then(fault)
    task = asyncio.create_task(asked(calls, streaming=streaming))
    await calls.fake.until(lambda: len(calls.fake.requests) == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await calls.fake.until(lambda: calls.fake.abandoned == 1 and calls.fake.connections == 0)
    assert calls.outcomes == [CallOutcome.STOPPED]


async def test_cancelling_the_wait_before_a_retry_makes_no_second_call(calls: Calls) -> None:
    calls.fake.then(Fault.RATE_LIMIT_SECONDS, seconds=1.5)
    task = asyncio.create_task(calls.whole())
    await calls.has_booked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert calls.outcomes == [CallOutcome.FAILED]
    assert len(calls.fake.requests) == 1


async def test_a_slow_listener_does_not_make_the_server_late(hasty: Calls) -> None:
    pieces: list[str] = []
    async for piece in hasty.chat().stream(PROMPT, stage=CallStage.ANSWER, book=hasty.book):
        if not pieces:
            await asyncio.sleep(1.2 * HASTY.first_token_seconds)
        pieces.append(piece)
    assert "".join(pieces) == ANSWER


# Money.


NOWHERE = OpenAIChat(OpenAIServer(base_url="http://127.0.0.1:9/v1"), model="m", engine="e", price=LUNA)


@given(user=st.text(max_size=300), system=st.text(max_size=100), most=st.integers(min_value=1, max_value=4_000))
def test_the_ceiling_holds_for_two_attempts_at_a_token_a_byte(user: str, system: str, most: int) -> None:
    prompt = Prompt(system=system, user=user, max_tokens=most)
    size = len((system + user).encode("utf-8", "replace"))
    assert NOWHERE.ceiling_usd(prompt) >= 2 * (size * LUNA.in_usd + most * LUNA.out_usd) / 1_000_000


@both
@pytest.mark.parametrize("fault", list(Fault))
async def test_each_attempt_is_booked_once_and_never_above_the_ceiling(
    calls: Calls, fault: Fault, streaming: bool
) -> None:
    calls.fake.then(fault, seconds=0.1)
    calls.fake.release()
    with suppress(ModelUnavailable):
        await asked(calls, streaming=streaming)
    assert len(calls.booked) == len(calls.fake.requests)
    assert calls.fake.cost_usd <= calls.cost_usd + 1e-12
    assert calls.cost_usd <= calls.chat().ceiling_usd(PROMPT)


# The key.


@both
@pytest.mark.parametrize("key", [CANARY_KEY, "canary-wrong-KEY"])
async def test_the_key_appears_nowhere(
    fake: FakeOpenAI, key: str, streaming: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with opened(fake, key=key) as server:
        calls = Calls(fake, server)
        fake.always(Fault.UNAUTHORIZED)
        try:
            await asked(calls, streaming=streaming)
        except ModelUnavailable:
            logging.getLogger("cmo").exception("model_failed")
        shown = [repr(server), repr(calls.chat()), repr(calls.embedder()), repr(calls.booked), str(calls.chat())]
    assert "model_failed" in caplog.text
    assert key not in caplog.text
    assert not [text for text in shown if key in text]


# Retry-After.


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 0.5 ", 0.5),
        ("Wed, 01 Jan 2025 00:00:09 GMT", 9.0),
        ("Tue, 31 Dec 2024 23:00:00 GMT", 0.0),
        ("Wednesday, 01-Jan-25 00:00:09 GMT", 9.0),
        ("", None),
        (None, None),
        ("-3", None),
        ("soon", None),
        ("1e99", None),
        ("9" * 40, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, datetime(2025, 1, 1, tzinfo=UTC)) == seconds


@given(st.text())
def test_no_retry_after_is_too_strange(header: str) -> None:
    wait = retry_after(header, datetime(2025, 1, 1, tzinfo=UTC))
    assert wait is None or wait >= 0


# Is it there?


async def test_a_ping_lists_the_models(calls: Calls) -> None:
    assert "gpt-6-luna" in await calls.chat().ping()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault.UNAUTHORIZED, "refuses the key"),
        (Fault.HANG_BEFORE_BYTE, "did not answer"),
        (Fault.MALFORMED_JSON, "cannot be read"),
    ],
)
async def test_a_ping_says_what_is_wrong(hasty: Calls, fault: Fault, words: str) -> None:
    hasty.fake.then(fault, on="/models")
    with pytest.raises(ModelUnavailable, match=words):
        await hasty.chat().ping()


# Other event loops.


@pytest.mark.parametrize(
    "work",
    [
        lambda calls: calls.chat().complete(PROMPT, stage=CallStage.EXTRACT, book=calls.book),
        lambda calls: calls.embedder().embed(["glucose"]),
        lambda calls: calls.chat().ping(),
    ],
)
async def test_another_event_loop_may_ask(calls: Calls, work: Callable[[Calls], object]) -> None:
    await calls.whole()
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    failures: list[BaseException] = []

    def elsewhere() -> None:
        try:
            asyncio.run(work(calls))  # type: ignore[arg-type]
        except BaseException as error:
            failures.append(error)
        loop.call_soon_threadsafe(done.set)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    async with asyncio.timeout(5):
        await done.wait()
    thread.join()
    assert failures == []
    assert calls.fake.connections == 1


# Embeddings.


async def test_vectors_are_unit_vectors_in_the_order_of_the_texts(calls: Calls) -> None:
    texts = [f"word{number} glucose" for number in range(150)]
    vectors = await calls.embedder().embed(texts)
    assert vectors.shape == (150, 1536)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    [again] = await calls.embedder().embed([texts[77]])
    assert np.allclose(vectors[77], again)
    assert [len((request.json or {})["input"]) for request in calls.fake.requests] == [64, 64, 22, 1]


class Altered(OpenAI):
    """OpenAI whose vectors come out altered."""

    def __init__(self, alter: Callable[[list[Any]], list[Any]]) -> None:
        super().__init__(PRICES)
        self._alter = alter

    def reply(self, request: Request, fault: Fault) -> Reply:
        reply = super().reply(request, fault)
        assert isinstance(reply, Whole)
        return replace(reply, body={**reply.body, "data": self._alter(reply.body["data"])})


async def embedded(alter: Callable[[list[Any]], list[Any]], *texts: str) -> np.ndarray[Any, Any]:
    fake = FakeServer(Altered(alter), base="/v1", port=0, key=None, delay_seconds=0, token_seconds=0)
    async with fake, OpenAIServer(base_url=fake.url) as server:
        return await Calls(fake, server).embedder().embed(texts)


async def test_vectors_in_another_order_are_put_in_order() -> None:
    texts = ("glucose", "urea", "lactate")
    straight, reverse = await embedded(list, *texts), await embedded(lambda data: data[::-1], *texts)
    assert np.array_equal(straight, reverse)
    assert not np.array_equal(straight[0], straight[2])


@pytest.mark.parametrize(
    "alter",
    [
        lambda data: data[:1],
        lambda data: [data[0], data[0]],
        lambda data: [],
        lambda data: [data[0], {**data[1], "embedding": [0.0] * 1536}],
        lambda data: [data[0], {**data[1], "embedding": [math.nan] * 1536}],
        lambda data: [data[0], {**data[1], "embedding": data[1]["embedding"][:5]}],
        lambda data: [data[0], {**data[1], "embedding": "AAAA"}],
    ],
    ids=["fewer", "twice", "none", "zero", "nan", "short", "text"],
)
async def test_vectors_that_make_no_sense_are_refused(alter: Callable[[list[Any]], list[Any]]) -> None:
    with pytest.raises(ModelUnavailable):
        await embedded(alter, "glucose", "urea")


async def test_an_empty_text_gets_a_zero_vector_and_is_not_sent(calls: Calls) -> None:
    vectors = await calls.embedder().embed(["", "glucose", "  "])
    assert [bool(vector.any()) for vector in vectors] == [False, True, False]
    assert (calls.fake.requests[0].json or {})["input"] == ["glucose"]
    assert (await calls.embedder().embed([])).shape == (0, 1536)
    assert len(calls.fake.requests) == 1


async def test_vectors_of_another_length_name_the_setting(calls: Calls) -> None:
    with pytest.raises(ModelUnavailable, match=r"length 1536: set OPENAI_EMBEDDING_DIMENSIONS to that instead of 768"):
        await calls.embedder(dimension=768).embed(["glucose"])


async def test_embedding_calls_are_booked_as_the_server_counts(calls: Calls) -> None:
    await calls.embedder().embed(["glucose in plasma", "urea"])
    [call] = calls.booked
    assert (call.stage, call.tokens_in, call.estimated) == (CallStage.EMBED, 4, False)
    assert call.cost_usd == pytest.approx(calls.fake.cost_usd, abs=1e-15)


@pytest.mark.parametrize("fault", PASSING)
async def test_embedding_is_tried_twice(calls: Calls, fault: Fault) -> None:
    calls.fake.then(fault)
    assert (await calls.embedder().embed(["glucose"])).any()
    assert calls.outcomes == [CallOutcome.FAILED, CallOutcome.OK]


@pytest.mark.parametrize("fault", [Fault.MALFORMED_JSON, Fault.ENDS_EARLY, Fault.FAILED])
async def test_vectors_that_cannot_be_read_are_told_as_such(calls: Calls, fault: Fault) -> None:
    calls.fake.then(fault)
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        await calls.embedder().embed(["glucose"])
    [call] = calls.booked
    assert (call.outcome, call.estimated) == (CallOutcome.FAILED, True)


async def test_a_cancelled_embedding_is_booked_as_stopped(calls: Calls) -> None:
    calls.fake.then(Fault.HANG_BEFORE_BYTE)
    task = asyncio.create_task(calls.embedder().embed(["glucose"]))
    await calls.fake.until(lambda: len(calls.fake.requests) == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await calls.fake.until(lambda: calls.fake.connections == 0)
    assert calls.outcomes == [CallOutcome.STOPPED]
