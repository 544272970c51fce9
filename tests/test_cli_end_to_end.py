"""The command line over real PDFs, as a person or a script uses it: every part is the real one."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
from fpdf import FPDF

from cmo.citations import MARKER

GLUCOSE = (
    "Fasting plasma glucose above seven millimoles per litre is a criterion for the diagnosis of diabetes mellitus. "
    "In the volunteers of the first group the plasma glucose rose after breakfast and came back within two hours. "
    "Insulin lets muscle and fat take up glucose from the blood, which is why its lack raises the blood sugar.",
    "Samples were kept on ice and the plasma was separated within thirty minutes, because blood cells go on consuming "
    "glucose in the tube. A delay of one hour at room temperature lowered the measured glucose by about six percent. "
    "Tubes with sodium fluoride slow this loss down without stopping it in the first hour.",
)
LACTATE = (
    "Lactate is produced when tissues break down glucose without enough oxygen, as in heavy exercise or in shock. "
    "In patients with sepsis a blood lactate above four millimoles per litre goes with a high mortality. "
    "Repeated measurement of lactate guides the treatment during the first hours on the ward.",
)
NAMES = ("glucose & sugar.pdf", "Überblick – 乳酸 “lactate”.pdf")


def write_pdf(path: Path, pages: Sequence[str]) -> None:
    pdf = FPDF()
    pdf.set_font("helvetica", size=11)
    for text in pages:
        pdf.add_page()
        pdf.multi_cell(0, 6, text)
    pdf.output(str(path))


@dataclass(frozen=True)
class Library:
    """A papers folder and its index."""

    papers: Path
    storage: Path

    def cmo(self, command: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        folders = ("--papers", str(self.papers), "--storage", str(self.storage))
        return subprocess.run(
            [sys.executable, "-m", "cmo", command, *arguments, *folders],
            input=stdin,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )

    def json(self, command: str, *arguments: str) -> dict[str, Any]:
        done = self.cmo(command, *arguments, "--json")
        assert done.returncode == 0, done.stderr
        [line] = done.stdout.splitlines()
        document: dict[str, Any] = json.loads(line)
        return document

    def page(self, file: str, number: int) -> str:
        """The page's text as PDFium itself tells it, with single spaces."""
        with pypdfium2.PdfDocument(self.papers / file) as pdf:
            return " ".join(pdf[number - 1].get_textpage().get_text_range().split())


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    folder = tmp_path_factory.mktemp("library")
    library = Library(papers=folder / "papers", storage=folder / "storage")
    library.papers.mkdir()
    write_pdf(library.papers / NAMES[0], GLUCOSE)
    write_pdf(library.papers / NAMES[1], LACTATE)
    (library.papers / "broken.pdf").write_bytes(b"no PDF at all")
    library.json("index")
    return library


def sentences(answer: str) -> list[str]:
    """What is quoted in an answer: the text between its markers, without the line that points to further pages."""
    quoted = answer.split("\n\n")[0]
    return [part.strip() for part in MARKER.split(quoted)[::2] if part.strip()]


def test_indexing_reports_every_file_and_what_is_wrong_with_it(tmp_path: Path) -> None:
    library = Library(papers=tmp_path, storage=tmp_path / ".index")
    write_pdf(tmp_path / NAMES[1], LACTATE)
    (tmp_path / "broken.pdf").write_bytes(b"no PDF at all")

    report = library.json("index")

    statuses = {file["file"]: (file["status"], file["pages"]) for file in report["files"]}
    assert statuses == {"broken.pdf": ("corrupt", 0), NAMES[1]: ("indexed", 1)}
    assert all(file["reason"] for file in report["files"] if file["status"] == "corrupt")
    assert report["seconds"] > 0


def test_a_second_run_finds_nothing_to_do(library: Library) -> None:
    statuses = {file["status"] for file in library.json("index")["files"]}

    assert statuses == {"unchanged", "corrupt"}


def test_progress_comes_as_json_lines_before_the_report(library: Library) -> None:
    done = library.cmo("index", "--json", "--progress")

    *progress, report = map(json.loads, done.stdout.splitlines())
    assert all(set(line) == {"progress"} for line in progress)
    assert "files" in report


def test_an_answer_is_made_of_sentences_of_the_cited_pages(library: Library) -> None:
    answer = library.json("ask", "Which fasting plasma glucose is a criterion for diabetes?")

    assert answer["answered"]
    assert (answer["engine"], answer["cost_usd"], answer["language"]) == ("lightrag", 0.0, "en")
    first = answer["citations"][0]
    assert (first["number"], first["document"], first["page"]) == (1, NAMES[0], 1)
    pages = " ".join(library.page(cited["document"], cited["page"]) for cited in answer["citations"])
    assert [sentence for sentence in sentences(answer["answer"]) if sentence not in pages] == []


