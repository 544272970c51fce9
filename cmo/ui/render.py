"""Values as Markdown for the chat. Pure: nothing here talks to anybody.

Text from papers is shown as it stands there, so every character with a meaning in Markdown is escaped. A model's own
words keep paragraphs, lists and emphasis, and nothing else: whoever wrote a page of the web may speak through them.
Markers become plain links to their sources, which work without any script, and identifiers of publications become links
to doi.org, PubMed, PMC or arXiv, made from the identifier; no other text ever becomes a link or an image. The element
beside the answer makes those to papers open the side panel.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TypedDict
from urllib.parse import quote

from cmo.citations import ANY_MARKER, MARKER, identifier_of
from cmo.identifiers import Identifier, mentions
from cmo.policy.explanation import explanation
from cmo.policy.routing import titled
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
    Stage.ASK: "Looking for an answer",
    Stage.CITE: "Checking the citations",
    Stage.RECORD: "Writing the record",
}

STATUSES = {
    FileStatus.NEEDS_OCR: "has no text, only pictures of pages",
    FileStatus.ENCRYPTED: "is protected by a password",
    FileStatus.CORRUPT: "is damaged",
    FileStatus.EMPTY: "is empty",
    FileStatus.TOO_LARGE: "is too large",
    FileStatus.FAILED: "could not be read",
}

_QUOTE_CHARACTERS = 220

WORD_JOINER = "\u2060"
"""Nothing to see, and no line breaks here. Chainlit makes addresses, e-mail addresses and ":::" boxes out of text whose
backslashes are gone already, so that only another character keeps it from doing so."""

_SPECIAL = re.compile(r"[\\`*_\[\]|~]|<(?=[a-zA-Z/!?])|&(?=#?\w+;)|:(?=[^\W\d_]|:)")
_ACTIVE = re.compile(r"[\\`\[\]|~]|!(?=\[|$)|<(?=[a-zA-Z/!?])|&(?=#?\w+;)|:(?=[^\W\d_]|:)")
_JOINED = re.compile(r"(?<=:)(?=//|:)|(?i:(?<=www)(?=\.))|(?<=[\w.+-]@)(?=[\w-])")
_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")
_INVISIBLE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\u200b\u202a-\u202e\u2066-\u2069]")
"""Control characters, Chainlit's cursor, and what makes text run backwards."""
_BULLET = re.compile(r"(\s*)([-*+]|\d{1,2}[.)])\s+(?=\S)")
_LINE_START = re.compile(r"(?m)^(\s*)([#>+-]|\d+(?=[.)](?:\s|$)))")
_ADDRESS = re.compile(r"/papers/|https?://", re.IGNORECASE)
_STAYS_IN_ADDRESSES = "!#$%&'()*+,-./:;=?@_~"
_LONE_PERCENT = re.compile(r"%(?![0-9A-Za-z]{2})")

NESTED = "    "
"""Deep enough to stand under any item of a list, and not so deep that it is taken for code."""


class CitedSource(TypedDict):
    """A citation as the page's elements get it, in JSON."""

    number: int
    title: str
    document: str
    page: int
    quote: str
    url: str
    text: bool
    web: bool


class AnswerProps(TypedDict):
    """What the element under an answer shows and opens, in JSON. `why` are lines on how its engine was chosen."""

    answered: bool
    sources: list[CitedSource]
    facts: list[str]
    why: list[str]


def plain(text: str) -> str:
    """The text on one line, with everything that Markdown would take for markup escaped."""
    return _safe_start(_escaped(_on_one_line(text), _SPECIAL))


def written(text: str, citations: Sequence[Citation] = ()) -> str:
    """A model's own words, their markers linked to these citations: paragraphs, lists and emphasis stay.

    Everything that links, embeds, boxes or shouts is escaped. Any beginning of a text is as safe as the whole.
    """
    links = {citation.number: _marker(citation) for citation in citations}
    lines: list[str] = []
    in_list = False
    for line in map(str.rstrip, _INVISIBLE.sub("", text).splitlines()):
        bullet = _BULLET.match(line)
        indent = NESTED if in_list and bullet and len(bullet[1].expandtabs()) > 1 else ""
        start = f"{indent}{bullet[2]} " if bullet else ""
        lines.append(start + _written_body(line[bullet.end() if bullet else 0 :].strip(), links))
        in_list = bool(bullet) or (in_list and not line)
    return "\n".join(lines).strip()


def answer(answer: Answer, notices: Sequence[str] = ()) -> str:
    """The answer with its markers linked, what the person should know about it, and its sources."""
    blocks = [_body(answer)]
    blocks += [f"> {plain(notice)}" for notice in (answer.notice, *notices) if notice]
    if answer.citations:
        blocks.append(_sources(answer) if answer.answered else _nearest(answer.citations))
    return "\n\n".join(blocks)


