"""The application's own web routes: the cited pages and the sign of life. It refuses to know about the chat."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from cmo import __version__
from cmo.interfaces import LibraryView

_DOC_ID = re.compile(r"doc-[0-9a-f]{16}")

_MEDIA_TYPES = {".pdf": "application/pdf", ".txt": "text/plain; charset=utf-8", ".md": "text/plain; charset=utf-8"}

# Chromium's PDF reader does not start under `sandbox`; text needs nothing at all.
_POLICIES = {
    ".pdf": "default-src 'none'; style-src 'unsafe-inline'; object-src 'self'; frame-ancestors 'self'",
    ".txt": "default-src 'none'; sandbox",
    ".md": "default-src 'none'; sandbox",
}


def routes(library: Callable[[], Awaitable[LibraryView]], papers_dir: Path) -> list[BaseRoute]:
    """The routes; only files inside `papers_dir` are ever sent, whatever the library says."""
    folder = papers_dir.resolve()

    async def paper(request: Request) -> Response:
        doc_id = request.path_params["doc_id"]
        if not _DOC_ID.fullmatch(doc_id):
            return _not_found()
        file = await (await library()).page_source(doc_id)
        if file is None or not _may_be_sent(file, folder):
            return _not_found()
        return _file(file)

    async def nothing(request: Request) -> Response:
        return _not_found()

    return [
        Route("/health", health, methods=["GET"]),
        Route("/papers/{doc_id}.pdf", paper, methods=["GET"]),
        Route("/papers/{rest:path}", nothing, methods=["GET"]),
    ]


async def health(request: Request) -> Response:
    """Says that the process is alive; asks nobody else."""
    return JSONResponse({"status": "ok", "version": __version__}, headers={"Cache-Control": "no-store"})


def _may_be_sent(file: Path, folder: Path) -> bool:
    resolved = file.resolve()
    return resolved.is_relative_to(folder) and resolved.is_file() and resolved.suffix.lower() in _MEDIA_TYPES


def _file(file: Path) -> FileResponse:
    kind = file.suffix.lower()
    return FileResponse(
        file,
        media_type=_MEDIA_TYPES[kind],
        filename=file.name,
        content_disposition_type="inline",
        headers={
            "Cache-Control": "private, no-cache",
            "Content-Security-Policy": _POLICIES[kind],
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        },
    )


def _not_found() -> Response:
    return PlainTextResponse("This paper is not in the library.", status_code=404)
