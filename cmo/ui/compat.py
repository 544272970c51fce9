"""Every change made to Chainlit itself, each with its reason. Written for Chainlit 2.12; nothing else patches it.

`apply` refuses to start on a Chainlit that lacks what is changed here, and logs a warning on another minor version.
"""

from __future__ import annotations

import logging
import re
from typing import Any

import chainlit
import chainlit.socket  # registers the handlers changed below
from chainlit import server as chainlit_server
from chainlit.chat_context import chat_context, chat_contexts
from chainlit.config import ChainlitConfig
from chainlit.context import context, init_ws_context
from chainlit.message import Message
from chainlit.session import WebsocketSession

from cmo.logs import fields
from cmo.ui.evidence import CAUTION

log = logging.getLogger(__name__)

WRITTEN_FOR = "2.12"
"""The minor version all of this was checked against, in a browser."""

REPLAYED_MESSAGES = 6
"""So many of the newest messages are sent again to a browser that was away."""

_WORDS = {
    "en": {
        "placeholder": "Ask a question about metabolomics …",
        "watermark": f"Check answers against their sources. {CAUTION}",
        "readme": "About",
    },
    "de": {
        "placeholder": "Stellen Sie eine Frage zur Metabolomik …",
        "watermark": "Prüfen Sie Antworten an ihren Quellen. Für die Forschung, nicht für Diagnose oder Behandlung.",
        "readme": "Über",
    },
    "es": {
        "placeholder": "Haga una pregunta sobre metabolómica …",
        "watermark": "Compruebe las respuestas en sus fuentes. Para investigar, no para diagnosticar ni tratar.",
        "readme": "Acerca de",
    },
    "fr": {
        "placeholder": "Posez une question sur la métabolomique …",
        "watermark": "Vérifiez les réponses dans leurs sources. Pour la recherche, ni diagnostic ni traitement.",
        "readme": "À propos",
    },
}

server: Any = chainlit_server
"""Chainlit's server, changed below in ways its types do not allow."""

_applied = False


def apply() -> None:
    """Change Chainlit, once per process; Chainlit runs app.py again when it reloads.

    Raises:
        RuntimeError: this Chainlit lacks something that is changed here.
    """
    global _applied
    if _applied:
        return
    _check_version()
    _load_nothing_from_outside()
    _follow_the_systems_theme()
    _drop_missing_translation_warnings()
    _use_our_words()
    _stop_without_words()
    _replay_after_reconnect()
    _free_messages_with_their_session()
    _applied = True


def _check_version() -> None:
    if not chainlit.__version__.startswith(f"{WRITTEN_FOR}."):
        log.warning("chainlit_version_not_checked", extra=fields(version=chainlit.__version__, checked=WRITTEN_FOR))
    handlers = server.sio.handlers.get("/", {})
    missing = [name for name in ("connection_successful", "stop") if name not in handlers]
    missing += [name for name in ("get_configuration", "get_html_template") if not hasattr(server, name)]
    if missing:
        found = chainlit.__version__
        raise RuntimeError(f"Chainlit {found} lacks {', '.join(missing)}: install chainlit {WRITTEN_FOR}.")


def _load_nothing_from_outside() -> None:
    """The page's template names a font server and KaTeX's style sheet on a public network; no setting removes them."""
    original = server.get_html_template

    def get_html_template(root_path: str) -> str:
        html = re.sub(r'\s*<link[^>]*rel="preconnect"[^>]*>', "", original(root_path))
        return re.sub(r"\s*<link[^>]*https?://[^>]*>", "", html)

    server.get_html_template = get_html_template


def _follow_the_systems_theme() -> None:
    """Chainlit's setting knows "light" and "dark" only; its pages know "system" as well."""
    original = server.get_configuration

    def get_configuration() -> dict[str, Any]:
        return {**original(), "default_theme": "system"}

    server.get_configuration = get_configuration


def _drop_missing_translation_warnings() -> None:
    """Chainlit warns on every page view that chainlit.md is not translated; it is English on purpose."""
    logging.getLogger("chainlit").addFilter(lambda record: "ranslat" not in record.getMessage())


def _use_our_words() -> None:
    """Chainlit's words speak of language models ("LLMs can make mistakes"), which need not be at work here.

    Its translation files are copied into the project at start-up; changing words here keeps all 23 of them generated.
    """
    original = ChainlitConfig.load_translation

    def load_translation(self: ChainlitConfig, language: str) -> dict[str, Any]:
        return with_our_words(original(self, language), language)

    ChainlitConfig.load_translation = load_translation  # type: ignore[method-assign]


def with_our_words(translation: dict[str, Any], language: str) -> dict[str, Any]:
    """Chainlit's translation with this application's words; English ones where it has none in `language`."""
    known = _WORDS.get(language.split("-")[0])
    words = known or _WORDS["en"]
    chat = translation.setdefault("chat", {})
    chat["watermark"] = words["watermark"]
    chat.setdefault("input", {})["placeholder"] = words["placeholder"]
    chat.setdefault("messages", {})["status"] = {"using": "", "used": ""}
    if known:
        translation.setdefault("navigation", {}).setdefault("header", {})["readme"] = words["readme"]
    return translation


def _stop_without_words() -> None:
    """Chainlit answers Stop with a sentence of its own before the work has stopped; the chat says it itself."""

    async def stop(sid: str) -> None:
        session = WebsocketSession.get(sid)
        if session is not None and session.current_task is not None:
            init_ws_context(session)
            session.current_task.cancel()

    server.sio.handlers["/"]["stop"] = stop


def _replay_after_reconnect() -> None:
    """What is sent while a socket is down is lost: an answer finished meanwhile stays cut (Chainlit issue 2201)."""
    original = server.sio.handlers["/"]["connection_successful"]

    async def connection_successful(sid: str) -> None:
        session = WebsocketSession.get(sid)
        came_back = session is not None and session.restored and session.has_first_interaction
        await original(sid)
        if session is not None and came_back:
            await _replay(session)

    server.sio.handlers["/"]["connection_successful"] = connection_successful


async def _replay(session: WebsocketSession) -> None:
    init_ws_context(session)
    for message in chat_context.get()[-REPLAYED_MESSAGES:]:
        await context.emitter.send_step(message.to_dict())
        if isinstance(message, Message):
            for element in message.elements:
                await context.emitter.send_element(element.to_dict())
    if session.current_task is not None and not session.current_task.done():
        await context.emitter.task_start()


def _free_messages_with_their_session() -> None:
    """Chainlit keeps the messages of closed sessions for ever (Chainlit issue 2951)."""
    original: Any = WebsocketSession.delete

    async def delete(self: WebsocketSession) -> None:
        chat_contexts.pop(self.id, None)
        await original(self)

    WebsocketSession.delete = delete  # type: ignore[method-assign]
