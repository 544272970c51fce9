"""Questions and answers as Markdown (CommonMark): the answer with its markers, and below it each source with its quote.

No text of a paper, a model or a page of the web can make a heading, a picture, HTML, or a link that hides where it
leads: links are those to the sources.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from cmo.citations import identifier_of
from cmo.exports.references import Exchange, address, on_one_line
from cmo.values import Answer, Citation

_SPECIAL = re.compile(r"[\\`*_\[\]<>|~&$^]")
_ACTIVE = re.compile(r"[\\`\[\]<>|~&$^]")
_LINE_START = re.compile(r"^(?:[#=:]|[-+](?=\s|-|$)|\d{1,9}(?=[.)](?:\s|$)))")
_BULLET = re.compile(r"(\s*)([-*+]|\d{1,3}[.)])\s+(?=\S)")
_AUTHORS_NAMED = 3
_NESTED = 4
"""Spaces before an item of a list within a list; more would make it code."""


def written(exchanges: Sequence[Exchange]) -> str:
    """The text of a .md file, in UTF-8."""
    blocks = [block for exchange in exchanges for block in _blocks(exchange)]
    return "\n\n".join([*blocks, "*For research, not for diagnosis or treatment.*"]) + "\n"


def _blocks(exchange: Exchange) -> Iterator[str]:
    answer = exchange.answer
    yield f"# {_plain(exchange.question)}"
    yield (_own_words if answer.written else _verbatim)(answer.text)
    if answer.notice:
        yield f"> {_plain(answer.notice)}"
    if answer.citations:
        yield "## Sources" if answer.answered else "## Nearest passages"
        yield _sources(exchange)
    yield _made_with(answer)


def _sources(exchange: Exchange) -> str:
    return "\n".join(map(_source, exchange.answer.citations))


def _source(citation: Citation) -> str:
    start = f"{citation.number}. "
    quoted = f"\n{' ' * len(start)}> “{_plain(citation.quote)}”" if citation.quote.strip() else ""
    return f"{start}{_described(citation)}{quoted}"


def _described(citation: Citation) -> str:
    """Authors, year, title, page and where to find it."""
    identifier = identifier_of(citation)
    page = address(citation)
    title = f"*{_plain(citation.title)}*" if citation.title.strip() else "*Untitled*"
    parts = (
        _authors(citation),
        _link(title, page) if page else title,
        f"p. {citation.page}" if citation.page else "",
        _plain(citation.document),
        _plain(citation.date),
        _link(_plain(identifier.label), identifier.url) if identifier else "",
    )
    return ", ".join(filter(None, parts))


def _authors(citation: Citation) -> str:
    names = [_plain(author) for author in citation.authors[:_AUTHORS_NAMED] if author.strip()]
    year = f"({citation.year})" if citation.year is not None else ""
    more = "et al." if len(citation.authors) > _AUTHORS_NAMED else ""
    return " ".join(filter(None, (", ".join(names), more, year)))


def _link(words: str, url: str) -> str:
    return f"[{words}](<{url}>)"


def _made_with(answer: Answer) -> str:
    by = f"written by {answer.model}" if answer.written else answer.model
    return _plain(f"{answer.engine}, {by}")


def _verbatim(text: str) -> str:
    return "\n\n".join(filter(None, map(_plain, text.split("\n\n"))))


def _own_words(text: str) -> str:
    """A model's paragraphs, lists and emphasis."""
    return "\n".join(map(_line, text.splitlines())).strip()


def _line(line: str) -> str:
    bullet = _BULLET.match(line)
    if bullet is None:
        return _plain(line, _ACTIVE)
    indent = " " * (_NESTED if len(bullet[1].expandtabs()) > 1 else 0)
    return f"{indent}{bullet[2]} {_plain(line[bullet.end() :], _ACTIVE)}"


def _plain(text: str, special: re.Pattern[str] = _SPECIAL) -> str:
    """The text on one line, with everything that Markdown would take for markup escaped."""
    line = special.sub(r"\\\g<0>", on_one_line(text))
    return _LINE_START.sub(_escaped_start, line)


def _escaped_start(match: re.Match[str]) -> str:
    return f"{match[0]}\\" if match[0].isdigit() else f"\\{match[0]}"
