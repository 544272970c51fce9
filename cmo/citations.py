"""Numbers, markers and the bibliography of an answer. Pure: values in, values and text out.

Every marker [n] stands for one Citation. In answers made of verbatim sentences, every Citation stands for a sentence
that was read on its page. In answers a model wrote, the markers are the model's own, and only those are kept that name
a source it was given: a citation cannot point nowhere. This module refuses to know where sources come from.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar
from urllib.parse import quote, urlsplit

from cmo.identifiers import Identifier, in_url, mentions
from cmo.sentences import split_sentences
from cmo.values import Citation, Document, EvidenceSentence, Passage, ScoredPassage, WebSource

Source = TypeVar("Source", bound=Hashable)

MARKER = re.compile(r"""(?:(?<=[.!?…:\])"'”’»。！？：؟।」』）] )|(?<=[。！？」』）]))\[(\d{1,3})\](?=\s|$)""")
"""A citation marker in an answer's text.

It stands after the end of a sentence or after another marker, so that the paper's own "[12]" within a sentence is not
taken for one.
"""

_ALONE = r"(?<![\[【［])"
_NEIGHBOURS = r"(?![(\]】］]|-?[A-Za-z])"
"""What follows a marker: not the address of a Markdown link, nor the rest of a chemical name as in [6]-gingerol."""

ANY_MARKER = re.compile(rf"{_ALONE}\[([0-9]{{1,3}})\]{_NEIGHBOURS}")
"""A citation marker in an answer that a model wrote, as MarkerStream leaves it."""

MARKER_CHARACTERS = 80
"""What is longer in a model's text is no marker; so much is held back at most."""

MOST_IN_RANGE = 10
"""Markers such as [2-5] name at most so many sources; wider ones are taken for numbers, such as an age range."""

MOST_PASSAGE_CHARACTERS = 6_000
"""Of the passage kept with a citation, unless what is quoted takes more: about four passages, mostly a whole page."""

_SPACED_MARKER = re.compile(rf"\s?{ANY_MARKER.pattern}")
_LEADING_MARKERS = re.compile(rf"(?:{ANY_MARKER.pattern}[ \t]*)+")
_MARKERS_ANNOUNCED = re.compile(rf"\n+[^\n.!?]*:(?:{_SPACED_MARKER.pattern})+\s*\Z")
_CLAIM_END = re.compile(r"(?!\s*\[\d)(?:(?<=[.!?\]])\s+|(?<=[。！？])|\n+)")
"""Where the next claim begins: markers that follow a full stop belong to the claim before it."""

_WORDS = ("web", "source", "passage")
_WORD = f"(?i:{'|'.join(_WORDS)})"
_BEGUN_WORD = f"(?i:{'|'.join(word[:end] for word in _WORDS for end in range(1, len(word)))})"
_LABEL = rf"(?:\^|{_WORD}[: ] ?)?\d{{1,3}}"
_LABELS = rf"{_LABEL}(?: ?[-–] ?{_LABEL})?"
_SPACE = r"[ \u00a0\u202f]"
_WRITTEN = rf"{_ALONE}[\[【［] ?{_LABELS}(?: ?[,;，、] ?{_LABELS})* ?[\]】］]"
_WRITTEN_MARKER = re.compile(rf"({_SPACE}?)({_WRITTEN}){_NEIGHBOURS}")
_LAST_SPACE = re.compile(rf"{_SPACE}?\Z")
_UNDECIDED = re.compile(rf"{_SPACE}?(?:{_WRITTEN}-?|[\[【［](?:[\d ^:,;，、–-]|{_WORD})*{_BEGUN_WORD}?)?\Z")
"""The end of a text that what follows may yet make a marker, or may show to be none."""


def page_url(doc_id: str, page: int) -> str:
    """The application's own address of one page of a document."""
    return f"/papers/{quote(doc_id, safe='')}.pdf#page={page}"


def paper_citation(number: int, document: Document, page: int, *, quote: str, passage: str = "") -> Citation:
    """The citation of a page of a paper; `passage` is the text of that page which `quote` was taken from."""
    return Citation(
        number=number,
        document=document.file,
        title=document.title,
        page=page,
        quote=quote,
        url=page_url(document.doc_id, page),
        doc_id=document.doc_id,
        authors=document.authors,
        year=document.year,
        doi=document.doi,
        passage=passage,
    )


