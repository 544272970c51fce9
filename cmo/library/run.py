"""One indexing run on one generation: what is done to each file, and in which order.

The order makes a run safe to kill at any instant:

    add to the manifest as pending -> insert into the graph -> publish in the manifest (found from here on)
    hide in the manifest (found no more) -> delete from the graph -> forget in the manifest

so the graph never holds a document that the manifest does not know, and whatever is half done can be told by its state.
The next run drops every such document and does it again; LightRAG's extraction cache makes that cheap.

Nothing here knows LightRAG, PDFium, SQL or generations.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Protocol, TypeVar

from cmo.errors import IndexDamaged, LibraryError, OracleError, UnreadableDocument
from cmo.library.changes import Changes, compare, may_have_moved, row_for, with_copies
from cmo.library.layout import BlockKind
from cmo.library.passages import split_passages
from cmo.library.pdf import Block, PageText
from cmo.library.progress import Meter
from cmo.library.reader import FoundFile, Limits, ReadDocument, hash_file, scan
from cmo.logs import fields
from cmo.phrases import Phrase
from cmo.storage.manifest import DocumentState, FileRow, Manifest, StoredDocument, StoredPage
from cmo.values import Document, FileReport, FileStatus, Passage, PassageKind

AUDITED_SHARE = 0.05
"""A clean run that changed a smaller share of the documents ends without an audit of all of them: adding one paper
must not cost more in a large library than in a small one."""

_UNEXPECTED = Phrase("Something unexpected happened with this file; the log says more. The next run tries again.")
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class GraphWriter(Protocol):
    """The knowledge graph of one generation, for writing."""

    async def open(self) -> None:
        """Get ready.

        Raises:
            IndexDamaged: what is stored cannot be used.
            LibraryError: it cannot be opened for another reason.
        """

    async def close(self) -> None:
        """Let go of everything."""

    async def insert(
        self, document: Document, passages: Sequence[Passage], *, on_progress: Callable[[int], None] | None = None
    ) -> None:
        """Return when the document is wholly in; `on_progress` is told how many passages are.

        Raises:
            LibraryError: it is not in, and nothing of it is.
        """

    async def delete(self, doc_id: str) -> None:
        """Take a document out, whole or half. One that is not there is no error."""

    async def audit(self, expected: Mapping[str, Sequence[str]]) -> Sequence[str]:
        """The documents that are incomplete or should not be there, given all documents and their chunk ids."""


class Reader(Protocol):
    """Reads files, one at a time."""

    async def read(self, path: Path) -> ReadDocument:
        """The text of a file.

        Raises:
            UnreadableDocument: it has none that can be read.
        """


class Graph:
    """A graph that is opened when it is first needed: a run that finds nothing to do never loads it."""

    def __init__(self, make: Callable[[], GraphWriter], *, before_opening: Callable[[], None]) -> None:
        """`before_opening` is called once, in a thread."""
        self._make = make
        self._before_opening = before_opening
        self._graph: GraphWriter | None = None

    @property
    def used(self) -> bool:
        """Whether it was opened."""
        return self._graph is not None

    async def opened(self) -> GraphWriter:
        """The graph, open."""
        if self._graph is None:
            await asyncio.to_thread(self._before_opening)
            graph = self._make()
            try:
                await graph.open()
            except BaseException:
                await graph.close()
                raise
            self._graph = graph
        return self._graph

    async def close(self) -> None:
        """Close it if it was opened."""
        graph, self._graph = self._graph, None
        if graph is not None:
            await graph.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run did. `stopped` when it was asked to stop before it was through."""

    files: tuple[FileReport, ...]
    stopped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """One file on its way in: its text, or why it cannot be read. Neither means that its content is known."""

    file: FoundFile
    sha256: str = ""
    stored: StoredDocument | None = None
    problem: UnreadableDocument | None = None


