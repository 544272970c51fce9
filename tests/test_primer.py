import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pypdfium2 as pdfium
import pytest

ROOT = Path(__file__).resolve().parents[1]
PAPERS = sorted((ROOT / "papers").glob("clinical-metabolomics-*.pdf"))
TEXTS = sorted((ROOT / "scripts" / "primer").glob("*.md"))


@pytest.fixture(scope="module")
def made() -> ModuleType:
    """The script behind `make primer`."""
    spec = importlib.util.spec_from_file_location("make_primer", ROOT / "scripts" / "make_primer.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pages(paper: Path) -> list[str]:
    document = pdfium.PdfDocument(paper)
    texts = [" ".join(page.get_textpage().get_text_bounded().split()) for page in document]
    document.close()
    return texts


def test_the_papers_are_what_the_script_makes_of_the_texts(made: ModuleType) -> None:
    assert {paper.name: paper.read_bytes() for paper in PAPERS} == made.primer()


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.name)
def test_every_page_says_that_it_is_a_sample_and_its_number(paper: Path, made: ModuleType) -> None:
    texts = pages(paper)
    assert 2 <= len(texts) <= 4
    for number, text in enumerate(texts, start=1):
        assert text.endswith(f"{made.NOTE}. Page {number}")


@pytest.mark.parametrize(("paper", "text"), list(zip(PAPERS, TEXTS, strict=True)), ids=lambda file: file.name)
def test_every_sentence_of_the_text_can_be_read_in_the_paper(paper: Path, text: Path, made: ModuleType) -> None:
    footer = rf" Primer, part \d of \d\. {re.escape(made.NOTE)}\. Page \d"
    printed = re.sub(footer, "", " ".join(pages(paper)))
    for block in text.read_text(encoding="utf-8").split("\n\n"):
        assert " ".join(block.lstrip("# ").split()) in printed


def test_the_title_is_in_the_metadata() -> None:
    document = pdfium.PdfDocument(PAPERS[0])
    assert document.get_metadata_value("Title") == "What clinical metabolomics is and what it is used for"
    document.close()


def test_the_primer_defines_its_subject_in_one_sentence() -> None:
    assert re.search(r"Clinical metabolomics is the study of [^.]+\.", pages(PAPERS[0])[0])
