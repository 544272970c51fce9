"""What `cmo ask` asks, and how it prints the answer."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cmo.cli.app import app
from cmo.errors import EngineUnavailable
from cmo.values import (
    Answer,
    Badge,
    Citation,
    CompoundAccession,
    CustomScore,
    NamedCompound,
    Quality,
    SentenceSupport,
    Verdict,
)
from tests.cli.fake_session import FakeApplication, open_for

PAPER = Citation(
    number=1,
    document="a.pdf",
    title="Paper A",
    page=3,
    quote="Glucose rose.",
    url="/papers/doc-1.pdf#page=3",
    doc_id="doc-1",
    authors=("Ada Núñez",),
    year=2019,
    doi="10.1000/glucose",
)
WEB = Citation(
    number=2,
    document="hmdb.ca",
    title="Glucose",
    page=0,
    quote="A sugar.",
    url="https://hmdb.ca/metabolites/HMDB0000122",
    date="2025-03-01",
)
ANSWER = Answer(
    text="Glucose rises [1]. It is a sugar [2].",
    answered=True,
    language="en",
    engine="lightrag",
    model="writer-1",
    reason="rollout",
    citations=(PAPER, WEB),
    cost_usd=0.0123,
    seconds=1.25,
    notice="The graph could not be searched.",
    written=True,
    tokens_in=1_200,
    tokens_out=80,
    dropped_markers=1,
)

SENTENCES = (
    SentenceSupport(
        text="Glucose rises [1].",
        verdict=Verdict.SUPPORTED,
        score=0.93456,
        quote="Glucose rose.",
        source=1,
        start=0,
        end=18,
        cited=(1,),
        judged=True,
    ),
    SentenceSupport(
        text="It is a sugar [2].", verdict=Verdict.UNCHECKED, score=0.0, quote="", start=19, end=37, cited=(2,)
    ),
)
QUALITY = Quality(
    relevance=0.91234,
    accuracy=0.5,
    consistency=0.75,
    composite=0.73494,
    badge=Badge.ACCEPTABLE,
    sentences=SENTENCES,
    custom=(CustomScore(name="house", score=0.5, weight=0.0),),
    notes=("One source has no text.",),
)
ASSESSED = replace(ANSWER, quality=QUALITY)
GLUCOSE = NamedCompound(
    name="glucose",
    written=("Glucose",),
    accessions=(CompoundAccession(database="kegg", accession="C00031", url="https://example.org/C00031"),),
)


@pytest.fixture
def application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeApplication:
    """It gives ANSWER."""
    monkeypatch.chdir(tmp_path)
    fake = FakeApplication()
    fake.pipeline.answer = ANSWER
    open_for("ask", fake, monkeypatch)
    return fake


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["ask", *arguments], input=stdin)


def printed(*arguments: str) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_the_router_decides_for_a_person_called_cli_unless_told_otherwise(application: FakeApplication) -> None:
    run(" What is glucose? ")

    [asked] = application.pipeline.asked
    assert (asked.text, asked.user_id, asked.choice) == ("What is glucose?", "cli", None)
    assert asked.asked_at.tzinfo is not None


def test_engine_and_person_can_be_named(application: FakeApplication) -> None:
    run("What is glucose?", "--engine", "perplexity", "--user", "ann")

    [asked] = application.pipeline.asked
    assert (asked.user_id, asked.choice) == ("ann", "perplexity")


def test_each_question_of_a_batch_is_asked_for_that_person_and_engine_in_a_thread_of_its_own(
    application: FakeApplication,
) -> None:
    result = run("--batch", "--user", "ann", "--engine", "lightrag", stdin='{"question": "a"}\n{"question": "b"}\n')

    asked = application.pipeline.asked
    assert [(question.text, question.user_id, question.choice) for question in asked] == [
        ("a", "ann", "lightrag"),
        ("b", "ann", "lightrag"),
    ]
    assert len({question.thread_id for question in asked}) == 2
    assert [json.loads(line)["answer"] for line in result.stdout.splitlines()] == [ANSWER.text] * 2


def test_a_batch_with_a_question_nobody_could_answer_goes_on_and_fails_at_its_end(
    application: FakeApplication,
) -> None:
    application.pipeline.error = EngineUnavailable("No index.")

    result = run("--batch", stdin='{"id": 1, "question": "a"}\n{"id": 2, "question": "b"}\n')

    assert result.exit_code == 1
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"id": 1, "error": "No index."},
        {"id": 2, "error": "No index."},
    ]


def test_an_unknown_engine_is_wrong_usage_and_nothing_is_asked(application: FakeApplication) -> None:
    assert run("What?", "--engine", "oracle").exit_code == 2
    assert application.pipeline.asked == []


def test_programs_get_the_whole_answer(application: FakeApplication) -> None:
    document = printed("What is glucose?")

    assert document | {"citations": []} == {
        "question_id": application.pipeline.asked[0].id,
        "answer": ANSWER.text,
        "answered": True,
        "language": "en",
        "engine": "lightrag",
        "model": "writer-1",
        "reason": "rollout",
        "citations": [],
        "cost_usd": 0.0123,
        "seconds": 1.25,
        "notice": "The graph could not be searched.",
        "written": True,
        "tokens_in": 1_200,
        "tokens_out": 80,
        "cached_seconds": None,
        "dropped_markers": 1,
        "quality": None,
        "not_assessed": "",
        "second_opinion": "",
        "sentences": [],
        "compounds": [],
        "original": "",
        "translated_by": "",
        "kept_english": 0,
    }


def test_programs_get_scores_verdicts_compounds_and_the_english_original(application: FakeApplication) -> None:
    application.pipeline.answer = replace(
        ASSESSED,
        citations=(replace(PAPER, confidence=0.87654), WEB),
        compounds=(GLUCOSE,),
        original="Glucose rises [1].",
        translated_by="Google",
        second_opinion="perplexity",
    )
    document = printed("What is glucose?")

    assert document["quality"] == {
        "relevance": 0.9123,
        "accuracy": 0.5,
        "consistency": 0.75,
        "composite": 0.7349,
        "badge": "acceptable",
        "custom": [{"name": "house", "score": 0.5, "weight": 0.0}],
        "notes": ["One source has no text."],
    }
    assert document["sentences"][0] == {
        "text": "Glucose rises [1].",
        "verdict": "supported",
        "score": 0.9346,
        "quote": "Glucose rose.",
        "source": 1,
        "start": 0,
        "end": 18,
        "cited": [1],
        "judged": True,
    }
    assert document["compounds"] == [
        {
            "name": "glucose",
            "written": ["Glucose"],
            "accessions": [{"database": "kegg", "accession": "C00031", "url": "https://example.org/C00031"}],
        }
    ]
    assert (document["original"], document["translated_by"]) == ("Glucose rises [1].", "Google")
    assert (document["second_opinion"], document["citations"][0]["confidence"]) == ("perplexity", 0.8765)


def test_a_page_of_the_web_has_no_page_number_for_programs(application: FakeApplication) -> None:
    paper, web = printed("What is glucose?")["citations"]

    assert (paper["page"], paper["document"], paper["date"]) == (3, "a.pdf", "")
    assert (paper["authors"], paper["year"], paper["doi"]) == (["Ada Núñez"], 2019, "10.1000/glucose")
    assert web == {
        "number": 2,
        "document": "hmdb.ca",
        "title": "Glucose",
        "page": None,
        "quote": "A sugar.",
        "url": "https://hmdb.ca/metabolites/HMDB0000122",
        "date": "2025-03-01",
        "authors": [],
        "year": None,
        "doi": None,
        "confidence": None,
    }


def test_the_age_of_a_kept_answer_is_told_to_programs_and_people(application: FakeApplication) -> None:
    application.pipeline.answer = replace(ANSWER, cached_seconds=61.23)

    assert printed("What?")["cached_seconds"] == 61.2
    assert "answered 61 s before" in run("What?").stdout


def test_people_see_answer_sources_notice_and_what_it_cost(application: FakeApplication) -> None:
    lines = run("What is glucose?").stdout.splitlines()

    assert lines == [
        ANSWER.text,
        "",
        "[1] Paper A, p. 3 (a.pdf)",
        "[2] Glucose, hmdb.ca, 2025-03-01, https://hmdb.ca/metabolites/HMDB0000122",
        "The graph could not be searched.",
        "lightrag (rollout) · writer-1 · 1.2 s · $0.0123 · for research, not for diagnosis",
    ]


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (Verdict.SUPPORTED, ""),
        (Verdict.RELATED, " (! related, not confirmed)"),
        (Verdict.NOT_FOUND, " (! not found in its sources)"),
        (Verdict.CONTRADICTED, " (! contradicted by its sources)"),
        (Verdict.UNCHECKED, ""),
    ],
)
def test_a_sentence_its_sources_do_not_bear_out_is_marked(
    application: FakeApplication, verdict: Verdict, words: str
) -> None:
    first, second = SENTENCES
    sentences = (replace(first, verdict=verdict), replace(second, verdict=verdict))
    application.pipeline.answer = replace(ANSWER, quality=replace(QUALITY, sentences=sentences))

    assert run("What?").stdout.splitlines()[0] == f"Glucose rises [1].{words} It is a sugar [2].{words}"


def test_people_see_how_good_the_answer_is(application: FakeApplication) -> None:
    application.pipeline.answer = ASSESSED
    assert "Quality: acceptable (0.73) · sentences supported: 1 of 2 · could not be checked: 1\n" in run("What?").stdout

    application.pipeline.answer = replace(ASSESSED, second_opinion="perplexity")
    assert " · second opinion: perplexity\n" in run("What?").stdout


def test_people_see_why_an_answer_was_not_assessed(application: FakeApplication) -> None:
    application.pipeline.answer = replace(ANSWER, not_assessed="It took too long.")

    assert "Quality: not assessed. It took too long." in run("What?").stdout


def test_people_see_who_translated_the_answer(application: FakeApplication) -> None:
    application.pipeline.answer = replace(ANSWER, original="Glucose rises [1].", translated_by="Google")

    assert "Translated by Google; --json has the English original." in run("What?").stdout


def test_when_the_papers_do_not_answer_people_see_the_nearest_passages_and_it_is_no_failure(
    application: FakeApplication,
) -> None:
    application.pipeline.answer = replace(ANSWER, answered=False, citations=(PAPER,), notice=None)

    result = run("What is glucose?")

    assert result.exit_code == 0
    assert "    Glucose rose." in result.stdout.splitlines()


def test_a_page_of_the_web_cannot_steer_the_terminal(application: FakeApplication) -> None:
    application.pipeline.answer = replace(ANSWER, citations=(replace(WEB, number=1, title="\x1b[2Jgone"),))

    assert "\x1b" not in run("What?").stdout


@pytest.mark.parametrize("as_json", [False, True])
def test_a_question_nobody_could_answer_is_its_sentence_and_exit_code_1(
    application: FakeApplication, as_json: bool
) -> None:
    application.pipeline.error = EngineUnavailable("Your papers: No index. Ask again later.")

    result = run("What?", *(["--json"] if as_json else []))

    assert result.exit_code == 1
    told = json.loads(result.stdout)["error"] if as_json else " ".join(result.stderr.split())
    assert told == "Your papers: No index. Ask again later."


def test_a_journey_without_an_end_is_told_too(application: FakeApplication) -> None:
    application.pipeline.answer = None

    result = run("What?")

    assert result.exit_code == 1
    assert "cmo doctor" in result.stderr


@pytest.mark.parametrize(
    ("file", "begins"),
    [("a.md", "# What is glucose?"), ("a.bib", "@article{nunez2019paper,"), ("a.RIS", "TY  - JOUR"), ("a.json", "[")],
)
def test_an_answer_is_exported_in_the_format_its_file_is_named_for(
    application: FakeApplication, tmp_path: Path, file: str, begins: str
) -> None:
    result = run("What is glucose?", "--export", file)

    assert (result.exit_code, result.stderr) == (0, "")
    assert ANSWER.text in result.stdout
    assert (tmp_path / file).read_text(encoding="utf-8").startswith(begins)


def test_a_format_goes_before_the_name_of_the_file(application: FakeApplication, tmp_path: Path) -> None:
    assert run("What is glucose?", "--export", "a.txt", "--format", "ris").exit_code == 0

    assert (tmp_path / "a.txt").read_bytes().startswith(b"TY  - JOUR\r\n")


@pytest.mark.parametrize(
    "options",
    [["--export", "a.docx"], ["--export", "missing/a.md"], ["--format", "ris"], ["--export", "a.md", "--batch"]],
    ids=["unknown format", "no folder", "no file", "batch"],
)
def test_nothing_is_asked_when_the_answer_could_not_be_exported(
    application: FakeApplication, options: list[str]
) -> None:
    question = [] if "--batch" in options else ["What is glucose?"]

    assert run(*question, *options).exit_code == 2
    assert application.pipeline.asked == []


def test_an_answer_is_printed_even_when_its_file_cannot_be_written(application: FakeApplication) -> None:
    result = run("What is glucose?", "--export", f"{'a' * 300}.md")

    assert result.exit_code == 1
    assert ANSWER.text in result.stdout
    assert "could not be written" in result.stderr
