"""When and under which DOI a paper was published. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from cmo.identifiers import MAX_DOI_CHARACTERS, trimmed_doi

_YEAR = r"(?P<year>(?:18|19|20)\d\d)\b"
_ORDINAL = r"\d{1,2}(?:st|nd|rd|th)?"
_DAY = rf"(?:{_ORDINAL}[\s.-]+)?(?:(?:[A-Z][a-z]{{2,8}}\.?|\d{{1,2}})[\s.,/-]+)?(?:{_ORDINAL},?\s+)?"
_VOLUME_AND_PAGE = r"(?:vol(?:ume|\.)?[ \t]*)?\d{1,4}[ \t]*(?:\(\d+\))?[ \t]*[,:;][ \t]*(?:pp?\.?[ \t]*)?[\w-]*\d"

_PRINTED_YEARS = tuple(
    re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    for pattern in (
        rf"(?:^|[/;|,.)•·]\s*|\b(?:first|article|date)\s)published(?:\s+(?:online|on|date|electronically))*[:\s]+{_DAY}{_YEAR}",
        rf"(?:version posted|publication date|date of publication|date published)[:\s]+{_DAY}{_YEAR}",
        rf"\barXiv:\S+\s+\[[^\]]+\]\s+{_DAY}{_YEAR}",
        rf"final edited form as:?[^;]{{0,120}}?\b{_YEAR}",
        rf"(?:©|\(c\)|\bcopyright\b|#\s?The Author\(s\))[^\n]{{0,80}}?\b{_YEAR}",
        rf"(?:cite this article|citation:|cite as|how to cite)[^\n]{{0,200}}(?:\n[^\n]{{0,200}})??\b{_YEAR}",
        rf"^[^\n]{{0,160}}(?<!al\., )(?<!al\. )\b\(?{_YEAR}\)?[,;:]?[ \t]*{_VOLUME_AND_PAGE}",
        rf"^[^\n]{{0,80}}\b\d{{1,4}}[ \t]?(?:\(\d+\)[ \t]?)?\([ \t]?{_YEAR}[ \t]?\)[ \t]?[\w-]*\d",
        rf"^[^\n]{{0,60}}\bvolume\s+\(?{_YEAR}",
        rf"\b(?:available online|e-?pub)[^\n]{{0,30}}?\b{_YEAR}",
        rf"\b(?:accepted|acceptance date)[:\s]+{_DAY}{_YEAR}",
        rf"\b(?:revised|received)[:\s]+{_DAY}{_YEAR}",
    )
)
"""Where a year of publication is printed, the surest first; a date of receipt is better than nothing."""

_PLACEHOLDER_DATE = re.compile(r"\b0?1\s+January\s+1970\b|\b1970-01-01\b", re.IGNORECASE)
_CREATED = re.compile(r"D?:?(?P<year>(?:19|20)\d\d)")

_DOI = re.compile(r"\b10\.\d{4,9}(?:\.\d+)*/\s?[^\s\"<>{}|\\^`“”]+")
_DOI_BROKEN_OFF = re.compile(r"(10\.\d{4,9}/(?:\S*[/_-])?)[ \t]*\r?\n[ \t]*(?=[\w(])")
_DOI_PLACEHOLDER = re.compile(r"x{3,}|0{6,}$|nnnn|/draft$", re.IGNORECASE)
_NO_PAPERS = ("10.5281/", "10.6084/", "10.5061/", "10.17632/", "10.17605/", "10.7910/", "10.5524/", "10.3886/")
"""DOI prefixes of data and software: Zenodo, figshare, Dryad, Mendeley Data, OSF, Dataverse, GigaDB, ICPSR."""

_REFERENCES = re.compile(r"^\W*(?:references|bibliography|literature cited)\W*$", re.IGNORECASE | re.MULTILINE)
_CITE_THIS = re.compile(r"cite this article|how to cite|please cite", re.IGNORECASE)
_CITE_THIS_REACH = 500
"""Characters around "Cite this article as" in which a DOI is the paper's own."""


def printed_year(front: str, *, latest: int | None) -> int | None:
    """The year of publication printed on the front page; nothing after `latest`, which is a year of another paper."""
    text = _PLACEHOLDER_DATE.sub("", front)
    for pattern in _PRINTED_YEARS:
        for match in pattern.finditer(text):
            year = int(match["year"])
            if latest is None or year <= latest:
                return year
    return None


def created_year(info: Mapping[str, str]) -> int | None:
    """The year in which the file was made."""
    created = _CREATED.match(info.get("CreationDate", ""))
    return int(created["year"]) if created else None


def find_doi(front: str, *, texts: Sequence[str], info: Mapping[str, str]) -> str | None:
    """The paper's own DOI: printed on its front page, in its properties, or where it asks to be cited."""
    heading = _REFERENCES.search(front)
    printed = _dois(front[: heading.start()] if heading else front)
    stored = _dois("\n".join(info.values()))
    for candidates in (
        [doi for doi in stored if doi in printed],
        printed,
        stored,
        [doi for text in texts for doi in _near_cite_this(text)],
        _on_most_pages(texts),
    ):
        if candidates:
            return candidates[0]
    return None


def _dois(text: str) -> list[str]:
    """The DOIs of papers in the text, in order."""
    found = (trimmed_doi(match[0].replace(" ", "")) for match in _DOI.finditer(_DOI_BROKEN_OFF.sub(r"\1", text)))
    return [doi for doi in found if _is_of_paper(doi)]


def _is_of_paper(doi: str) -> bool:
    return len(doi) <= MAX_DOI_CHARACTERS and not doi.startswith(_NO_PAPERS) and not _DOI_PLACEHOLDER.search(doi)


def _near_cite_this(text: str) -> Iterator[str]:
    """The DOI closest to each invitation to cite, which often stands right behind the last of the references."""
    for match in _CITE_THIS.finditer(text):
        before = _dois(text[max(0, match.start() - _CITE_THIS_REACH) : match.start()])
        after = _dois(text[match.end() : match.end() + _CITE_THIS_REACH])
        yield from after[:1] or before[-1:]


def _on_most_pages(texts: Sequence[str]) -> list[str]:
    pages_with = Counter(doi for text in texts for doi in set(_dois(text)))
    return [doi for doi, pages in pages_with.most_common(1) if pages >= 3 and pages * 2 > len(texts)]
