"""What a paper says about itself: title, authors, year and DOI.

Pure: lines and texts in, `Metadata` out. Nothing here opens a file or knows how a PDF is read. What is printed on the
front page counts most, because a file's properties are often left over from a template or another paper.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from cmo.library.authors import listed_authors, printed_authors
from cmo.library.front_lines import FrontLine, joined
from cmo.library.publication import created_year, find_doi, printed_year
from cmo.library.titles import choose_title, stored_title, text_title, title_lines

_LABEL = re.compile(r"^\W{0,4}(title|authors?|year|date)\s*[:=][ \t]*(\S.*)$", re.IGNORECASE | re.MULTILINE)
_LABELLED_LINES = 20
_FRONT_CHARACTERS = 50_000
"""A printed page holds a tenth of this; what is longer is made to waste time."""

_YEARS_AFTER_CREATION = 2
"""A file made for an issue of next year is common; a later year is another paper's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What could be found out about a paper. `title` is never empty; the rest may be missing."""

    title: str
    authors: tuple[str, ...] = ()
    year: int | None = None
    doi: str | None = None


def find_metadata(
    lines: Sequence[FrontLine], *, texts: Sequence[str], info: Mapping[str, str], file_name: str
) -> Metadata:
    """The best guess at what the paper calls itself.

    Args:
        lines: the printed lines of the front page, top to bottom; none for a plain text.
        texts: the text of every page.
        info: the PDF's information dictionary (Title, Author, Subject, CreationDate ...); may be empty or nonsense.
        file_name: the last resort for the title.
    """
    if PurePath(file_name).suffix.lower() != ".pdf":
        return _of_plain_text("".join(texts[:1]), file_name)
    front = "\n".join([*(line.text for line in lines), *texts[:1]])[:_FRONT_CHARACTERS]
    title = title_lines(lines)
    authors = printed_authors(lines, title)
    created = created_year(info)
    year = printed_year(front, latest=created + _YEARS_AFTER_CREATION if created else None)
    return Metadata(
        title=choose_title(
            printed=joined(title), stored=stored_title(info, file_name), front=front, file_name=file_name
        ),
        authors=authors or listed_authors(info.get("Author", "")),
        # Only for a paper does the age of the file tell anything; a scanned book is younger than what it says.
        year=year or (created if authors else None),
        doi=find_doi(front, texts=texts, info=info),
    )


def _of_plain_text(text: str, file_name: str) -> Metadata:
    """Entries such as "Title: ..." at the head of the text or in its YAML front matter, else its first heading."""
    head = "\n".join(text.splitlines()[:_LABELLED_LINES])
    labels = {label.lower().rstrip("s"): value.strip(" \"'[]") for label, value in _LABEL.findall(head)}
    dated = re.search(r"\b(?:19|20)\d\d\b", labels.get("year") or labels.get("date") or "")
    return Metadata(
        title=choose_title(printed=labels.get("title") or text_title(text), stored="", front=text, file_name=file_name),
        authors=listed_authors(labels.get("author", "")),
        year=int(dated[0]) if dated else printed_year(head, latest=None),
        doi=find_doi(head, texts=(), info={}),
    )
