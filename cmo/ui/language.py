"""The language that the person in a chat is spoken to in."""

from __future__ import annotations

import chainlit as cl
from chainlit.session import WebsocketSession

_KEY = "language"


def chat_language() -> str:
    """The language (ISO 639-1) of the newest question, of the browser as long as there is none."""
    session = cl.context.session
    browser = session.language if isinstance(session, WebsocketSession) else "en"
    return cl.user_session.get(_KEY) or browser.partition("-")[0].lower()


def speak(language: str) -> None:
    """Speak this language from here on."""
    cl.user_session.set(_KEY, language)