def test_every_quoted_sentence_stands_on_the_cited_page(library: Library) -> None:
    questions = (
        "Why does glucose fall in the tube?",
        "What does lactate mean in sepsis?",
        "Who won the football match?",
    )
    done = library.cmo("ask", "--batch", stdin="".join(f"{json.dumps({'question': text})}\n" for text in questions))

    cited = [citation for line in done.stdout.splitlines() for citation in json.loads(line)["citations"]]
    assert cited
    for citation in cited:
        page = library.page(citation["document"], citation["page"])
        assert all(" ".join(part.split()) in page for part in citation["quote"].split(" … "))
        assert citation["url"].endswith(f".pdf#page={citation['page']}")


def test_what_the_papers_do_not_hold_is_refused_and_that_is_no_failure(library: Library) -> None:
    answer = library.json("ask", "Who painted the ceiling of the Sistine Chapel?")

    assert not answer["answered"]
    assert answer["answer"].startswith("The papers do not answer this.")


def test_passages_come_best_first_with_their_page(library: Library) -> None:
    passages = library.json("retrieve", "loss of glucose in the tube before separation", "--top-k", "2")["passages"]

    assert (passages[0]["document"], passages[0]["page"]) == (NAMES[0], 2)
    assert len(passages) == 2
    assert passages[0]["score"] >= passages[1]["score"]
    assert all(re.fullmatch(r"doc-[0-9a-f]{16}-p\d{4}-c\d{2}", passage["chunk_id"]) for passage in passages)


@pytest.mark.parametrize("command", ["retrieve", "ask"])
def test_a_batch_is_a_line_for_each_question(library: Library, command: str) -> None:
    rows = [{"id": "a", "question": "What does lactate mean in sepsis?"}, {"id": 2, "question": "Warum fällt Glukose?"}]
    done = library.cmo(command, "--batch", stdin="".join(f"{json.dumps(row)}\n" for row in rows))

    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (0, "")
    assert [result["id"] for result in results] == ["a", 2]
    assert all("passages" in result or "answer" in result for result in results)


def test_a_bad_line_fails_the_batch_at_its_end(library: Library) -> None:
    done = library.cmo("retrieve", "--batch", stdin='nonsense\n{"id": 1, "question": "lactate"}\n')

    assert done.returncode == 1
    assert ["error" in json.loads(line) for line in done.stdout.splitlines()] == [True, False]


def test_whoever_reads_only_the_first_line_ends_a_batch_without_a_traceback(library: Library) -> None:
    command = [sys.executable, "-m", "cmo", "retrieve", "--batch", "--storage", str(library.storage)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]
        process.stdin.write(b'{"id": 1, "question": "lactate"}\n')
        process.stdin.flush()
        process.stdout.readline()
        process.stdout.close()
        process.stdin.write(b'{"id": 2, "question": "glucose"}\n')
        process.stdin.close()
        complaint = process.stderr.read()

    assert (process.returncode, complaint) == (1, b"")


def hear_ctrl_c() -> None:
    """Undo what shells do to commands in the background, which pass it on to their children: to ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_ends_a_waiting_batch_at_once(library: Library) -> None:
    command = [sys.executable, "-m", "cmo", "retrieve", "--batch", "--storage", str(library.storage)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, preexec_fn=hear_ctrl_c) as process:  # type: ignore[call-overload]
        process.stdin.write(b'{"id": 1, "question": "lactate"}\n')
        process.stdin.flush()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        complaint = process.stderr.read()

    assert (process.returncode, complaint) == (130, b"")


def test_the_terminal_shows_answer_sources_and_the_medical_caution(library: Library) -> None:
    done = library.cmo("ask", "What does lactate mean in sepsis?")

    assert done.returncode == 0
    assert "[1]" in done.stdout
    assert NAMES[1] in done.stdout
    assert "not for diagnosis" in done.stdout


def test_the_doctor_finds_nothing_that_keeps_questions_from_being_answered(library: Library) -> None:
    report = library.json("doctor")

    failed = [check for check in report["checks"] if check["status"] == "failed"]
    assert (report["ok"], failed) == (True, [])


def test_a_missing_papers_folder_is_a_sentence_and_leaves_nothing_behind(tmp_path: Path) -> None:
    library = Library(papers=tmp_path / "nowhere", storage=tmp_path / "storage")
    told, as_json = library.cmo("index"), library.cmo("index", "--json")

    assert (told.returncode, as_json.returncode) == (1, 1)
    assert "nowhere" in told.stderr
    assert "nowhere" in json.loads(as_json.stdout)["error"]
    assert "Traceback" not in told.stderr + as_json.stderr
    assert os.listdir(tmp_path) == []


def test_asking_a_library_that_was_never_indexed_fails_and_says_why(tmp_path: Path) -> None:
    done = Library(papers=tmp_path, storage=tmp_path / "storage").cmo("ask", "What is lactate?", "--json")

    assert done.returncode == 1
    assert "No paper is indexed" in json.loads(done.stdout)["error"]
