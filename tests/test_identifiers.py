"""Which identifiers are recognised, and where their links lead."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmo.identifiers import MAX_DOI_CHARACTERS, in_url, mentions, trimmed_doi


def named(text: str) -> list[tuple[str, str]]:
    """What stands in the text, and the identifier it names."""
    return [(text[found.start : found.end], found.identifier.label) for found in mentions(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see doi:10.1038/S41586-020-1.", ("doi:10.1038/S41586-020-1", "doi:10.1038/s41586-020-1")),
        ("(DOI: 10.1016/j.cmet.2013.02.006)", ("DOI: 10.1016/j.cmet.2013.02.006", "doi:10.1016/j.cmet.2013.02.006")),
        ("at https://doi.org/10.1000/a_b, or", ("https://doi.org/10.1000/a_b", "doi:10.1000/a_b")),
        ("10.1016/S0140-6736(20)30183-5)", ("10.1016/S0140-6736(20)30183-5", "doi:10.1016/s0140-6736(20)30183-5")),
        ("参见 10.1000/xyz。另外", ("10.1000/xyz", "doi:10.1000/xyz")),
        ("(PMID: 23193287)", ("PMID: 23193287", "PMID 23193287")),
        ("pmid 7", ("pmid 7", "PMID 7")),
        ("PMCID: PMC3531190.", ("PMCID: PMC3531190", "PMC3531190")),
        ("in pmc3531190", ("pmc3531190", "PMC3531190")),
        ("arXiv:2101.00001v2 [cs.CL]", ("arXiv:2101.00001v2", "arXiv:2101.00001")),
        ("arXiv: q-bio/0309136", ("arXiv: q-bio/0309136", "arXiv:q-bio/0309136")),
    ],
)
def test_an_identifier_is_recognised_as_it_is_written(text: str, found: tuple[str, str]) -> None:
    assert named(text) == [found]


@pytest.mark.parametrize(
    "text",
    [
        "23193287",
        "PMID 123456789",
        "PMID 12-15",
        "PMID 0",
        "PMC 12",
        "CPMC3531190",
        "10.1234",
        "10.1234/",
        "10.1234/...",
        "v10.1234/x",
        "1.10.1234/x",
        "https://example.org/10.1234/x",
        "10.1002/(SICI)1097-0258(19980815/30)17:15/16<1661::AID-SIM968>3.0.CO;2-2",
        "10.1234/" + "x" * MAX_DOI_CHARACTERS,
        "2101.00001",
    ],
)
def test_what_could_be_something_else_is_left_alone(text: str) -> None:
    assert named(text) == []


def test_identifiers_come_in_the_order_of_the_text() -> None:
    assert [label for _, label in named("PMC3531190, doi:10.1000/b, PMID 12, 10.1000/a")] == [
        "PMC3531190",
        "doi:10.1000/b",
        "PMID 12",
        "doi:10.1000/a",
    ]


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("https://pubmed.ncbi.nlm.nih.gov/23193287/", "https://pubmed.ncbi.nlm.nih.gov/23193287"),
        ("https://www.ncbi.nlm.nih.gov/pubmed/23193287", "https://pubmed.ncbi.nlm.nih.gov/23193287"),
        ("https://europepmc.org/article/MED/23193287", "https://pubmed.ncbi.nlm.nih.gov/23193287"),
        ("https://www.ncbi.nlm.nih.gov/pmc/articles/PMC35/", "https://pmc.ncbi.nlm.nih.gov/articles/PMC35"),
        ("https://pmc.ncbi.nlm.nih.gov/articles/pmc35/#ref", "https://pmc.ncbi.nlm.nih.gov/articles/PMC35"),
        ("https://europepmc.org/articles/PMC35", "https://pmc.ncbi.nlm.nih.gov/articles/PMC35"),
        ("https://arxiv.org/pdf/2101.00001v2.pdf", "https://arxiv.org/abs/2101.00001"),
        ("https://doi.org/10.1016%2FJ.X", "https://doi.org/10.1016/j.x"),
        ("https://link.springer.com/content/pdf/10.1007/s00125-020-1.pdf", "https://doi.org/10.1007/s00125-020-1"),
        ("https://www.frontiersin.org/articles/10.3389/fm.2020.1/full", "https://doi.org/10.3389/fm.2020.1"),
        ("https://journals.plos.org/plosone/article?id=10.1371/j.p.1&x=1", "https://doi.org/10.1371/j.p.1"),
        (
            "https://www.biorxiv.org/content/10.1101/2020.01.01.123456v2.full",
            "https://doi.org/10.1101/2020.01.01.123456",
        ),
    ],
)
def test_addresses_of_publications_are_known(url: str, link: str) -> None:
    found = in_url(url)
    assert found is not None
    assert found.url == link


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/pubmed/23193287",
        "https://pubmed.ncbi.nlm.nih.gov.evil.example/23193287/",
        "https://pubmed.ncbi.nlm.nih.gov/?term=23193287",
        "https://hmdb.ca/metabolites/HMDB0000122",
        "/papers/doc-1.pdf#page=3",
        "http://[::1",
        "",
    ],
)
def test_other_addresses_have_no_identifier(url: str) -> None:
    assert in_url(url) is None


HOSTILE = st.text(st.sampled_from("10./:aZ ()[]<>{}\"'\\^`|%&#?@\n\u202e。DOIdoiPMICarXv_*~;,"), max_size=60)


@given(before=HOSTILE, after=HOSTILE)
def test_links_lead_to_their_registry_and_cannot_be_broken_out_of(before: str, after: str) -> None:
    allowed = r"https://(doi\.org|pubmed\.ncbi\.nlm\.nih\.gov|pmc\.ncbi\.nlm\.nih\.gov|arxiv\.org)/[\w/:;.()%~-]+"
    text = f"{before}10.1000/{after}"
    for found in [*(mention.identifier for mention in mentions(text)), in_url(f"https://site.example/{text}")]:
        assert found is None or re.fullmatch(allowed, found.url, re.ASCII)


@given(HOSTILE)
def test_a_doi_that_was_trimmed_has_nothing_more_to_trim(text: str) -> None:
    assert trimmed_doi(trimmed_doi(text)) == trimmed_doi(text)
