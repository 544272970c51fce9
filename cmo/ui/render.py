"""Values as Markdown for the chat. Pure: nothing here talks to anybody.

Text from papers is shown as it stands there, so every character with a meaning in Markdown is escaped. A model's own
words keep paragraphs, lists and emphasis, and nothing else: whoever wrote a page of the web may speak through them.
Markers become plain links to their sources, which work without any script, and identifiers of publications become links
to doi.org, PubMed, PMC or arXiv, made from the identifier; no other text ever becomes a link or an image. Behind
sentences without support stands a link in our own words. The elements under the answer make those to papers and to the
evidence open the side panel.

What is ours around an answer is said in the language of its question.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import TypedDict
from urllib.parse import quote

from cmo.citations import ANY_MARKER, MARKER, identifier_of
from cmo.identifiers import Identifier, mentions
from cmo.phrases import Phrase
from cmo.policy.explanation import explanation
from cmo.policy.routing import spoken, titled
from cmo.translation.phrases import in_language
from cmo.ui import evidence
from cmo.ui.labels import PASSAGE, Labels, direction, labelled
from cmo.values import Answer, Citation, Stage

STOPPED = Phrase("Stopped.")

STAGES = {
    Stage.UNDERSTAND: Phrase("Understanding the question"),
    Stage.DECIDE: Phrase("Deciding where to look"),
    Stage.ASK: Phrase("Looking for an answer"),
    Stage.CITE: Phrase("Checking the citations"),
    Stage.ASSESS: Phrase("Checking each sentence against its page"),
    Stage.SECOND_OPINION: Phrase("Asking for a second opinion"),
    Stage.TRANSLATE: Phrase("Translating the answer"),
    Stage.RECORD: Phrase("Writing the record"),
}

_QUOTE_CHARACTERS = 220

_SENTENCE_END = re.compile(r"[.?!؟।](?=\s|$)|[。？！]")

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

RIGHT_TO_LEFT_MARK = "\u200f"
"""Nothing to see. Beside a marker it ends the run of an English name, which would draw what follows to its own side."""

NESTED = "    "
"""Deep enough to stand under any item of a list, and not so deep that it is taken for code."""

_PLACEHOLDERS = str.maketrans({"\ue000": "\ufffd", "\ue001": "\ufffd"})
_PLACEHOLDER = re.compile("\ue000(\\d+)\ue001")
"""Stands for one of our links while a text is escaped; the text itself can hold none."""

_LABELS = {
    **PASSAGE,
    "made": Phrase("How this answer was made"),
    "why": Phrase("Why this engine?"),
    "original": Phrase("Show the original"),
}


class CitedSource(TypedDict):
    """A citation as the page's elements get it, in JSON.

    `name` is what its marker is called, `where` its page or site, `place` the file with it, and `support` how sure it
    is that it says what cites it, "" when that is not known.
    """

    number: int
    title: str
    name: str
    where: str
    place: str
    page: int
    quote: str
    url: str
    text: bool
    web: bool
    support: str


class AnswerProps(TypedDict):
    """What the element under an answer shows and opens, in JSON.

    `why` are lines on how its engine was chosen, `original` is the English text of a translated answer.
    """

    sources: list[CitedSource]
    facts: list[str]
    why: list[str]
    original: str
    language: str
    direction: str
    labels: Labels


def plain(text: str) -> str:
    """The text on one line, with everything that Markdown would take for markup escaped."""
    return _safe_start(_escaped(_on_one_line(text), _SPECIAL))


def said(text: str, language: str) -> str:
    """A text of ours in a language (ISO 639-1), as Markdown that reads as it stands."""
    return plain(in_language(text, language))


def written(text: str) -> str:
    """A model's own words while they come in: paragraphs, lists and emphasis stay.

    Everything that links, embeds, boxes or shouts is escaped. Any beginning of a text is as safe as the whole.
    """
    return _written(text, _Links(citations=(), marks=(), marker=ANY_MARKER, special=_ACTIVE, language="en"))


def answer(answer: Answer, notices: Sequence[str] = ()) -> str:
    """The answer with its markers linked, what the person should know about it, and its sources."""
    blocks = [_body(answer)]
    blocks += [f"> {said(notice, answer.language)}" for notice in (answer.notice, *notices) if notice]
    if answer.citations:
        blocks.append(_sources(answer) if answer.answered else _nearest(answer))
    return "\n\n".join(blocks)


def answer_props(answer: Answer) -> AnswerProps:
    """The facts under an answer, the sources its markers open, and why its engine was asked."""
    language = answer.language
    return AnswerProps(
        sources=[_cited_source(citation, language) for citation in answer.citations],
        facts=[in_language(fact, language) for fact in _facts(answer)],
        why=[in_language(line, language) for line in explanation(answer.decision)] if answer.decision else [],
        original=answer.original.replace("**", "") if answer.written else answer.original,
        language=language,
        direction=direction(language),
        labels=labelled(_LABELS, language),
    )


def cost(usd: float) -> str:
    """Dollars, with as many digits as small sums need."""
    return Phrase("no cost") if usd == 0 else f"${usd:.4f}" if usd < 0.1 else f"${usd:.2f}"


def stage_line(stage: Stage, language: str) -> str:
    """A stage's name for people."""
    return in_language(STAGES[stage], language)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Links:
    """What becomes a link in a text: markers of these citations, and placeholders of these marks."""

    citations: Sequence[Citation]
    marks: Sequence[evidence.Mark]
    marker: re.Pattern[str]
    special: re.Pattern[str]
    language: str

    def found(self, text: str) -> list[tuple[int, int, str]]:
        """Where each link stands in the text, [start, end), and what it becomes; in order."""
        side = RIGHT_TO_LEFT_MARK if direction(self.language) == "rtl" else ""
        links = {each.number: f"{side}{_marker(each, self.language)}{side}" for each in self.citations}
        found = [(*match.span(), links.get(int(match[1]), "")) for match in self.marker.finditer(text)]
        found += [(*match.span(), _mark(self.marks[int(match[1])])) for match in _PLACEHOLDER.finditer(text)]
        found += [
            (each.start, each.end, _identifier_link(text[each.start : each.end], each.identifier))
            for each in mentions(text)
        ]
        return sorted((each for each in found if each[2]), key=itemgetter(0))


