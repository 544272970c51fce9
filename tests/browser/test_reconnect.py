"""A browser whose connection breaks while an answer is written."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import socketio

from .conftest import Server


class Socket:
    """What Chainlit's page does on its web socket, as far as it matters here."""

    def __init__(self, server: Server, session_id: str) -> None:
        self._server = server
        self._session_id = session_id
        self.client = socketio.AsyncClient(reconnection=False)
        self.texts: dict[str, str] = {}
        self.elements: list[str] = []
        self.client.on("new_message", self._message)
        self.client.on("update_message", self._message)
        self.client.on("stream_start", self._message)
        self.client.on("element", self._element)

    async def connect(self) -> None:
        auth = {"clientType": "webapp", "sessionId": self._session_id, "threadId": "", "userEnv": "{}"}
        await self.client.connect(self._server.url, socketio_path="/ws/socket.io", transports=["websocket"], auth=auth)
        await self.client.emit("connection_successful")

    async def ask(self, text: str) -> None:
        message = {
            "id": str(uuid.uuid4()),
            "threadId": "",
            "name": "User",
            "type": "user_message",
            "output": text,
            "createdAt": "2026-01-01T00:00:00Z",
            "metadata": {},
        }
        await self.client.emit("client_message", {"message": message, "fileReferences": None})

    async def has(self, text: str) -> None:
        await _until(lambda: any(text in shown for shown in self.texts.values()))

    async def _message(self, step: dict[str, Any]) -> None:
        self.texts[step["id"]] = step["output"]

    async def _element(self, element: dict[str, Any]) -> None:
        self.elements.append(element["name"])


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - another process makes it true
            await asyncio.sleep(0.01)


async def test_an_answer_finished_while_away_is_shown_on_return(serve: Callable[..., Server]) -> None:
    server = serve(CMO_FAKE="ready")
    session_id = str(uuid.uuid4())
    first = Socket(server, session_id)
    await first.connect()
    await first.ask("Be patient")
    await first.has("Half an answer")
    await first.client.disconnect()
    server.papers.with_name("go").touch()
    await _until(server.papers.with_name("finished").exists)
    second = Socket(server, session_id)
    await second.connect()
    await second.has("the study of small molecules")
    assert "CitedSources" in second.elements
    await second.client.disconnect()
