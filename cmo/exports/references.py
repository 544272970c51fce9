"""The sources of answers as reference managers know them: one reference per paper or page of the web.

All pages and quotes of a source stand under its one reference, each with what it was cited for.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote

from cmo.citations import claims, identifier_of
from cmo.identifiers import Identifier, IdentifierKind
from cmo.values import Answer, Citation


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A question and its answer."""

    question: str
    answer: Answer


class ReferenceKind(StrEnum):
    """What a source is, as far as can be told: of a paper without a DOI, nobody knows whether a journal printed it."""

    ARTICLE = "article"
    DOCUMENT = "document"
    WEB_PAGE = "web page"


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """A person's name; `given` is "" where a name has only one part."""

    family: str
    given: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One citation of a source: the page (0 on the web), the quote, and the sentences of the answer that rest on it.

    `claims` is empty where the answer is the quote itself, and where there was no answer (`answered` is false).
    """

    question: str
    answered: bool
    number: int
    page: int
    quote: str
    claims: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One source. All texts are on one line and free of control characters; `url` holds ASCII only.

    `date` is (year,), (year, month) or (year, month, day), or empty. `site` is of a web page, `file` of a paper.
    """

    key: str
    kind: ReferenceKind
    title: str
    authors: tuple[Name, ...]
    date: tuple[int, ...]
    identifier: Identifier | None
    url: str
    site: str
    file: str
    evidence: tuple[Evidence, ...]


_PREPRINTS = re.compile(r"10\.(?:1101/\d|21203/|48550/|20944/|26434/|2139/)")
"""DOIs of preprints, which no journal has printed: bioRxiv and medRxiv, Research Square, arXiv, Preprints.org,
ChemRxiv, SSRN. The journals of Cold Spring Harbor share 10.1101 and go on with letters."""

_DATE = re.compile(r"(\d{4})(?:-(0[1-9]|1[0-2])(?:-(0[1-9]|[12]\d|3[01]))?)?(?!\d)", re.ASCII)
_INVISIBLE = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u200b\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")
"""Control characters, marks of byte order, and what makes text run backwards."""
_HALF_A_PAIR = re.compile(r"[\ud800-\udfff]")
_WEB_ADDRESS = re.compile(r"https?://", re.IGNORECASE)
_STAYS_IN_ADDRESSES = "!#$%&'()*+,-./:;=?@_~"
_MARKUP = re.compile(r"^\s*(?:[-*+#]+|\d{1,3}[.)])\s+|\*\*|__|`")
"""What makes lists, headings and emphasis of a model's text."""
_PARTICLE = re.compile(r"[a-z'’]+")
_SUFFIX = re.compile(r"(?:jr|sr|i{2,3}|iv)\.?", re.IGNORECASE)


def references(exchanges: Sequence[Exchange]) -> tuple[Reference, ...]:
    """One reference for each source, in the order of first citation."""
    cited: dict[str, list[tuple[Citation, Evidence]]] = {}
    for exchange in exchanges:
        for citation in exchange.answer.citations:
            source = citation.doc_id or citation.url.partition("#")[0]
            cited.setdefault(source, []).append((citation, _evidence(exchange, citation)))
    keys: set[str] = set()
    found = []
    for places in cited.values():
        reference = _reference(places[0][0], tuple(evidence for _, evidence in places), keys)
        keys.add(reference.key)
        found.append(reference)
    return tuple(found)


def notes(reference: Reference) -> Iterator[str]:
    """Each piece of evidence as one line: page, quote, and the claim it was cited for."""
    for evidence in reference.evidence:
        page = f"p. {evidence.page}: " if evidence.page else ""
        words = f"“{evidence.quote}”" if evidence.quote else "no quote"
        for_claims = f" for {'; '.join(f'“{claim}”' for claim in evidence.claims)}" if evidence.claims else ""
        use = f"cited as [{evidence.number}]{for_claims}" if evidence.answered else "a nearest passage, no answer"
        yield f"{page}{words} – {use} (question: {evidence.question})"


def on_one_line(text: str) -> str:
    """The text without line breaks and control characters, so that it can end no line of a file."""
    return " ".join(_HALF_A_PAIR.sub("\ufffd", _INVISIBLE.sub("", text)).split())


def address(citation: Citation) -> str:
    """The address of a page of the web, in ASCII; "" for papers, whose addresses only this application knows."""
    if citation.page or not _WEB_ADDRESS.match(citation.url):
        return ""
    return quote(on_one_line(citation.url), safe=_STAYS_IN_ADDRESSES)


def _evidence(exchange: Exchange, citation: Citation) -> Evidence:
    answer = exchange.answer
    written = answer.written and answer.answered
    rests_on_it = [_MARKUP.sub("", claim) for claim in claims(answer.text, citation.number)] if written else []
    return Evidence(
        question=on_one_line(exchange.question),
        answered=answer.answered,
        number=citation.number,
        page=citation.page,
        quote=on_one_line(citation.quote),
        claims=tuple(filter(None, map(on_one_line, rests_on_it))),
    )


def _reference(citation: Citation, evidence: tuple[Evidence, ...], taken: set[str]) -> Reference:
    is_web = citation.page == 0
    identifier = identifier_of(citation)
    authors = tuple(name for name in map(_name, map(on_one_line, citation.authors)) if name.family)
    date = _date(citation)
    title = on_one_line(citation.title) or on_one_line(citation.document) or "Untitled"
    return Reference(
        key=_key(authors, date, title, taken),
        kind=_kind(citation, identifier),
        title=title,
        authors=authors,
        date=date,
        identifier=identifier,
        url=address(citation) if is_web else identifier.url if identifier else "",
        site=on_one_line(citation.document) if is_web else "",
        file="" if is_web else on_one_line(citation.document),
        evidence=evidence,
    )


def _kind(citation: Citation, identifier: Identifier | None) -> ReferenceKind:
    if citation.page == 0:
        return ReferenceKind.WEB_PAGE
    if identifier is None or identifier.kind is not IdentifierKind.DOI or _PREPRINTS.match(identifier.value):
        return ReferenceKind.DOCUMENT
    return ReferenceKind.ARTICLE


def _date(citation: Citation) -> tuple[int, ...]:
    if citation.year is not None:
        return (citation.year,)
    found = _DATE.match(citation.date)
    return tuple(int(part) for part in found.groups() if part) if found else ()


def _name(text: str) -> Name:
    """ "Given Family" or "Family, Given" in its parts; particles in small letters belong to the family."""
    family, comma, given = text.partition(",")
    if comma:
        return Name(family=family.strip() or given.strip(), given=given.strip() if family.strip() else "")
    words = text.split()
    start = max(0, len(words) - 1)
    if start > 1 and _SUFFIX.fullmatch(words[start]):
        start -= 1
    while start > 1 and _PARTICLE.fullmatch(words[start - 1]):
        start -= 1
    return Name(family=" ".join(words[start:]), given=" ".join(words[:start]))


def _key(authors: Sequence[Name], date: Sequence[int], title: str, taken: set[str]) -> str:
    """First author, year and first long word of the title, in ASCII letters and digits; like nobody else's."""
    family = _letters(authors[0].family) if authors else ""
    word = next((word for word in map(_letters, title.split()) if len(word) > 3), "")
    stem = f"{family}{date[0] if date else ''}{word}"[:60] or "source"
    key, number = stem, 1
    while key in taken:
        number += 1
        key = f"{stem}-{number}"
    return key


def _letters(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    return "".join(filter(str.isalnum, plain.lower()))
