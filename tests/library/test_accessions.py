"""What databases call a thing, and what structure it has."""

from pathlib import Path

import pytest

from cmo.errors import LibraryError
from cmo.library.accessions import CompoundList
from cmo.library.wordlists import COMPOUNDS
from cmo.storage.compounds import find_structure


@pytest.fixture(scope="module")
def compounds() -> CompoundList:
    return CompoundList()


def test_of_several_accessions_of_a_database_the_first_counts(compounds: CompoundList) -> None:
    found = compounds.accessions("homocysteine", ["KEGG:C00155", "CHEBI:17230", "KEGG:C05330", "HMDB:HMDB0000742"])

    assert (found["kegg"], found["chebi"], found["hmdb"]) == ("C00155", "CHEBI:17230", "HMDB0000742")


def test_a_compound_gets_the_key_of_its_uncharged_form(compounds: CompoundList) -> None:
    found = compounds.accessions("lactate", ["KEGG:C00186", "InChIKey:JVTAAEKCZFNVCJ-REOHCLBHSA-M"])

    assert found["inchikey"] == "JVTAAEKCZFNVCJ-REOHCLBHSA-N"


@pytest.mark.parametrize(
    ("name", "kegg", "listed", "named"),
    [
        ("citric acid", "C00158", "CHEBI:132362", "CHEBI:30769"),
        ("lysine", "C00047", "CHEBI:133538", "CHEBI:18019"),
        ("glutamine", "C00064", "CHEBI:18050", "CHEBI:18050"),
        ("my own name", "C00158", "CHEBI:132362", "CHEBI:132362"),
    ],
)
def test_of_the_charge_states_in_chebi_the_one_of_that_name_counts(
    compounds: CompoundList, name: str, kegg: str, listed: str, named: str
) -> None:
    assert compounds.accessions(name, [listed, f"KEGG:{kegg}"])["chebi"] == named


def test_a_name_does_not_lead_to_another_compound(compounds: CompoundList) -> None:
    assert compounds.accessions("benzoic acid", ["KEGG:C00158", "CHEBI:132362"])["chebi"] == "CHEBI:132362"


def test_what_is_no_compound_keeps_its_own_accessions(compounds: CompoundList) -> None:
    assert compounds.accessions("diabetes mellitus", ["DOID:9351"]) == {"doid": "DOID:9351"}
    assert compounds.accessions("a new thing", []) == {}


@pytest.mark.parametrize("identifiers", [[], ["DOID:9351"], ["KEGG:D04958"], ["KEGG:C99999"]])
def test_without_a_known_compound_there_is_no_structure(compounds: CompoundList, identifiers: list[str]) -> None:
    assert compounds.structure(identifiers) is None


@pytest.mark.parametrize(
    ("accession", "key", "formula", "mass"),
    [
        ("C00031", "WQZGKKKJIJFFOK-GASJEMHNSA-N", "C6H12O6", 180.16),
        ("C00158", "KRKNYBCHXYNGOX-UHFFFAOYSA-N", "C6H8O7", 192.12),
        ("C00780", "QZAYGJVTTNCVMB-UHFFFAOYSA-N", "C10H12N2O", 176.22),
    ],
)
def test_formula_and_mass_are_of_the_uncharged_form(accession: str, key: str, formula: str, mass: float) -> None:
    structure = find_structure(COMPOUNDS.locate(), "kegg", accession)

    assert structure is not None
    assert (structure.inchi_key, structure.formula) == (key, formula)
    assert structure.mass == pytest.approx(mass, abs=0.01)


def test_a_file_that_is_no_compound_list_is_named(tmp_path: Path) -> None:
    (tmp_path / "other.sqlite").write_text("not a database, but long enough to be looked at as one" * 20)

    with pytest.raises(LibraryError, match=r"other\.sqlite cannot be read"):
        find_structure(tmp_path / "other.sqlite", "kegg", "C00031")


def test_a_group_does_not_get_the_structure_of_one_of_its_members(compounds: CompoundList) -> None:
    bile_acids = ["CHEBI:22868", "KEGG:C01558", "InChIKey:BHQCQFFYRZLCQQ-UMZBRFQRSA-N"]

    assert compounds.structure(bile_acids) is None
    assert compounds.accessions("bile acid", bile_acids) == {"chebi": "CHEBI:22868", "kegg": "C01558"}
