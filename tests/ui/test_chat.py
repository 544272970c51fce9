"""The handlers without a server: Chainlit's own session and context, its events recorded instead of sent."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cmo.settings import Settings, load_settings
from cmo.translation.phrases import in_language
from cmo.values import (
    Answer,
    Citation,
    Event,
    Feedback,
    Finished,
    LibraryState,
    NamedCompound,
    Question,
    Stage,
    StageEnded,
    StageStarted,
    TextPiece,
    TextWithdrawn,
    Thumb,
)

PROJECT = Path(__file__).resolve().parents[2]

CITATION = Citation(
    number=1, document="bcaa.pdf", title="Amino acids", page=3, quote="Leucine rises.", url="/papers/doc-1.pdf#page=3"
)

QUESTION = Question(
    text="Does leucine rise?", user_id="guest-1", thread_id="t", asked_at=datetime(2026, 1, 2, tzinfo=UTC)
)

ANSWER = Answer(
    text="Leucine rises. [1]",
    answered=True,
    language="en",
    engine="lightrag",
    model="extractive",
    reason="only_engine",
    citations=(CITATION,),
    cost_usd=0.0,
    seconds=0.84,
)


LEUCINE = NamedCompound(name="leucine", written=("Leucine",), accessions=())


@pytest.fixture(scope="module", autouse=True)
def chainlit_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Chainlit writes into its folder when it is imported; this one is thrown away."""
    folder = tmp_path_factory.mktemp("chainlit")
    shutil.copytree(PROJECT / "public", folder / "public")
    before = os.environ.get("CHAINLIT_APP_ROOT")
    os.environ["CHAINLIT_APP_ROOT"] = str(folder)
    yield
    if before is None:
        del os.environ["CHAINLIT_APP_ROOT"]
    else:
        os.environ["CHAINLIT_APP_ROOT"] = before


class Recorder:
    """Takes what would go to the browser."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.streamed: list[str] = []
        self._more = asyncio.Event()

    async def __call__(self, event: str, data: Any) -> None:
        if event in {"new_message", "update_message"}:
            self.shown.append(data["output"])
        elif event == "stream_start":
            self.streamed.append(data["output"])
        elif event == "stream_token":
            assert data["isSequence"]
            self.streamed.append(data["token"])
        self._more.set()

    async def has_streamed(self, text: str) -> None:
        """Wait until this is all of the answer that is shown."""
        async with asyncio.timeout(5):
            while self.streamed[-1:] != [text]:
                self._more.clear()
                await self._more.wait()


def open_browser() -> Recorder:
    """A session of the running test; the context it makes is the calling task's."""
    from chainlit.context import init_ws_context
    from chainlit.session import WebsocketSession
    from chainlit.user_session import user_sessions

    user_sessions.clear()
    recorder = Recorder()

    async def answer(*args: Any) -> None:
        return None

    session = WebsocketSession(
        id="s", socket_id="t", emit=recorder, emit_call=answer, user_env={}, client_type="webapp", environ={}
    )
    init_ws_context(session)
    return recorder


async def test_the_unexpected_shows_an_incident_and_nothing_else(caplog: Any) -> None:
    browser = open_browser()
    from cmo.ui.chat import guarded

    async def handler() -> None:
        raise ValueError("password of the database")

    await guarded(handler)()
    assert "incident" in browser.shown[-1]
    assert "password" not in "".join(browser.shown)
    assert "password" in caplog.text


async def test_our_own_errors_are_shown() -> None:
    browser = open_browser()
    from cmo.errors import WriterLocked
    from cmo.ui.chat import guarded

    async def handler() -> None:
        raise WriterLocked("Process 7 is indexing.")

    await guarded(handler)()
    assert browser.shown == ["Process 7 is indexing."]


async def test_stop_is_no_error() -> None:
    browser = open_browser()
    from cmo.ui.chat import guarded

    async def handler() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await guarded(handler)()
    assert browser.shown == []


async def test_work_for_a_closed_tab_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    open_browser()
    from chainlit.session import WebsocketSession

    from cmo.ui import chat

    monkeypatch.setattr(chat, "ABANDONED_SECONDS", 0.0)
    session = WebsocketSession.get_by_id("s")
    assert session is not None
    session.current_task = asyncio.create_task(asyncio.Event().wait())
    await chat._give_up(session, "t")
    with pytest.raises(asyncio.CancelledError):
        await session.current_task


