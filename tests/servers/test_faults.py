"""Each fault does what its name says, at every wire format."""

from __future__ import annotations

import asyncio
import json
import time
from email.utils import parsedate_to_datetime

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from tests.servers import FakeOpenAI, FakePerplexity, Fault
from tests.servers.calls import AGENT, CHAT, HALF, SONAR, TEXT, Caller, events, plain_http, streamed_text, text_of
from tests.servers.faults import HUGE_BYTES, STATUS
from tests.servers.wire import _awkward

FORMS = [False, True]


@pytest.mark.parametrize("stream", FORMS)
@pytest.mark.parametrize("fault", [fault for fault in STATUS if fault is not Fault.RETIRED])
async def test_a_fault_with_a_status_is_told_by_it_and_costs_nothing(
    caller: Caller, fault: Fault, stream: bool
) -> None:
    caller.server.then(fault)
    response = await caller.call(stream=stream)
    assert response.status_code == STATUS[fault] == caller.server.statuses[0]
    assert caller.server.cost_usd == 0
    if fault is not Fault.BAD_GATEWAY:
        assert {"message", "type", "code"} <= set(response.json()["error"])
    assert (await caller.call(stream=stream)).status_code == 200


async def test_a_rate_limit_tells_when_to_come_back_or_not(caller: Caller) -> None:
    caller.server.then(Fault.RATE_LIMIT, Fault.RATE_LIMIT_SECONDS, Fault.RATE_LIMIT_DATE, seconds=90)
    silent, seconds, date = [(await caller.call()).headers for _ in range(3)]
    assert "retry-after" not in silent
    assert silent["x-ratelimit-remaining-requests"] == "0"
    assert seconds["retry-after"] == "90"
    assert parsedate_to_datetime(date["retry-after"]).timestamp() == pytest.approx(time.time() + 90, abs=5)


async def test_a_retired_wire_format_and_a_retired_model_say_so(server: FakeOpenAI, web: FakePerplexity) -> None:
    for fake in (server, web):
        fake.then(Fault.RETIRED)
    async with plain_http() as http:
        format_gone = await http.post(f"{web.url}/chat/completions", json=SONAR)
        model_gone = await http.post(f"{server.url}/chat/completions", json=CHAT)
    assert format_gone.status_code == 403
    assert format_gone.json()["error"]["type"] == "chat_completions_not_available"
    assert model_gone.status_code == 404
    assert model_gone.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("stream", FORMS)
async def test_no_byte_comes_of_a_call_that_hangs_before_it(caller: Caller, stream: bool) -> None:
    caller.server.then(Fault.HANG_BEFORE_BYTE)
    call = asyncio.create_task(caller.call(stream=stream))
    await caller.server.until(lambda: len(caller.server.requests) == 1)
    assert not call.done()
    assert caller.server.charges == []
    call.cancel()
    await caller.server.until(lambda: caller.server.abandoned == 1)


@pytest.mark.parametrize("stream", FORMS)
async def test_a_call_that_hangs_goes_on_when_released(caller: Caller, stream: bool) -> None:
    for fault in (Fault.HANG_BEFORE_BYTE, Fault.HANG_BEFORE_TOKEN, Fault.HANG_AFTER_TOKEN):
        caller.server.then(fault)
    calls = [asyncio.create_task(caller.call(stream=stream)) for _ in range(3)]
    await caller.server.until(lambda: len(caller.server.requests) == 3)
    caller.server.release()
    answers = await asyncio.gather(*calls)
    assert {streamed_text(events(each.text)) if stream else text_of(each.json()) for each in answers} == {TEXT}


async def test_a_stream_hangs_before_its_first_token(caller: Caller) -> None:
    caller.server.then(Fault.HANG_BEFORE_TOKEN)
    call = asyncio.create_task(caller.received(until="Glucose"))
    await caller.server.until(lambda: len(caller.server.charges) == 1)
    assert caller.server.first_token_sent_at is None
    assert caller.server.tokens_out == 0
    call.cancel()
    await caller.server.until(lambda: caller.server.abandoned == 1)


async def test_a_stream_hangs_after_its_first_token(caller: Caller) -> None:
    caller.server.then(Fault.HANG_AFTER_TOKEN)
    got = await caller.received(until="Glucose")
    await caller.server.until(lambda: caller.server.abandoned == 1)
    assert "rose" not in got
    assert [(charge.tokens_out, charge.told) for charge in caller.server.charges] == [(1, False)]


@pytest.mark.parametrize("stream", FORMS)
@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE_BYTE, Fault.CUT_MIDWAY])
async def test_a_cut_connection_is_an_error_of_transport(caller: Caller, fault: Fault, stream: bool) -> None:
    caller.server.then(fault)
    with pytest.raises(httpx.RemoteProtocolError):
        await caller.call(stream=stream)
    assert caller.server.abandoned == 0


async def test_a_stream_cut_midway_has_shown_half_of_the_text(caller: Caller) -> None:
    caller.server.then(Fault.CUT_MIDWAY)
    with pytest.raises(httpx.RemoteProtocolError):
        await caller.received(until="never sent")
    assert caller.server.tokens_out == 5


@pytest.mark.parametrize("stream", FORMS)
async def test_an_answer_can_end_early_as_if_it_were_complete(caller: Caller, stream: bool) -> None:
    caller.server.then(Fault.ENDS_EARLY)
    response = await caller.call(stream=stream)
    assert response.status_code == 200
    assert streamed_text(events(response.text)) == (HALF if stream else "")
    assert "[DONE]" not in response.text
    assert "response.completed" not in response.text


