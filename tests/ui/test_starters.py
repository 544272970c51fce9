import pytest

from cmo.ui.starters import COUNT, questions
from cmo.values import Document


def titled(*titles: str) -> list[Document]:
    return [Document(doc_id=f"doc-{n:016x}", file=f"{n}.pdf", title=title) for n, title in enumerate(titles)]


def test_the_sample_papers_have_questions_of_their_own() -> None:
    found = questions(titled("What clinical metabolomics is and what it is used for"))
    assert found[0] == "What is clinical metabolomics?"


@pytest.mark.parametrize(
    ("title", "question"),
    [
        ("Does leucine predict diabetes?", "Does leucine predict diabetes?"),
        ("Serum metabolomics in early rheumatoid arthritis", "Which metabolites matter in early rheumatoid arthritis?"),
        (
            "The effects of fasting on plasma lipids: a randomised trial",
            "What effect does fasting have on plasma lipids?",
        ),
        ("A systematic review of trimethylamine oxide in heart failure", None),
        ("The SIRIUS API: Programmatic Access", "What is known about the SIRIUS API?"),
        ("Analysis of Bile Acids in Human Plasma", "What is known about bile acids in human plasma?"),
    ],
)
def test_a_title_becomes_a_question(title: str, question: str | None) -> None:
    expected = question or "What is known about trimethylamine oxide in heart failure?"
    assert questions(titled(title)) == (expected,)


@pytest.mark.parametrize("title", ["smith_2021_final.pdf", "Untitled", "scan/0001"])
def test_file_names_are_no_titles(title: str) -> None:
    assert questions(titled(title)) == ()


def test_questions_are_few_and_spread_over_the_papers() -> None:
    found = questions(titled(*(f"Plasma lipids in disease number {n}" for n in range(9))))
    assert len(found) == COUNT
    assert len(set(found)) == COUNT


def test_long_titles_make_short_questions() -> None:
    found = questions(titled("Comparative Pharmacokinetics of Naringin in Rat after Oral Administration " * 3))
    assert len(found[0]) < 110


def test_no_papers_no_questions() -> None:
    assert questions([]) == ()
