"""The word lists of the dictionary: where they come from, what is left out, and which name stands for its synonyms.

Metabolites come from equilibrator-cache-data, diseases, genes and further chemicals from gilda's table of MeSH
mappings, and the names the laboratory uses from lab_names.tsv beside this file, which wins over both. The packages are
only read, never imported. Nothing here knows how text is searched.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from functools import cache, lru_cache
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

from cmo.errors import LibraryError
from cmo.library.names import name_key, name_words, symbol_key
from cmo.storage.compounds import Compound, read_compounds


class EntityType(StrEnum):
    """What kind of thing a name names."""

    METABOLITE = "Metabolite"
    LIPID = "Lipid"
    CHEMICAL = "Chemical"
    GENE = "Gene"
    DISEASE = "Disease"
    METHOD = "Method"
    SPECIMEN = "Specimen"


COMPOUND_TYPES = (EntityType.METABOLITE, EntityType.LIPID, EntityType.CHEMICAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file of an installed package, by the content it was examined with."""

    package: str
    file: str
    sha256: str

    def locate(self) -> Path:
        """Where the file is installed.

        Raises:
            LibraryError: the package is missing or brings another file.
        """
        spec = find_spec(self.package)
        folder = next(iter(spec.submodule_search_locations or ()), None) if spec else None
        if folder is None or not (path := Path(folder, self.file)).is_file():
            raise LibraryError(f"The word list {self.file} is missing: install the package that brings {self.package}.")
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if digest != self.sha256:
            raise LibraryError(f"The word list {self.file} is not the one expected: install {self.package} again.")
        return path


COMPOUNDS = Source(
    package="equilibrator_cache_data",
    file="mini_compounds.sqlite",
    sha256="4770f5d0787e7d12183974404ab3af8ac98b964fecac0b4526453d91a50c561f",
)
# Its neighbour mesh_ambig_mappings.tsv pairs whole families with one member: fatty-acid-binding proteins with GOT2.
MESH_MAPPINGS = Source(
    package="gilda",
    file="resources/mesh_mappings.tsv",
    sha256="e9a7bd38df4c5ee4563c0ee675e9ab205bf44384694c220725bfc0d089a78fe9",
)

_LAB_NAMES = "lab_names.tsv"
_ORDINARY_WORDS = "ordinary_words.txt"
_MOST_SYNONYMS = 4
_MOST_IDENTIFIERS = 4
_LONGEST_NAME = 60
# MeSH and what maps to it stand for as many sources as a well-known synonym has.
_MESH_WEIGHT = 3
# Above any number of sources a public list can give a name.
_LAB_WEIGHT = 1000

