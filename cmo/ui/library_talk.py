"""What the chat says about the library: how far indexing is, what is in it, what could not be read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from pathlib import Path

import chainlit as cl
from chainlit.session import WebsocketSession

from cmo.errors import OracleError
from cmo.interfaces import LibraryView
from cmo.logs import fields
from cmo.phrases import Phrase
from cmo.translation.phrases import in_language
from cmo.ui import papers
from cmo.ui.labels import labelled
from cmo.ui.language import chat_language
from cmo.ui.starters import questions
from cmo.values import LibraryState

log = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 1.0
"""How often the state of a run under way is looked at for each chat that shows it."""

INDEX = "index_papers"
CANCEL = "cancel_indexing"

_PROGRESS_LABELS = {
    "read": Phrase("Papers read"),
    "stop": Phrase("Stop indexing"),
    "stays": Phrase("What is finished stays"),
}
_INDEX_LABELS = {
    "label": papers.INDEX_PAPERS,
    "hint": Phrase("Read the papers folder: only what is new or changed"),
}

_background: set[asyncio.Task[None]] = set()


async def greet(library: LibraryView, papers_dir: Path) -> None:
    """Say how things stand when there is something to say: no papers, or the first index being built.

    Otherwise the welcome page with its questions stays.
    """
    state = await library.state()
    if state.documents and papers.unfinished(state) is None:
        return
    if state.indexing is not None:
        in_background(_follow(library, papers_dir))
    else:
        await say_empty(state, papers_dir)


async def say_empty(state: LibraryState, papers_dir: Path) -> None:
    """What to do with an empty library, with the button that does it."""
    language = chat_language()
    await _message(papers.empty_library(state, papers_dir, language), _index_button(language)).send()


async def show(library: LibraryView, papers_dir: Path) -> None:
    """What is in the library, and the button that reads its folder again."""
    state, language = await library.state(), chat_language()
    if state.indexing is not None:
        in_background(_follow(library, papers_dir))
    if state.documents:
        buttons = [_index_button(language)] if state.indexing is None else []
        await _message(papers.library(state, papers_dir, language), *buttons).send()
    elif state.indexing is None:
        await say_empty(state, papers_dir)


async def start(library: LibraryView, papers_dir: Path) -> None:
    """Start indexing and show how it goes."""
    await library.start_indexing(paid=True)
    in_background(_follow(library, papers_dir))


async def cancel(library: LibraryView) -> None:
    """Stop indexing; what is finished stays."""
    await library.cancel_indexing()


async def wait_for_papers(library: LibraryView, papers_dir: Path) -> LibraryState:
    """The library's state once something can be asked, or once there is nothing more to wait for."""
    state = await library.state()
    if state.documents or state.indexing is None:
        return state
    message = cl.Message(content=papers.waiting(state, chat_language()))
    await message.send()
    while not state.documents and state.indexing is not None:
        await asyncio.sleep(LOOK_EVERY_SECONDS)
        state = await library.state()
        await _update(message, papers.waiting(state, chat_language()))
    await message.remove()
    return state


def in_background(work: Awaitable[None]) -> None:
    """Run `work` beside the chat; its failure is logged and leaves the chat alone."""
    task = asyncio.ensure_future(_logged(work))
    _background.add(task)
    task.add_done_callback(_background.discard)


async def _logged(work: Awaitable[None]) -> None:
    try:
        await work
    except OracleError as error:
        log.warning("library_talk_failed", extra=fields(reason=str(error)))
    except Exception:  # a background task has nobody above it
        log.exception("library_talk_failed")


async def _follow(library: LibraryView, papers_dir: Path) -> None:
    """One message that is kept up to date until the run is over or the chat is closed."""
    session_id, language = cl.context.session.id, chat_language()
    props = {"percent": 0, "cancel": CANCEL, "labels": labelled(_PROGRESS_LABELS, language)}
    bar = cl.CustomElement(name="IndexProgress", props=props, display="inline")
    message = _message("", bar)
    state = await library.state()
    _show_on(message, bar, state, language)
    await message.send()
    while state.indexing is not None and WebsocketSession.get_by_id(session_id) is not None:
        await asyncio.sleep(LOOK_EVERY_SECONDS)
        state = await library.state()
        if _show_on(message, bar, state, language):
            await message.update()
    await _finish(message, state, papers_dir, language)


def _show_on(message: cl.Message, bar: cl.CustomElement, state: LibraryState, language: str) -> bool:
    """Put `state` into the message; whether that changed anything."""
    before = (message.content, dict(bar.props))
    message.content = papers.progress(state, language)
    if state.indexing is not None:
        bar.props["percent"] = papers.progress_percent(state.indexing)
    return before != (message.content, bar.props)


async def _finish(message: cl.Message, state: LibraryState, papers_dir: Path, language: str) -> None:
    for element in message.elements:
        await element.remove()  # type: ignore[no-untyped-call]
    if state.documents:
        message.content = papers.ready(state, language)
        message.elements = [_suggestions(state, language)]  # type: ignore[list-item]  # elements are typed by a TypeVar
    else:
        message.content = papers.empty_library(state, papers_dir, language)
        message.elements = [_index_button(language)]  # type: ignore[list-item]
    await message.update()


def _suggestions(state: LibraryState, language: str) -> cl.CustomElement:
    found = [in_language(question, language) for question in questions(state.documents)]
    return cl.CustomElement(name="SuggestedQuestions", props={"questions": found}, display="inline")


async def _update(message: cl.Message, content: str) -> None:
    if message.content != content:
        message.content = content
        await message.update()


def _message(content: str, *elements: cl.CustomElement) -> cl.Message:
    return cl.Message(content=content, elements=list(elements))


def _index_button(language: str) -> cl.CustomElement:
    action = {"name": INDEX, **labelled(_INDEX_LABELS, language)}
    return cl.CustomElement(name="LibraryActions", props={"actions": [action]}, display="inline")