def page_passage(quoted: Iterable[Passage], others: Iterable[Passage] = ()) -> str:
    """The text of passages of one page in the order of the page: what overlaps once, what does not touch apart.

    All those `quoted` are in it; of the `others` as many as stay within MOST_PASSAGE_CHARACTERS with them.
    """
    kept = dict.fromkeys(quoted)
    characters = sum(len(passage.text) for passage in kept)
    for passage in others:
        if passage not in kept and characters + len(passage.text) <= MOST_PASSAGE_CHARACTERS:
            kept[passage] = None
            characters += len(passage.text)
    return _joined(sorted(kept, key=lambda passage: passage.start))


def cite(sentences: Sequence[EvidenceSentence], passages: Sequence[ScoredPassage] = ()) -> tuple[Citation, ...]:
    """One citation per page, in the order of first use, its quote being the sentences taken from that page.

    The quote's sentences stand in the order they have on the page, joined by " … " where they do not touch. `passages`
    are what was found besides those the sentences stand in.
    """
    pages: dict[tuple[str, int], list[EvidenceSentence]] = {}
    for sentence in sentences:
        pages.setdefault((sentence.document.doc_id, sentence.passage.page), []).append(sentence)
    return tuple(_citation(number, found, passages) for number, found in enumerate(pages.values(), start=1))


def marked_sentences(sentences: Sequence[EvidenceSentence], citations: Sequence[Citation]) -> list[str]:
    """Each sentence, followed by the marker of the citation its page has."""
    numbers = {(citation.doc_id, citation.page): citation.number for citation in citations}
    return [f"{sentence.text} [{numbers[sentence.document.doc_id, sentence.passage.page]}]" for sentence in sentences]


def answer_sentences(text: str) -> list[tuple[int, int]]:
    """Where the sentences of an answer stand, [start, end), each with the markers behind it."""
    found: list[tuple[int, int]] = []
    for start, end in split_sentences(text):
        markers = _LEADING_MARKERS.match(text, start, end)
        if markers and found:
            found[-1] = (found[-1][0], start + len(markers[0].rstrip()))
            start = markers.end()
        if start < end:
            found.append((start, end))
    return found


def claims(text: str, number: int) -> list[str]:
    """The sentences of an answer, as a model writes them, that carry the marker [number], without any markers.

    Of a sentence with markers inside, it is the part up to the marker.
    """
    return [
        " ".join(_SPACED_MARKER.sub("", claim).split()) for claim in _CLAIM_END.split(text) if f"[{number}]" in claim
    ]


def without_markers(text: str) -> str:
    """A text without the markers of its citations, and without a last line that announced nothing else."""
    return _SPACED_MARKER.sub("", _MARKERS_ANNOUNCED.sub("", text))


def identifier_of(citation: Citation) -> Identifier | None:
    """The DOI of a paper, or the identifier in the address of a page of the web."""
    if citation.page == 0:
        return in_url(citation.url)
    return next((mention.identifier for mention in mentions(citation.doi or "")), None)


def bibliography(citations: Sequence[Citation]) -> list[str]:
    """One line per citation: number, title and page; of a page of the web number, title, site, date and address."""
    return [f"[{citation.number}] {_listed(citation)}" for citation in citations]


class MarkerStream(Generic[Source]):
    """Rewrites the markers of a model's text, while it streams, into the numbers of its sources.

    Models write [1], [web:1], [1, 2], [1-3], 【1】 or [^1], after the labels their sources were given to them by. What
    comes out has [n] for each source, numbered by first use; labels with the same source share its number. Labels that
    name nothing are left out and counted. The result is the same however the text is cut into pieces.
    """

    def __init__(self, sources: Mapping[str, Source]) -> None:
        """`sources` is looked into as markers come, so it may still grow. Labels are numbers without leading zeros."""
        self._sources = sources
        self._numbers: dict[Source, int] = {}
        self._held = ""
        self._before = ""
        self._in_this_run: set[int] = set()
        self._space_left_out: str | None = None
        self.dropped = 0
        """How many labels named nothing."""

    @property
    def sources_used(self) -> tuple[Source, ...]:
        """The sources of the markers so far; the first has number 1."""
        return tuple(self._numbers)

    def feed(self, piece: str) -> str:
        """The next piece with its markers rewritten; what may be part of a marker comes with a later piece."""
        text = self._held + piece
        end = _undecided_from(text)
        self._held = text[end:]
        return self._rewritten(text[:end])

    def finish(self) -> str:
        """What was held back, once the text is at its end."""
        held, self._held = self._held, ""
        return self._rewritten(held)

    def _rewritten(self, text: str) -> str:
        # The sign before tells a marker from nested brackets, and may have come out with the piece before.
        position = len(self._before)
        text = self._before + text
        parts: list[str] = []
        for match in _WRITTEN_MARKER.finditer(text, position):
            labels = _labels(match[2])
            if labels is not None:
                parts += [self._plain(text[position : match.start()]), self._marker(match[1], labels)]
                position = match.end()
        parts.append(self._plain(text[position:]))
        self._before = text[-1:]
        return "".join(parts)

    def _plain(self, text: str) -> str:
        if not text:
            return ""
        self._in_this_run.clear()
        space, self._space_left_out = self._space_left_out, None
        if space is None or not text[0].isalnum():
            return text
        return f"{' ' if text[0].isdigit() else space}{text}"

    def _marker(self, space: str, labels: Sequence[str]) -> str:
        found = [self._sources.get(label) for label in labels]
        self.dropped += found.count(None)
        numbers = dict.fromkeys(
            self._numbers.setdefault(source, len(self._numbers) + 1) for source in found if source is not None
        )
        fresh = [number for number in numbers if number not in self._in_this_run]
        if not fresh:
            self._space_left_out = self._space_left_out or space
            return ""
        space, self._space_left_out = space or self._space_left_out or "", None
        self._in_this_run.update(fresh)
        return space + "".join(f"[{number}]" for number in fresh)


