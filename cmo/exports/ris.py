"""References as RIS: one field a line, "TY  - JOUR" to "ER  - ", as reference managers read it.

A value is on one line (references.py sees to it), so none can begin a field of its own.
https://en.wikipedia.org/wiki/RIS_(file_format)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import MappingProxyType

from cmo.exports.references import Name, Reference, ReferenceKind, notes
from cmo.identifiers import IdentifierKind

_TYPES = MappingProxyType(
    {ReferenceKind.ARTICLE: "JOUR", ReferenceKind.DOCUMENT: "GEN", ReferenceKind.WEB_PAGE: "ELEC"}
)


def written(references: Sequence[Reference]) -> str:
    """The text of an .ris file, in UTF-8."""
    return "\r\n".join(map(_entry, references))


def _entry(reference: Reference) -> str:
    fields = [("TY", _TYPES[reference.kind]), *_fields(reference)]
    lines = [f"{tag}  - {value}\r\n" for tag, value in fields if value]
    return "".join([*lines, "ER  - \r\n"])


def _fields(reference: Reference) -> Iterator[tuple[str, str]]:
    yield "ID", reference.key
    yield "TI", reference.title
    yield from (("AU", _name(name)) for name in reference.authors)
    yield "PY", f"{reference.date[0]:04d}" if reference.date else ""
    yield "DA", "/".join(f"{part:02d}" for part in reference.date) if len(reference.date) > 1 else ""
    yield "T2", reference.site
    if reference.identifier is not None:
        is_doi = reference.identifier.kind is IdentifierKind.DOI
        yield "DO" if is_doi else "AN", reference.identifier.value if is_doi else reference.identifier.label
    yield "UR", reference.url
    yield from (("N1", note) for note in notes(reference))
    yield "N1", f"File: {reference.file}" if reference.file else ""


def _name(name: Name) -> str:
    """Family, given. Commas part the two, and asterisks are not allowed in names."""
    parts = (part.replace(",", " ").replace("*", " ") for part in (name.family, name.given))
    return ", ".join(filter(None, (" ".join(part.split()) for part in parts)))
