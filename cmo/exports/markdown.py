"""Questions and answers as Markdown (CommonMark): the answer with its markers, and below it each source with its quote,
and each sentence with what its sources say to it.

No text of a paper, a model or a page of the web can make a heading, a picture, HTML, or a link that hides where it
leads: links are those to the sources.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from cmo.citations import identifier_of
from cmo.exports.references import Exchange, address, on_one_line
from cmo.values import Answer, Citation, Quality, SentenceSupport, Verdict

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
    yield _text(answer, answer.text)
    if answer.notice:
        yield f"> {_plain(answer.notice)}"
    if answer.citations:
        yield "## Sources" if answer.answered else "## Nearest passages"
        yield _sources(exchange)
    yield from _quality(answer)
    if answer.original:
        yield "## English original"
        yield _text(answer, answer.original)
    yield _made_with(answer)


def _text(answer: Answer, text: str) -> str:
    return (_own_words if answer.written else _verbatim)(text)


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


def _quality(answer: Answer) -> Iterator[str]:
    """The scores, and each sentence with its verdict; why there are none, where assessing failed."""
    if answer.quality is None:
        if answer.not_assessed:
            yield "## Quality"
            yield _plain(f"Not assessed: {answer.not_assessed}")
        return
    yield "## Quality"
    yield _scores(answer.quality)
    yield from map(_plain, answer.quality.notes)
    if answer.quality.sentences:
        yield "\n".join(_judged(number, answer, one) for number, one in enumerate(answer.quality.sentences, start=1))


def _scores(quality: Quality) -> str:
    supported = sum(sentence.verdict is Verdict.SUPPORTED for sentence in quality.sentences)
    parts = (
        f"relevance {quality.relevance:.2f}",
        f"accuracy {quality.accuracy:.2f}",
        f"consistency {quality.consistency:.2f}",
        *(f"{_plain(custom.name)} {custom.score:.2f}" for custom in quality.custom),
    )
    return (
        f"**{quality.badge.value.capitalize()}, {quality.composite:.2f}:** {', '.join(parts)}. "
        f"Sentences supported by their sources: {supported} of {len(quality.sentences)}."
    )


def _judged(number: int, answer: Answer, sentence: SentenceSupport) -> str:
    """A sentence with its verdict, the probability that its sources support it, and the place that comes nearest."""
    start = f"{number}. "
    likely = "" if sentence.verdict is Verdict.UNCHECKED else f" ({sentence.score:.2f})"
    text = _plain(sentence.text, _ACTIVE if answer.written else _SPECIAL)
    line = f"{start}**{sentence.verdict.value.replace('_', ' ').capitalize()}**{likely}: {text}"
    if not sentence.quote.strip():
        return line
    return f"{line}\n{' ' * len(start)}> {_place(answer, sentence.source)}“{_plain(sentence.quote)}”"


def _place(answer: Answer, source: int) -> str:
    """The number of a source and its page, as far as there are any."""
    page = next((citation.page for citation in answer.citations if citation.number == source), 0)
    parts = (f"\\[{source}\\]" if source else "", f"p. {page}" if page else "")
    return "".join(f"{part} " for part in parts if part)


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
