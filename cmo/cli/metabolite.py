"""`cmo metabolite`: what the name of a metabolite stands for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from heapq import nlargest
from typing import Annotated, NoReturn

import typer

from cmo.cli.options import JsonOption, readable, settings_for
from cmo.cli.output import complain, fail, print_json, say
from cmo.errors import OracleError
from cmo.library.accessions import CompoundList
from cmo.library.lexicon import Lexicon, open_lexicon
from cmo.library.wordlists import COMPOUND_TYPES, Entry
from cmo.models.extraction import DictionaryExtractor

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A name, synonym or abbreviation.")]

_NEAREST = 5
_LOOKED_AT_CLOSELY = 200
_LEAST_ALIKE = 0.7
"""Likeness (difflib's ratio, 0 to 1) below which a name is no suggestion."""

_LABELS = {"chebi": "ChEBI", "kegg": "KEGG", "hmdb": "HMDB", "inchikey": "InChIKey", "mesh": "MeSH"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Metabolite:
    """What a name stands for. A group has members; formula and average mass (daltons) are of the uncharged compound."""

    name: str
    type: str
    synonyms: tuple[str, ...]
    members: tuple[str, ...]
    ids: dict[str, str]
    formula: str | None
    mass: float | None


def metabolite(name: NameArgument, as_json: JsonOption = False) -> None:
    """Tell what a metabolite's name stands for.

    Its common name, synonyms, accessions, formula and mass, as far as they are known. Exit code 1 when the name is not
    known; the nearest names are told.
    """
    name = readable(name.strip())
    if not name:
        raise typer.BadParameter("Give a NAME.")
    try:
        lexicon = open_lexicon(settings_for(papers=None, storage=None).cache_dir)
        entry = _entry(name, lexicon)
        found = _described(entry, lexicon, CompoundList()) if entry else None
    except OracleError as error:
        fail(str(error), as_json=as_json)
    if found is None:
        _refuse(name, lexicon, as_json=as_json)
    elif as_json:
        print_json(asdict(found))
    else:
        _print(found)


def _entry(name: str, lexicon: Lexicon) -> Entry | None:
    """The compound of that name: in the dictionary, in small letters too, or a lipid in shorthand."""
    for spelling in (name, name.upper()):
        entry = lexicon.find(spelling)
        if entry and entry.type in COMPOUND_TYPES:
            return entry
    mentions = DictionaryExtractor(lexicon).mentions(name)
    if len(mentions) != 1 or (mentions[0].start, mentions[0].end) != (0, len(name)):
        return None
    entity = mentions[0].entity
    known = entity.type in COMPOUND_TYPES
    return Entry(name=entity.name, type=entity.type, identifiers=entity.identifiers) if known else None


def _described(entry: Entry, lexicon: Lexicon, compounds: CompoundList) -> Metabolite:
    structure = compounds.structure(entry.identifiers)
    members = tuple(other for other in entry.synonyms if _is_another(other, entry, lexicon))
    return Metabolite(
        name=entry.name,
        type=entry.type,
        synonyms=tuple(other for other in entry.synonyms if other not in members),
        members=members,
        ids=compounds.accessions(entry.name, entry.identifiers),
        formula=structure.formula or None if structure else None,
        mass=round(structure.mass, 3) or None if structure else None,
    )


def _is_another(name: str, entry: Entry, lexicon: Lexicon) -> bool:
    found = lexicon.find(name)
    return found is not None and found.name != entry.name


def _refuse(name: str, lexicon: Lexicon, *, as_json: bool) -> NoReturn:
    known = (
        each for entry in lexicon.entries() if entry.type in COMPOUND_TYPES for each in (entry.name, *entry.synonyms)
    )
    nearest = _nearest(name, known)
    message = f'No metabolite called "{name}" is known.'
    if as_json:
        print_json({"error": message, "nearest": nearest})
    else:
        complain(message, style="red")
        if nearest:
            say(f"Nearest names: {', '.join(nearest)}")
    raise typer.Exit(1)


def _nearest(name: str, known: Iterable[str]) -> list[str]:
    """The names most like it, best first. Pairs of letters in common choose those compared closely, which is slow."""
    wanted = name.casefold()
    pairs = _pairs(wanted)
    shared = (
        (2 * len(pairs & other) / (len(pairs) + len(other)), each)
        for each in known
        if (other := _pairs(each.casefold()))
    )
    close = {each for _, each in nlargest(_LOOKED_AT_CLOSELY, shared)}
    alike = sorted(((SequenceMatcher(None, wanted, each.casefold()).ratio(), each) for each in close), reverse=True)
    return [each for ratio, each in alike if ratio >= _LEAST_ALIKE][:_NEAREST]


def _pairs(name: str) -> set[str]:
    return {name[place : place + 2] for place in range(len(name) - 1)}


def _print(found: Metabolite) -> None:
    say(found.name, style="bold")
    facts = {
        "Type": found.type,
        "Also called": ", ".join(found.synonyms),
        "Members": ", ".join(found.members),
        **{_LABELS.get(database, database.upper()): accession for database, accession in found.ids.items()},
        "Formula": found.formula,
        "Average mass": f"{found.mass} Da" if found.mass else None,
    }
    for label, fact in facts.items():
        if fact:
            say(f"{label}: {fact}")
