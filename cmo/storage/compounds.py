"""Reads the compound database that the package equilibrator-cache-data brings: names and accessions of metabolites.

It knows that database's tables and nothing of what a good name is.
"""

from __future__ import annotations

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
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            for _, group in groupby(connection.execute(_ACCESSIONS), key=itemgetter(0)):
                rows = list(group)
                yield Compound(
                    inchi_key=(rows[0][1] or "").strip(),
                    mass=rows[0][2] or 0.0,
                    names=tuple(row[4] for row in rows if row[3] == "synonyms"),
                    accessions=tuple((row[3], row[4]) for row in rows if row[3] != "synonyms"),
                )
    except sqlite3.Error as error:
        raise LibraryError(f"The compound list {database.name} cannot be read ({error}). Install it again.") from error