async def test_work_goes_on_when_the_tab_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    open_browser()
    from chainlit.session import WebsocketSession

    from cmo.ui import chat

    monkeypatch.setattr(chat, "ABANDONED_SECONDS", 0.0)
    session = WebsocketSession.get_by_id("s")
    assert session is not None
    session.current_task = asyncio.create_task(asyncio.sleep(0, "done"))
    session.restore("another socket")
    await chat._give_up(session, "t")
    assert await session.current_task == "done"


async def test_each_piece_is_shown_in_the_light_of_those_before_it() -> None:
    browser = open_browser()
    import chainlit as cl

    from cmo.ui.chat import Typing

    typing = Typing(cl.Message(content=""))
    await typing.write("See http:")
    await browser.has_streamed("See http:")
    await typing.write("//evil.example and **bo")
    await typing.close()
    await typing.write("ld**")
    await typing.close()
    assert browser.streamed == [
        "See http:",
        "See http:\u2060//evil.example and **bo",
        "See http:\u2060//evil.example and **bold**",
    ]


async def test_withdrawn_text_leaves_the_screen_and_its_reason_stays_in_the_trail() -> None:
    browser = open_browser()
    from cmo.ui.chat import _show

    async def journey() -> AsyncIterator[Event]:
        yield StageStarted(stage=Stage.ASK)
        yield TextPiece(text="Half an ans")
        await browser.has_streamed("Half an ans")
        yield TextWithdrawn(reason="The model broke off.")
        await browser.has_streamed("")
        yield TextPiece(text="Leucine rises. [1]")
        yield Finished(answer=ANSWER)

    await _show(journey(), question=QUESTION, notices=["The index is unfinished."])
    assert browser.shown[-1].startswith("Leucine rises.")
    assert "> The index is unfinished." in browser.shown[-1]
    assert "Half" not in browser.shown[-1]
    assert "The model broke off." in browser.shown


async def test_steps_and_errors_are_told_in_the_language_of_the_question() -> None:
    browser = open_browser()
    from cmo.errors import EngineUnavailable
    from cmo.ui import render
    from cmo.ui.chat import _show, guarded

    async def journey() -> AsyncIterator[Event]:
        yield StageStarted(stage=Stage.ASK, language="de")
        yield StageEnded(stage=Stage.ASK, summary=render.STOPPED, seconds=0.1)
        raise EngineUnavailable(render.STOPPED)

    await guarded(_show)(journey(), question=QUESTION, notices=[])
    in_german = in_language(render.STOPPED, "de")
    assert in_german != "Stopped."
    assert browser.shown.count(in_german) == 2
    assert "Stopped." not in browser.shown


def test_a_choice_is_offered_where_there_is_one() -> None:
    from cmo.ui.chat import _commands

    assert [command["id"] for command in _commands(("lightrag",), "en")] == ["Library"]
    assert [command["id"] for command in _commands(("lightrag", "perplexity"), "en")] == ["Papers", "Web", "Library"]


@pytest.mark.parametrize(("command", "choice"), [("Papers", "lightrag"), ("Web", "perplexity"), (None, None)])
async def test_a_question_goes_where_the_person_chose(command: str | None, choice: str | None, tmp_path: Path) -> None:
    open_browser()
    import chainlit as cl

    from cmo.ui.chat import Chat
    from cmo.ui.identity import Guests
    from cmo.ui.services import Services

    asked: list[Question] = []

    class Pipeline:
        async def ask(self, question: Question) -> AsyncIterator[Event]:
            asked.append(question)
            yield Finished(answer=ANSWER)

    class Library:
        async def state(self) -> LibraryState:
            return LibraryState(documents=(), passages=0, generation="")

    @asynccontextmanager
    async def opened(settings: Settings) -> AsyncIterator[Any]:
        yield SimpleNamespace(
            pipeline=Pipeline(), library=Library(), engine_names=("lightrag", "perplexity"), get_ready=ready
        )

    async def ready() -> None:
        return None

    folders = {"CMO_PAPERS_DIR": str(tmp_path), "CMO_STORAGE_DIR": str(tmp_path)}
    services = Services(load_settings(folders, env_file=None), opened)
    await Chat(services, Guests(b"secret"), tmp_path).answer(cl.Message(content="What?", command=command))
    await services.close()
    assert [question.choice for question in asked] == [choice]


