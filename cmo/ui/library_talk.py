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
from cmo.ui import render
from cmo.ui.starters import questions
from cmo.values import LibraryState

log = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 1.0
"""How often the state of a run under way is looked at for each chat that shows it."""

INDEX = "index_papers"
CANCEL = "cancel_indexing"

_background: set[asyncio.Task[None]] = set()


async def greet(library: LibraryView, papers_dir: Path) -> None:
    """Say how things stand when there is something to say: no papers, or the first index being built.

    Otherwise the welcome page with its questions stays.
    """
    state = await library.state()
    if state.documents and render.unfinished(state) is None:
        return
    if state.indexing is not None:
        in_background(_follow(library, papers_dir))
    else:
        await say_empty(state, papers_dir)


async def say_empty(state: LibraryState, papers_dir: Path) -> None:
    """What to do with an empty library, with the button that does it."""
    await _message(render.empty_library(state, papers_dir), _index_button()).send()


async def show(library: LibraryView, papers_dir: Path) -> None:
    """What is in the library, and the button that reads its folder again."""
    state = await library.state()
    if state.indexing is not None:
        in_background(_follow(library, papers_dir))
    if state.documents:
        buttons = [_index_button()] if state.indexing is None else []
        await _message(render.library(state, papers_dir), *buttons).send()
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
    message = cl.Message(content=render.waiting(state))
    await message.send()
    while not state.documents and state.indexing is not None:
        await asyncio.sleep(LOOK_EVERY_SECONDS)
        state = await library.state()
        await _update(message, render.waiting(state))
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
    session_id = cl.context.session.id
    bar = cl.CustomElement(name="IndexProgress", props={"percent": 0, "cancel": CANCEL}, display="inline")
    message = _message("", bar)
    state = await library.state()
    _show_on(message, bar, state)
    await message.send()
    while state.indexing is not None and WebsocketSession.get_by_id(session_id) is not None:
        await asyncio.sleep(LOOK_EVERY_SECONDS)
        state = await library.state()
        if _show_on(message, bar, state):
            await message.update()
    await _finish(message, state, papers_dir)


def _show_on(message: cl.Message, bar: cl.CustomElement, state: LibraryState) -> bool:
    """Put `state` into the message; whether that changed anything."""
    before = (message.content, dict(bar.props))
    message.content = render.progress(state)
    if state.indexing is not None:
        bar.props["percent"] = render.progress_percent(state.indexing)
    return before != (message.content, bar.props)


async def _finish(message: cl.Message, state: LibraryState, papers_dir: Path) -> None:
    for element in message.elements:
        await element.remove()  # type: ignore[no-untyped-call]
    if state.documents:
        message.content = render.ready(state)
        message.elements = [_suggestions(state)]  # type: ignore[list-item]  # elements are typed by a TypeVar
    else:
        message.content = render.empty_library(state, papers_dir)
        message.elements = [_index_button()]  # type: ignore[list-item]
    await message.update()


def _suggestions(state: LibraryState) -> cl.CustomElement:
    return cl.CustomElement(
        name="SuggestedQuestions", props={"questions": list(questions(state.documents))}, display="inline"
    )


async def _update(message: cl.Message, content: str) -> None:
    if message.content != content:
        message.content = content
        await message.update()


def _message(content: str, *elements: cl.CustomElement) -> cl.Message:
    return cl.Message(content=content, elements=list(elements))


def _index_button() -> cl.CustomElement:
    action = {"name": INDEX, "label": "Index papers", "hint": "Read the papers folder: only what is new or changed"}
    return cl.CustomElement(name="LibraryActions", props={"actions": [action]}, display="inline")
