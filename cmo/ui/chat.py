"""The chat's handlers: a question comes in, its journey is shown, and nothing that goes wrong stays silent.

Everything shown is made in render.py, everything about the library in library_talk.py. Question texts are never logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import chainlit as cl
from chainlit.config import config
from chainlit.server import app as chainlit_app
from chainlit.session import WebsocketSession
from chainlit.types import CommandDict
from chainlit.utils import utc_now
from fastapi import FastAPI

from cmo import web
from cmo.errors import OracleError, SettingsError
from cmo.exports import Exchange
from cmo.logs import configure_logging, fields
from cmo.phrases import Phrase
from cmo.pipeline import refuse_too_long
from cmo.settings import Settings
from cmo.translation.phrases import in_language
from cmo.ui import compat, evidence, exporting, feedback, library_talk, papers, render, starters
from cmo.ui.compounds import compounds_props
from cmo.ui.identity import Guests, kept_secret
from cmo.ui.language import chat_language, speak
from cmo.ui.perimeter import Perimeter
from cmo.ui.services import Application, OpenApplication, Services
from cmo.values import (
    Answer,
    Event,
    Finished,
    Progress,
    Question,
    Stage,
    StageEnded,
    StageStarted,
    TextPiece,
    TextWithdrawn,
)

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.06
"""Pieces of an answer are gathered this long: the browser renders the whole answer anew for each one it gets."""

ABANDONED_SECONDS = 30.0
"""How long the work of a closed tab goes on, in case it was only a lost connection."""


LIBRARY = "Library"
"""The command that shows the library."""

CHOICES = {"Papers": "lightrag", "Web": "perplexity"}
"""The commands that choose an engine, and the engine each stands for. None of them: the choice is left open."""

PAPERS_ALONE = ("lightrag",)
"""The engines of an application that knows nothing but the papers: without any there is nobody to ask."""

_QUESTIONS = "questions"
_EXCHANGES = "exchanges"
_ASKED = "asked"
"""The id of the question that each of a chat's answers answers, by the answer's message."""

P = ParamSpec("P")
T = TypeVar("T")


def serve(load_settings: Callable[[], Settings], open_application: OpenApplication) -> None:
    """Make Chainlit's server this application's: handlers, routes, perimeter, patches. Called by app.py.

    Chainlit runs app.py again when it reloads; what is built once is kept on Chainlit's own application. Wrong
    settings end the process with their own message.
    """
    if not hasattr(chainlit_app.state, "chat"):
        try:
            settings = load_settings()
        except SettingsError as error:
            raise SystemExit(str(error)) from error
        configure_logging(settings)
        compat.apply()
        services = Services(settings, open_application)
        guests = Guests(_secret(settings))
        chainlit_app.state.chat = Chat(services, guests, settings.papers_dir)
        _put_first(chainlit_app, services, settings.papers_dir)
        chainlit_app.add_middleware(Perimeter, guests=guests)
    chainlit_app.state.chat.register()


def guarded(handler: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T | None]]:
    """The handler, whose failures are told to the person: in our words, or as an incident that can be looked up.

    What fails has None for its result.

    Chainlit shows nothing at all when handling a message fails, and foreign error messages when others do.
    """

    @functools.wraps(handler)
    async def run(*args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return await handler(*args, **kwargs)
        except OracleError as error:
            log.warning("request_refused", extra=fields(error=type(error).__name__, reason=str(error)))
            await cl.ErrorMessage(content=in_language(error.words, chat_language())).send()
        except Exception:
            incident = secrets.token_hex(4)
            log.exception("unexpected_error", extra=fields(incident=incident))
            await cl.ErrorMessage(content=in_language(_apology(incident), chat_language())).send()
        return None

    return run


class Chat:
    """The handlers of all chats of this process."""

    def __init__(self, services: Services, guests: Guests, papers_dir: Path) -> None:
        self._services = services
        self._guests = guests
        self._papers_dir = papers_dir
        self._grace: set[asyncio.Task[None]] = set()

    def register(self) -> None:
        """Hand the handlers to Chainlit."""
        cl.on_app_startup(self.start)
        cl.on_app_shutdown(self._services.close)
        cl.set_starters(self.starters)
        cl.on_chat_start(guarded(self.greet))
        cl.on_message(guarded(self.answer))
        cl.on_chat_end(self.give_up_later)
        cl.action_callback(library_talk.INDEX)(guarded(self.index))
        cl.action_callback(library_talk.CANCEL)(guarded(self.cancel_indexing))
        cl.action_callback(exporting.EXPORT)(guarded(self.export))
        cl.action_callback(feedback.RATE)(guarded(self.rate))

    async def start(self) -> None:
        """Open the application and bring the index up to date, in the background.

        What fails here is told to whoever asks next; the server starts all the same, to be able to tell.
        """
        log.info("chat_ready", extra=fields(url=f"http://{config.run.host}:{config.run.port}"))
        try:
            await (await self._services.library()).start_indexing()
        except OracleError as error:
            log.error("library_not_ready", extra=fields(reason=str(error)))
        except Exception:
            log.exception("library_not_ready")

    async def starters(self, user: object = None, language: str | None = None) -> list[cl.Starter]:
        """The questions of the welcome page, and the way to the library."""
        try:
            state = await (await self._services.library()).state()
        except OracleError as error:
            log.warning("no_starters", extra=fields(reason=str(error)))
            return []
        found = starters.questions(state.documents)
        spoken = [in_language(question, (language or "en").partition("-")[0]) for question in found]
        return [cl.Starter(label=question, message=question) for question in spoken]

    async def greet(self) -> None:
        """Begin a chat."""
        application = await self._services.get()
        await cl.context.emitter.set_commands(_commands(application.engine_names, chat_language()))
        await library_talk.greet(application.library, self._papers_dir)

    async def answer(self, message: cl.Message) -> None:
        """Answer one message."""
        application = await self._services.get()
        text = message.content.strip()
        if message.command == LIBRARY:
            await library_talk.show(application.library, self._papers_dir)
        elif not text:
            await cl.Message(content=in_language(Phrase("Please type a question."), chat_language())).send()
        else:
            refuse_too_long(text)
            await self._ask(application, text, choice=CHOICES.get(message.command or ""))

    async def index(self, action: cl.Action) -> None:
        """Start indexing, from its button."""
        await library_talk.start(await self._services.library(), self._papers_dir)

    async def cancel_indexing(self, action: cl.Action) -> None:
        """Stop indexing, from its button."""
        await library_talk.cancel(await self._services.library())

    async def export(self, action: cl.Action) -> exporting.ExportedFile:
        """An answer as a file, from its button."""
        return exporting.exported(cl.user_session.get(_EXCHANGES) or {}, action.payload)

    async def rate(self, action: cl.Action) -> bool:
        """Keep what a person says of an answer, from its buttons."""
        asked = cl.user_session.get(_ASKED) or {}
        said = feedback.feedback(asked, action.payload, user_id=self._user_id(), at=datetime.now(UTC))
        await (await self._services.get()).feedback.give(said)
        return True

    async def give_up_later(self) -> None:
        """Stop the work of a tab that is closed and does not come back; Chainlit would finish it for nobody."""
        session = cl.context.session
        if isinstance(session, WebsocketSession):
            task = asyncio.create_task(_give_up(session, session.socket_id))
            self._grace.add(task)
            task.add_done_callback(self._grace.discard)

    async def _ask(self, application: Application, text: str, *, choice: str | None) -> None:
        if application.engine_names == PAPERS_ALONE:
            state = await library_talk.wait_for_papers(application.library, self._papers_dir)
            if not state.documents:
                await library_talk.say_empty(state, self._papers_dir)
                return
        else:
            state = await application.library.state()
        earlier: tuple[str, ...] = cl.user_session.get(_QUESTIONS) or ()
        cl.user_session.set(_QUESTIONS, (*earlier, text))
        question = Question(
            text=text,
            user_id=self._user_id(),
            thread_id=cl.context.session.thread_id,
            asked_at=datetime.now(UTC),
            history=earlier,
            choice=choice,
        )
        notice = papers.unfinished(state)
        await _show(application.pipeline.ask(question), question=question, notices=[notice] if notice else [])

    def _user_id(self) -> str:
        """The guest of this chat; one for this page only when the browser keeps no cookies."""
        session = cl.context.session
        known = self._guests.user_id(session.environ.get("HTTP_COOKIE", ""))
        return known or f"guest-{session.id.replace('-', '')}"


class Trail:
    """The collapsed step above an answer: it tells the stage under way, and holds what came out of each.

    It is told in the person's language, which the first stage names.
    """

    def __init__(self) -> None:
        run = cl.context.current_step
        self._root = cl.Step(name="", type="tool", parent_id=run.id if run else None, show_input=False, icon="search")
        self._root.start = utc_now()
        self._stages: dict[Stage, cl.Step] = {}
        self._language = "en"

    async def begin(self, event: StageStarted) -> None:
        """Show that a stage has begun."""
        self._language = event.language
        step = cl.Step(
            name=render.stage_line(event.stage, event.language),
            type="tool",
            parent_id=self._root.id,
            show_input=False,
            default_open=True,
        )
        step.start = utc_now()
        self._stages[event.stage] = step
        self._root.name = step.name
        await (self._root.update() if len(self._stages) > 1 else self._root.send())
        await step.send()

    async def end(self, event: StageEnded) -> None:
        """Show what came out of a stage."""
        step = self._stages[event.stage]
        step.end = utc_now()
        await self._tell(step, event.summary)

    async def tell(self, words: str) -> None:
        """Show what happens within the stage under way."""
        await self._tell(next(reversed(self._stages.values())), words)

    async def close(self, words: str) -> None:
        """Say how the journey ended."""
        self._root.name = in_language(words, self._language)
        self._root.end = utc_now()
        if self._stages:
            await self._root.update()

    async def _tell(self, step: cl.Step, words: str) -> None:
        step.output = "\n\n".join(filter(None, [step.output, render.said(words, self._language)]))
        await step.update()


class Typing:
    """Streams text into a message, gathered into pieces FLUSH_SECONDS apart.

    Each time all of the text so far is sent: what a piece means in Markdown depends on those before it.
    """

    def __init__(self, message: cl.Message) -> None:
        self._message = message
        self._text = ""
        self._shown = ""
        self._flush: asyncio.Task[None] | None = None

    async def write(self, text: str) -> None:
        """Show `text` soon."""
        self._text += text
        if self._flush is None or self._flush.done():
            self._flush = asyncio.create_task(self._keep_showing())

    async def close(self) -> None:
        """Show what is left."""
        self.discard()
        await self._show()

    async def withdraw(self) -> None:
        """Take back what has been shown."""
        self.discard()
        self._text = ""
        await self._show()

    def discard(self) -> None:
        """Show nothing more."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None

    async def _keep_showing(self) -> None:
        while self._text != self._shown:
            await self._show()
            await asyncio.sleep(FLUSH_SECONDS)

    async def _show(self) -> None:
        if self._text == self._shown:
            return
        self._shown = self._text
        await _stream(self._message, render.written(self._text))