async def test_only_answers_of_this_chat_can_be_rated(tmp_path: Path) -> None:
    browser = open_browser()
    import chainlit as cl

    from cmo.ui.chat import _show, guarded

    async def journey() -> AsyncIterator[Event]:
        yield Finished(answer=ANSWER)

    given: list[Feedback] = []
    chat = rated_by(given, tmp_path)
    await _show(journey(), question=QUESTION, notices=[])
    message = cl.chat_context.get()[-1]

    assert await chat.rate(rating(answer=message.id, thumb="up", comment="Good."))
    assert await guarded(chat.rate)(rating(answer=QUESTION.id, thumb="up")) is None

    assert [(each.question_id, each.thumb, each.comment) for each in given] == [(QUESTION.id, Thumb.UP, "Good.")]
    assert browser.shown[-1] == "This answer is no longer there to be rated."


def rated_by(given: list[Feedback], folder: Path) -> Any:
    from cmo.ui.chat import Chat
    from cmo.ui.identity import Guests
    from cmo.ui.services import Services

    class Book:
        async def give(self, feedback: Feedback) -> None:
            given.append(feedback)

    @asynccontextmanager
    async def opened(settings: Settings) -> AsyncIterator[Any]:
        yield SimpleNamespace(feedback=Book(), get_ready=ready)

    async def ready() -> None:
        return None

    folders = {"CMO_PAPERS_DIR": str(folder), "CMO_STORAGE_DIR": str(folder)}
    return Chat(Services(load_settings(folders, env_file=None), opened), Guests(b"secret"), folder)


def rating(**payload: Any) -> Any:
    import chainlit as cl

    return cl.Action(name="rate_answer", payload=payload)


async def test_what_stands_under_an_answer_comes_in_order_with_the_thumbs_last() -> None:
    open_browser()
    import chainlit as cl

    from cmo.ui.chat import _show

    async def journey() -> AsyncIterator[Event]:
        yield Finished(answer=replace(ANSWER, not_assessed="It took too long.", compounds=(LEUCINE,)))

    await _show(journey(), question=QUESTION, notices=[])
    message = cl.chat_context.get()[-1]
    assert [element.name for element in message.elements] == [
        "AnswerQuality",
        "NamedCompounds",
        "CitedSources",
        "AnswerFeedback",
    ]


async def test_messages_leave_with_their_session() -> None:
    open_browser()
    import chainlit as cl
    from chainlit.chat_context import chat_contexts
    from chainlit.session import WebsocketSession

    from cmo.ui import compat

    compat.apply()
    await cl.Message(content="kept?").send()
    assert "s" in chat_contexts
    session = WebsocketSession.get_by_id("s")
    assert session is not None
    await session.delete()
    assert "s" not in chat_contexts


@pytest.mark.parametrize(
    ("language", "placeholder"),
    [("en-US", "Ask a question"), ("de-DE", "Stellen Sie eine Frage"), ("ja", "Ask a question")],
)
def test_the_screen_speaks_our_words(language: str, placeholder: str) -> None:
    from cmo.ui.compat import with_our_words

    words = with_our_words({"chat": {"input": {"actions": {}}}}, language)
    assert words["chat"]["input"]["placeholder"].startswith(placeholder)
    assert "LLM" not in json.dumps(words)


def test_the_page_names_no_other_host() -> None:
    from chainlit import server

    from cmo.ui import compat

    compat.apply()
    html = server.get_html_template("")
    assert "googleapis" not in html
    assert "jsdelivr" not in html


def test_wrong_settings_end_the_start_with_one_sentence(tmp_path: Path) -> None:
    environ = dict(os.environ) | {"CHAINLIT_APP_ROOT": str(tmp_path), "CMO_TOP_K": "many"}
    command = [sys.executable, "-m", "chainlit", "run", str(PROJECT / "app.py"), "-h", "--port", "1"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "CMO_TOP_K" in done.stderr
    assert "Traceback" not in done.stderr
