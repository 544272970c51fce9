from dataclasses import replace
from pathlib import Path

import pytest

from cmo.ui import render
from cmo.values import (
    Answer,
    Citation,
    Document,
    FileReport,
    FileStatus,
    IndexProgress,
    LibraryState,
)

CITATION = Citation(
    number=1,
    document="bcaa.pdf",
    title='Amino acids in "early" diabetes',
    page=3,
    quote="Leucine rises.",
    url="/papers/doc-0123456789abcdef.pdf#page=3",
    doc_id="doc-0123456789abcdef",
)

ANSWER = Answer(
    text="Leucine rises. [1]",
    answered=True,
    language="en",
    engine="lightrag",
    model="extractive",
    reason="only_engine",
    citations=(CITATION,),
    cost_usd=0.0,
    seconds=0.84,
)


def library(documents: int, *, done: int | None = None, total: int = 12, problems: int = 0) -> LibraryState:
    return LibraryState(
        documents=tuple(
            Document(doc_id=f"doc-{n:016x}", file=f"{n}.pdf", title=f"Paper {n}", pages=2) for n in range(documents)
        ),
        passages=10,
        generation="g0001",
        indexing=None
        if done is None
        else IndexProgress(files_done=done, files_total=total, pages=42, passages=310, seconds_left=19.6),
        problems=tuple(
            FileReport(file=f"bad{n}.pdf", status=FileStatus.ENCRYPTED, reason="password needed")
            for n in range(problems)
        ),
    )


def test_a_marker_links_to_its_page() -> None:
    assert '[\\[1\\]](/papers/doc-0123456789abcdef.pdf#page=3 "Amino acids in \\"early\\" diabetes, page 3")' in (
        render.answer(ANSWER)
    )


def test_a_marker_without_a_citation_stays_text() -> None:
    assert render.answer(replace(ANSWER, text="As shown [7].")).startswith("As shown \\[7\\].")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("p < 0.05", "p < 0.05"),
        ("a <b>bold</b> claim", "a \\<b>bold\\</b> claim"),
        ("2*3*4 and a_b", "2\\*3\\*4 and a\\_b"),
        ("![x](http://example.org/a.png)", "!\\[x\\](http://example.org/a.png)"),
        ("# not a heading", "\\# not a heading"),
        ("12. not a list", "12\\. not a list"),
        ("a ratio of 3:1, see HMDB:HMDB0000687", "a ratio of 3:1, see HMDB\\:HMDB0000687"),
        ("two\n\nlines", "two lines"),
        ("zero\u200bwidth", "zerowidth"),
        ("&lt;tag&gt; R&D", "\\&lt;tag\\&gt; R&D"),
        ("~5 to ~7", "\\~5 to \\~7"),
    ],
)
def test_text_of_papers_is_never_markup(text: str, shown: str) -> None:
    assert render.plain(text) == shown


def test_pieces_of_a_stream_keep_the_space_between_them() -> None:
    assert render.piece("One.") + render.piece(" Two.") == "One. Two."


def test_the_bibliography_names_title_and_page() -> None:
    assert render.answer(ANSWER).endswith(', page 3"), p. 3')


def test_a_refusal_says_so_first_and_quotes_the_nearest_passages() -> None:
    refusal = replace(ANSWER, answered=False, text="The papers do not answer this. The nearest are below.")
    shown = render.answer(refusal)
    assert shown.startswith("> **The papers do not answer this.** The nearest are below.")
    assert "**Nearest passages**" in shown
    assert "“Leucine rises.”" in shown
    assert "**Sources**" not in shown


def test_notices_stand_under_the_answer() -> None:
    shown = render.answer(replace(ANSWER, notice="Please check the page."), ["The index is unfinished."])
    assert "\n\n> Please check the page.\n\n> The index is unfinished.\n\n" in shown


def test_the_facts_are_engine_model_seconds_and_cost() -> None:
    assert render.answer_props(ANSWER)["facts"] == ["Your papers", "extractive", "0.8 s", "no cost"]


@pytest.mark.parametrize(("usd", "shown"), [(0.0, "no cost"), (0.0012, "$0.0012"), (1.5, "$1.50")])
def test_small_costs_keep_their_digits(usd: float, shown: str) -> None:
    assert render.cost(usd) == shown


def test_progress_counts_files_pages_passages_and_seconds() -> None:
    shown = render.progress(library(0, done=3))
    assert "3 of 12 files · 42 pages · 310 passages · about 20 s left" in shown
    assert "as soon as the first paper is in" in shown


def test_progress_says_when_questions_can_be_asked() -> None:
    assert "1 paper can be searched already" in render.progress(library(1, done=3))


@pytest.mark.parametrize(("seconds", "shown"), [(None, ""), (0.2, "about 1 s left"), (200.0, "about 3 min left")])
def test_an_estimate_is_rounded(seconds: float | None, shown: str) -> None:
    assert render.seconds_left(seconds) == shown


def test_an_answer_of_an_unfinished_index_says_so() -> None:
    assert "3 of 12 files" in (render.unfinished(library(3, done=3)) or "")


@pytest.mark.parametrize("state", [library(3), library(12, done=3), library(12, done=12)])
def test_a_second_look_at_known_files_is_not_called_unfinished(state: LibraryState) -> None:
    assert render.unfinished(state) is None


def test_an_empty_library_names_the_folder_and_the_button() -> None:
    shown = render.empty_library(LibraryState(documents=(), passages=0, generation=""), Path("/home/ada/papers"))
    assert "`/home/ada/papers`" in shown
    assert "**Index papers**" in shown


def test_problems_come_with_status_and_reason() -> None:
    assert "- `bad0.pdf` is protected by a password (encrypted): password needed" in render.problems(
        library(0, problems=1).problems
    )


def test_long_lists_are_cut_and_counted() -> None:
    shown = render.problems(library(0, problems=30).problems)
    assert "30 files could not be used" in shown
    assert shown.endswith("- and 22 files more")


def test_the_library_lists_its_papers_with_links() -> None:
    shown = render.library(library(9), Path("papers"))
    assert "- [Paper 0](/papers/doc-0000000000000000.pdf), 2 pages" in shown
    assert "- and 1 paper more" in shown


def test_a_run_that_has_just_begun_counts_nothing() -> None:
    shown = render.progress(library(0, done=0, total=0))
    assert "Looking through the papers folder" in shown
    assert "0 of 0" not in shown


def test_why_the_last_run_stopped_is_shown_wherever_the_library_is() -> None:
    state = LibraryState(documents=(), passages=0, generation="", failure="The index is being written by process 12.")
    assert "being written by process 12" in render.empty_library(state, Path("papers"))
    assert "being written by process 12" in render.ready(state)
    assert "being written by process 12" in render.library(state, Path("papers"))
