"""What other databases call the things of the dictionary, and the structures of compounds.

Both are looked up, in the dictionary's entries and in the compound list, and left out where they are not found.
Nothing here knows how things are found in a text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cmo.library.wordlists import COMPOUNDS, chebi_by_name
from cmo.storage.compounds import Structure, find_structure

_BARE = ("KEGG", "HMDB", "InChIKey", "MESH")
"""Whose accessions are written without the name of the database before them: C01104, but CHEBI:15724."""

_NO_STEREO = "-UHFFFAOYSA-"
"""The second part of the InChIKey of a structure without stereochemistry or isotopes."""

_BILE_ACIDS = "C01558"
"""A group of KEGG's, which the list gives the structure of one of them."""


class CompoundList:
    """The installed compound list, asked for one compound at a time. Its files are checked once; safe to share."""

    def __init__(self) -> None:
        """Find the list.

        Raises:
            LibraryError: a package that brings a part of it is missing or changed.
        """
        self._database = COMPOUNDS.locate()
        self._chebi = chebi_by_name()

    def accessions(self, name: str, identifiers: Iterable[str]) -> dict[str, str]:
        """What databases call a thing of the dictionary, by database ("kegg").

        Of several identifiers ("KEGG:C01104") of a database the first counts. A compound gets its InChIKey and, of the
        ChEBI entries for its charge states, the one that has its name.

        Raises:
            LibraryError: the list cannot be read.
        """
        found = _by_database(identifiers)
        structure = self._structure(found)
        if structure:
            found["inchikey"] = structure.inchi_key
            found |= self._chebi_called(name, structure)
        return found

    def structure(self, identifiers: Iterable[str]) -> Structure | None:
        """The structure of the compound with these identifiers; None when they lead to none.

        Raises:
            LibraryError: the list cannot be read.
        """
        return self._structure(_by_database(identifiers))

    def _structure(self, known: Mapping[str, str]) -> Structure | None:
        # Drugs of KEGG ("D04958") may be mixtures.
        for database, beginning in (("kegg", "C"), ("chebi", "CHEBI:")):
            accession = known.get(database, "")
            if accession.startswith(beginning) and known.get("kegg") != _BILE_ACIDS:
                structure = find_structure(self._database, database, accession)
                if structure and structure.inchi_key:
                    return structure
        return None

    def _chebi_called(self, name: str, structure: Structure) -> dict[str, str]:
        """The ChEBI entry of that name, if it is one of that structure."""
        # Texts say lysine and mean L-lysine.
        prefixes = ("",) if _NO_STEREO in structure.inchi_key else ("L-", "D-")
        for prefix in prefixes:
            accession = self._chebi.get(f"{prefix}{name}".casefold(), "")
            if accession and find_structure(self._database, "chebi", accession) == structure:
                return {"chebi": accession}
        return {}


def _by_database(identifiers: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for identifier in identifiers:
        database, _, bare = identifier.partition(":")
        found.setdefault(database.lower(), bare if database in _BARE else identifier)
    if found.get("kegg") == _BILE_ACIDS:
        found.pop("inchikey", None)
    return found
