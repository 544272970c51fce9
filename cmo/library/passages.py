"""From the pages of a document to passages: about 200 words of one page and one kind, whole sentences, verbatim.

Pure. Reference lists and boilerplate (addresses, licences, thanks, contributions) become passages too, so that every
word is accounted for, but under their own kind, which no answer uses.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from cmo.library.layout import BlockKind
from cmo.library.pdf import Block, PageText
from cmo.sentences import split_sentences
from cmo.values import Passage, PassageKind

PASSAGE_RULES = "2"
"""Changes whenever the same pages may give other passages; part of the index fingerprint."""

LONGEST = 1.3
"""A passage is at most this many times the wanted number of words, unless one sentence alone is longer."""

_SECTION_CUT = 50  # words by which a cut may miss the even share to fall before a heading
_PARAGRAPH_CUT = 15  # the same to fall between paragraphs
_SCRAP_WORDS = 12  # body text shorter than this between boilerplate is boilerplate too
_LONG_PARAGRAPH_WORDS = 150  # running text longer than this is no boilerplate by its looks

_NUMBER = r"(?:\d{1,2}(?:\.\d{1,2})*\.?\s+|[IVX]+\.\s+)?"
_REFERENCES_HEADING = re.compile(
    _NUMBER + r"(?:references?(?: and notes)?|bibliography|literature cited|works cited|cited literature|"
    r"literature)[.:]?(?: \(\d+\))?",
    re.IGNORECASE,
)
_BOILERPLATE_NAMES = (
    r"(?:conflicts?|competing|declaration) (?:of )?(?:competing )?(?:financial )?interests?(?: statements?)?|"
    r"acknowledge?ments?|disclosures?(?: statements?)?|"
    r"funding(?: (?:statement|sources?|information))?|financial (?:support|disclosures?)|"
    r"authors?.{0,2} ?(?:contributions?|details|information)|(?:about|contributions of) the authors?|"
    r"author affiliations?|"
    r"grant (?:support|information)|publisher.s note|open access|copyright|how to cite(?: this article)?|citation|"
    r"cite this article|correspondence(?: to)?|additional files?|electronic supplementary material|"
    r"supplementary (?:materials?|information)|(?:table of )?contents|"
    r"provenance and peer review|rights and permissions|pre-publication history|license"
)
_BOILERPLATE_HEADING = re.compile(_NUMBER + rf"(?:{_BOILERPLATE_NAMES})[.:]?", re.IGNORECASE)
_BOILERPLATE_START = re.compile(
    r"\W*(?:[\w. ]{3,60}(?:19|20)\d\d, ?\d+, .{0,40}doi:|©|\(c\) ?(?:19|20)|copyright\b|"
    r"(?:19|20)\d\d the authors?\b|the author\(s\)|"
    r"(?:received|accepted|revised|published(?: online)?):?\s+\d|"
    r"submitted:? \d|submission date|academic editors?|(?:handling |guest )?editors?:|edited by|"
    r"reviewed by|reviewers?:|correspond(?:ence\b(?! analys)|ing author)|author for correspondence|e-?mails?:|tel\.?:|"
    r"cite this|citation:|how to cite|electronic supplementary material|supplementary material is|"
    r"full list of author|equal contribut|these authors contributed|"
    r"open access(?! (?-i:[a-z]))|this is an open.access|licensee|"
    r"this article is (?:an open|distributed|licensed|published)|"
    r"submit your (?:next )?manuscript|publish with|doi:? ?(?:10|https?)|https?://|www\.|issn\b|article (?:type|url)|"
    r"full terms|to whom correspondence|present address|like all articles|articles in bmc|for information about|"
    r"this provisional pdf|the author declares?|the authors declare|authors? contributed|"
    r"all authors (?:have )?(?:read|approved)|"
    rf"(?:{_BOILERPLATE_NAMES})(?::|(?-i: [A-Z])))",
    re.IGNORECASE,
)
_AFTER_REFERENCES = re.compile(
    r"\W*(?:©|copyright\b|submit your|publish with|cite this|doi:\S+\s+cite this|this (?:article )?is an open.access)",
    re.IGNORECASE,
)
_RUN_IN = re.compile(rf"(?:{_BOILERPLATE_NAMES})\s*(?:[:.]|(?-i:[A-Z]))", re.IGNORECASE)
_PLACE = re.compile(
    r"\b(?:Departments?|Institut\w*|Universit\w+|School|Faculty|Hospital|Cent(?:re|er)|College|Laborator\w+|Division|"
    r"GmbH|Inc\.|Ltd)\b"
)
_EMAIL = re.compile(r"\S+@\S+\.\w+")
_LEADERS = re.compile(r"\.{5,}|(?:\. ){5,}")
_AUTHOR = re.compile(r"\b[A-Z][\w’'-]+,?\s(?:[A-Z]\.?[- ]?){1,3}[,;:.&]")
_WHERE_PUBLISHED = re.compile(
    r"\b\d+\s*(?:\(\d[\d–-]*\))?\s*[:,]\s*[A-Z]?\d+(?:\s*[–-]\s*[A-Z]?\d+)?|\bdoi\b|\bin press\b", re.IGNORECASE
)
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unit:
    """A heading, sentence or row that no passage cuts, with the words it counts."""

    start: int
    end: int
    words: int
    kind: PassageKind
    section: str
    heading: bool
    begins_block: bool


def split_passages(doc_id: str, pages: Sequence[PageText], *, words: int = 200) -> tuple[Passage, ...]:
    """The passages of a document in reading order; each word of its pages is in exactly one.

    A passage has about `words` words; fewer where a page or the kind of text ends. Its section is the heading over most
    of it, carried on from page to page.
    """
    reader = _SectionReader()
    passages: list[Passage] = []
    for number, page in enumerate(pages, start=1):
        units = _without_scraps(list(reader.units(page)))
        runs = (list(run) for _, run in groupby(units, key=lambda unit: unit.kind))
        pieces = (piece for run in runs for piece in _pieces(run, words))
        for count, piece in enumerate(pieces, start=1):
            passages.append(_passage(doc_id, number, count, page, piece))
    return tuple(passages)


def _passage(doc_id: str, number: int, count: int, page: PageText, units: Sequence[_Unit]) -> Passage:
    start, end = units[0].start, units[-1].end
    sections: Counter[str] = Counter()
    for unit in units:
        sections[unit.section] += unit.words
    return Passage(
        chunk_id=f"{doc_id}-p{number:04d}-c{count:02d}",
        doc_id=doc_id,
        page=number,
        start=start,
        end=end,
        text=page.text[start:end],
        section=sections.most_common(1)[0][0],
        kind=units[0].kind,
    )


class _SectionReader:
    """Reads the blocks of a document in order and knows the section they stand in."""

    def __init__(self) -> None:
        self._section = ""
        self._kind = PassageKind.BODY
        self._entries = 0  # paragraphs of references one after another: the list has begun, heading or not

    def units(self, page: PageText) -> Iterator[_Unit]:
        """The units of the next page."""
        for block in page.blocks:
            text = page.text[block.start : block.end]
            kind = self._enter(text) if block.kind is BlockKind.HEADING else self._kind_of(block, text)
            yield from self._block_units(page, block, kind)

    def _enter(self, heading: str) -> PassageKind:
        """The kind of the heading itself; names and addresses set in a large font open no section."""
        boilerplate = _BOILERPLATE_HEADING.fullmatch(heading)
        if _is_front_matter(heading) or (_BOILERPLATE_START.match(heading) and not boilerplate):
            return PassageKind.BOILERPLATE
        self._section = heading
        if _REFERENCES_HEADING.fullmatch(heading):
            self._kind = PassageKind.REFERENCES
        elif boilerplate:
            self._kind = PassageKind.BOILERPLATE
        else:
            self._kind = PassageKind.BODY
        return self._kind

    def _kind_of(self, block: Block, text: str) -> PassageKind:
        if self._kind is PassageKind.REFERENCES:
            return PassageKind.BOILERPLATE if _AFTER_REFERENCES.match(text) else PassageKind.REFERENCES
        if _is_reference_list(text):
            self._entries += 1
            if self._entries > 1:
                self._kind = PassageKind.REFERENCES
            return PassageKind.REFERENCES
        self._entries = 0
        if block.kind is BlockKind.TABLE:
            return PassageKind.BOILERPLATE if _is_address(text) or _LEADERS.search(text) else PassageKind.BODY
        return PassageKind.BOILERPLATE if _is_boilerplate(text) else self._kind

    def _block_units(self, page: PageText, block: Block, kind: PassageKind) -> Iterator[_Unit]:
        text = page.text[block.start : block.end]
        heading = block.kind is BlockKind.HEADING
        for count, (start, end) in enumerate([(0, len(text))] if heading else split_sentences(text)):
            yield _Unit(
                start=block.start + start,
                end=block.start + end,
                words=len(text[start:end].split()),
                kind=kind,
                section=self._section,
                heading=heading,
                begins_block=count == 0,
            )


def _is_boilerplate(text: str) -> bool:
    if _LEADERS.search(text):
        return True
    if text[0].islower():
        return False
    if _RUN_IN.match(text):
        return True
    if len(text.split()) > _LONG_PARAGRAPH_WORDS:
        return False
    return _BOILERPLATE_START.match(text) is not None or _is_front_matter(text)


def _is_front_matter(text: str) -> bool:
    """Whether it lists authors or their addresses."""
    if _is_address(text):
        return True
    names = text.count(",") + text.count(" and ") + text.count("&") + text.count("*")
    return names > 1 and len(text.split()) > 4 and _capitals(text) > 0.85


def _is_address(text: str) -> bool:
    if _EMAIL.search(text) and len(text.split()) < 60:
        return True
    return _PLACE.search(text) is not None and text.count(",") > 1 and _capitals(text) > 0.6


def _capitals(text: str) -> float:
    """Share of the words that begin with a capital letter."""
    words = [word for word in text.split() if word[0].isalpha()]
    return sum(word[0].isupper() for word in words) / max(1, len(words))


def _is_reference_list(text: str) -> bool:
    """Whether a paragraph consists of entries with authors, year, volume and pages."""
    authors, places, years = (len(pattern.findall(text)) for pattern in (_AUTHOR, _WHERE_PUBLISHED, _YEAR))
    words = len(text.split())
    return authors > 1 and places > 0 and years > 0 and (authors + 2 * places + years) / words > 0.2


def _without_scraps(units: list[_Unit]) -> list[_Unit]:
    """The units with a few words of body text between boilerplate counted to it."""
    runs = [list(run) for _, run in groupby(units, key=lambda unit: unit.kind)]
    for number in range(1, len(runs) - 1):
        around = {runs[number - 1][0].kind, runs[number + 1][0].kind}
        scrap = runs[number][0].kind is PassageKind.BODY and sum(unit.words for unit in runs[number]) < _SCRAP_WORDS
        if scrap and around == {PassageKind.BOILERPLATE} and not any(unit.heading for unit in runs[number]):
            runs[number] = [replace(unit, kind=PassageKind.BOILERPLATE) for unit in runs[number]]
    return [unit for run in runs for unit in run]


def _pieces(units: Sequence[_Unit], words: int) -> Iterator[Sequence[_Unit]]:
    """A run of units in even pieces of about that many words, cut before headings and paragraphs where possible."""
    rest = units
    while rest:
        total = sum(unit.words for unit in rest)
        count = max(1, round(total / words))
        count += total / count > LONGEST * words
        cut = _cut(rest, total / count, LONGEST * words) if count > 1 else len(rest)
        yield rest[:cut]
        rest = rest[cut:]


def _cut(units: Sequence[_Unit], target: float, longest: float) -> int:
    """How many units make a piece of about `target` words; a heading never ends one."""
    best, least, passed = len(units), float("inf"), 0
    for number in range(1, len(units)):
        passed += units[number - 1].words
        if passed > longest and best < len(units):
            break
        cost = abs(passed - target) - _bonus(units[number])
        if cost < least and not units[number - 1].heading:
            best, least = number, cost
    return best


def _bonus(unit: _Unit) -> int:
    if unit.heading:
        return _SECTION_CUT
    return _PARAGRAPH_CUT if unit.begins_block else 0