# LIPID MAPS without its saccharolipids and polyketides: nobody calls the flavonoids lipids.
_LIPID_CLASSES = ("LMFA", "LMGL", "LMGP", "LMSP", "LMST", "LMPR")
# In daltons. LIPID MAPS counts acetate, succinate and valine among the fatty acyls; octanoic acid has 144.
_LIGHTEST_FATTY_ACID = 140.0
# Trade and pharmacopoeia marks behind a name, as in "Alanine (USP)" and "Glucose (JP17)".
_MARK = re.compile(r"\s*\((?:TN|JAN|JP\d*|USP|INN|BAN|NF|USAN|DCF|MI|[A-Z/]{2,12}\d*(?:/[A-Z]+)*)\)$")
_INCHI_KEY = re.compile(r"[A-Z]{14}-[A-Z]{10}-[A-Z]")
_NO_NAME = re.compile(
    r"^EC \d|\b(?:anion|dianion|cation|zwitterion|radical|atom|ion|residue)\b|\(\d?[+-]\)|[+]$|[:;&=|\[\]]|\.\.\."
)
_LETTERS = re.compile(r"[A-Za-zα-ω]{3}")
_STEREO = re.compile(
    r"^(?:L|D|DL|\(S\)|\(R\)|\(-\)|\(\+\)|\(\+/-\)|\(2S\)|\(2R\)|alpha-D|beta-D|all-trans|O)-(?=[A-Za-z]{4})"
)
_SYSTEMATIC = re.compile(r"\d,\d|\d[A-Z]?[,'-].*[-(]\d|[()\[\]].*[()\[\]].*[()\[\]]")
_SEPARATOR = re.compile(r"[^\W_][\W_]+[^\W_]")
_PLURAL_HEADING = re.compile(
    r"(?:(?<=disease)|(?<=disorder)|(?<=infection)|(?<=neoplasm)|(?<=fracture))s$", re.IGNORECASE
)
_CAPITALISED = re.compile(r"\b[A-Z][a-z]{2,}\b")
_ARTICLE = re.compile(r"^(?:an?|the) (?=[a-z])")
_GENE_WITH_SPECIES = re.compile(r",? (?:protein|gene), human$")
_CHEMICAL_ENDING = re.compile(
    r"(?:[aeiou](?:t|d)e|ine?|ol|ic|ose|ones?|yl|[ae]ne|ium|al|ate|oid|ase|oside|ein|phate|acid|ester|ether|ide)$",
    re.IGNORECASE,
)
_DISEASE_SHAPE = re.compile(
    r"(?:itis|osis|emia|aemia|uria|oma|opathy|penia|disease|syndrome|disorder|cancer|neoplasm|deficiency|failure"
    r"|carcinoma|infarction|hypertension|cholestasis|sclerosis|fibrosis|dystrophy|anemia|diabetes|ischemia)s?$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One named thing. `synonyms` are other names to search for; those of a group begin with its members."""

    name: str
    type: str
    identifiers: tuple[str, ...] = ()
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WordLists:
    """Entries, and the keys they are found by.

    `words` and `phrases` are found in any case, `symbols` only as written. A phrase has a space or hyphen in it; only
    phrases may be spread over several words of a text, or "cut in" would be cutin.
    """

    entries: tuple[Entry, ...]
    words: Mapping[str, int]
    phrases: Mapping[str, int]
    symbols: Mapping[str, int]


class _Table(Enum):
    WORDS = auto()
    PHRASES = auto()
    SYMBOLS = auto()


_Key: TypeAlias = tuple[_Table, str]


@dataclass(slots=True, kw_only=True)
class _Record:
    """What the sources say of one thing. `names` counts the sources of a name; `name` is set where ours decides it."""

    type: EntityType
    identifiers: list[str]
    names: Counter[str]
    name: str = ""
    members: tuple[str, ...] = ()
    weight: int = 0


class _Pool:
    """Records, one per thing: what shares an accession, or has the main name of one of ours, is merged."""

    def __init__(self) -> None:
        self.records: list[_Record] = []
        self._by_accession: dict[str, _Record] = {}
        self._by_lab_name: dict[tuple[bool, str], _Record] = {}

    def add_lab(self, record: _Record) -> None:
        """Take a record of ours; its names stay its own whatever the public lists say."""
        self.records.append(record)
        for accession in record.identifiers:
            self._by_accession[accession] = record
        for name in record.names:
            self._by_lab_name[_is_compound(record.type), name_key(name)] = record

    def add(self, record: _Record, accessions: Iterable[str]) -> None:
        """Take a record of a public list, into the record it belongs to when there is one."""
        accessions = tuple(accessions)
        known = next((self._by_accession[a] for a in accessions if a in self._by_accession), None)
        if known is None:
            known = self._by_lab_name.get((_is_compound(record.type), name_key(_main_name(record.names))))
        if known is None:
            self.records.append(known := record)
        else:
            known.names.update(record.names)
            known.identifiers += (i for i in record.identifiers if i not in known.identifiers)
            known.weight = max(known.weight, record.weight)
        for accession in accessions:
            self._by_accession.setdefault(accession, known)


def word_lists() -> WordLists:
    """All lists, cleaned and merged.

    Raises:
        LibraryError: a package that brings a list is missing or changed.
    """
    pool = _Pool()
    for record in _lab_records():
        pool.add_lab(record)
    for compound in filter(_is_substance, read_compounds(COMPOUNDS.locate())):
        pool.add(_compound_record(compound), _compound_accessions(compound))
    for record in _mesh_records(MESH_MAPPINGS.locate()):
        pool.add(record, record.identifiers)
    return _finish(pool.records)


@cache
def data_digest() -> str:
    """The version of everything the lists are made from."""
    digest = hashlib.sha256(f"{COMPOUNDS.sha256}{MESH_MAPPINGS.sha256}".encode())
    for name in (_LAB_NAMES, _ORDINARY_WORDS):
        digest.update(_own_text(name).encode())
    return digest.hexdigest()


def chebi_by_name() -> dict[str, str]:
    """The ChEBI accessions of the compounds that MeSH lists too, by the name ChEBI gives them, case folded.

    Raises:
        LibraryError: the package that brings the table is missing or changed.
    """
    with MESH_MAPPINGS.locate().open(encoding="utf-8") as table:
        rows = (line.rstrip("\n").split("\t") for line in table if "\tCHEBI\t" in line)
        return {name.casefold(): accession for *_, accession, name in rows}


def is_symbol(name: str) -> bool:
    """Whether a name has to be found in exactly its letters: an abbreviation or a gene symbol."""
    capitals = sum(character.isupper() for character in name)
    letters = sum(character.isalpha() for character in name)
    return capitals > 1 and " " not in name and len(name) <= 12 and 2 * capitals >= letters


def _lab_records() -> Iterator[_Record]:
    for line in _own_text(_LAB_NAMES).splitlines():
        if line.startswith("#") or not line:
            continue
        kind, name, others, identifiers, members = (line.split("\t") + [""] * 4)[:5]
        names = [name, *_split(others)]
        yield _Record(
            type=EntityType(kind),
            name=name,
            identifiers=_split(identifiers),
            # Ours come first among the synonyms, in our order.
            names=Counter({other: _LAB_WEIGHT - place for place, other in enumerate(names)}),
            members=tuple(_split(members)),
            weight=_LAB_WEIGHT,
        )


def _compound_record(compound: Compound) -> _Record:
    return _Record(
        type=_compound_type(compound),
        identifiers=_compound_identifiers(compound),
        names=_respelled(Counter(cleaned for name in compound.names if (cleaned := _clean(name)))),
        weight=len(compound.accessions),
    )


def _respelled(names: Counter[str]) -> Counter[str]:
    """The trusted names, each once in its commonest spelling, with the number of its sources in any spelling."""
    spellings: dict[_Key, Counter[str]] = {}
    for name, count in names.items():
        spellings.setdefault(_table_key(name), Counter())[name] += count
    best = {max(each, key=lambda name: (each[name], name)): each.total() for each in spellings.values()}
    most = max(best.values(), default=0)
    return Counter({name: n for name, n in best.items() if _trusted(name, n) and not _is_brand(name, n, most)})


def _is_brand(name: str, sources: int, most: int) -> bool:
    """Whether a name looks like a brand's: one word, known to few of the sources, and nothing chemical in it."""
    return name.isalpha() and 3 * sources < most and not _CHEMICAL_ENDING.search(name)


def _is_substance(compound: Compound) -> bool:
    """Whether biology knows a compound: what only KEGG DRUG lists are products, called Android or Alliance."""
    return bool(compound.first("kegg", "C") or any(compound.first(n) for n in ("chebi", "hmdb", "bigg.metabolite")))


def _compound_type(compound: Compound) -> EntityType:
    """LIPID MAPS and SwissLipids say what is a lipid, HMDB and BiGG what occurs in a living thing."""
    lipid_maps = compound.first("lipidmaps") or ""
    lipid = lipid_maps.startswith(_LIPID_CLASSES) or compound.first("swisslipid")
    if lipid and not (lipid_maps.startswith("LMFA") and compound.mass < _LIGHTEST_FATTY_ACID):
        return EntityType.LIPID
    if compound.first("hmdb") or compound.first("bigg.metabolite"):
        return EntityType.METABOLITE
    return EntityType.CHEMICAL


def _compound_identifiers(compound: Compound) -> list[str]:
    found = []
    if chebi := compound.first("chebi"):
        found.append(chebi)
    if kegg := compound.first("kegg", "C") or compound.first("kegg", "D"):
        found.append(f"KEGG:{kegg}")
    if hmdb := compound.first("hmdb"):
        found.append(f"HMDB:HMDB{int(hmdb.removeprefix('HMDB')):07d}")
    if compound.inchi_key:
        found.append(f"InChIKey:{compound.inchi_key}")
    return found


def _compound_accessions(compound: Compound) -> Iterator[str]:
    for namespace, accession in compound.accessions:
        if namespace == "chebi":
            yield accession
        elif namespace == "kegg":
            yield f"KEGG:{accession}"


def _mesh_records(table: Path) -> Iterator[_Record]:
    """Chemicals, diseases and genes of gilda's table of MeSH terms and what other vocabularies call them."""
    with table.open(encoding="utf-8", newline="") as stream:
        for _, mesh, heading, namespace, accession, name in csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE):
            if (kind := _mesh_type(namespace, heading)) is None:
                continue
            names = [name, _upright(_GENE_WITH_SPECIES.sub("", heading))]
            identifiers = [accession if ":" in accession else f"{namespace}:{accession}", f"MESH:{mesh}"]
            if kind is EntityType.DISEASE and not _same_words(*names):
                # Such pairs are near misses as often as synonyms: Asthma goes with exercise-induced bronchospasm.
                names, identifiers = names[1:], identifiers[1:]
            yield _Record(
                type=kind,
                identifiers=identifiers,
                names=_respelled(Counter({each: _MESH_WEIGHT for each in map(_clean, names) if each})),
                weight=1,
            )


