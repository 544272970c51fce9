from cmo.ui.compounds import SHOWN, compounds_props
from cmo.values import Answer, CompoundAccession, NamedCompound

TMAO = NamedCompound(
    name="trimethylamine N-oxide",
    written=("TMAO", "trimethylamine N-oxide"),
    accessions=(
        CompoundAccession(database="chebi", accession="CHEBI:15724", url="https://example.org/15724"),
        CompoundAccession(database="kegg", accession="C01104", url="https://example.org/C01104"),
        CompoundAccession(database="inchikey", accession="UYPYRKYUKCHHIB-UHFFFAOYSA-N", url="javascript:alert(1)"),
    ),
)


def answer(*compounds: NamedCompound) -> Answer:
    return Answer(
        text="TMAO rises.",
        answered=True,
        language="en",
        engine="lightrag",
        model="extractive",
        reason="only_engine",
        citations=(),
        cost_usd=0.0,
        seconds=0.8,
        compounds=compounds,
    )


def test_a_chip_has_its_names_and_its_entries_that_are_pages_of_the_web() -> None:
    [chip] = compounds_props(answer(TMAO))["compounds"]
    assert (chip["name"], chip["written"]) == ("trimethylamine N-oxide", ["TMAO"])
    assert chip["entries"] == [
        {"label": "CHEBI:15724", "url": "https://example.org/15724"},
        {"label": "KEGG C01104", "url": "https://example.org/C01104"},
        {"label": "InChIKey UYPYRKYUKCHHIB-UHFFFAOYSA-N", "url": ""},
    ]


def test_what_is_not_shown_at_once_is_counted() -> None:
    props = compounds_props(answer(*[TMAO] * (SHOWN + 3)))
    assert (props["shown"], props["labels"]["more"]) == (SHOWN, "3 more")
