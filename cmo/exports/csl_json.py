"""References as CSL-JSON, the items that citation processors read.

https://github.com/citation-style-language/schema, schemas/input/csl-data.json. Evidence stands in `note` for people,
and in `custom` for programs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import MappingProxyType

from cmo.exports.references import Evidence, Name, Reference, ReferenceKind, notes
from cmo.identifiers import Identifier, IdentifierKind

_TYPES = MappingProxyType(
    {
        ReferenceKind.ARTICLE: "article-journal",
        ReferenceKind.DOCUMENT: "document",
        ReferenceKind.WEB_PAGE: "webpage",
    }
)


def written(references: Sequence[Reference]) -> str:
    """The text of a .json file, in UTF-8: an array of items."""
    return json.dumps(list(map(_item, references)), ensure_ascii=False, indent=2) + "\n"


def _item(reference: Reference) -> dict[str, object]:
    item: dict[str, object] = {
        "id": reference.key,
        "type": _TYPES[reference.kind],
        "title": reference.title,
        "author": list(map(_name, reference.authors)),
        "issued": {"date-parts": [list(reference.date)]} if reference.date else {},
        "container-title": reference.site,
        **_identifier(reference.identifier),
        "URL": reference.url,
        "note": "\n".join(notes(reference)),
        "custom": {"file": reference.file, "evidence": list(map(_evidence, reference.evidence))},
    }
    return {name: value for name, value in item.items() if value}


def _name(name: Name) -> dict[str, str]:
    return {"family": name.family, "given": name.given} if name.given else {"literal": name.family}


def _identifier(identifier: Identifier | None) -> dict[str, object]:
    if identifier is None:
        return {}
    if identifier.kind is IdentifierKind.ARXIV:
        return {"number": identifier.label}
    return {identifier.kind.value.upper(): identifier.value}


def _evidence(evidence: Evidence) -> dict[str, object]:
    return {
        "question": evidence.question,
        "answered": evidence.answered,
        "citation": evidence.number,
        "page": evidence.page or None,
        "quote": evidence.quote,
        "claims": list(evidence.claims),
    }
