"""The fakes, ready to be called."""

from __future__ import annotations

from collections.abc import AsyncIterator

import openai
import pytest

from tests.servers import FakeOpenAI, FakePerplexity
from tests.servers.calls import TEXT, WIRES, Caller, plain_http, sdk_http


@pytest.fixture
async def server() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI() as fake:
        fake.answer(TEXT)
        yield fake


@pytest.fixture
async def client(server: FakeOpenAI) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=server.url, api_key="sk-test", max_retries=0, timeout=5, http_client=sdk_http()
    ) as sdk:
        yield sdk


@pytest.fixture
async def web() -> AsyncIterator[FakePerplexity]:
    async with FakePerplexity() as fake:
        fake.answer(TEXT)
        yield fake


@pytest.fixture(params=WIRES)
async def caller(request: pytest.FixtureRequest) -> AsyncIterator[Caller]:
    fake: FakeOpenAI | FakePerplexity = FakeOpenAI() if request.param == "openai" else FakePerplexity()
    fake.answer(TEXT)
    async with fake, plain_http(fake.url) as http:
        yield Caller(request.param, fake, http)