async def _stream(message: cl.Message, content: str) -> None:
    """Let the message have this content for the time being. Chainlit's own function never takes any away."""
    message.content = content
    if message.streaming:
        await cl.context.emitter.send_token(id=message.id, token=content, is_sequence=True)
    else:
        message.streaming = True
        await cl.context.emitter.stream_start(message.to_dict())


async def _show(events: Any, *, question: Question, notices: list[str]) -> None:
    """Show a journey's events as they come, and its answer."""
    message = cl.Message(content="")
    trail = Trail()
    typing = Typing(message)
    try:
        async with contextlib.aclosing(cast(AsyncGenerator[Event, None], events)):
            async for event in events:
                match event:
                    case StageStarted(language=language):
                        speak(language)
                        await trail.begin(event)
                    case StageEnded():
                        await trail.end(event)
                    case Progress(text=text):
                        await trail.tell(text)
                    case TextPiece(text=text):
                        await typing.write(text)
                    case TextWithdrawn(reason=reason):
                        await typing.withdraw()
                        await trail.tell(reason)
                    case Finished(answer=answer):
                        await typing.close()
                        await trail.close(_ending(answer))
                        await _finish(message, question, answer, notices)
    except asyncio.CancelledError:
        typing.discard()
        await _stopped(message, trail)
        raise
    except Exception:
        await trail.close(Phrase("Failed"))
        await typing.close()
        if message.content:
            await message.send()
        raise


