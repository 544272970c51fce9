"""What stands between the network and the chat: who may connect, what is open, and what a page may load.

Chainlit takes web sockets from every site, serves its API's documentation and accepts uploads. None of that is wanted:
a page in another tab could ask questions in the name of whoever has the chat open.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cmo.ui.identity import Guests

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        # Chainlit starts from inline scripts and compiles its custom elements in the browser.
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)

_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

_CLOSED = (
    "/copilot",
    "/docs",
    "/login",
    "/mcp",
    "/openapi.json",
    "/project/element",
    "/project/file",
    "/redoc",
)
"""Chainlit's routes this application has no use for, with everything below them."""

_OPEN = (("GET", "/project/file"), ("HEAD", "/project/file"))
"""Exceptions: files the chat itself offers."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_FOREIGN_ORIGIN = 4403
"""Close code of a web socket from another site; 4000 to 4999 are free for applications (RFC 6455, section 7.4.2)."""


class Perimeter:
    """ASGI middleware around the whole chat."""

    def __init__(self, app: ASGIApp, guests: Guests) -> None:
        self._app = app
        self._guests = guests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket" and _is_foreign(Headers(scope=scope)):
            await receive()
            await send({"type": "websocket.close", "code": _FOREIGN_ORIGIN})
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if _is_closed(scope["method"], scope["path"]):
            return await PlainTextResponse("Not found", status_code=404)(scope, receive, send)
        if _must_be_ours(scope) and _is_foreign(headers):
            return await PlainTextResponse("Sent by another site.", status_code=403)(scope, receive, send)
        cookie = self._cookie_for(scope, headers)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(MutableHeaders(raw=message["headers"]), cookie)
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _cookie_for(self, scope: Scope, headers: Headers) -> str | None:
        """A cookie for a browser that opens a page and has none yet."""
        if scope["method"] != "GET" or "text/html" not in headers.get("accept", ""):
            return None
        if self._guests.user_id(headers.get("cookie", "")) is not None:
            return None
        return self._guests.new_cookie(secure=scope.get("scheme") == "https")


def _add_headers(headers: MutableHeaders, cookie: str | None) -> None:
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    if cookie is not None and headers.get("content-type", "").startswith("text/html"):
        headers.append("Set-Cookie", cookie)
        headers["Cache-Control"] = "no-store"


def _is_closed(method: str, path: str) -> bool:
    if any(method == open_method and path.startswith(f"{prefix}/") for open_method, prefix in _OPEN):
        return False
    return any(path == prefix or path.startswith(f"{prefix}/") for prefix in _CLOSED)


def _must_be_ours(scope: Scope) -> bool:
    return scope["method"] not in _SAFE_METHODS or scope["path"].startswith("/ws/")


def _is_foreign(headers: Headers) -> bool:
    """Whether a browser sent this from a page of another site. Programs send no Origin and are no danger here."""
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
