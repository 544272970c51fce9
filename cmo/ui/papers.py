"""What the chat says of the library, as Markdown: how far indexing is, what is in it, what could not be read. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from cmo.phrases import Phrase, joined
from cmo.ui.render import plain, said
from cmo.values import Document, FileReport, FileStatus, IndexProgress, LibraryState

LISTED = 8
"""Lists of files are cut after this many entries."""

INDEX_PAPERS = Phrase("Index papers")
"""The button that reads the papers folder."""

_LOOKING = (Phrase("Looking through the papers folder …"),)

STATUSES = {
    FileStatus.NEEDS_OCR: Phrase("has no text, only pictures of pages"),
    FileStatus.ENCRYPTED: Phrase("is protected by a password"),
    FileStatus.CORRUPT: Phrase("is damaged"),
    FileStatus.EMPTY: Phrase("is empty"),
    FileStatus.TOO_LARGE: Phrase("is too large"),
    FileStatus.FAILED: Phrase("could not be read"),
}


def seconds_left(seconds: float) -> Phrase:
    """An estimate as people say it."""
    if seconds < 60:
        return Phrase("about {number} s left", number=max(1, round(seconds)))
    return Phrase("about {number} min left", number=round(seconds / 60))


def progress(state: LibraryState, language: str) -> str:
    """How far the indexing under way is, and from when on questions can be asked."""
    run = state.indexing
    if run is None:
        return ready(state, language)
    can_ask = (
        Phrase("You can ask now. Papers that can be searched already: {number}.", number=len(state.documents))
        if state.documents
        else Phrase("Questions are answered as soon as the first paper is in.")
    )
    far = [said(each, language) for each in (_counts(run) if run.files_total else _LOOKING)]
    return "\n\n".join(
        [f"**{said(Phrase('Reading your papers'), language)}**", " · ".join(far), said(can_ask, language)]
    )


def waiting(state: LibraryState, language: str) -> str:
    """What stands in place of an answer until the first paper is in."""
    run = state.indexing
    lines = [Phrase("Your question is answered as soon as the first paper is in.")]
    if run and run.files_total:
        lines.append(Phrase("Files read: {done} of {total}.", done=run.files_done, total=run.files_total))
    return said(joined(lines), language)


def progress_percent(run: IndexProgress) -> int:
    """The share of files done, 0 to 100."""
    return round(100 * run.files_done / run.files_total) if run.files_total else 0


def ready(state: LibraryState, language: str) -> str:
    """What can be searched, and which files could not be read."""
    if state.documents:
        pages = sum(document.pages for document in state.documents)
        searched = Phrase("Papers: {papers}, pages: {pages}.", papers=len(state.documents), pages=f"{pages:,}")
        text = f"**{said(Phrase('Ready to be searched.'), language)}** {said(searched, language)}"
    else:
        nothing = Phrase("No paper could be read.") if state.problems else Phrase("No paper was found.")
        text = f"**{said(nothing, language)}**"
    return "\n\n".join(filter(None, [failure(state, language), text, problems(state.problems, language)]))


def failure(state: LibraryState, language: str) -> str:
    """Why the last indexing run ended before its time; "" when it did not."""
    if not state.failure:
        return ""
    return f"> **{said(Phrase('Indexing stopped.'), language)}** {said(state.failure, language)}"


def empty_library(state: LibraryState, papers_dir: Path, language: str) -> str:
    """What to do when there is nothing to ask."""
    put = Phrase("Put papers into this folder (PDF, text or Markdown files; sub-folders are fine):")
    press = Phrase("Then press “{button}”. They stay on this machine.", button=INDEX_PAPERS)
    return "\n\n".join(
        filter(
            None,
            [
                failure(state, language),
                f"**{said(Phrase('Your library is empty.'), language)}**",
                said(put, language),
                f"`{papers_dir}`",
                said(press, language),
                problems(state.problems, language),
            ],
        )
    )


def library(state: LibraryState, papers_dir: Path, language: str) -> str:
    """What the library holds: its documents, its files that could not be read, its folder."""
    listed = [_document(document, language) for document in state.documents[:LISTED]]
    listed += _more(len(state.documents) - LISTED, language)
    blocks = [ready(dataclasses.replace(state, problems=()), language), "\n".join(listed)]
    blocks += [problems(state.problems, language), f"{said(Phrase('Their folder:'), language)} `{papers_dir}`"]
    return "\n\n".join(filter(None, blocks))


def problems(reports: Sequence[FileReport], language: str) -> str:
    """The files which could not be read, each with its reason; "" without any."""
    if not reports:
        return ""
    listed = [_problem(report, language) for report in reports[:LISTED]] + _more(len(reports) - LISTED, language)
    heading = Phrase("Files that could not be used: {number}", number=len(reports))
    return "\n".join([said(heading, language), "", *listed])


def unfinished(state: LibraryState) -> Phrase | None:
    """The note under answers given while papers are still missing from the index."""
    run = state.indexing
    if run is None or run.files_done >= run.files_total or len(state.documents) >= run.files_total:
        return None
    return Phrase(
        "The index was unfinished when you asked. Files that could be searched: {done} of {total}. Ask again for an "
        "answer from all papers.",
        done=len(state.documents),
        total=run.files_total,
    )


def _counts(run: IndexProgress) -> Iterator[Phrase]:
    yield Phrase("files: {done} of {total}", done=run.files_done, total=run.files_total)
    yield Phrase("pages: {number}", number=f"{run.pages:,}")
    yield Phrase("passages: {number}", number=f"{run.passages:,}")
    if run.seconds_left is not None:
        yield seconds_left(run.seconds_left)


def _document(document: Document, language: str) -> str:
    year = f" ({document.year})" if document.year else ""
    pages = said(Phrase("pages: {number}", number=f"{document.pages:,}"), language)
    return f"- [{plain(document.title)}](/papers/{document.doc_id}.pdf){year}, {pages}"


def _problem(report: FileReport, language: str) -> str:
    words = said(STATUSES.get(report.status, report.status.value), language)
    reason = f": {said(report.reason, language)}" if report.reason else ""
    return f"- `{_code(report.file)}` {words} ({report.status.value}){reason}"


def _more(count: int, language: str) -> list[str]:
    return [f"- {said(Phrase('{number} more', number=count), language)}"] if count > 0 else []


def _code(name: str) -> str:
    return " ".join(name.replace("`", "'").split())