def _same_words(one: str, other: str) -> bool:
    return set(name_words(one)) == set(name_words(other))


def _mesh_type(namespace: str, name: str) -> EntityType | None:
    """EFO mixes diseases with treatment, survival and the like: only what is shaped like a disease is one."""
    if namespace == "EFO":
        return EntityType.DISEASE if _DISEASE_SHAPE.search(_upright(name)) else None
    return {
        "CHEBI": EntityType.CHEMICAL,
        "DOID": EntityType.DISEASE,
        "HP": EntityType.DISEASE,
        "HGNC": EntityType.GENE,
    }.get(namespace)


def _upright(name: str) -> str:
    """A MeSH heading in reading order: "Dermatitis, Atopic" is atopic dermatitis."""
    head, comma, rest = name.partition(", ")
    return f"{rest} {head}" if comma and "," not in rest and not any(map(str.isdigit, name)) else name


def _clean(name: str) -> str:
    """A source's name as people write it, or "" when it is a formula, a charge state or not a name at all."""
    name = _ARTICLE.sub("", _MARK.sub("", " ".join(name.split())))
    if len(name) > _LONGEST_NAME or not _LETTERS.search(name) or _INCHI_KEY.search(name) or _NO_NAME.search(name):
        return ""
    return name


def _trusted(name: str, sources: int) -> bool:
    """Whether a name is distinctive: short ones need two sources, symbols four letters, and no ordinary word is one."""
    if is_symbol(name):
        key = symbol_key(name)
        return sources > 1 and (len(key) > 3 or not key.isalpha()) and key not in _ordinary_words()
    key = name_key(name)
    if len(key) < 4 or (" " not in name and len(key) < 7 and sources < 2):
        return False
    if len(key) < 7 and _SEPARATOR.search(name) and not any(map(str.isdigit, key)):
        return False
    return key not in _ordinary_words()


