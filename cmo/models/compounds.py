"""The metabolites an answer speaks of, each with its entries in the databases that people look compounds up in.

The dictionary finds the names. Left out is what tells a reader of an answer nothing: proteins, groups as wide as
"lipid", and words that mean something else more often than a compound. Nothing here asks another machine.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from threading import Lock

from cmo.errors import LibraryError
from cmo.library.accessions import CompoundList
from cmo.library.wordlists import COMPOUND_TYPES, EntityType
from cmo.models.extraction import DictionaryExtractor
from cmo.values import CompoundAccession, Entity, NamedCompound

HEAVIEST_DALTONS = 1_500.0
"""The usual bound of the small molecules that metabolomics speaks of: insulin (5,794) and corticotropin are none."""

_PAGES = {
    "chebi": "https://www.ebi.ac.uk/chebi/searchId.do?chebiId={}",
    "kegg": "https://www.kegg.jp/entry/{}",
    "hmdb": "https://hmdb.ca/metabolites/{}",
    "inchikey": "https://pubchem.ncbi.nlm.nih.gov/#query={}",
}
"""Where each database shows an entry. InChIKeys belong to no database: PubChem's search finds the structure."""

_TOO_WIDE = frozenset(
    "amino acid|essential amino acid|fatty acid|free fatty acid|lipid|lipoprotein|high-density lipoprotein"
    "|low-density lipoprotein|very-low-density lipoprotein|HDL cholesterol|LDL cholesterol|glucoside|glucuronide"
    "|polysaccharide|C-reactive protein|hemoglobin A1c|growth hormone|fibrin"
    "|oxygen|hydrogen|nitrogen|sodium chloride|polyethylene".split("|")
)
"""Things of the dictionary, by its names for them."""

_ORDINARY = frozenset(
    "retinal|alcohol|alcohols|chelating agent|chelating agents|acylcarnitine|acylcarnitines".split("|")
)
"""Spellings in small letters: retinal detachment, drinking alcohol, and groups taken for one of their members."""

_OF_ANOTHER_NAME = re.compile(r"[-‐‑](?:activated|resistant|susceptible|sensitive|insensitive|binding)")
"""What follows a name that is a part of another: AMP-activated protein kinase, methicillin-resistant bacteria."""

_log = logging.getLogger(__name__)


class AnswerCompounds:
    """A CompoundFinder. Safe to share between threads; the compound list is opened at the first answer."""

    def __init__(self, extractor: DictionaryExtractor, *, open_list: Callable[[], CompoundList] = CompoundList) -> None:
        self._extractor = extractor
        self._open_list = open_list
        self._list: CompoundList | None = None
        self._opening = Lock()

    def compounds(self, text: str) -> tuple[NamedCompound, ...]:
        """Each once, in order of first mention; none when the compound list cannot be read, which is logged.

        Takes a few milliseconds, the first time about a second: call it in a thread.
        """
        mentions = list(self._mentions(text))
        if not mentions:
            return ()
        try:
            return _merged(mentions, self._compound_list())
        except LibraryError:
            _log.warning("compounds_not_found", exc_info=True)
            return ()

    def _mentions(self, text: str) -> Iterator[tuple[str, Entity]]:
        for mention in self._extractor.mentions(text):
            entity = mention.entity
            written = " ".join(text[mention.start : mention.end].split())
            wanted = entity.type in COMPOUND_TYPES and entity.name not in _TOO_WIDE
            if wanted and written.lower() not in _ORDINARY and not _OF_ANOTHER_NAME.match(text, mention.end):
                yield written, entity

    def _compound_list(self) -> CompoundList:
        with self._opening:
            if self._list is None:
                self._list = self._open_list()
            return self._list


def _merged(mentions: Iterable[tuple[str, Entity]], listed: CompoundList) -> tuple[NamedCompound, ...]:
    entities: dict[str, Entity] = {}
    written: dict[str, dict[str, str]] = {}
    for spelling, entity in mentions:
        entities.setdefault(entity.name, entity)
        written.setdefault(entity.name, {}).setdefault(spelling.casefold(), spelling)
    return tuple(
        NamedCompound(
            name=entity.name,
            written=tuple(written[entity.name].values()),
            accessions=_accessions(entity, listed),
        )
        for entity in entities.values()
        if _is_metabolite(entity, listed)
    )


def _is_metabolite(entity: Entity, listed: CompoundList) -> bool:
    """Whether it is light enough; of chemicals only those with a structure are compounds, and no groups of drugs."""
    structure = listed.structure(entity.identifiers)
    if structure is None:
        return entity.type != EntityType.CHEMICAL
    return structure.mass <= HEAVIEST_DALTONS


def _accessions(entity: Entity, listed: CompoundList) -> tuple[CompoundAccession, ...]:
    known = listed.accessions(entity.name, entity.identifiers)
    return tuple(
        CompoundAccession(database=database, accession=known[database], url=page.format(known[database]))
        for database, page in _PAGES.items()
        if database in known
    )
