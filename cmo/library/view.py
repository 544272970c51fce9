"""What people may see and ask of the library: what is indexed, how far a run is, where a page's file lies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from cmo.errors import IndexDamaged
from cmo.library.generations import GenerationInfo, current
from cmo.library.process import IndexingProcess
from cmo.storage.manifest import FileRow, Manifest
from cmo.values import Document, FileReport, FileStatus, LibraryState


class Library:
    """The library of one papers folder. A LibraryView; may be shared. Close it at the end."""

    def __init__(self, *, papers: Path, storage: Path, process: IndexingProcess) -> None:
        self.papers = papers
        self._storage = storage
        self._process = process
        self._lock = asyncio.Lock()
        self._open: tuple[GenerationInfo, Manifest] | None = None
        self._seen: tuple[int, tuple[Document, ...], tuple[FileRow, ...]] | None = None

    async def state(self) -> LibraryState:
        """What is indexed, and how far a run under way is."""
        progress = self._process.progress
        async with self._lock:
            opened = await asyncio.to_thread(self._manifest)
            if opened is None:
                return LibraryState(
                    documents=(), passages=0, generation="", indexing=progress, failure=self._process.error
                )
            info, manifest = opened
            _, documents, files = await asyncio.to_thread(self._contents, manifest)
        indexed = {file.sha256: file.passages for file in files if file.status is FileStatus.INDEXED}
        return LibraryState(
            documents=documents,
            passages=sum(indexed.values()),
            generation=info.name,
            indexing=progress,
            problems=tuple(_report(file) for file in files if file.status is not FileStatus.INDEXED),
            failure=self._process.error,
        )

    async def start_indexing(self, *, paid: bool = False) -> None:
        """Start an indexing run in a process of its own; nothing happens when one is under way.

        Unless `paid` allows it, a run that would have to make a new index for money ends by saying so.
        """
        await self._process.start(paid=paid)

    async def cancel_indexing(self) -> None:
        """Stop the run under way after its current step."""
        await self._process.cancel()

    async def page_source(self, doc_id: str) -> Path | None:
        """The file of a document, always inside the papers folder, or None."""
        async with self._lock:
            opened = await asyncio.to_thread(self._manifest)
            if opened is None:
                return None
            names = await asyncio.to_thread(opened[1].find_files, doc_id)
        return await asyncio.to_thread(self._first_there, names)

    async def close(self) -> None:
        """Stop a run under way and let go of the index."""
        await self._process.close()
        async with self._lock:
            if self._open is not None:
                await asyncio.to_thread(self._open[1].close)
                self._open = None

    def _first_there(self, names: Iterable[str]) -> Path | None:
        """The first of several copies that is there, and there inside the folder: links may lead out of it."""
        folder = self.papers.resolve()
        paths = ((folder / name).resolve() for name in names)
        return next((path for path in paths if path.is_relative_to(folder) and path.is_file()), None)

    def _manifest(self) -> tuple[GenerationInfo, Manifest] | None:
        info = current(self._storage)
        if self._open is not None and self._open[0] != info:
            self._open[1].close()
            self._open = self._seen = None
        if self._open is None and info is not None:
            try:
                self._open = (info, Manifest(info.database))
            except IndexDamaged:
                return None
        return self._open

    def _contents(self, manifest: Manifest) -> tuple[int, tuple[Document, ...], tuple[FileRow, ...]]:
        """Documents and files, read again only when something changed or a run is under way."""
        revision = manifest.revision()
        if self._seen is None or self._seen[0] != revision or self._process.progress is not None:
            self._seen = (revision, manifest.documents(), manifest.files())
        return self._seen


def _report(file: FileRow) -> FileReport:
    return FileReport(file=file.path, status=file.status, pages=file.pages, passages=file.passages, reason=file.reason)
