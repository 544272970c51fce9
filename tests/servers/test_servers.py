"""The fakes obey the protocols they stand in for."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.servers import FakeOpenAI, FakePerplexity, Fault, WebResult
from tests.servers.calls import (
    AGENT,
    CHAT,
    SONAR,
    TEXT,
    WORDS,
    Caller,
    events,
    plain_http,
    sdk_http,
    streamed_text,
    text_of,
)

PROJECT = Path(__file__).resolve().parents[2]


# OpenAI, through its own SDK


async def test_a_chat_is_answered_and_charged_as_told(server: FakeOpenAI, client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(**CHAT)
    assert answer.choices[0].message.content == TEXT
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, WORDS)
    assert (server.tokens_in, server.tokens_out) == (3, WORDS)
    assert server.cost_usd == pytest.approx(3 * 0.10e-6 + WORDS * 0.50e-6)
    assert server.charges[0].told


async def test_a_streamed_chat_has_role_text_end_and_usage(server: FakeOpenAI, client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True})
    first, *middle, end, usage = [chunk async for chunk in stream]
    assert first.choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in middle) == TEXT
    assert end.choices[0].finish_reason == "stop"
    assert usage.choices == []
    assert usage.usage is not None
    assert usage.usage.completion_tokens == len(middle) == server.tokens_out


async def test_a_stream_tells_its_usage_only_when_asked(server: FakeOpenAI, client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(**CHAT, stream=True)
    assert all(chunk.usage is None for chunk in [chunk async for chunk in stream])
    assert [charge.told for charge in server.charges] == [False]
    assert server.tokens_out == WORDS


async def test_a_stream_ends_with_done(server: FakeOpenAI) -> None:
    async with plain_http(server.url) as http:
        response = await http.post("/chat/completions", json=CHAT | {"stream": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.endswith("\n\ndata: [DONE]\n\n")
    assert all(line == "" or line.startswith("data: ") for line in response.text.split("\n"))


async def test_the_model_stops_at_the_limit_on_tokens(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(**CHAT, max_completion_tokens=2)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("Glucose rose", "length")


async def test_cached_tokens_cost_less(server: FakeOpenAI, client: openai.AsyncOpenAI) -> None:
    server.cache(2)
    answer = await client.chat.completions.create(**CHAT)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 2
    assert server.cost_usd == pytest.approx((1 * 0.10 + 2 * 0.01 + WORDS * 0.50) / 1e6)


async def test_passages_of_the_prompt_are_cited_by_their_numbers() -> None:
    urine = "[1] Urea higher in urine\n\nUrea was higher in urine of all patients."
    plasma = "[2] Glucose was much higher in plasma. It was."
    asked = f"{urine}\n{plasma}\n\nQuestion: Is glucose higher in plasma?"
    async with FakeOpenAI() as fake, openai.AsyncOpenAI(base_url=fake.url, api_key="k", http_client=sdk_http()) as sdk:
        answer = await sdk.chat.completions.create(model="m", messages=[{"role": "user", "content": asked}])
    expected = "Glucose was much higher in plasma [2]. Urea was higher in urine of all patients [1]."
    assert answer.choices[0].message.content == expected


async def test_a_question_that_no_passage_fits_is_refused_in_the_words_of_the_prompt() -> None:
    passage = (
        '<passage n="1" page="2" mark="ab">\nTides of the sea\n\nTides follow the moon and the sun.\n</passage ab>'
    )
    async with FakeOpenAI() as fake, openai.AsyncOpenAI(base_url=fake.url, api_key="k", http_client=sdk_http()) as sdk:
        answer = await sdk.chat.completions.create(
            model="gpt-6-luna",
            messages=[
                {"role": "system", "content": "If nothing fits, begin with exactly NOT IN THE PAPERS and stop."},
                {"role": "user", "content": f"{passage}\n\nQuestion: Is glucose higher?"},
            ],
        )
    assert answer.choices[0].message.content == "NOT IN THE PAPERS"


async def test_json_is_answered_with_json(client: openai.AsyncOpenAI) -> None:
    async with FakeOpenAI() as fake:
        sdk = client.with_options(base_url=fake.url)
        keywords = await sdk.chat.completions.create(
            model="gpt-6-luna",
            messages=[
                {"role": "user", "content": "high_level_keywords, low_level_keywords\nUser Query: Is glucose up?"}
            ],
            response_format={"type": "json_object"},
        )
        shaped = await sdk.chat.completions.create(
            model="gpt-6-luna",
            messages=[{"role": "user", "content": "Question: Is it new?"}],
            response_format={
                "type": "json_schema",
                "json_schema": {
                    "name": "kind",
                    "schema": {
                        "type": "object",
                        "properties": {"type": {"enum": ["news", "other"]}, "fresh": {"type": "number"}},
                    },
                },
            },
        )
    assert json.loads(keywords.choices[0].message.content or "")["low_level_keywords"] == ["glucose"]
    assert json.loads(shaped.choices[0].message.content or "") == {"type": "news", "fresh": 0}


async def test_a_follow_up_question_is_completed_by_the_one_before() -> None:
    prompt = "Rewrite it.\nEarlier questions:\n- Does sepsis raise lactate?\n\nFollow-up question:\nAnd in urine?"
    async with FakeOpenAI() as fake, openai.AsyncOpenAI(base_url=fake.url, api_key="k", http_client=sdk_http()) as sdk:
        answer = await sdk.chat.completions.create(model="m", messages=[{"role": "user", "content": prompt}])
    assert answer.choices[0].message.content == "Does sepsis raise lactate And in urine?"


async def test_embeddings_are_unit_vectors_and_similar_texts_are_near(client: openai.AsyncOpenAI) -> None:
    texts = ["glucose in plasma", "plasma glucose", "tidal energy"]
    packed = await client.embeddings.create(model="text-embedding-3-small", input=texts)
    plain = await client.embeddings.create(model="text-embedding-3-small", input=texts, encoding_format="float")
    first, second, other = [each.embedding for each in packed.data]
    assert first == pytest.approx(plain.data[0].embedding)
    assert len(first) == 1536
    assert sum(value * value for value in first) == pytest.approx(1.0, abs=1e-5)
    assert dot(first, second) > 0.6
    assert abs(dot(first, other)) < 0.3


async def test_embeddings_have_the_dimensions_asked_for(server: FakeOpenAI, client: openai.AsyncOpenAI) -> None:
    answer = await client.embeddings.create(model="text-embedding-3-small", input="two words", dimensions=64)
    assert len(answer.data[0].embedding) == 64
    assert answer.usage.prompt_tokens == 2
    assert server.cost_usd == pytest.approx(2 * 0.02e-6)


async def test_an_empty_text_is_not_embedded(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        await client.embeddings.create(model="text-embedding-3-small", input=["a", ""])


async def test_the_models_are_listed_and_cost_nothing(server: FakeOpenAI, client: openai.AsyncOpenAI) -> None:
    server.always(Fault.SERVER_ERROR)
    assert [model.id async for model in client.models.list()] == ["gpt-6-luna", "text-embedding-3-small"]
    assert server.cost_usd == 0


@pytest.mark.parametrize(
    "extra", [{"max_tokens": 5}, {"temperature": 0.2}, {"temperature": 0.2, "reasoning_effort": "low"}]
)
async def test_a_reasoning_model_refuses_what_it_does_not_know(
    client: openai.AsyncOpenAI, extra: dict[str, Any]
) -> None:
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(**CHAT, **extra)


async def test_a_temperature_goes_with_no_reasoning(client: openai.AsyncOpenAI) -> None:
    assert await client.chat.completions.create(**CHAT, temperature=0.2, reasoning_effort="none")


async def test_options_of_a_stream_go_with_a_stream_only(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="stream_options"):
        await client.chat.completions.create(**CHAT, stream_options={"include_usage": True})


async def test_an_argument_nobody_knows_is_refused(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="Unrecognized request argument supplied: top_k"):
        await client.chat.completions.create(**CHAT, extra_body={"top_k": 3})


# Perplexity


async def test_the_agent_streams_its_events_in_the_documented_order(web: FakePerplexity) -> None:
    async with plain_http(web.url) as http:
        response = await http.post("/v1/responses", json=AGENT | {"stream": True})
    found = events(response.text)
    kinds = [kind for kind, _ in itertools.groupby(event["type"].removeprefix("response.") for event in found)]
    search = ["reasoning.search_queries", "reasoning.search_results"]
    text = ["output_item.added", "output_text.delta", "output_text.done", "output_item.done"]
    assert kinds == [
        "created", "in_progress", "reasoning.started", *search, *search, "reasoning.stopped", *text, "completed"
    ]  # fmt: skip
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    assert streamed_text(found) == TEXT == text_of(found[-1]["response"])
    assert found[-1]["response"]["usage"]["cost"]["total_cost"] == pytest.approx(web.cost_usd)


async def test_each_event_is_one_line_of_data_and_a_blank_one(web: FakePerplexity) -> None:
    async with plain_http(web.url) as http:
        response = await http.post("/v1/agent", json=AGENT | {"stream": True})
    assert response.headers["content-type"] == "text/event-stream"
    assert "[DONE]" not in response.text
    *blocks, last = response.text.split("\n\n")
    assert last == ""
    assert all(block.startswith("data: {") and "\n" not in block for block in blocks)


async def test_the_agent_answers_in_one_body_with_sources_and_cost(web: FakePerplexity) -> None:
    async with plain_http(web.url) as http:
        whole = (await http.post("/v1/agent", json=AGENT)).json()
    assert (whole["object"], whole["status"], whole["error"]) == ("response", "completed", None)
    results = [result for item in whole["output"] if item["type"] == "search_results" for result in item["results"]]
    assert [result["id"] for result in results] == [5, 2, 9, 11, 14]
    assert "" in [result["snippet"] for result in results]
    assert set(results[0]) == {"id", "url", "title", "snippet", "date", "last_updated", "source"}
    assert whole["usage"]["cost"]["total_cost"] == pytest.approx(3 * 0.25e-6 + WORDS * 2.5e-6 + 0.0025) == web.cost_usd


async def test_markers_of_the_written_answer_name_ids_in_both_ways() -> None:
    async with FakePerplexity() as web, plain_http(web.url) as http:
        text = text_of((await http.post("/v1/agent", json=AGENT)).json())
    assert all(marker in text for marker in ("[5]", "[web:2]", "[9]", "[web:11]", "[14]"))


async def test_the_older_format_counts_its_sources_from_one() -> None:
    async with FakePerplexity() as web, plain_http(web.url) as http:
        whole = (await http.post("/chat/completions", json=SONAR)).json()
        streamed = await http.post("/chat/completions", json=SONAR | {"stream": True})
    assert "[1]" in text_of(whole)
    assert len(whole["citations"]) == len(whole["search_results"]) == 5
    assert set(whole["search_results"][0]) == {"title", "url", "date", "snippet"}
    assert streamed.text.endswith("data: [DONE]\n\n")
    assert streamed_text(events(streamed.text)) == text_of(whole)
    assert events(streamed.text)[-1]["usage"] == whole["usage"]
    assert whole["usage"]["cost"]["total_cost"] * 2 == pytest.approx(web.cost_usd)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"top_k": 5}, "top_k"),
        ({"search_mode": "academic"}, "search_mode"),
        ({"tools": [{"type": "web_search", "depth": 1}]}, "depth"),
        ({"tools": [{"type": "web_search", "filters": {"language": "de"}}]}, "language"),
        (
            {"tools": [{"type": "web_search", "filters": {"search_domain_filter": ["a.org"] * 21}}]},
            "search_domain_filter",
        ),
        (
            {"tools": [{"type": "web_search", "filters": {"search_after_date_filter": "2026-01-31"}}]},
            "search_after_date_filter",
        ),
        ({"input": ""}, "input"),
    ],
)
async def test_the_agent_refuses_what_it_does_not_know(web: FakePerplexity, change: dict[str, Any], param: str) -> None:
    async with plain_http(web.url) as http:
        response = await http.post("/v1/agent", json=AGENT | change)
    assert response.status_code == 400
    assert set(response.json()["error"]) == {"message", "type", "code", "param"}
    assert response.json()["error"]["param"] == param
    assert web.cost_usd == 0


@pytest.mark.parametrize("missing", ["tools", "tool_choice"])
async def test_without_being_told_to_the_agent_does_not_search(web: FakePerplexity, missing: str) -> None:
    body = {name: value for name, value in AGENT.items() if name != missing}
    async with plain_http(web.url) as http:
        whole = (await http.post("/v1/agent", json=body)).json()
    assert [item["type"] for item in whole["output"]] == ["message"]
    assert whole["usage"]["cost"]["tool_calls_cost"] == 0


async def test_the_domain_filter_limits_the_results(web: FakePerplexity) -> None:
    tools = [{"type": "web_search", "filters": {"search_domain_filter": ["ebi.ac.uk", "nlm.nih.gov"]}}]
    async with plain_http(web.url) as http:
        whole = (await http.post("/v1/agent", json=AGENT | {"tools": tools})).json()
    assert [result["id"] for result in whole["output"][0]["results"]] == [2, 9]


async def test_results_can_be_given() -> None:
    only = WebResult(id=3, url="https://hmdb.ca/x", title="X", snippet="An entry")
    async with FakePerplexity() as web, plain_http(web.url) as http:
        web.answer(lambda question, found, marker: f"{question} {marker(found[0])}", results=[only])
        whole = (await http.post("/v1/agent", json=AGENT)).json()
    assert text_of(whole) == "Is glucose higher? [3]"


# Time, keys, scripts and connections


async def test_a_late_answer_is_late(caller: Caller) -> None:
    caller.server.then(Fault.DELAY, seconds=0.15)
    began = time.monotonic()
    assert (await caller.call()).status_code == 200
    assert time.monotonic() - began >= 0.15


async def test_slow_tokens_keep_their_distance_and_the_first_is_timed(caller: Caller) -> None:
    caller.server.then(Fault.SLOW_TOKENS, seconds=0.02)
    began = time.monotonic()
    await caller.call(stream=True)
    ended = time.monotonic()
    assert caller.server.first_token_sent_at is not None
    assert began < caller.server.first_token_sent_at
    assert ended - caller.server.first_token_sent_at >= (WORDS - 1) * 0.02


async def test_a_key_is_asked_for(caller: Caller) -> None:
    caller.server.key = "sk-right"
    response = await caller.call()
    assert response.status_code == 401
    assert response.json()["error"]["message"]


async def test_a_wrong_key_is_an_authentication_error_to_the_sdk() -> None:
    async with (
        FakeOpenAI(key="sk-right") as fake,
        openai.AsyncOpenAI(base_url=fake.url, api_key="sk-wrong", http_client=sdk_http()) as sdk,
    ):
        with pytest.raises(openai.AuthenticationError) as caught:
            await sdk.chat.completions.create(**CHAT)
        assert caught.value.code == "invalid_api_key"
        assert await sdk.with_options(api_key="sk-right").chat.completions.create(**CHAT)


async def test_planned_faults_come_one_after_the_other_and_then_the_constant_one(caller: Caller) -> None:
    caller.server.always(Fault.UNAVAILABLE)
    caller.server.then(Fault.SERVER_ERROR, Fault.NONE)
    assert [(await caller.call()).status_code for _ in range(4)] == [500, 200, 503, 503]
    caller.server.always(Fault.NONE)
    assert (await caller.call()).status_code == 200
    assert caller.server.script_left == 0


async def test_a_fault_can_be_meant_for_one_kind_of_call(server: FakeOpenAI, client: openai.AsyncOpenAI) -> None:
    server.then(Fault.SERVER_ERROR, on="/embeddings")
    assert await client.chat.completions.create(**CHAT)
    with pytest.raises(openai.InternalServerError):
        await client.embeddings.create(model="text-embedding-3-small", input="a")


async def test_what_was_sent_is_recorded(server: FakeOpenAI, client: openai.AsyncOpenAI) -> None:
    await client.chat.completions.create(**CHAT)
    (request,) = server.requests
    assert (request.method, request.path, request.bearer) == ("POST", "/v1/chat/completions", "sk-test")
    assert request.json == CHAT


async def test_one_connection_serves_call_after_call_and_is_gone_with_its_client(caller: Caller) -> None:
    for stream in (False, True, False):
        await caller.call(stream=stream)
    assert caller.server.connections == 1


async def test_a_client_that_leaves_is_noticed_in_the_middle(caller: Caller) -> None:
    caller.server.token_seconds = 0.01
    await caller.received(until="rose")
    await caller.server.until(lambda: caller.server.abandoned == 1)
    assert 2 <= caller.server.tokens_out < WORDS


async def test_the_end_of_a_server_ends_all_that_hangs() -> None:
    async with FakeOpenAI() as fake, plain_http(fake.url) as http:
        fake.always(Fault.HANG_AFTER_TOKEN)
        calls = [asyncio.create_task(http.post("/chat/completions", json=CHAT | {"stream": True})) for _ in range(5)]
        await fake.until(lambda: fake.connections == 5 and len(fake.charges) == 5)
        await fake.__aexit__(None, None, None)
        assert fake.connections == 0
        ends = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(end, httpx.TransportError) for end in ends)


async def test_a_mistake_of_the_fake_itself_is_not_taken_for_a_fault() -> None:
    fake = FakeOpenAI()
    await fake.__aenter__()
    fake.answer(lambda body: str(body["no such thing"]))
    async with plain_http(fake.url) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.post("/chat/completions", json=CHAT)
    with pytest.raises(ExceptionGroup) as caught:
        await fake.__aexit__(None, None, None)
    assert caught.group_contains(KeyError)


async def test_something_that_is_not_http_is_hung_up_on(server: FakeOpenAI) -> None:
    port = int(server.url.split(":")[2].split("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"HELLO\r\n\r\n")
    assert await reader.read() == b""
    writer.close()


async def test_both_servers_start_from_the_command_line_and_end_at_ctrl_c() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.servers", "both", "--port", "0", "--fault", "500", "--times", "1"),
        cwd=PROJECT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    lines = [(await process.stdout.readline()).decode() for _ in range(5)]
    given = dict(line.removeprefix("export ").strip().split("=") for line in lines[1:])
    assert set(given) == {"OPENAI_BASE_URL", "OPENAI_API_KEY", "PERPLEXITY_BASE_URL", "PERPLEXITY_API_KEY"}
    async with plain_http() as http:
        codes = [(await http.post(f"{given['OPENAI_BASE_URL']}/chat/completions", json=CHAT)).status_code for _ in "12"]
    assert codes == [500, 200]
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 0


def dot(first: list[float], second: list[float]) -> float:
    return sum(a * b for a, b in zip(first, second, strict=True))
