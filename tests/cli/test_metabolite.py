"""What `cmo metabolite` says of a name."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cmo.cli.app import app


@pytest.fixture(autouse=True)
def dictionary(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that all tests of a run share, as it takes seconds to build."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CMO_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "lexicon"))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["metabolite", *arguments])


def told(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(run(name, "--json").stdout)
    return document


def test_programs_get_all_that_is_known() -> None:
    assert told("TMAO") == {
        "name": "trimethylamine N-oxide",
        "type": "Metabolite",
        "synonyms": ["TMAO", "trimethylamine oxide", "trimethyloxamine"],
        "members": [],
        "ids": {
            "kegg": "C01104",
            "chebi": "CHEBI:15724",
            "hmdb": "HMDB0000925",
            "inchikey": "UYPYRKYUKCHHIB-UHFFFAOYSA-N",
        },
        "formula": "C3H9NO",
        "mass": 75.111,
    }


def test_people_read_the_same_a_fact_a_line() -> None:
    result = run("TMAO")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "trimethylamine N-oxide",
        "Type: Metabolite",
        "Also called: TMAO, trimethylamine oxide, trimethyloxamine",
        "KEGG: C01104",
        "ChEBI: CHEBI:15724",
        "HMDB: HMDB0000925",
        "InChIKey: UYPYRKYUKCHHIB-UHFFFAOYSA-N",
        "Formula: C3H9NO",
        "Average mass: 75.111 Da",
    ]


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("tmao", "trimethylamine N-oxide"),
        (" Trimethylamine-N-oxide ", "trimethylamine N-oxide"),
        ("PC(34:1)", "PC 34:1"),
    ],
)
def test_a_name_is_known_in_any_of_its_spellings(spelling: str, name: str) -> None:
    assert told(spelling)["name"] == name


def test_formula_and_mass_are_of_the_uncharged_compound_like_the_key() -> None:
    lactate = told("lactate")

    assert (lactate["formula"], lactate["mass"]) == ("C3H6O3", pytest.approx(90.08, abs=0.005))
    assert lactate["ids"]["inchikey"] == "JVTAAEKCZFNVCJ-REOHCLBHSA-N"


def test_a_group_has_members_and_no_structure() -> None:
    group = told("BCAA")

    assert (group["name"], group["members"]) == ("branched-chain amino acid", ["leucine", "isoleucine", "valine"])
    assert (group["synonyms"], group["formula"], group["mass"]) == (["BCAA"], None, None)


@pytest.mark.parametrize(
    ("mistyped", "meant"), [("glucoze", "glucose"), ("TMOA", "TMAO"), ("kreatinine", "creatinine")]
)
def test_an_unknown_name_is_told_with_the_nearest_ones(mistyped: str, meant: str) -> None:
    result = run(mistyped)

    assert result.exit_code == 1
    assert f'No metabolite called "{mistyped}" is known' in " ".join(result.stderr.split())
    assert meant in result.stdout.removeprefix("Nearest names: ").strip().split(", ")


def test_programs_get_the_nearest_names_as_a_list() -> None:
    result = run("glucoze", "--json")

    document = json.loads(result.stdout)
    assert result.exit_code == 1
    assert document["nearest"][0] == "glucose"
    assert "glucoze" in document["error"]


def test_a_name_like_no_other_has_no_nearest_one() -> None:
    assert told("xqzzyxqzzy")["nearest"] == []


def test_a_disease_is_no_metabolite() -> None:
    assert run("diabetes").exit_code == 1


@pytest.mark.parametrize("arguments", [(), ("  ",), ("TMAO", "more")], ids=" ".join)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2
