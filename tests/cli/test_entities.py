"""What `cmo entities` finds in texts on stdin."""

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


def run(*rows: object) -> Result:
    return CliRunner().invoke(app, ["entities"], input="".join(f"{json.dumps(row)}\n" for row in rows))


def found(text: str) -> list[dict[str, Any]]:
    [line] = run({"id": 1, "text": text}).stdout.splitlines()
    entities: list[dict[str, Any]] = json.loads(line)["entities"]
    return entities


def test_a_mention_has_its_place_its_type_and_what_databases_call_it() -> None:
    assert found("High TMAO.") == [
        {
            "text": "TMAO",
            "start": 5,
            "end": 9,
            "type": "Metabolite",
            "ids": {
                "kegg": "C01104",
                "chebi": "CHEBI:15724",
                "hmdb": "HMDB0000925",
                "inchikey": "UYPYRKYUKCHHIB-UHFFFAOYSA-N",
            },
        }
    ]


def test_an_abbreviation_and_its_name_are_the_same_thing() -> None:
    short, long = found("TMAO is trimethylamine N-oxide.")

    assert (short["text"], long["text"]) == ("TMAO", "trimethylamine N-oxide")
    assert short["ids"] == long["ids"]


@pytest.mark.parametrize("text", ["  glucose", "血糖 glucose", "𝛼𝛽 glucose\n", "e\u0301 glucose"])
def test_places_count_the_characters_of_the_text_as_it_was_given(text: str) -> None:
    [glucose] = found(text)

    assert (glucose["start"], glucose["end"]) == (text.index("glucose"), text.index("glucose") + len("glucose"))


def test_diseases_and_genes_have_accessions_of_their_own_kind() -> None:
    disease, gene = found("Type 2 diabetes and PCSK9.")

    assert disease["ids"]["doid"] == "DOID:9352"
    assert gene["ids"]["hgnc"] == "HGNC:20001"


def test_what_no_list_has_an_accession_for_has_none() -> None:
    assert [(each["text"], each["ids"]) for each in found("PC 34:1 fell.")] == [("PC 34:1", {})]


def test_a_text_that_names_nothing_has_no_entities() -> None:
    assert found("") == found("It was as it is.") == []


def test_a_bad_line_is_told_and_the_others_go_on() -> None:
    result = run([1], {"id": 2, "text": "glucose"})

    bad, good = map(json.loads, result.stdout.splitlines())
    assert "Line 1 of stdin" in bad["error"]
    assert (good["id"], len(good["entities"])) == (2, 1)
    assert result.exit_code == 1


def test_a_dictionary_that_cannot_be_kept_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CMO_CACHE_DIR", str(tmp_path / "file"))

    result = run({"id": 1, "text": "glucose"})

    assert "cannot be kept" in json.loads(result.stdout)["error"]
    assert result.exit_code == 1
