"""Answers kept by the chat, and exported from their buttons."""

from typing import Any

import pytest

from cmo.errors import OracleError
from cmo.exports import Exchange
from cmo.ui import exporting
from cmo.values import Answer, Citation

CITATION = Citation(number=1, document="a.pdf", title="On TMAO", page=3, quote="It rose.", url="/x", doc_id="doc-1")


def exchange(question: str = "Does it rise?", *, citations: tuple[Citation, ...] = (CITATION,)) -> Exchange:
    answer = Answer(
        text="It rose. [1]",
        answered=True,
        language="en",
        engine="lightrag",
        model="extractive",
        reason="only_engine",
        citations=citations,
        cost_usd=0.0,
        seconds=0.8,
    )
    return Exchange(question=question, answer=answer)


def chat(*questions: str) -> exporting.Kept:
    """What is kept of a chat whose messages are called m1, m2, ..."""
    kept: exporting.Kept = {}
    for number, question in enumerate(questions, start=1):
        kept = exporting.with_newest(kept, f"m{number}", exchange(question))
    return kept


def test_an_answer_is_offered_in_all_formats_and_exported_as_the_one_asked_for() -> None:
    kept = chat("Does it rise?")

    assert [form["label"] for form in exporting.export_props(kept, "m1")["formats"]] == [
        "Markdown",
        "BibTeX",
        "RIS",
        "CSL-JSON",
    ]
    file = exporting.exported(kept, {"answer": "m1", "format": "ris"})
    assert (file["name"], file["media_type"]) == ("answer.ris", "application/x-research-info-systems")
    assert "TI  - On TMAO" in file["text"]


def test_an_answer_without_sources_is_offered_as_text_alone() -> None:
    kept = exporting.with_newest({}, "m1", exchange(citations=()))

    assert [form["name"] for form in exporting.export_props(kept, "m1")["formats"]] == ["markdown"]


def test_a_conversation_is_offered_from_the_second_answer_on_and_has_them_all_in_order() -> None:
    assert not exporting.export_props(chat("First?"), "m1")["conversation"]
    kept = chat("First?", "Second?")
    assert exporting.export_props(kept, "m2")["conversation"]

    file = exporting.exported(kept, {"answer": None, "format": "markdown"})
    assert file["name"] == "conversation.md"
    assert 0 <= file["text"].index("# First?") < file["text"].index("# Second?")


def test_each_answer_is_exported_as_itself() -> None:
    file = exporting.exported(chat("First?", "Second?"), {"answer": "m1", "format": "markdown"})

    assert "# First?" in file["text"]
    assert "Second?" not in file["text"]


@pytest.mark.parametrize(
    "payload",
    [
        {"answer": "m9", "format": "ris"},
        {"answer": "m1", "format": "docx"},
        {"answer": "m1"},
        {"answer": ["m1"], "format": "ris"},
        {"answer": "m1", "format": {}},
    ],
)
def test_what_is_not_there_cannot_be_exported(payload: dict[str, Any]) -> None:
    with pytest.raises(OracleError, match="ask the question again"):
        exporting.exported(chat("First?"), payload)


def test_a_chat_without_answers_has_nothing_to_export() -> None:
    with pytest.raises(OracleError):
        exporting.exported({}, {"answer": None, "format": "markdown"})


def test_the_oldest_answers_of_a_long_chat_are_given_up() -> None:
    kept = chat(*["Again?"] * (exporting.KEPT_ANSWERS + 1))

    assert next(iter(kept)) == "m2"
    assert len(kept) == exporting.KEPT_ANSWERS