class Run:
    """One run. `earlier` is another generation's manifest whose pages are as good as reading the files again."""

    def __init__(
        self,
        *,
        papers: Path,
        limits: Limits,
        manifest: Manifest,
        earlier: Manifest | None,
        graph: Graph,
        reader: Reader,
        meter: Meter,
        cancel: asyncio.Event,
    ) -> None:
        """Nothing is touched before `to_the_end`."""
        self._papers = papers
        self._limits = limits
        self._manifest = manifest
        self._earlier = earlier
        self._graph = graph
        self._reader = reader
        self._meter = meter
        self._cancel = cancel
        self._earlier_rows: dict[tuple[int, int, int], FileRow] = {}
        self._reports: dict[str, FileReport] = {}
        self._hashes: dict[str, str] = {}
        self._hashes_before: dict[str, str] = {}
        self._documents_changed = 0
        self._stopped = False

    async def to_the_end(self, *, also: Manifest | None = None) -> Outcome:
        """Do all there is to do, or stop early when cancelled.

        In `also`, the manifest that answers questions meanwhile, only moved and removed files are noted.
        """
        found = await asyncio.to_thread(scan, self._papers)
        if also is not None:
            await self._note_elsewhere(also, found)
        await self._recover()
        await asyncio.to_thread(self._forget_other_limits)
        earlier_rows = await self._from_earlier(Manifest.files) or ()
        self._earlier_rows = {(row.inode, row.size, row.mtime_ns): row for row in earlier_rows}
        rows = await asyncio.to_thread(self._manifest.files)
        self._hashes_before = {row.path: row.sha256 for row in rows if row.status is not FileStatus.FAILED}
        changes = await self._noted(self._manifest, found)
        self._report_known(changes)
        self._meter.begin([*changes.same, *(move.row for move in changes.moved)], changes.open)
        await self._take_all(changes.open)
        await self._drop_hidden()
        if await asyncio.to_thread(self._audit_is_due):
            await self._audit()
        await asyncio.to_thread(self._end)
        return Outcome(files=tuple(self._reports[file] for file in sorted(self._reports)), stopped=self._stopped)

    async def _recover(self) -> None:
        """Clear up after the last run; when it did not end by itself, check everything."""
        unclean = await asyncio.to_thread(self._manifest.meta, "running") == "1"
        if unclean:
            await asyncio.to_thread(self._manifest.check_file)
        await self._drop_hidden()
        if unclean and not self._stopped:
            await self._audit()

    def _forget_other_limits(self) -> None:
        """A file that was too large for other limits than today's has to be looked into again."""
        limits = f"{self._limits.max_bytes} bytes, {self._limits.max_pages} pages"
        if self._manifest.meta("limits") != limits:
            rows = self._manifest.files()
            self._manifest.record(gone=[row.path for row in rows if row.status is FileStatus.TOO_LARGE])
            self._manifest.set_meta({"limits": limits})

    # What is known without opening a file.

    async def _note_elsewhere(self, manifest: Manifest, found: Sequence[FoundFile]) -> None:
        try:
            await self._noted(manifest, found)
        except LibraryError:
            _log.warning("serving_index_not_updated", exc_info=True)

    async def _noted(self, manifest: Manifest, found: Sequence[FoundFile]) -> Changes:
        """The changes since `manifest` was written, moved and removed files already noted in it."""
        changes = compare(found, await asyncio.to_thread(manifest.files))
        for file in may_have_moved(changes):
            with contextlib.suppress(UnreadableDocument):
                await self._hash(file)
        changes = with_copies(changes, self._hashes)
        names_left = [*(move.before for move in changes.moved), *(row.path for row in changes.gone)]
        if names_left:
            await asyncio.to_thread(manifest.record, [move.row for move in changes.moved], gone=names_left)
        return changes

    def _report_known(self, changes: Changes) -> None:
        for row in changes.gone:
            self._report(FileReport(file=row.path, status=FileStatus.REMOVED, pages=row.pages, passages=row.passages))
        for row in changes.same:
            self._report(_report_of(row))
        for move in changes.moved:
            self._report(_report_of(move.row, note=f"Renamed from {move.before}."))
        for file in changes.problems:
            self._report(FileReport(file=file.file, status=FileStatus.FAILED, reason=file.problem))

    # One file after the other, the next one being read while the present one is put in.

    async def _take_all(self, files: Sequence[FoundFile]) -> None:
        waiting = list(reversed(files))
        reading = self._read_ahead(waiting, in_hand="")
        try:
            while reading is not None:
                prepared = await self._unless_cancelled(reading)
                if prepared is None:
                    self._stopped = True
                    return
                reading = self._read_ahead(waiting, in_hand=prepared.sha256)
                await self._settle(prepared)
        finally:
            if reading is not None:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    def _read_ahead(self, waiting: list[FoundFile], *, in_hand: str) -> asyncio.Task[_Prepared] | None:
        return asyncio.create_task(self._prepare(waiting.pop(), in_hand=in_hand)) if waiting else None

    async def _unless_cancelled(self, reading: asyncio.Task[_Prepared]) -> _Prepared | None:
        """What was read, or None as soon as the run is to stop."""
        stop = asyncio.create_task(self._cancel.wait())
        try:
            await asyncio.wait({reading, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
        return None if self._cancel.is_set() else await reading

    async def _prepare(self, file: FoundFile, *, in_hand: str) -> _Prepared:
        """What is to be put in for a file, unless its content is in already or `in_hand`."""
        sha256 = ""
        try:
            sha256 = await self._hash(file)
            if sha256 == in_hand or await self._known_content(sha256) is not None:
                return _Prepared(file=file, sha256=sha256)
            return _Prepared(file=file, sha256=sha256, stored=await self._content(file, sha256))
        except UnreadableDocument as problem:
            return _Prepared(file=file, sha256=sha256, problem=problem)
        except OracleError:
            raise
        except Exception:
            # One bad file must not stop the others, whatever it does to the code that reads it.
            _log.exception("document_failed", extra=fields(file=file.file))
            return _Prepared(file=file, problem=UnreadableDocument(FileStatus.FAILED, _UNEXPECTED))

    async def _hash(self, file: FoundFile) -> str:
        if file.file not in self._hashes:
            row = self._earlier_rows.get((file.inode, file.size, file.mtime_ns))
            trusted = row is not None and row.status is not FileStatus.FAILED
            self._hashes[file.file] = row.sha256 if row and trusted else await asyncio.to_thread(hash_file, file.path)
        return self._hashes[file.file]

    async def _known_content(self, sha256: str) -> FileRow | None:
        """What is known of a content: it is in already, or was found unreadable here or by the earlier generation."""
        known = await asyncio.to_thread(self._manifest.file_with, sha256)
        if known is not None:
            return known
        earlier = await self._from_earlier(lambda manifest: manifest.file_with(sha256))
        unreadable = earlier is not None and earlier.status not in (FileStatus.INDEXED, FileStatus.TOO_LARGE)
        return earlier if unreadable else None

    async def _content(self, file: FoundFile, sha256: str) -> StoredDocument:
        doc_id = _doc_id(sha256)
        earlier = await self._from_earlier(lambda manifest: manifest.stored(doc_id))
        if earlier is not None and earlier.sha256 == sha256:
            return await asyncio.to_thread(_split_again, earlier)
        read = await self._reader.read(file.path)
        return await asyncio.to_thread(_stored, doc_id, sha256, file, read)

    async def _from_earlier(self, ask: Callable[[Manifest], _T]) -> _T | None:
        """An answer of the earlier generation; when it cannot be read any more, the files are read instead."""
        if self._earlier is None:
            return None
        try:
            return await asyncio.to_thread(ask, self._earlier)
        except LibraryError:
            _log.warning("earlier_index_not_readable", exc_info=True)
            self._earlier = None
            return None

    async def _settle(self, prepared: _Prepared) -> None:
        """Bring one prepared file to its end, and report it."""
        self._meter.opened(prepared.file)
        if prepared.problem is not None:
            await self._fail(prepared, prepared.problem)
        elif prepared.stored is not None:
            await self._put_in(prepared, prepared.stored)
        elif known := await self._known_content(prepared.sha256):
            await self._adopt(prepared, known)
        else:
            # The file whose content this one shares failed, or was given another content, since this one was prepared.
            await self._settle(await self._prepare(prepared.file, in_hand=""))

    async def _fail(self, prepared: _Prepared, problem: UnreadableDocument) -> None:
        row = replace(_row(prepared), status=problem.status, reason=str(problem))
        await asyncio.to_thread(self._manifest.record, [row])
        report = _report_of(row)
        self._meter.skipped(prepared.file, report)
        self._report(report)

    async def _adopt(self, prepared: _Prepared, known: FileRow) -> None:
        """Note a file whose content is known from another one, or from itself before it was touched."""
        row = row_for(prepared.file, known)
        await asyncio.to_thread(self._manifest.record, [row])
        report = _report_of(row)
        touched = self._hashes_before.get(row.path) == row.sha256
        if known.status is FileStatus.INDEXED and not touched:
            report = replace(report, status=FileStatus.INDEXED, reason=f"Same content as {known.path}.")
        self._meter.skipped(prepared.file, report)
        self._report(report)

    async def _put_in(self, prepared: _Prepared, stored: StoredDocument) -> None:
        body = _body(stored)
        row = replace(_row(prepared), pages=len(stored.pages), passages=len(body))
        await self._graph.opened()
        self._meter.read(prepared.file, pages=row.pages, passages=row.passages)
        problem = await self._insert(stored, body, prepared.file)
        if problem is not None:
            row = replace(row, status=FileStatus.FAILED, reason=problem, pages=0, passages=0)
            await asyncio.to_thread(self._manifest.record, [row])
        else:
            await asyncio.to_thread(self._manifest.publish, stored.document.doc_id, row)
        self._documents_changed += 1
        self._meter.inserted(prepared.file)
        note = None if body else Phrase("Nothing in it but references and notices.")
        self._report(replace(_report_of(row, note=note), status=row.status))

    async def _insert(self, stored: StoredDocument, body: Sequence[Passage], file: FoundFile) -> str | None:
        """Put a document in, pending; returns why it could not be, and then leaves nothing of it behind."""
        doc_id = stored.document.doc_id
        if await asyncio.to_thread(self._manifest.state, doc_id) is not None:
            # Its file went and came back within this run.
            await self._drop(doc_id)
        try:
            await asyncio.to_thread(self._manifest.add, stored)
        except ValueError:
            _log.exception("document_failed", extra=fields(file=file.file))
            return _UNEXPECTED
        problem = await self._insert_into_graph(stored.document, body, file.file)
        if problem is not None:
            await self._drop(doc_id)
        return problem

    async def _insert_into_graph(self, document: Document, body: Sequence[Passage], file: str) -> str | None:
        """Returns why it could not be put in."""
        if not body:
            return None
        graph = await self._graph.opened()
        document = replace(document, file=file, title=document.title or _stem(file))
        try:
            await graph.insert(document, body, on_progress=self._meter.embedded)
        except IndexDamaged:
            raise
        except OracleError as error:
            _log.warning("document_failed", extra=fields(file=file), exc_info=True)
            return str(error)
        except Exception:
            _log.exception("document_failed", extra=fields(file=file))
            return _UNEXPECTED
        return None

    # What is to go.

    async def _drop_hidden(self) -> None:
        """Take out every document that cannot be found: removed ones, replaced ones, and those a run left half done."""
        states = await asyncio.to_thread(self._manifest.states)
        for doc_id, state in states.items():
            if state is DocumentState.INDEXED:
                continue
            if self._cancel.is_set():
                self._stopped = True
                return
            await self._drop(doc_id)

    async def _drop(self, doc_id: str) -> None:
        graph = await self._graph.opened()
        await graph.delete(doc_id)
        await asyncio.to_thread(self._manifest.forget, doc_id)
        self._documents_changed += 1

    # Checking that all is there, and mending it.

    def _audit_is_due(self) -> bool:
        if not self._documents_changed or self._stopped:
            return False
        failed = any(report.status is FileStatus.FAILED for report in self._reports.values())
        return failed or self._documents_changed >= AUDITED_SHARE * len(self._manifest.states())

    async def _audit(self) -> None:
        await self._mend_manifest()
        bad = await self._bad_in_graph()
        for doc_id in bad:
            await self._mend(doc_id)
        for doc_id in await self._bad_in_graph() if bad else ():
            await self._give_up(doc_id)

    async def _mend_manifest(self) -> None:
        faults = await asyncio.to_thread(self._manifest.audit)
        if not faults:
            return
        _log.warning(
            "manifest_mended",
            extra=fields(documents=len(faults.documents), files=len(faults.files), search=faults.search),
        )
        for doc_id in faults.documents:
            await self._drop(doc_id)
        await asyncio.to_thread(self._manifest.record, gone=faults.files)
        if faults.search:
            await asyncio.to_thread(self._manifest.rebuild_search)

    async def _bad_in_graph(self) -> Sequence[str]:
        graph = await self._graph.opened()
        return await graph.audit(await asyncio.to_thread(self._manifest.chunk_ids, PassageKind.BODY))

    async def _mend(self, doc_id: str) -> None:
        """Put a document into the graph again out of the manifest's pages; take it out if the manifest has none."""
        _log.warning("document_mended", extra=fields(doc_id=doc_id))
        graph = await self._graph.opened()
        stored = await asyncio.to_thread(self._manifest.stored, doc_id)
        if stored is None:
            await graph.delete(doc_id)
            return
        await asyncio.to_thread(self._manifest.hide, doc_id)
        await graph.delete(doc_id)
        problem = await self._insert_into_graph(stored.document, _body(stored), stored.document.file)
        if problem is None:
            await asyncio.to_thread(self._manifest.publish, doc_id)
        else:
            await self._give_up(doc_id)

    async def _give_up(self, doc_id: str) -> None:
        """Take out a document that stays incomplete and report it as failed; the next run reads it again."""
        _log.error("document_not_mended", extra=fields(doc_id=doc_id))
        rows = [row for row in await asyncio.to_thread(self._manifest.files) if _doc_id(row.sha256) == doc_id]
        await self._drop(doc_id)
        reason = Phrase("It could not be stored whole. The next run tries again.")
        failed = [replace(row, status=FileStatus.FAILED, reason=reason, pages=0, passages=0) for row in rows]
        await asyncio.to_thread(self._manifest.record, failed)
        for row in failed:
            self._report(_report_of(row))

    def _end(self) -> None:
        facts = {} if self._stopped else {"complete": "1"}
        if self._graph.used:
            facts["running"] = "0"
        if any(self._manifest.meta(key) != value for key, value in facts.items()):
            self._manifest.set_meta(facts)

    def _report(self, report: FileReport) -> None:
        self._reports[report.file] = report


def _report_of(row: FileRow, *, note: str | None = None) -> FileReport:
    status = FileStatus.UNCHANGED if row.status is FileStatus.INDEXED else row.status
    return FileReport(file=row.path, status=status, pages=row.pages, passages=row.passages, reason=row.reason or note)


def _row(prepared: _Prepared) -> FileRow:
    file = prepared.file
    return FileRow(
        path=file.file,
        size=file.size,
        mtime_ns=file.mtime_ns,
        inode=file.inode,
        sha256=prepared.sha256,
        status=FileStatus.INDEXED,
    )


def _doc_id(sha256: str) -> str:
    return f"doc-{sha256[:16]}"


def _body(stored: StoredDocument) -> tuple[Passage, ...]:
    return tuple(passage for passage in stored.passages if passage.kind is PassageKind.BODY)


def _stored(doc_id: str, sha256: str, file: FoundFile, read: ReadDocument) -> StoredDocument:
    title = "" if _letters(read.title) == _letters(_stem(file.file)) else read.title
    return StoredDocument(
        document=Document(
            doc_id=doc_id,
            file=file.file,
            title=title,
            authors=read.authors,
            year=read.year,
            doi=read.doi,
            pages=len(read.pages),
        ),
        sha256=sha256,
        pages=tuple(StoredPage(text=page.text, layout=_layout(page.blocks)) for page in read.pages),
        passages=tuple(split_passages(doc_id, read.pages)),
    )


def _split_again(stored: StoredDocument) -> StoredDocument:
    """A document of another generation, cut into passages by today's rules."""
    pages = tuple(PageText(text=page.text, blocks=_blocks(page.layout)) for page in stored.pages)
    return replace(stored, passages=tuple(split_passages(stored.document.doc_id, pages)))


def _layout(blocks: Sequence[Block]) -> str:
    return json.dumps([[block.start, block.end, block.kind] for block in blocks], separators=(",", ":"))


def _blocks(layout: str) -> tuple[Block, ...]:
    return tuple(Block(start=start, end=end, kind=BlockKind(kind)) for start, end, kind in json.loads(layout))


def _stem(file: str) -> str:
    return PurePosixPath(file).stem


def _letters(text: str) -> str:
    """What is left of a title to tell whether it is only the file's name, which changes when the file is renamed."""
    return "".join(character for character in text.casefold() if character.isalnum())
