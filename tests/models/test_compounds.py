"""Which metabolites an answer speaks of."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from cmo.errors import LibraryError
from cmo.interfaces import CompoundFinder
from cmo.library.accessions import CompoundList
from cmo.library.lexicon import open_lexicon
from cmo.models.compounds import AnswerCompounds
from cmo.models.extraction import DictionaryExtractor


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> DictionaryExtractor:
    # The folder that tests/library/test_lexicon.py uses too: the dictionary is built once in a run.
    return DictionaryExtractor(open_lexicon(tmp_path_factory.getbasetemp() / "lexicon"))


@pytest.fixture(scope="module")
def finder(extractor: DictionaryExtractor) -> CompoundFinder:
    return AnswerCompounds(extractor)


def _named(finder: CompoundFinder, text: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(compound.name, compound.written) for compound in finder.compounds(text)]


def test_a_synonym_and_an_abbreviation_are_the_same_compound(finder: CompoundFinder) -> None:
    answer = "TMAO predicts stroke. [1] Trimethylamine N-oxide comes from choline, TMAO from fish. [2]"

    assert _named(finder, answer) == [
        ("trimethylamine N-oxide", ("TMAO", "Trimethylamine N-oxide")),
        ("choline", ("choline",)),
    ]


def test_an_abbreviation_means_what_the_answer_says_it_means(finder: CompoundFinder) -> None:
    assert _named(finder, "Kynurenic acid (KA) fell. [1] KA was low.") == [("kynurenic acid", ("Kynurenic acid", "KA"))]
    assert _named(finder, "A gastric adenoma bleeding area (GABA) was seen, and GABA healed.") == []


def test_spellings_of_a_lipid_in_shorthand_are_the_same_compound(finder: CompoundFinder) -> None:
    [lipid] = finder.compounds("PC(34:1) rose and PC aa C34:1 did so too.")

    assert (lipid.name, lipid.written, lipid.accessions) == ("PC 34:1", ("PC(34:1)", "PC aa C34:1"), ())


def test_capitals_make_no_other_spelling(finder: CompoundFinder) -> None:
    assert _named(finder, "Lactate rose. [1] More lactate, more deaths.") == [("lactate", ("Lactate",))]


def test_a_line_break_inside_a_name_makes_no_other_spelling(finder: CompoundFinder) -> None:
    assert _named(finder, "Uric acid rose, and uric\nacid fell.") == [("uric acid", ("Uric acid",))]


def test_a_compound_leads_to_its_entries(finder: CompoundFinder) -> None:
    [compound] = finder.compounds("TMAO rose.")

    assert [(each.database, each.accession, each.url) for each in compound.accessions] == [
        ("chebi", "CHEBI:15724", "https://www.ebi.ac.uk/chebi/searchId.do?chebiId=CHEBI:15724"),
        ("kegg", "C01104", "https://www.kegg.jp/entry/C01104"),
        ("hmdb", "HMDB0000925", "https://hmdb.ca/metabolites/HMDB0000925"),
        (
            "inchikey",
            "UYPYRKYUKCHHIB-UHFFFAOYSA-N",
            "https://pubchem.ncbi.nlm.nih.gov/#query=UYPYRKYUKCHHIB-UHFFFAOYSA-N",
        ),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Nothing of the kind was measured.",
        "BRCA1 is mutated in breast cancer, which mass spectrometry shows in plasma.",
        "Insulin, ACTH, C-reactive protein and HbA1c rose.",
        "Amino acids, lipids, lipoproteins and fatty acids were measured under nitrogen in water.",
        "Retinal detachment after alcohol abuse.",
        "Acylcarnitines were measured.",
        "Glucocorticoids and an angiotensin-converting enzyme inhibitor were given.",
        "AMP-activated protein kinase in methicillin-resistant bacteria.",
        "Glutamate dehydrogenase and the dopamine receptor.",
    ],
)
def test_what_is_no_metabolite_is_left_out(finder: CompoundFinder, text: str) -> None:
    assert finder.compounds(text) == ()


def test_the_same_name_counts_where_it_stands_for_itself(finder: CompoundFinder) -> None:
    assert _named(finder, "AMP-activated protein kinase senses AMP.") == [("AMP", ("AMP",))]


def test_groups_that_people_measure_are_named(finder: CompoundFinder) -> None:
    assert [name for name, _ in _named(finder, "BCAAs, bile acids and ceramides rose.")] == [
        "branched-chain amino acid",
        "bile acid",
        "ceramide",
    ]


def test_the_compound_list_is_opened_once_and_only_when_it_is_needed(extractor: DictionaryExtractor) -> None:
    opened: list[CompoundList] = []

    def open_list() -> CompoundList:
        opened.append(CompoundList())
        return opened[-1]

    finder = AnswerCompounds(extractor, open_list=open_list)
    finder.compounds("Nothing here.")
    assert opened == []

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(finder.compounds, ["Lactate and glucose rose."] * 40))

    assert len(opened) == 1
    assert {tuple(compound.name for compound in each) for each in found} == {("lactate", "glucose")}


def test_without_the_compound_list_an_answer_goes_without(extractor: DictionaryExtractor) -> None:
    def missing() -> CompoundList:
        raise LibraryError("The word list is missing.")

    assert AnswerCompounds(extractor, open_list=missing).compounds("Lactate rose.") == ()
