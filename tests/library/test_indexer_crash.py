"""An indexing run killed at any instant leaves an index that the next run completes, without loss or duplicate."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cmo.library.generations import current
from cmo.storage.graph_tables import GraphTables, incomplete_documents
from cmo.storage.manifest import Manifest
from cmo.values import FileStatus, PassageKind
from tests.library.indexing_program import index

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = str(Path(__file__).with_name("indexing_program.py"))
NAMES = ("Glucose", "Lactate", "Citrate", "Urea")
PAPERS = 6


def paper(number: int, version: int = 1) -> str:
    """A paper of some passages; its own word is found in no other, its metabolites in many."""
    lines = [f"# Paper {number}", f"The word of this paper is marker{number}v{version}."]
    for line in range(30):
        name, other = NAMES[(number + line) % 4], NAMES[(number * line) % 4]
        lines.append(f"{name} and {other.lower()} were measured with ENT-{number % 3}-{line % 5} in cohort {line}.")
    return "\n\n".join(lines)


def write_papers(papers: Path) -> None:
    papers.mkdir()
    for number in range(PAPERS):
        (papers / f"{number}.md").write_text(paper(number))


def change_papers(papers: Path, chance: random.Random) -> None:
    """One paper leaves, one is renamed, two are changed and one is added."""
    leaving, renamed, *changed = chance.sample(sorted(path.name for path in papers.iterdir()), 4)
    (papers / leaving).unlink()
    (papers / renamed).rename(papers / f"renamed {renamed}")
    for name in changed:
        (papers / name).write_text(paper(int(name[0]), version=2))
    (papers / "9.md").write_text(paper(9))


def start(papers: Path, storage: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, PROGRAM, str(papers), str(storage)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


def run_killed_after(seconds: float, papers: Path, storage: Path) -> None:
    process = start(papers, storage)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.fixture(scope="module")
def duration(tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long an undisturbed run takes, in seconds."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_papers(folder / "papers")
    process = start(folder / "papers", folder / "storage")
    begun = time.monotonic()
    process.communicate(timeout=600)
    assert process.returncode == 0
    return time.monotonic() - begun


def audit(database: Path, expected: dict[str, tuple[str, ...]]) -> list[str]:
    """What LightRAG's tables lack or have too much, asked of the graph as it stands."""
    tables = GraphTables(database, writable=False)
    try:
        return incomplete_documents(tables, expected)
    finally:
        tables.close()


def assert_complete(papers: Path, storage: Path) -> None:
    info = current(storage)
    assert info is not None
    manifest = Manifest(info.database)
    manifest.check_file()
    assert not manifest.audit()
    assert manifest.meta("running") == "0"
    files = sorted(path.name for path in papers.iterdir())
    assert [row.path for row in manifest.files()] == files
    assert {row.status for row in manifest.files()} == {FileStatus.INDEXED}
    assert [document.file for document in manifest.documents()] == files
    assert set(manifest.states().values()) == {"indexed"}
    for document in manifest.documents():
        text = (papers / document.file).read_text()
        marker = next(word for word in text.replace(".", " ").split() if word.startswith("marker"))
        hits = manifest.passages([chunk_id for chunk_id, _ in manifest.search([marker], limit=99)])
        assert {found.file for _, found in hits} == {document.file}
    expected = dict(manifest.chunk_ids(PassageKind.BODY))
    assert audit(info.database, expected) == []
    with contextlib.closing(sqlite3.connect(info.database)) as connection:
        (searchable,) = connection.execute("SELECT count(*) FROM passages_fts_docsize").fetchone()
        (vectors,) = connection.execute("SELECT count(*) FROM lr_chunks_vectors WHERE vector IS NOT NULL").fetchone()
        (statuses,) = connection.execute("SELECT count(*) FROM lr_documents").fetchone()
    assert searchable == vectors == sum(map(len, expected.values()))
    assert statuses == len(files)
    manifest.close()


def kill_and_complete(seed: int, folder: Path, duration: float) -> None:
    chance = random.Random(seed)
    papers, storage = folder / "papers", folder / "storage"
    write_papers(papers)
    run_killed_after(chance.uniform(0, duration), papers, storage)
    change_papers(papers, chance)
    run_killed_after(chance.uniform(0, duration), papers, storage)
    asyncio.run(index(papers, storage))
    assert_complete(papers, storage)


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_run_is_completed_by_the_next(seed: int, tmp_path: Path, duration: float) -> None:
    kill_and_complete(seed, tmp_path, duration)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3, 33))
def test_a_run_killed_at_thirty_instants_is_completed_by_the_next(seed: int, tmp_path: Path, duration: float) -> None:
    kill_and_complete(seed, tmp_path, duration)


def test_a_second_process_is_refused_while_one_indexes(tmp_path: Path) -> None:
    papers, storage = tmp_path / "papers", tmp_path / "storage"
    write_papers(papers)
    first = start(papers, storage)
    assert first.stdout is not None
    assert first.stdout.readline() == "working\n"
    first.send_signal(signal.SIGSTOP)
    second = subprocess.run(
        [sys.executable, PROGRAM, str(papers), str(storage)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=600,
        check=False,
    )
    first.kill()
    first.communicate()
    assert second.returncode != 0
    assert f"is being written by process {first.pid} on" in second.stderr
