"""The metabolites an answer speaks of, as the page's element gets them. Pure; knows nothing of where they come from."""

from __future__ import annotations

from types import MappingProxyType
from typing import TypedDict

from cmo.phrases import Phrase
from cmo.ui.labels import Labels, direction, labelled
from cmo.values import Answer, CompoundAccession, NamedCompound

SHOWN = 12
"""So many are shown at once; the rest comes when it is asked for."""

_DATABASES = MappingProxyType({"chebi": "ChEBI", "kegg": "KEGG", "hmdb": "HMDB", "inchikey": "InChIKey"})

_LABELS = {
    "compounds": Phrase("Metabolites in this answer"),
    "written": Phrase("Written as:"),
    "unknown": Phrase("No accession is known."),
}


class EntryProps(TypedDict):
    """What a database calls a compound, in JSON; `url` is "" where there is no page of it."""

    label: str
    url: str


class CompoundProps(TypedDict):
    """A chip and what is behind it, in JSON."""

    name: str
    written: list[str]
    entries: list[EntryProps]


class CompoundsProps(TypedDict):
    """The row of chips under an answer, in JSON."""

    compounds: list[CompoundProps]
    shown: int
    language: str
    direction: str
    labels: Labels


def compounds_props(answer: Answer) -> CompoundsProps:
    """The chips of an answer's metabolites."""
    rest = Phrase("{number} more", number=len(answer.compounds) - SHOWN)
    return CompoundsProps(
        compounds=[_compound(each) for each in answer.compounds],
        shown=SHOWN,
        language=answer.language,
        direction=direction(answer.language),
        labels=labelled({**_LABELS, "more": rest}, answer.language),
    )


def _compound(compound: NamedCompound) -> CompoundProps:
    return CompoundProps(
        name=compound.name,
        written=[each for each in compound.written if each != compound.name],
        entries=[_entry(each) for each in compound.accessions],
    )


def _entry(entry: CompoundAccession) -> EntryProps:
    database = _DATABASES.get(entry.database, entry.database)
    says_so_itself = entry.accession.upper().startswith(database.upper())
    return EntryProps(
        label=entry.accession if says_so_itself else f"{database} {entry.accession}",
        url=entry.url if entry.url.startswith("https://") else "",
    )