def by_label(sources: Iterable[WebSource]) -> dict[str, WebSource]:
    """Each label with its source, where labels of the same page share one: the first that has a snippet.

    A label that was given to several pages is left out: nobody can tell which of them a marker means.
    """
    pages: dict[str, WebSource] = {}
    labels: dict[str, str] = {}
    ambiguous: set[str] = set()
    for source in sources:
        address = _page(source.url)
        if not pages.setdefault(address, source).snippet and source.snippet:
            pages[address] = source
        if labels.setdefault(source.label, address) != address:
            ambiguous.add(source.label)
    return {label: pages[address] for label, address in labels.items() if label not in ambiguous}


def web_citations(sources: Sequence[WebSource]) -> tuple[Citation, ...]:
    """One citation per page of the web, numbered in the order given."""
    return tuple(
        Citation(
            number=number,
            document=source.site,
            title=source.title,
            page=0,
            quote=source.snippet,
            url=source.url,
            date=source.date,
        )
        for number, source in enumerate(sources, start=1)
    )


def _undecided_from(text: str) -> int:
    """Where the end of a text begins that cannot be judged yet. A marker may have a space before and a "-" behind."""
    undecided = _UNDECIDED.search(text)
    assert undecided is not None, "the empty end matches"
    if len(undecided[0]) > MARKER_CHARACTERS + 2:
        undecided = _LAST_SPACE.search(text) or undecided
    return undecided.start()


def _labels(marker: str) -> list[str] | None:
    """The labels a marker names; None when it is rather a pair of numbers of the text, such as [0, 1] or [18-65]."""
    if len(marker) > MARKER_CHARACTERS:
        return None
    labels: list[int] = []
    for part in re.split("[,;，、]", marker):
        numbers = [int(number) for number in re.findall(r"\d+", part)]
        first, last = numbers[0], numbers[-1]
        if not first <= last < first + MOST_IN_RANGE:
            return None
        labels += range(first, last + 1)
    return None if len(labels) > 1 and 0 in labels else [str(label) for label in labels]


def _page(url: str) -> str:
    """An address without what does not change the page it leads to."""
    parts = urlsplit(url)
    return parts._replace(scheme="", netloc=parts.netloc.lower(), path=parts.path.rstrip("/"), fragment="").geturl()


def _listed(citation: Citation) -> str:
    if citation.page:
        return f"{citation.title}, p. {citation.page}"
    return ", ".join(filter(None, (citation.title, citation.document, citation.date, citation.url)))


def _citation(number: int, sentences: Sequence[EvidenceSentence], passages: Sequence[ScoredPassage]) -> Citation:
    first = sentences[0]
    doc_id, page = first.document.doc_id, first.passage.page
    others = [found.passage for found in passages if (found.document.doc_id, found.passage.page) == (doc_id, page)]
    return paper_citation(
        number,
        first.document,
        page,
        quote=_quote(sentences),
        passage=page_passage((sentence.passage for sentence in sentences), others),
    )


def _joined(passages: Sequence[Passage]) -> str:
    parts: list[str] = []
    covered = passages[0].start if passages else 0
    for passage in passages:
        if passage.start > covered:
            parts.append("\n\n")
        parts.append(passage.text[max(0, covered - passage.start) :])
        covered = max(covered, passage.end)
    return "".join(parts)


def _quote(sentences: Sequence[EvidenceSentence]) -> str:
    in_page_order = sorted(sentences, key=lambda sentence: sentence.start)
    parts = [in_page_order[0].text]
    for before, sentence in itertools.pairwise(in_page_order):
        parts.append((" " if sentence.start - before.end <= 2 else " … ") + sentence.text)
    return "".join(parts)
