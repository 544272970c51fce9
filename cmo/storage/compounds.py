"""Reads the compound database that the package equilibrator-cache-data brings: names, accessions and structures.

It knows that database's tables and nothing of what a good name is.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from cmo.errors import LibraryError

# The namespace "synonyms" holds names; a name stands there once for every source that uses it.
_ACCESSIONS = """
    SELECT i.compound_id, c.inchi_key, c.mass, r.namespace, i.accession
    FROM compound_identifiers AS i
    JOIN registries AS r ON r.id = i.registry_id
    JOIN compounds AS c ON c.id = i.compound_id
    WHERE r.namespace IN ('synonyms', 'chebi', 'kegg', 'hmdb', 'lipidmaps', 'swisslipid', 'bigg.metabolite')
    ORDER BY i.compound_id, i.id
"""

_STRUCTURE = """
    SELECT c.id, c.inchi_key, c.inchi, c.mass
    FROM compound_identifiers AS i
    JOIN registries AS r ON r.id = i.registry_id
    JOIN compounds AS c ON c.id = i.compound_id
    WHERE i.accession = ? AND r.namespace = ?
    ORDER BY i.id LIMIT 1
"""
_NAMED_SO = "SELECT 1 FROM compound_identifiers WHERE accession = ? AND compound_id = ?"

# The layer of an InChI that counts the protons added to the uncharged compound, or taken from it.
_PROTONS = re.compile(r"/p([+-]\d+)")
_HYDROGEN_MASS = 1.008
"""In daltons (IUPAC standard atomic weight, abridged)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """A compound's uncharged form: its InChIKey, formula and average mass in daltons ("" and 0 when unknown).

    The database holds the form of pH 7. Its InChIKey stands here where that of the uncharged form is not listed.
    """

    inchi_key: str
    formula: str
    mass: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Compound:
    """One chemical structure, its mass in daltons (0 when unknown).

    `names` repeats a name once per source; `accessions` are pairs of namespace and accession.
    """

    inchi_key: str
    mass: float
    names: tuple[str, ...]
    accessions: tuple[tuple[str, str], ...]

    def first(self, namespace: str, prefix: str = "") -> str | None:
        """The first accession of a namespace that starts with `prefix`."""
        return next((a for n, a in self.accessions if n == namespace and a.startswith(prefix)), None)


def read_compounds(database: Path) -> Iterator[Compound]:
    """Every compound of the database, in its own order.

    Raises:
        LibraryError: the file is not that database.
    """
    try:
        with closing(_connect(database)) as connection:
            for _, group in groupby(connection.execute(_ACCESSIONS), key=itemgetter(0)):
                rows = list(group)
                yield Compound(
                    inchi_key=(rows[0][1] or "").strip(),
                    mass=rows[0][2] or 0.0,
                    names=tuple(row[4] for row in rows if row[3] == "synonyms"),
                    accessions=tuple((row[3], row[4]) for row in rows if row[3] != "synonyms"),
                )
    except sqlite3.Error as error:
        raise _unreadable(database, error) from error


def find_structure(database: Path, namespace: str, accession: str) -> Structure | None:
    """The structure of the compound with that accession ("C01104" of "kegg"), or None when there is none.

    Raises:
        LibraryError: the file is not that database.
    """
    try:
        with closing(_connect(database)) as connection:
            row = connection.execute(_STRUCTURE, (accession, namespace)).fetchone()
            return _structure(connection, *row) if row else None
    except sqlite3.Error as error:
        raise _unreadable(database, error) from error


def _structure(
    connection: sqlite3.Connection, compound: int, key: str | None, inchi: str | None, mass: float | None
) -> Structure:
    layers = (inchi or "").split("/")
    added = sum(int(protons) for protons in _PROTONS.findall(inchi or ""))
    key = (key or "").strip()
    uncharged = f"{key[:-1]}N"
    if connection.execute(_NAMED_SO, (uncharged, compound)).fetchone():
        key = uncharged
    return Structure(
        inchi_key=key,
        formula=layers[1] if len(layers) > 1 and layers[1][:1].isupper() else "",
        mass=mass - added * _HYDROGEN_MASS if mass else 0.0,
    )


def _connect(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro&immutable=1", uri=True)


def _unreadable(database: Path, error: sqlite3.Error) -> LibraryError:
    return LibraryError(f"The compound list {database.name} cannot be read ({error}). Install it again.")
