"""Calls to the fakes over plain HTTP, and what can be read in their answers. For the tests of the fakes themselves."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai

from tests.servers.fake import FakeServer

TEXT = "Glucose rose to 7 µmol/L – twice [1]. Lactate fell [2]."
WORDS = 11
HALF = "Glucose rose to 7 µmol/L"
CHAT: dict[str, Any] = {"model": "gpt-6-luna", "messages": [{"role": "user", "content": "Is glucose higher?"}]}
AGENT: dict[str, Any] = {
    "model": "perplexity/sonar",
    "input": "Is glucose higher?",
    "tools": [{"type": "web_search"}],
    "tool_choice": {"type": "web_search"},
}
SONAR: dict[str, Any] = {"model": "sonar", "messages": [{"role": "user", "content": "Is glucose higher?"}]}
PATHS = {"openai": "/chat/completions", "agent": "/v1/agent", "sonar": "/chat/completions"}
BODIES = {"openai": CHAT, "agent": AGENT, "sonar": SONAR}
WIRES = list(BODIES)


def plain_http(base_url: str = "") -> httpx.AsyncClient:
    """A client that loads no certificates, which takes longer than a test."""
    return httpx.AsyncClient(base_url=base_url, timeout=5, verify=False)


def sdk_http() -> openai.DefaultAsyncHttpxClient:
    """The same for the SDK."""
    return openai.DefaultAsyncHttpxClient(timeout=5, verify=False)


class Caller:
    """One provider's fake, and a client that calls it over plain HTTP."""

    def __init__(self, wire: str, server: FakeServer, http: httpx.AsyncClient) -> None:
        self.server = server
        self._http = http
        self._path = PATHS[wire]
        self._body = BODIES[wire]

    async def call(self, *, stream: bool = False) -> httpx.Response:
        return await self._http.post(self._path, json=self._body | {"stream": stream})

    async def received(self, *, until: str) -> str:
        """What has come of a stream when this text has."""
        got = b""
        async with self._http.stream("POST", self._path, json=self._body | {"stream": True}) as response:
            async for part in response.aiter_raw():
                got += part
                if until in got.decode(errors="replace"):
                    break
        return got.decode()


def events(body: str) -> list[dict[str, Any]]:
    """The JSON lines of a stream."""
    data = [line.removeprefix("data: ") for line in body.split("\n") if line.startswith("data: {")]
    return [json.loads(line) for line in data]


def text_of(whole: dict[str, Any]) -> str:
    """The text of an answer in one body, of whatever wire format."""
    if "choices" in whole:
        return str(whole["choices"][0]["message"]["content"])
    return "".join(part["text"] for item in whole["output"] if item["type"] == "message" for part in item["content"])


def streamed_text(chunks: list[dict[str, Any]]) -> str:
    deltas = [chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk.get("choices")]
    return "".join(deltas + [chunk["delta"] for chunk in chunks if chunk.get("type") == "response.output_text.delta"])