@pytest.mark.parametrize("stream", FORMS)
async def test_malformed_json_cannot_be_read(caller: Caller, stream: bool) -> None:
    caller.server.then(Fault.MALFORMED_JSON)
    response = await caller.call(stream=stream)
    assert response.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        events(response.text) if stream else response.json()


@pytest.mark.parametrize("stream", FORMS)
async def test_split_bytes_come_in_parts_that_end_inside_characters(caller: Caller, stream: bool) -> None:
    whole = await caller.call(stream=stream)
    caller.server.then(Fault.SPLIT)
    split = await caller.call(stream=stream)
    assert split.headers["transfer-encoding"] == "chunked"
    assert (
        streamed_text(events(split.text)) == streamed_text(events(whole.text))
        if stream
        else text_of(split.json()) == TEXT
    )


def test_a_border_stands_inside_every_long_character() -> None:
    parts = _awkward("aµb–c".encode())
    assert b"".join(parts) == "aµb–c".encode()
    assert not any(long.encode() in part for part in parts for long in "µ–")


@pytest.mark.parametrize("stream", FORMS)
async def test_a_huge_line_and_strangers_leave_the_answer_whole(caller: Caller, stream: bool) -> None:
    caller.server.then(Fault.HUGE_LINE, Fault.UNKNOWN_EVENTS)
    huge, strange = await caller.call(stream=stream), await caller.call(stream=stream)
    assert max(len(line) for line in huge.text.split("\n")) > HUGE_BYTES
    assert "telemetry" in strange.text
    for response in (huge, strange):
        assert (streamed_text(events(response.text)) if stream else text_of(response.json())) == TEXT


async def test_the_sdk_reads_through_split_huge_and_strange_streams(
    server: FakeOpenAI, client: openai.AsyncOpenAI
) -> None:
    server.then(Fault.SPLIT, Fault.HUGE_LINE, Fault.UNKNOWN_EVENTS)
    for _ in range(3):
        stream = await client.chat.completions.create(**CHAT, stream=True)
        chunks = [chunk async for chunk in stream]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == TEXT


@pytest.mark.parametrize(
    ("fault", "status", "text"),
    [
        (Fault.FAILED, "failed", ""),
        (Fault.FAILED_MIDWAY, "failed", HALF),
        (Fault.INCOMPLETE, "incomplete", HALF),
        (Fault.CANCELLED, "cancelled", HALF),
    ],
)
async def test_the_agent_tells_a_bad_end_with_status_200(
    web: FakePerplexity, fault: Fault, status: str, text: str
) -> None:
    web.always(fault)
    async with plain_http(web.url) as http:
        whole = await http.post("/v1/agent", json=AGENT)
        found = events((await http.post("/v1/agent", json=AGENT | {"stream": True})).text)
    assert whole.status_code == 200
    assert (whole.json()["status"], text_of(whole.json())) == (status, text)
    assert (whole.json()["error"] is not None) == (status == "failed")
    assert (found[-1]["type"], streamed_text(found)) == (f"response.{status}", text)
    assert found[-1]["response"]["usage"] == whole.json()["usage"]
    assert [charge.told for charge in web.charges] == [True, True]


async def test_a_bare_error_ends_the_agents_stream(web: FakePerplexity) -> None:
    web.always(Fault.ERROR_EVENT)
    async with plain_http(web.url) as http:
        whole = await http.post("/v1/agent", json=AGENT)
        found = events((await http.post("/v1/agent", json=AGENT | {"stream": True})).text)
    assert (whole.status_code, list(whole.json())) == (200, ["error"])
    assert found[-1]["type"] == "error"
    assert streamed_text(found) == HALF


@pytest.mark.parametrize(("fault", "shown"), [(Fault.FAILED, ""), (Fault.FAILED_MIDWAY, HALF)])
async def test_the_sdk_raises_at_an_error_in_the_stream(
    server: FakeOpenAI, client: openai.AsyncOpenAI, fault: Fault, shown: str
) -> None:
    server.then(fault)
    got: list[str] = []
    with pytest.raises(openai.APIError, match="The model failed"):
        await collect(await client.chat.completions.create(**CHAT, stream=True), got)
    assert "".join(got) == shown


@pytest.mark.parametrize(("fault", "reason"), [(Fault.INCOMPLETE, "length"), (Fault.CANCELLED, "content_filter")])
async def test_the_model_tells_why_it_stopped(
    server: FakeOpenAI, client: openai.AsyncOpenAI, fault: Fault, reason: str
) -> None:
    server.then(fault)
    choice = (await client.chat.completions.create(**CHAT)).choices[0]
    assert (choice.finish_reason, choice.message.content) == (reason, HALF)


@pytest.mark.parametrize("stream", FORMS)
async def test_an_answer_can_be_without_sources_or_name_none(caller: Caller, stream: bool) -> None:
    caller.server.then(Fault.NO_SOURCES, Fault.STRAY_MARKERS)
    bare, stray = await caller.call(stream=stream), await caller.call(stream=stream)
    unsourced = streamed_text(events(bare.text)) if stream else text_of(bare.json())
    assert "[" not in unsourced
    assert "hmdb.ca" not in bare.text
    written = streamed_text(events(stray.text)) if stream else text_of(stray.json())
    assert all(each in written for each in ("[99]", "[web:7]", "https://"))


async def collect(stream: openai.AsyncStream[ChatCompletionChunk], got: list[str]) -> None:
    async for chunk in stream:
        got.append(chunk.choices[0].delta.content or "")
