import resource
import subprocess
import sys
from pathlib import Path

import pytest

from cmo.errors import LibraryError
from cmo.library.lexicon import Lexicon, lexicon_fingerprint, open_lexicon
from cmo.library.names import name_key, symbol_key, tokens
from cmo.library.wordlists import COMPOUNDS, Source, is_symbol


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all modules of a run, so that the dictionary is built once."""
    return tmp_path_factory.getbasetemp() / "lexicon"


@pytest.fixture(scope="session")
def lexicon(cache: Path) -> Lexicon:
    return open_lexicon(cache)


def _name(lexicon: Lexicon, name: str) -> str | None:
    entry = lexicon.find(name)
    return entry.name if entry else None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("β-hydroxybutyrate", "beta-hydroxybutyrate"),
        ("N-acetyl-cysteine", "N-acetylcysteine"),
        ("acylcarnitines", "acylcarnitine"),
        ("25(OH)D", "25-OH-D"),
        ("hyperlipidaemia", "hyperlipidemia"),
        ("Sulphate", "sulfate"),
        ("type II diabetes", "type 2 diabetes"),
        ("interleukin–6", "interleukin 6"),
        ("deficiencies", "deficiency"),
    ],
)
def test_spellings_of_one_name_share_a_key(one: str, other: str) -> None:
    assert name_key(one) == name_key(other)


def test_symbols_keep_their_case() -> None:
    assert symbol_key("TNF-α") == "TNFalpha" != symbol_key("tnf-α")


def test_tokens_know_their_place_in_the_text() -> None:
    text = "β-carotene, H₂O"
    assert [text[token.start : token.end] for token in tokens(text)] == ["β", "carotene", "H₂O"]


@pytest.mark.parametrize(("name", "symbol"), [("TMAO", True), ("HbA1c", True), ("IL-6", True), ("glucose", False)])
def test_names_of_mostly_capitals_are_symbols(name: str, symbol: bool) -> None:
    assert is_symbol(name) is symbol


@pytest.mark.parametrize(
    ("synonym", "name"),
    [
        ("dextrose", "glucose"),
        ("D-Glucose", "glucose"),
        ("trimethylamine oxide", "trimethylamine N-oxide"),
        ("TMAO", "trimethylamine N-oxide"),
        ("ascorbate", "vitamin C"),
        ("butanoic acid", "butyrate"),
        ("BCAAs", "branched-chain amino acid"),
        ("T2DM", "type 2 diabetes"),
        ("caffeate", "caffeic acid"),
        ("HbA1c", "hemoglobin A1c"),
        ("LC–MS/MS", "LC-MS/MS"),
        ("faeces", "feces"),
    ],
)
def test_synonyms_share_one_name(lexicon: Lexicon, synonym: str, name: str) -> None:
    assert _name(lexicon, synonym) == name


def test_metabolites_carry_their_accessions(lexicon: Lexicon) -> None:
    entry = lexicon.find("glucose")
    assert entry is not None
    assert set(entry.identifiers) == {
        "CHEBI:17634",
        "KEGG:C00031",
        "HMDB:HMDB0000122",
        "InChIKey:WQZGKKKJIJFFOK-GASJEMHNSA-N",
    }


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("arachidonic acid", "Lipid"),
        ("valine", "Metabolite"),
        ("naringin", "Metabolite"),
        ("phenylketonuria", "Disease"),
        ("PCSK9", "Gene"),
        ("kynureninase", "Gene"),
        ("urine", "Specimen"),
        ("NMR", "Method"),
        ("iron", "Metabolite"),
    ],
)
def test_a_name_has_a_type(lexicon: Lexicon, name: str, kind: str) -> None:
    entry = lexicon.find(name)
    assert entry is not None
    assert entry.type == kind


@pytest.mark.parametrize(
    "word",
    ["lead", "can", "set", "impact", "was", "male", "light", "disease", "treatment", "survival", "REST", "water", "A"],
)
def test_ordinary_words_are_no_names(lexicon: Lexicon, word: str) -> None:
    assert lexicon.find(word) is None


def test_a_longer_name_wins(lexicon: Lexicon) -> None:
    stream = list(tokens("vitamin D deficiency was common"))
    match = lexicon.longest(stream, 0)
    assert match is not None
    assert match.length == 3


@pytest.mark.parametrize("text", ["cut in two", "but in time", "glucose. 6-phosphate"])
def test_a_name_is_not_put_together_from_words_that_only_happen_to_follow(lexicon: Lexicon, text: str) -> None:
    match = lexicon.longest(list(tokens(text)), 0)
    assert match is None or match.length == 1


def test_the_file_is_named_by_its_fingerprint_and_used_again(lexicon: Lexicon, cache: Path) -> None:
    (path,) = cache.iterdir()
    before = path.stat().st_mtime_ns
    assert open_lexicon(cache).fingerprint == lexicon.fingerprint == lexicon_fingerprint()
    assert lexicon_fingerprint() in path.name
    assert path.stat().st_mtime_ns == before


def test_loading_is_quick_and_small(lexicon: Lexicon, cache: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from cmo.library.lexicon import open_lexicon;"
        "start = time.perf_counter(); lexicon = open_lexicon(Path(sys.argv[1]));"
        "print(time.perf_counter() - start, Path('/proc/self/statm').read_text().split()[1])"
    )
    result = subprocess.run([sys.executable, "-c", program, str(cache)], capture_output=True, text=True, check=True)
    seconds, pages = map(float, result.stdout.split())
    assert seconds < 2.0
    assert pages * resource.getpagesize() < 80e6


def test_a_damaged_file_says_what_to_do(lexicon: Lexicon, cache: Path, tmp_path: Path) -> None:
    (path,) = cache.iterdir()
    (tmp_path / path.name).write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(LibraryError, match="delete it"):
        open_lexicon(tmp_path)


def test_a_folder_that_cannot_be_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LibraryError, match="cannot be kept"):
        open_lexicon(tmp_path / "file")


def test_a_missing_package_is_named() -> None:
    with pytest.raises(LibraryError, match="no_such_package"):
        Source(package="no_such_package", file="names.tsv", sha256="0" * 64).locate()


def test_a_changed_list_is_refused() -> None:
    with pytest.raises(LibraryError, match="not the one expected"):
        Source(package=COMPOUNDS.package, file=COMPOUNDS.file, sha256="0" * 64).locate()
