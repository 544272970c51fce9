from pathlib import Path

import pytest

from cmo.ui import papers
from cmo.values import Document, FileReport, FileStatus, IndexProgress, LibraryState


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


def test_progress_counts_files_pages_passages_and_seconds() -> None:
    shown = papers.progress(library(0, done=3), "en")
    assert "files: 3 of 12 · pages: 42 · passages: 310 · about 20 s left" in shown
    assert "as soon as the first paper is in" in shown


def test_progress_says_when_questions_can_be_asked() -> None:
    assert "Papers that can be searched already: 1." in papers.progress(library(1, done=3), "en")


@pytest.mark.parametrize(("seconds", "shown"), [(0.2, "about 1 s left"), (200.0, "about 3 min left")])
def test_an_estimate_is_rounded(seconds: float, shown: str) -> None:
    assert papers.seconds_left(seconds) == shown


def test_an_answer_of_an_unfinished_index_says_so() -> None:
    assert "3 of 12. Ask again" in (papers.unfinished(library(3, done=3)) or "")


@pytest.mark.parametrize("state", [library(3), library(12, done=3), library(12, done=12)])
def test_a_second_look_at_known_files_is_not_called_unfinished(state: LibraryState) -> None:
    assert papers.unfinished(state) is None


def test_an_empty_library_names_the_folder_and_the_button() -> None:
    shown = papers.empty_library(LibraryState(documents=(), passages=0, generation=""), Path("/home/ada/papers"), "en")
    assert "`/home/ada/papers`" in shown
    assert "press “Index papers”" in shown


def test_problems_come_with_status_and_reason() -> None:
    assert "- `bad0.pdf` is protected by a password (encrypted): password needed" in papers.problems(
        library(0, problems=1).problems, "en"
    )


def test_long_lists_are_cut_and_counted() -> None:
    shown = papers.problems(library(0, problems=30).problems, "en")
    assert "Files that could not be used: 30" in shown
    assert shown.endswith("- 22 more")


def test_the_library_lists_its_papers_with_links() -> None:
    shown = papers.library(library(9), Path("papers"), "en")
    assert "- [Paper 0](/papers/doc-0000000000000000.pdf), pages: 2" in shown
    assert "- 1 more" in shown


def test_a_run_that_has_just_begun_counts_nothing() -> None:
    shown = papers.progress(library(0, done=0, total=0), "en")
    assert "Looking through the papers folder" in shown
    assert "0 of 0" not in shown


def test_why_the_last_run_stopped_is_shown_wherever_the_library_is() -> None:
    state = LibraryState(documents=(), passages=0, generation="", failure="The index is being written by process 12.")
    assert "being written by process 12" in papers.empty_library(state, Path("papers"), "en")
    assert "being written by process 12" in papers.ready(state, "en")
    assert "being written by process 12" in papers.library(state, Path("papers"), "en")