def _facts(answer: Answer) -> Iterator[str]:
    yield titled(answer.engine)
    yield Phrase("written by {model}", model=answer.model) if answer.written else answer.model
    yield f"{answer.seconds:.1f} s"
    yield cost(answer.cost_usd)
    if answer.second_opinion:
        yield Phrase("asked as well: {engine}", engine=spoken(answer.second_opinion))
    if answer.translated_by:
        yield Phrase("translated by {service}", service=answer.translated_by)
    if answer.cached_seconds is not None:
        yield _age(answer.cached_seconds)


def _age(seconds: float) -> Phrase:
    """How long ago an answer was given, in one unit."""
    if seconds >= 86_400:
        return Phrase("answered {number} d ago", number=round(seconds / 86_400))
    if seconds >= 3_600:
        return Phrase("answered {number} h ago", number=round(seconds / 3_600))
    if seconds >= 60:
        return Phrase("answered {number} min ago", number=round(seconds / 60))
    return Phrase("answered {number} s ago", number=round(seconds))


def _body(answer: Answer) -> str:
    if not answer.answered:
        return _refusal(answer)
    links = _Links(
        citations=answer.citations,
        marks=evidence.marks(answer),
        marker=ANY_MARKER if answer.written else MARKER,
        special=_ACTIVE if answer.written else _SPECIAL,
        language=answer.language,
    )
    return (_written if answer.written else _verbatim)(answer.text, links)


def _written(text: str, links: _Links) -> str:
    lines: list[str] = []
    in_list = False
    for line in map(str.rstrip, _INVISIBLE.sub("", _with_placeholders(text, links.marks)).splitlines()):
        bullet = _BULLET.match(line)
        indent = NESTED if in_list and bullet and len(bullet[1].expandtabs()) > 1 else ""
        start = f"{indent}{bullet[2]} " if bullet else ""
        lines.append(start + _written_body(line[bullet.end() if bullet else 0 :].strip(), links))
        in_list = bool(bullet) or (in_list and not line)
    return "\n".join(lines).strip()


def _verbatim(text: str, links: _Links) -> str:
    """Sentences of papers as they stand there, with a link for each marker that has a citation."""
    paragraphs = map(_on_one_line, _with_placeholders(text, links.marks).split("\n\n"))
    return "\n\n".join(_safe_start(_linked(paragraph, links)) for paragraph in paragraphs)


def _with_placeholders(text: str, marks: Sequence[evidence.Mark]) -> str:
    """The text with a placeholder behind each sentence that has a mark."""
    places = sorted((mark.at, number) for number, mark in enumerate(marks))
    parts: list[str] = []
    position = 0
    for at, number in places:
        parts += [text[position:at].translate(_PLACEHOLDERS), f" \ue000{number}\ue001"]
        position = at
    return "".join([*parts, text[position:].translate(_PLACEHOLDERS)])


def _on_one_line(text: str) -> str:
    return " ".join(_INVISIBLE.sub("", text).split())