@cache
def _ordinary_words() -> frozenset[str]:
    words = (line for line in _own_text(_ORDINARY_WORDS).splitlines() if not line.startswith("#"))
    return frozenset(key for line in words for word in line.split("|") for key in (name_key(word), symbol_key(word)))


def _finish(records: list[_Record]) -> WordLists:
    owners = _owners(records)
    entries: list[Entry] = []
    tables: dict[_Table, dict[str, int]] = {table: {} for table in _Table}
    for record in records:
        owned = [name for name, _ in record.names.most_common() if owners[_table_key(name)] is record]
        if not owned:
            continue
        for table, key in map(_table_key, owned):
            tables[table][key] = len(entries)
        entries.append(_entry(record, owned))
    return WordLists(
        entries=tuple(entries),
        words=tables[_Table.WORDS],
        phrases=tables[_Table.PHRASES],
        symbols=tables[_Table.SYMBOLS],
    )


def _owners(records: list[_Record]) -> dict[_Key, _Record]:
    """Whose each key is: ours before all, then the best known thing that most sources call so, compounds first."""
    best: dict[_Key, tuple[tuple[int, bool], _Record]] = {}
    for record in records:
        for name, count in record.names.items():
            key, claim = _table_key(name), (min(count, 3) * record.weight, _is_compound(record.type))
            if key not in best or best[key][0] < claim:
                best[key] = (claim, record)
    return {key: record for key, (_, record) in best.items()}