def answer_props(answer: Answer) -> AnswerProps:
    """The facts under an answer, the sources its markers open, and why its engine was asked."""
    return AnswerProps(
        answered=answer.answered,
        sources=[_cited_source(citation) for citation in answer.citations],
        facts=[
            titled(answer.engine),
            f"written by {answer.model}" if answer.written else answer.model,
            f"{answer.seconds:.1f} s",
            cost(answer.cost_usd),
            *([f"answered {age(answer.cached_seconds)} ago"] if answer.cached_seconds is not None else []),
        ],
        why=explanation(answer.decision) if answer.decision else [],
    )


def cost(usd: float) -> str:
    """Dollars, with as many digits as small sums need."""
    return "no cost" if usd == 0 else f"${usd:.4f}" if usd < 0.1 else f"${usd:.2f}"


def age(seconds: float) -> str:
    """How long ago something was, in one unit."""
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            return _count(round(seconds / length), unit)
    return _count(round(seconds), "second")


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


def _body(answer: Answer) -> str:
    if not answer.answered:
        return _refusal(answer)
    return (written if answer.written else _verbatim)(answer.text, answer.citations)


def _verbatim(text: str, citations: Sequence[Citation]) -> str:
    """Sentences of papers as they stand there, with a link for each marker that has a citation."""
    links = {citation.number: _marker(citation) for citation in citations}
    paragraphs = map(_on_one_line, text.split("\n\n"))
    return "\n\n".join(_safe_start(_linked(paragraph, links, MARKER, _SPECIAL)) for paragraph in paragraphs)


def _on_one_line(text: str) -> str:
    return " ".join(_INVISIBLE.sub("", text).split())


def _safe_start(line: str) -> str:
    return _LINE_START.sub(_escaped_line_start, line)


def _written_body(body: str, links: Mapping[int, str]) -> str:
    if not any(sign.isalnum() for sign in body):
        return _escaped(body, _PUNCTUATION)  # rules, underlines and the like
    return _safe_start(_linked(body, links, ANY_MARKER, _ACTIVE))


def _escaped(text: str, special: re.Pattern[str]) -> str:
    return special.sub(r"\\\g<0>", _JOINED.sub(WORD_JOINER, text))


def _escaped_line_start(match: re.Match[str]) -> str:
    return f"{match[1]}{match[2]}\\" if match[2][0].isdigit() else f"{match[1]}\\{match[2]}"


def _linked(text: str, links: Mapping[int, str], marker: re.Pattern[str], special: re.Pattern[str]) -> str:
    """The text, what is special in it escaped, with links for identifiers and for each marker that has one."""
    found = [(match.start(), match.end(), links.get(int(match[1]))) for match in marker.finditer(text)]
    found += [
        (mention.start, mention.end, _identifier_link(text[mention.start : mention.end], mention.identifier))
        for mention in mentions(text)
    ]
    parts: list[str] = []
    position = 0
    for start, end, link in sorted(found, key=itemgetter(0)):
        if link is not None and start >= position:
            parts += [_escaped(text[position:start], special), link]
            position = end
    return "".join([*parts, _escaped(text[position:], special)])


def _identifier_link(words: str, identifier: Identifier) -> str:
    return f"[{_escaped(words, _SPECIAL)}](<{identifier.url}>)"


def _marker(citation: Citation) -> str:
    return _link(f"\\[{citation.number}\\]", citation)


def _link(words: str, citation: Citation) -> str:
    """The words, leading to the citation's page where it has an address that may be followed."""
    address = _address(citation.url).replace("&", r"\&")
    if not address:
        return words
    place = f", page {citation.page}" if citation.page else f" ({citation.document})"
    title = _attribute(f"{citation.title}{place}")
    return f'[{words}](<{address}> "{title}")'


def _attribute(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"')


def _address(url: str) -> str:
    """An address as it stands in the page in the end; "" for one that leads to no paper and no page of the web."""
    if not _ADDRESS.match(url):
        return ""
    return _LONE_PERCENT.sub("%25", quote(url, safe=_STAYS_IN_ADDRESSES, errors="replace"))


def _refusal(answer: Answer) -> str:
    first, _, rest = answer.text.partition(". ")
    return f"> **{plain(first).rstrip('.')}.** {plain(rest)}".strip()


def _sources(answer: Answer) -> str:
    return "\n".join(["**Sources**", "", *map(_source, answer.citations)])


def _source(citation: Citation) -> str:
    identifier = identifier_of(citation)
    found_at = _identifier_link(identifier.label, identifier) if identifier else ""
    parts = (_link(plain(citation.title), citation), _place(citation), found_at)
    return f"{citation.number}. {', '.join(filter(None, parts))}"


def _place(citation: Citation) -> str:
    if citation.page:
        return f"p. {citation.page}"
    date = plain(citation.date).replace("-", f"-{WORD_JOINER}")  # not to be broken in two
    return ", ".join(filter(None, (plain(citation.document), date)))


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
        url=_address(citation.url),
        text=not citation.document.lower().endswith(".pdf"),
        web=citation.page == 0,
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