async def _finish(message: cl.Message, question: Question, answer: Answer, notices: list[str]) -> None:
    exchange = Exchange(question=question.text, answer=answer)
    kept = exporting.with_newest(cl.user_session.get(_EXCHANGES) or {}, message.id, exchange)
    cl.user_session.set(_EXCHANGES, kept)
    cl.user_session.set(_ASKED, {**(cl.user_session.get(_ASKED) or {}), message.id: question.id})
    message.content = render.answer(answer, notices)
    message.metadata = {"icon": "circle-help"} if not answer.answered else {}
    await message.send()
    for name, props in _elements(answer, kept, message.id):
        element = cl.CustomElement(name=name, props=dict(props), display="inline")
        message.elements.append(element)  # type: ignore[arg-type]  # elements are typed by a TypeVar
        await element.send(for_id=message.id)  # one by one: sent with the message they come in any order


def _elements(answer: Answer, kept: exporting.Kept, message_id: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What stands under an answer: the names of the page's elements, with what each gets."""
    shown = render.answer_props(answer)
    quality = evidence.evidence(answer)
    if quality is not None:
        yield "AnswerQuality", {**quality, "sources": shown["sources"]}
    if answer.compounds:
        yield "NamedCompounds", compounds_props(answer)
    yield "CitedSources", {**shown, "exports": exporting.export_props(kept, message_id)}
    yield "AnswerFeedback", feedback.feedback_props(message_id, answer.language)


async def _stopped(message: cl.Message, trail: Trail) -> None:
    await trail.close(render.STOPPED)
    stopped = f"*{render.said(render.STOPPED, chat_language())}*"
    message.content = "\n\n".join(filter(None, [message.content, stopped]))
    await message.send()


async def _give_up(session: WebsocketSession, socket_id: str) -> None:
    await asyncio.sleep(ABANDONED_SECONDS)
    came_back = WebsocketSession.get_by_id(session.id) is session and session.socket_id != socket_id
    if not came_back and session.current_task is not None and not session.current_task.done():
        log.info("abandoned_work_stopped")
        session.current_task.cancel()


def _commands(engine_names: Sequence[str], language: str) -> list[CommandDict]:
    """What the buttons beside the question do: choose an engine, where there are several, and show the library."""
    choices = [
        _command(name, in_language(about, language), icon, stays=True)
        for name, about, icon in (
            ("Papers", Phrase("Ask your papers alone"), "book-open"),
            ("Web", Phrase("Ask the web alone"), "globe"),
        )
        if len(engine_names) > 1 and CHOICES[name] in engine_names
    ]
    about = in_language(Phrase("What is in the library; index new papers"), language)
    return [*choices, _command(LIBRARY, about, "library", stays=False)]


def _command(name: str, about: str, icon: str, *, stays: bool) -> CommandDict:
    return {"id": name, "description": about, "icon": icon, "button": True, "persistent": stays, "selected": False}


def _put_first(app: FastAPI, services: Services, papers_dir: Path) -> None:
    """Our routes before Chainlit's, whose last one answers everything else with its page."""
    app.router.routes[:0] = web.routes(services.library, papers_dir)


def _secret(settings: Settings) -> bytes:
    configured = settings.chainlit_auth_secret
    return configured.get_secret_value().encode() if configured else kept_secret(settings.storage_dir / ".secret")


def _ending(answer: Answer) -> str:
    seconds = f"{answer.seconds:.1f}"
    if answer.answered:
        return Phrase("How this was answered · {seconds} s", seconds=seconds)
    return Phrase("What was searched · {seconds} s", seconds=seconds)


def _apology(incident: str) -> str:
    return Phrase(
        "Something went wrong on our side (incident `{incident}`). Please ask again; if it happens again, the log has "
        "the details under this number.",
        incident=incident,
    )
