"""References as BibTeX, by the rules that "Tame the BeaST" tells (https://ctan.org/pkg/tamethebeast).

BibTeX counts braces whether or not a backslash stands before: "\\{" is written only where each has its "\\}".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from types import MappingProxyType

from cmo.exports.references import Name, Reference, ReferenceKind, notes
from cmo.identifiers import Identifier, IdentifierKind

_TYPES = MappingProxyType(
    {ReferenceKind.ARTICLE: "article", ReferenceKind.DOCUMENT: "misc", ReferenceKind.WEB_PAGE: "misc"}
)

_COMMANDS = str.maketrans(
    {
        "\\": r"{\textbackslash}",
        "^": r"{\textasciicircum}",
        "~": r"{\textasciitilde}",
        **{sign: rf"\{sign}" for sign in "%&#$_"},
    }
)
_PAIRED_BRACES = str.maketrans({"{": r"\{", "}": r"\}"})
_LONE_BRACES = str.maketrans({"{": r"{\textbraceleft}", "}": r"{\textbraceright}"})

_SPLITS_NAMES = re.compile(r"\band\b|,|\\.\Z", re.IGNORECASE)
"""What makes two names of one; some readers do not see the "and" behind a sign with a backslash."""


def written(references: Sequence[Reference]) -> str:
    """The text of a .bib file, in UTF-8."""
    return "\n".join(map(_entry, references))


def _entry(reference: Reference) -> str:
    fields = "".join(f",\n  {name} = {{{value}}}" for name, value in _fields(reference) if value)
    return f"@{_TYPES[reference.kind]}{{{reference.key}{fields}\n}}\n"


def _fields(reference: Reference) -> Iterator[tuple[str, str]]:
    # The second pair of braces keeps styles from writing TMAO in small letters.
    yield "title", f"{{{_escaped(reference.title)}}}"
    yield "author", " and ".join(map(_name, reference.authors))
    yield "year", f"{reference.date[0]:04d}" if reference.date else ""
    # For biblatex; BibTeX itself knows the year alone.
    yield "date", "-".join(f"{part:02d}" for part in reference.date) if len(reference.date) > 1 else ""
    yield "howpublished", _escaped(reference.site)
    yield from _identifier(reference.identifier)
    yield "url", reference.url
    yield "note", _escaped(f"File: {reference.file}") if reference.file else ""
    yield "annote", " ".join(map(_escaped, notes(reference)))


def _identifier(identifier: Identifier | None) -> Iterator[tuple[str, str]]:
    if identifier is None:
        return
    if identifier.kind is IdentifierKind.ARXIV:
        yield "eprint", identifier.value
        yield "archiveprefix", "arXiv"
    else:
        yield identifier.kind.value, identifier.value


def _name(name: Name) -> str:
    """The name so that BibTeX takes it for one, whatever stands in it."""
    # Readers that take names apart do not agree on "\\{", so braces are commands here.
    parts = [part.translate(_COMMANDS | _LONE_BRACES) for part in (name.family, name.given)]
    if not name.given:
        return f"{{{parts[0]}}}"
    return ", ".join(f"{{{part}}}" if _SPLITS_NAMES.search(part) else part for part in parts)


def _escaped(text: str) -> str:
    return text.translate(_COMMANDS | (_PAIRED_BRACES if _is_paired(text) else _LONE_BRACES))


def _is_paired(text: str) -> bool:
    """Whether each brace has its other one, in this order."""
    depth = 0
    for sign in text:
        depth += (sign == "{") - (sign == "}")
        if depth < 0:
            return False
    return depth == 0
