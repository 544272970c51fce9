"""Values as Markdown for the chat. Pure: nothing here talks to anybody.

Text from papers is shown as it stands there, so every character with a meaning in Markdown is escaped. Markers become
plain links to the page, which work without any script; the element beside the answer makes them open the side panel.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from cmo.citations import MARKER
from cmo.values import (
    Answer,
    Citation,
    Document,
    FileReport,
    FileStatus,
    IndexProgress,
    LibraryState,
    Stage,
)

LISTED = 8
"""Lists of files are cut after this many entries."""

CAUTION = "For research, not for diagnosis or treatment."

STOPPED = "*Stopped.*"

STAGES = {
    Stage.UNDERSTAND: "Understanding the question",
    Stage.DECIDE: "Deciding where to look",
    Stage.ASK: "Reading the papers",
    Stage.CITE: "Checking the citations",
    Stage.RECORD: "Writing the record",
}

ENGINES = {"lightrag": "Your papers"}
"""Engines as people know them; others are shown by their own name."""

STATUSES = {
    FileStatus.NEEDS_OCR: "has no text, only pictures of pages",
    FileStatus.ENCRYPTED: "is protected by a password",
    FileStatus.CORRUPT: "is damaged",
    FileStatus.EMPTY: "is empty",
    FileStatus.TOO_LARGE: "is too large",
    FileStatus.FAILED: "could not be read",
}

_QUOTE_CHARACTERS = 220

_SPECIAL = re.compile(r"([\\`*_\[\]|~])|(<)(?=[a-zA-Z/!?])|(&)(?=#?\w+;)|(:)(?=[a-zA-Z:])")
_LINE_START = re.compile(r"(?m)^(\s*)([#>+-]|\d+(?=[.)]))")


class CitedSource(TypedDict):
    """A citation as the page's elements get it, in JSON."""

    number: int
    title: str
    document: str
    page: int
    quote: str
    url: str
    text: bool


class AnswerProps(TypedDict):
    """What the element under an answer shows and opens, in JSON."""

    answered: bool
    sources: list[CitedSource]
    facts: list[str]


def plain(text: str) -> str:
    """The text on one line, with everything that Markdown would take for markup escaped."""
    line = " ".join(text.replace("\u200b", "").split())
    escaped = _SPECIAL.sub(lambda match: f"\\{match[0]}", line)
    return _LINE_START.sub(_escaped_line_start, escaped)


def piece(text: str) -> str:
    """A piece of a streamed answer: escaped, its outer spaces and a new paragraph at its start kept."""
    body = plain(text)
    start = "\n\n" if text.startswith("\n\n") else " " if text[:1].isspace() else ""
    return f"{start}{body}{' ' if body and text[-1:].isspace() else ''}"


def answer(answer: Answer, notices: Sequence[str] = ()) -> str:
    """The answer with its markers linked, what the person should know about it, and its sources."""
    blocks = [_linked(answer.text, answer.citations) if answer.answered else _refusal(answer)]
    blocks += [f"> {plain(notice)}" for notice in (answer.notice, *notices) if notice]
    if answer.citations:
        blocks.append(_sources(answer) if answer.answered else _nearest(answer.citations))
    return "\n\n".join(blocks)


def answer_props(answer: Answer) -> AnswerProps:
    """The facts under an answer and the sources its markers open."""
    return AnswerProps(
        answered=answer.answered,
        sources=[_cited_source(citation) for citation in answer.citations],
        facts=[
            ENGINES.get(answer.engine, answer.engine),
            answer.model,
            f"{answer.seconds:.1f} s",
            cost(answer.cost_usd),
        ],
    )


def cost(usd: float) -> str:
    """Dollars, with as many digits as small sums need."""
    return "no cost" if usd == 0 else f"${usd:.4f}" if usd < 0.1 else f"${usd:.2f}"