def _safe_start(line: str) -> str:
    return _LINE_START.sub(_escaped_line_start, line)


def _written_body(body: str, links: _Links) -> str:
    if not any(sign.isalnum() for sign in body):
        return _escaped(body, _PUNCTUATION)  # rules, underlines and the like
    return _safe_start(_linked(body, links))


def _escaped(text: str, special: re.Pattern[str]) -> str:
    return special.sub(r"\\\g<0>", _JOINED.sub(WORD_JOINER, text))


def _escaped_line_start(match: re.Match[str]) -> str:
    return f"{match[1]}{match[2]}\\" if match[2][0].isdigit() else f"{match[1]}\\{match[2]}"


def _linked(text: str, links: _Links) -> str:
    """The text, what is special in it escaped, with its links; one that begins within another stays text."""
    parts: list[str] = []
    position = 0
    for start, end, link in links.found(text):
        if start >= position:
            parts += [_escaped(text[position:start], links.special), link]
            position = end
    return "".join([*parts, _escaped(text[position:], links.special)])


def _identifier_link(words: str, identifier: Identifier) -> str:
    return f"[{_escaped(words, _SPECIAL)}](<{identifier.url}>)"


def _marker(citation: Citation, language: str) -> str:
    return _link(f"\\[{citation.number}\\]", citation, language)


def _mark(mark: evidence.Mark) -> str:
    return f'[{plain(mark.words)}](<{mark.target}> "{_attribute(mark.title)}")'


def _link(words: str, citation: Citation, language: str) -> str:
    """The words, leading to the citation's page where it has an address that may be followed."""
    address = _address(citation.url).replace("&", r"\&")
    if not address:
        return words
    title = _attribute(f"{citation.title}, {_where(citation, language)}")
    return f'[{words}](<{address}> "{title}")'


def _where(citation: Citation, language: str) -> str:
    """The page of a paper, the site of a page of the web."""
    return in_language(Phrase("page {page}", page=citation.page), language) if citation.page else citation.document


def _attribute(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"')


def _address(url: str) -> str:
    """An address as it stands in the page in the end; "" for one that leads to no paper and no page of the web."""
    if not _ADDRESS.match(url):
        return ""
    return _LONE_PERCENT.sub("%25", quote(url, safe=_STAYS_IN_ADDRESSES, errors="replace"))


def _refusal(answer: Answer) -> str:
    text = in_language(answer.text, answer.language)
    end = _SENTENCE_END.search(text)
    cut = end.end() if end else len(text)
    return f"> **{plain(text[:cut])}** {plain(text[cut:])}".strip()


def _sources(answer: Answer) -> str:
    heading = said(Phrase("Sources"), answer.language)
    return "\n".join([f"**{heading}**", "", *(_source(each, answer.language) for each in answer.citations)])


def _source(citation: Citation, language: str) -> str:
    identifier = identifier_of(citation)
    found_at = _identifier_link(identifier.label, identifier) if identifier else ""
    parts = (_link(plain(citation.title), citation, language), _place(citation, language), found_at)
    how_sure = f" · {_support(citation, language)}" if citation.confidence is not None else ""
    return f"{citation.number}. {', '.join(filter(None, parts))}{how_sure}"


def _place(citation: Citation, language: str) -> str:
    if citation.page:
        return said(Phrase("p. {page}", page=citation.page), language)
    date = plain(citation.date).replace("-", f"-{WORD_JOINER}")  # not to be broken in two
    return ", ".join(filter(None, (plain(citation.document), date)))


def _support(citation: Citation, language: str) -> str:
    return "" if citation.confidence is None else in_language(evidence.support(citation.confidence), language)


def _nearest(answer: Answer) -> str:
    heading = said(Phrase("Nearest passages"), answer.language)
    lines = [f"{_source(each, answer.language)}: “{plain(_short(each.quote))}”" for each in answer.citations]
    return "\n".join([f"**{heading}**", "", *lines])


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _QUOTE_CHARACTERS else f"{line[:_QUOTE_CHARACTERS].rsplit(' ', 1)[0]} …"


def _cited_source(citation: Citation, language: str) -> CitedSource:
    where = _where(citation, language)
    return CitedSource(
        number=citation.number,
        title=citation.title,
        name=in_language(
            Phrase("Source {number}: {title}, {where}", number=citation.number, title=citation.title, where=where),
            language,
        ),
        where=where,
        place=f"[{citation.number}] {citation.document}{f', {where}' if citation.page else ''}",
        page=citation.page,
        quote=citation.quote,
        url=_address(citation.url),
        text=not citation.document.lower().endswith(".pdf"),
        web=citation.page == 0,
        support=_support(citation, language),
    )
