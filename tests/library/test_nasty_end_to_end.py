"""`cmo index` over a folder of everything that is no plain paper: each gets its status, and nothing stops the rest."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cmo.values import FileStatus
from tests.library import files

ROOT = Path(__file__).resolve().parents[2]
TELLS_WHAT_TO_DO = (
    "again",
    "Save",
    "Open",
    "OCR",
    "Remove",
    "remove",
    "Rename",
    "Put",
    "Same content",
    "Nothing in it",
)
FOUND_BY = {
    "How much zinc is in oysters?": "utf-16.txt",
    "How much biotin were the rats given?": "latin-1.md",
    "Was vitamin D low in the submarine crew?": "folder/deeper/inside.pdf",
    "Was selenium low in the hair of miners?": "copy 1.pdf",
    "Which is page 17 of the test document, lorem ipsum?": "always the same.pdf",
}
KINDS = {"encrypted, needs password": FileStatus.ENCRYPTED, "corrupt (does not open)": FileStatus.CORRUPT}
"""What becomes of the odd PDFs of other makers, by the kind their manifest names; every other kind can be read."""


class Library:
    """A papers folder and its index, used from the command line."""

    def __init__(self, folder: Path) -> None:
        self.papers, self.storage = folder / "papers", folder / "storage"
        self.papers.mkdir()

    def cmo(self, *arguments: str, stdin: str = "") -> list[dict[str, Any]]:
        """The JSON documents a command prints."""
        folders = ("--papers", str(self.papers), "--storage", str(self.storage), "--json")
        command = [sys.executable, "-m", "cmo", *arguments, *folders]
        done = subprocess.run(command, input=stdin.encode(), capture_output=True, cwd=ROOT, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return [json.loads(line) for line in done.stdout.splitlines()]

    def index(self) -> dict[str, dict[str, Any]]:
        """What became of each file."""
        [report] = self.cmo("index")
        return {file["file"]: file for file in report["files"]}

    def found_by(self, *questions: str) -> list[list[str]]:
        """The files in which each question finds its passages, best first."""
        asked = "\n".join(json.dumps({"id": str(n), "question": text}) for n, text in enumerate(questions))
        answers = {answer["id"]: answer for answer in self.cmo("retrieve", "--batch", stdin=asked)}
        return [[passage["document"] for passage in answers[str(n)]["passages"]] for n in range(len(questions))]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(tmp_path_factory.mktemp("nasty"))


@pytest.fixture(scope="module")
def expected(library: Library) -> dict[str, FileStatus]:
    """What has to become of each file, all of them made in the papers folder."""
    made = files.write_nasty_folder(library.papers)
    files.write_long_pdf(library.papers / "500 pages.pdf", 500)
    files.write_monotonous_pdf(library.papers / "always the same.pdf", 20)
    sealed = library.papers / "sealed.pdf"
    files.write_pdf(sealed).chmod(0)
    status = FileStatus.INDEXED if os.access(sealed, os.R_OK) else FileStatus.FAILED
    return made | {
        "500 pages.pdf": FileStatus.INDEXED,
        "always the same.pdf": FileStatus.INDEXED,
        "sealed.pdf": status,
    }


@pytest.fixture(scope="module")
def report(library: Library, expected: dict[str, FileStatus]) -> dict[str, dict[str, Any]]:
    return library.index()


def test_every_file_gets_its_status(report: dict[str, dict[str, Any]], expected: dict[str, FileStatus]) -> None:
    assert {name: file["status"] for name, file in report.items()} == expected


def test_every_reason_tells_what_to_do(report: dict[str, dict[str, Any]]) -> None:
    assert [name for name, file in report.items() if file["status"] != "indexed" and not file["reason"]] == []
    reasons = {file["reason"] for file in report.values() if file["reason"]}
    assert [reason for reason in reasons if not any(hint in reason for hint in TELLS_WHAT_TO_DO)] == []


def test_pages_and_passages_are_counted(report: dict[str, dict[str, Any]]) -> None:
    assert (report["500 pages.pdf"]["pages"], report["500 pages.pdf"]["passages"]) == (500, 500)
    assert (report["always the same.pdf"]["pages"], report["always the same.pdf"]["passages"]) == (20, 20)
    assert (report["references.pdf"]["pages"], report["references.pdf"]["passages"]) == (1, 0)


def test_a_second_file_of_the_same_content_names_the_first(report: dict[str, dict[str, Any]]) -> None:
    assert report["copy 2.pdf"]["reason"] == "Same content as copy 1.pdf."


def test_awkward_files_are_found(library: Library, report: dict[str, dict[str, Any]]) -> None:
    found = library.found_by(*FOUND_BY)

    assert [file for file, names in zip(FOUND_BY.values(), found, strict=True) if file not in names] == []


def test_nothing_is_read_twice_and_what_failed_stays_told(
    library: Library, report: dict[str, dict[str, Any]], expected: dict[str, FileStatus]
) -> None:
    again = {name: file["status"] for name, file in library.index().items()}

    assert again == {name: "unchanged" if status == "indexed" else status for name, status in expected.items()}


def test_odd_pdfs_of_other_makers_get_the_right_status(shared: Path, tmp_path: Path) -> None:
    library = Library(tmp_path)
    with (shared / "nasty_pdfs" / "MANIFEST.tsv").open(encoding="utf-8", newline="") as manifest:
        kinds = {row["file"]: row["kind"] for row in csv.DictReader(manifest, delimiter="\t")}
    # The one of 117 pages costs as much as all the others; the benchmark indexes it.
    kinds = {file: kind for file, kind in kinds.items() if kind != "huge page count"}
    for file in kinds:
        shutil.copy(shared / "nasty_pdfs" / file, library.papers / file)

    statuses = {name: file["status"] for name, file in library.index().items()}

    assert statuses == {file: KINDS.get(kind, FileStatus.INDEXED) for file, kind in kinds.items()}
    assert [names[0] for names in library.found_by("世界", "بالعالم")] == ["pypdf__multilang.pdf"] * 2