def seconds_left(seconds: float | None) -> str:
    """An estimate as people say it; "" when there is none."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"about {max(1, round(seconds))} s left"
    return f"about {round(seconds / 60)} min left"


def progress(state: LibraryState) -> str:
    """How far the indexing under way is, and from when on questions can be asked."""
    run = state.indexing
    if run is None:
        return ready(state)
    counts = [
        f"{run.files_done} of {_count(run.files_total, 'file')}",
        _count(run.pages, "page"),
        _count(run.passages, "passage"),
        seconds_left(run.seconds_left),
    ]
    can_ask = (
        f"You can ask now: {_count(len(state.documents), 'paper')} can be searched already."
        if state.documents
        else "Questions are answered as soon as the first paper is in."
    )
    far = " · ".join(filter(None, counts)) if run.files_total else "Looking through the papers folder …"
    return "\n\n".join(["**Reading your papers**", far, can_ask])


def waiting(state: LibraryState) -> str:
    """What stands in place of an answer until the first paper is in."""
    run = state.indexing
    counts = f" ({run.files_done} of {_count(run.files_total, 'file')} read)" if run and run.files_total else ""
    return f"Your question is answered as soon as the first paper is in{counts}."


def progress_percent(run: IndexProgress) -> int:
    """The share of files done, 0 to 100."""
    return round(100 * run.files_done / run.files_total) if run.files_total else 0


def ready(state: LibraryState) -> str:
    """What can be searched, and which files could not be read."""
    if not state.documents:
        text = "**No paper could be read.**" if state.problems else "**No paper was found.**"
    else:
        pages = sum(document.pages for document in state.documents)
        text = f"**Ready:** {_count(len(state.documents), 'paper')}, {_count(pages, 'page')} can be searched."
    return "\n\n".join(filter(None, [failure(state), text, problems(state.problems)]))


def failure(state: LibraryState) -> str:
    """Why the last indexing run ended before its time; "" when it did not."""
    return f"> **Indexing stopped.** {plain(state.failure)}" if state.failure else ""


def empty_library(state: LibraryState, papers_dir: Path) -> str:
    """What to do when there is nothing to ask."""
    return "\n\n".join(
        filter(
            None,
            [
                failure(state),
                "**Your library is empty.**",
                "Put papers into this folder (PDF, text or Markdown files; sub-folders are fine):",
                f"`{papers_dir}`",
                "Then press **Index papers**. They stay on this machine.",
                problems(state.problems),
            ],
        )
    )


def library(state: LibraryState, papers_dir: Path) -> str:
    """What the library holds: its documents, its files that could not be read, its folder."""
    listed = [_document(document) for document in state.documents[:LISTED]]
    listed += _more(len(state.documents) - LISTED, "paper")
    blocks = [ready(dataclasses.replace(state, problems=()))]
    blocks += ["\n".join(listed), problems(state.problems), f"They lie in `{papers_dir}`."]
    return "\n\n".join(filter(None, blocks))


def problems(reports: Sequence[FileReport]) -> str:
    """The files which could not be read, each with its reason; "" without any."""
    if not reports:
        return ""
    listed = [_problem(report) for report in reports[:LISTED]] + _more(len(reports) - LISTED, "file")
    return "\n".join([f"{_count(len(reports), 'file')} could not be used:", "", *listed])


def unfinished(state: LibraryState) -> str | None:
    """The note under answers given while papers are still missing from the index."""
    run = state.indexing
    if run is None or run.files_done >= run.files_total or len(state.documents) >= run.files_total:
        return None
    return (
        f"The index was unfinished when you asked: {len(state.documents)} of {_count(run.files_total, 'file')} "
        "could be searched. Ask again for an answer from all papers."
    )


def stage_line(stage: Stage) -> str:
    """A stage's name for people; of a stage without one, its own."""
    return STAGES.get(stage, stage.value.capitalize())


def _escaped_line_start(match: re.Match[str]) -> str:
    return f"{match[1]}{match[2]}\\" if match[2][0].isdigit() else f"{match[1]}\\{match[2]}"


def _linked(text: str, citations: Sequence[Citation]) -> str:
    """The text with a link for each marker that has a citation."""
    by_number = {citation.number: citation for citation in citations}
    parts: list[str] = []
    position = 0
    for match in MARKER.finditer(text):
        citation = by_number.get(int(match[1]))
        if citation is not None:
            parts += [piece(text[position : match.start()]), _link(f"\\[{citation.number}\\]", citation)]
            position = match.end()
    return "".join([*parts, piece(text[position:])]).strip()


def _link(words: str, citation: Citation) -> str:
    title = " ".join(citation.title.split()).replace("\\", "\\\\").replace('"', '\\"')
    return f'[{words}]({citation.url} "{title}, page {citation.page}")'


def _refusal(answer: Answer) -> str:
    first, _, rest = answer.text.partition(". ")
    return f"> **{plain(first).rstrip('.')}.** {plain(rest)}".strip()


def _sources(answer: Answer) -> str:
    return "\n".join(["**Sources**", "", *map(_source, answer.citations)])


def _source(citation: Citation) -> str:
    return f"{citation.number}. {_link(plain(citation.title), citation)}, p. {citation.page}"


def _nearest(citations: Sequence[Citation]) -> str:
    lines = [f"{_source(citation)}: “{plain(_short(citation.quote))}”" for citation in citations]
    return "\n".join(["**Nearest passages**", "", *lines])


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _QUOTE_CHARACTERS else f"{line[:_QUOTE_CHARACTERS].rsplit(' ', 1)[0]} …"


def _cited_source(citation: Citation) -> CitedSource:
    return CitedSource(
        number=citation.number,
        title=citation.title,
        document=citation.document,
        page=citation.page,
        quote=citation.quote,
        url=citation.url,
        text=not citation.document.lower().endswith(".pdf"),
    )


def _document(document: Document) -> str:
    year = f" ({document.year})" if document.year else ""
    return f"- [{plain(document.title)}](/papers/{document.doc_id}.pdf){year}, {_count(document.pages, 'page')}"


def _problem(report: FileReport) -> str:
    words = STATUSES.get(report.status, report.status.value)
    reason = f": {plain(report.reason)}" if report.reason else ""
    return f"- `{_code(report.file)}` {words} ({report.status.value}){reason}"


def _more(count: int, noun: str) -> list[str]:
    return [f"- and {_count(count, noun)} more"] if count > 0 else []


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _code(name: str) -> str:
    return " ".join(name.replace("`", "'").split())