@lru_cache(maxsize=1 << 18)
def _table_key(name: str) -> _Key:
    if is_symbol(name):
        return _Table.SYMBOLS, symbol_key(name)
    return _Table.PHRASES if _SEPARATOR.search(name) else _Table.WORDS, name_key(name)


def _entry(record: _Record, owned: list[str]) -> Entry:
    by_key = {name_key(name): name for name in reversed(owned)}
    name = record.name or _plainest(record, owned, by_key)
    seen = {name_key(name), *map(name_key, record.members)}
    synonyms = list(record.members)
    for other in owned:
        plain = _without_stereo(other, by_key)
        if name_key(plain) not in seen and _searchable(other, record.names[other]):
            seen.add(name_key(plain))
            synonyms.append(plain)
    return Entry(
        name=name,
        type=record.type,
        identifiers=tuple(record.identifiers[:_MOST_IDENTIFIERS]),
        synonyms=tuple(synonyms[: len(record.members) + _MOST_SYNONYMS]),
    )


def _searchable(name: str, sources: int) -> bool:
    """Whether a paper may well use this name: several sources know it and it is no systematic name."""
    return sources > 2 and len(name) <= 40 and not _SYSTEMATIC.search(name)


def _plainest(record: _Record, owned: list[str], by_key: Mapping[str, str]) -> str:
    """The commonest name that is not systematic, and without its stereochemistry when the plain name means the same."""
    if not _is_compound(record.type):
        return owned[0] if is_symbol(owned[0]) else _sentence_case(owned[0])
    common = (name for name in owned if 2 * record.names[name] >= record.names[owned[0]])
    name = next((name for name in common if not _SYSTEMATIC.search(name)), owned[0])
    return _small(_without_stereo(name, by_key))


def _without_stereo(name: str, by_key: Mapping[str, str]) -> str:
    """The name without a mark such as L- or D-, when the thing is called so too."""
    return by_key.get(name_key(_STEREO.sub("", name)), name)


def _main_name(names: Counter[str]) -> str:
    return max(names, key=names.__getitem__, default="")


def _small(name: str) -> str:
    """A compound's name without a capital at its start, unless that belongs to it (ATP, LacCer, N-acetylcysteine)."""
    if " " in name and all(map(_CAPITALISED.fullmatch, name.split())):
        return _sentence_case(name)
    return name[:1].lower() + name[1:] if _CAPITALISED.match(name) else name


def _sentence_case(name: str) -> str:
    """A heading in the singular and with the capitals of a sentence: names of people keep theirs."""
    name = _PLURAL_HEADING.sub("", name)
    return _CAPITALISED.sub(lambda word: word[0] if word[0] in _eponyms() else word[0].lower(), name)


@cache
def _eponyms() -> frozenset[str]:
    """The words that the Disease Ontology, which writes common words small, only has with a capital."""
    with MESH_MAPPINGS.locate().open(encoding="utf-8") as stream:
        names = [line.rstrip("\n").split("\t")[5] for line in stream if "\tDOID\t" in line]
    words = {word for name in names for word in re.findall(r"\w+", name)}
    return frozenset(word for word in words if _CAPITALISED.fullmatch(word) and word.lower() not in words)


def _is_compound(kind: EntityType) -> bool:
    return kind in COMPOUND_TYPES


def _split(cell: str) -> list[str]:
    return [part for part in cell.split("|") if part]


@cache
def _own_text(name: str) -> str:
    return resources.files("cmo.library").joinpath(name).read_text(encoding="utf-8")
