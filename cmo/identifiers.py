"""Identifiers of publications (DOI, PMID, PMCID, arXiv), recognised in texts and addresses. Pure.

Texts are untrusted: links are built here from an identifier that was recognised, never taken over. Whether a
publication of that identifier exists, nobody here knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qsl, quote, unquote, urlsplit


class IdentifierKind(StrEnum):
    """Who gave an identifier."""

    DOI = "doi"
    PMID = "pmid"
    PMCID = "pmcid"
    ARXIV = "arxiv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identifier:
    """One identifier in its usual form: "10.1038/s41586-020-1", "12345678", "PMC3531190", "2101.00001"."""

    kind: IdentifierKind
    value: str

    @property
    def url(self) -> str:
        """The address that leads to the publication, at the one who gave the identifier."""
        return f"{_RESOLVERS[self.kind]}{quote(self.value, safe='/:;.-_()')}"

    @property
    def label(self) -> str:
        """The identifier as it is written in a text."""
        return self.value if self.kind is IdentifierKind.PMCID else f"{_LABELS[self.kind]}{self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """Where a text names an identifier, [start, end)."""

    start: int
    end: int
    identifier: Identifier


_RESOLVERS = {
    IdentifierKind.DOI: "https://doi.org/",
    IdentifierKind.PMID: "https://pubmed.ncbi.nlm.nih.gov/",
    IdentifierKind.PMCID: "https://pmc.ncbi.nlm.nih.gov/articles/",
    IdentifierKind.ARXIV: "https://arxiv.org/abs/",
}

_LABELS = {IdentifierKind.DOI: "doi:", IdentifierKind.PMID: "PMID ", IdentifierKind.ARXIV: "arXiv:"}

MAX_DOI_CHARACTERS = 150
"""Longer ones are taken for something else."""

_DOI_CHARACTERS = r"10\.\d{4,9}(?:\.\d+)*/[!#-;=?-Z_a-z~]++(?!<\d)"
"""A DOI with whatever follows it without a space; `trimmed_doi` takes off what is not its own.

After https://www.crossref.org/blog/dois-and-matching-regular-expressions/, with all visible ASCII signs but those that
end a DOI in texts. The few of 1990s journals that go on with "<" are left alone rather than cut.
"""
_DOI = re.compile(rf"(?<![\w.])({_DOI_CHARACTERS})", re.ASCII)
_DOI_TAIL = re.compile(r"(?:\.[gts]\d{3}|/(?:full|abstract|pdf|html|epdf|meta)|\.pdf)$", re.IGNORECASE)
_BIORXIV_VERSION = re.compile(r"(?<=\d)v\d{1,2}(?:\.full)?$")
"""The version that bioRxiv and medRxiv (10.1101) put behind the DOI in their addresses."""

_ARXIV_VALUE = r"\d{4}\.\d{4,5}|[a-z-]{2,20}(?:\.[A-Z]{2})?/\d{7}"
_MENTION = re.compile(
    rf"""(?:https?://(?:dx\.)?doi\.org/|\bdoi:?\s?|(?<![\w./]))(?P<doi>{_DOI_CHARACTERS})
    |\bPMID:?\s?(?P<pmid>[1-9]\d{{0,7}})(?![\d.-]*\d)
    |\b(?:PMCID:?\s?)?PMC(?P<pmcid>[1-9]\d{{3,8}})\b
    |\barXiv:\s?(?P<arxiv>{_ARXIV_VALUE})(?:v\d{{1,2}})?\b""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)

_IN_PATHS = (
    (r"pubmed\.ncbi\.nlm\.nih\.gov", IdentifierKind.PMID, r"/([1-9]\d{0,7})/?"),
    (r"(?:www\.)?ncbi\.nlm\.nih\.gov", IdentifierKind.PMID, r"/(?:m/)?pubmed/([1-9]\d{0,7})/?"),
    (r"(?:www\.)?ncbi\.nlm\.nih\.gov", IdentifierKind.PMCID, r"/pmc/articles/PMC([1-9]\d{0,8})(?:/.*)?"),
    (r"pmc\.ncbi\.nlm\.nih\.gov", IdentifierKind.PMCID, r"/articles/PMC([1-9]\d{0,8})(?:/.*)?"),
    (r"(?:www\.)?europepmc\.org", IdentifierKind.PMID, r"/(?:article|abstract)/MED/([1-9]\d{0,7})/?"),
    (r"(?:www\.)?europepmc\.org", IdentifierKind.PMCID, r"/(?:article/PMC|articles)/PMC([1-9]\d{0,8})/?"),
    (r"(?:www\.)?arxiv\.org", IdentifierKind.ARXIV, rf"/(?:abs|pdf|html)/({_ARXIV_VALUE})(?:v\d{{1,2}})?(?:\.pdf)?/?"),
)
"""Where the addresses of known sites have an identifier: host, kind, path."""


def mentions(text: str) -> Iterator[Mention]:
    """The identifiers a text names, in order. A PMID or an arXiv number is one only where the text says so."""
    for match in _MENTION.finditer(text):
        kind = IdentifierKind(str(match.lastgroup))
        named = match[kind]
        value = _doi_in(named) if kind is IdentifierKind.DOI else named
        if value:
            end = match.start(kind) + len(value) if kind is IdentifierKind.DOI else match.end()
            yield Mention(start=match.start(), end=end, identifier=_identifier(kind, value))


def in_url(url: str) -> Identifier | None:
    """The identifier in an address: that of a known site, or a DOI in the path or a parameter on any site."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
    except ValueError:
        return None
    path = unquote(parts.path)
    for hosts, kind, pattern in _IN_PATHS:
        found = re.fullmatch(pattern, path, re.IGNORECASE) if re.fullmatch(hosts, host) else None
        if found:
            return _identifier(kind, found[1])
    for text in (path, *(value for _, value in parse_qsl(parts.query))):
        named = _DOI.search(text)
        value = _doi_in(named[1]) if named else ""
        if value:
            return doi(_BIORXIV_VERSION.sub("", value) if value.startswith("10.1101/") else value)
    return None


def doi(value: str) -> Identifier:
    """A DOI as an identifier, in lower case: case makes no difference to it (DOI Handbook, section 2.4)."""
    return Identifier(kind=IdentifierKind.DOI, value=value.lower())


def trimmed_doi(text: str) -> str:
    """The DOI at the beginning of a text without what the sentence or the address around it added."""
    while True:
        shorter = _DOI_TAIL.sub("", text.rstrip(".,;:'’*†‡"))
        for opening, closing in ("()", "[]"):
            if shorter.endswith(closing) and shorter.count(closing) > shorter.count(opening):
                shorter = shorter[:-1]
        if shorter == text:
            return text
        text = shorter


def _doi_in(text: str) -> str:
    """The DOI a text begins with; "" when it is too long to be one, or has nothing of its own."""
    if len(text) > 2 * MAX_DOI_CHARACTERS:
        return ""
    value = trimmed_doi(text)
    return value if _DOI.fullmatch(value) and len(value) <= MAX_DOI_CHARACTERS else ""


def _identifier(kind: IdentifierKind, value: str) -> Identifier:
    if kind is IdentifierKind.DOI:
        return doi(value)
    return Identifier(kind=kind, value=f"PMC{value}" if kind is IdentifierKind.PMCID else value)
