"""What the doctor says of a healthy and of an ill library, and that it never breaks down itself."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cmo.cli import index_checks, machine_checks
from cmo.cli.app import app
from cmo.cli.checks import Finding, Status, examine
from cmo.cli.doctor import LOOKS
from cmo.errors import LibraryError
from cmo.library.generations import Recipe, create, prepare, serve
from cmo.library.lock import LOCK_FILE, writer_lock
from cmo.settings import Settings, load_settings
from cmo.storage.manifest import SCHEMA, FileRow, Manifest, StoredDocument, StoredPage
from cmo.values import Document, FileStatus, Passage

TEXT = "Glucose rises in diabetes."
RECIPE = Recipe(reader="0", passages="1", embedder="e", extractor="x", graph="g", schema=SCHEMA)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folders = {"papers_dir": tmp_path / "papers", "storage_dir": tmp_path / "storage"}
    folders["papers_dir"].mkdir()
    return load_settings({}, env_file=None).model_copy(update=folders)


@pytest.fixture
def indexed(settings: Settings) -> Settings:
    """With one paper in the folder and in the manifest, and no graph."""
    paper = settings.papers_dir / "one.txt"
    paper.write_text(TEXT)
    prepare(settings.storage_dir)
    info = create(settings.storage_dir, RECIPE)
    manifest = Manifest(info.database, writable=True)
    manifest.set_meta({"recipe": RECIPE.to_json()})
    passage = Passage(chunk_id="doc-1-p0001-c00", doc_id="doc-1", page=1, start=0, end=len(TEXT), text=TEXT)
    document = Document(doc_id="doc-1", file="one.txt", title="One", pages=1)
    pages = (StoredPage(text=TEXT),)
    manifest.add(StoredDocument(document=document, sha256="1", pages=pages, passages=(passage,)))
    is_now = paper.stat()
    manifest.publish(
        "doc-1",
        FileRow(
            path="one.txt",
            size=is_now.st_size,
            mtime_ns=is_now.st_mtime_ns,
            inode=is_now.st_ino,
            sha256="1",
            status=FileStatus.INDEXED,
            passages=1,
        ),
    )
    manifest.close()
    serve(settings.storage_dir, info)
    return settings


async def test_a_check_that_breaks_down_is_a_failure_and_the_next_ones_go_on(settings: Settings) -> None:
    async def broken(_: Settings) -> Finding:
        raise ZeroDivisionError("oh")

    async def refused(_: Settings) -> Finding:
        raise LibraryError("The folder cannot be read.")

    async def well(_: Settings) -> Finding:
        return Finding(Status.OK, "well")

    checks = await examine(settings, (("one", broken), ("two", refused), ("three", well)))

    assert [(check.name, check.finding.status) for check in checks] == [
        ("one", Status.FAILED),
        ("two", Status.FAILED),
        ("three", Status.OK),
    ]
    assert checks[1].finding.detail == "The folder cannot be read."


def test_every_check_has_a_name_of_its_own() -> None:
    assert len(dict(LOOKS)) == len(LOOKS)


def test_without_an_index_questions_cannot_be_answered(settings: Settings) -> None:
    folders = ("--papers", str(settings.papers_dir), "--storage", str(settings.storage_dir))
    result = CliRunner().invoke(app, ["doctor", "--json", *folders])

    report = json.loads(result.stdout)
    assert (result.exit_code, report["ok"]) == (1, False)
    [index] = [check for check in report["checks"] if check["name"] == "index"]
    assert index["status"] == "failed"
    assert "cmo index" in index["advice"]
    assert not settings.storage_dir.exists()


async def test_this_python_can_search(settings: Settings) -> None:
    assert (await machine_checks.python(settings)).status is Status.OK


async def test_the_embedding_model_and_the_word_lists_work(settings: Settings) -> None:
    assert (await machine_checks.model(settings)).status is Status.OK
    assert (await machine_checks.word_lists(settings)).status is Status.OK


async def test_settings_that_are_set_are_shown_and_secrets_are_not() -> None:
    secret = "s" * 40
    settings = load_settings({"CMO_TOP_K": "7", "CHAINLIT_AUTH_SECRET": secret}, env_file=None)

    found = await machine_checks.variables_set(settings)

    assert "CMO_TOP_K=7" in found.detail
    assert "CHAINLIT_AUTH_SECRET=(set)" in found.detail
    assert secret not in found.detail


async def test_a_missing_or_empty_papers_folder_is_a_warning(settings: Settings) -> None:
    empty = await machine_checks.papers(settings)
    settings.papers_dir.rmdir()
    missing = await machine_checks.papers(settings)

    assert (empty.status, missing.status) == (Status.WARNING, Status.WARNING)


async def test_papers_are_counted(indexed: Settings) -> None:
    found = await machine_checks.papers(indexed)

    assert found.status is Status.OK
    assert found.detail.startswith("1 file")


async def test_an_index_folder_that_is_a_file_is_a_failure(settings: Settings) -> None:
    settings.storage_dir.write_text("")

    assert (await machine_checks.storage(settings)).status is Status.FAILED


async def test_an_index_folder_that_others_may_read_is_a_warning(settings: Settings) -> None:
    settings.storage_dir.mkdir()
    settings.storage_dir.chmod(0o755)

    found = await machine_checks.storage(settings)

    assert found.status is Status.WARNING
    assert "chmod" in (found.advice or "")


async def test_the_switched_off_graph_is_a_warning(settings: Settings) -> None:
    off = settings.model_copy(update={"lightrag_enabled": False})

    assert (await machine_checks.lightrag(off)).status is Status.WARNING


async def test_the_index_is_described(indexed: Settings) -> None:
    found = await index_checks.index(indexed)

    assert found.status is Status.OK
    assert "1 document(s), 1 passages" in found.detail


async def test_an_index_made_another_way_is_told_with_the_step(indexed: Settings) -> None:
    found = await index_checks.recipe(indexed)

    assert found.status is Status.WARNING
    assert "reader" in found.detail


async def test_an_unchanged_folder_is_up_to_date(indexed: Settings) -> None:
    assert (await index_checks.changes(indexed)).status is Status.OK


async def test_papers_newer_than_the_index_are_told(indexed: Settings) -> None:
    (indexed.papers_dir / "two.txt").write_text("Lactate rises.")
    (indexed.papers_dir / "one.txt").unlink()

    found = await index_checks.changes(indexed)

    assert found.status is Status.WARNING
    assert "1 new or changed" in found.detail
    assert "1 removed" in found.detail


async def test_a_graph_that_is_missing_is_a_warning_since_the_text_can_be_searched(indexed: Settings) -> None:
    integrity = await index_checks.integrity(indexed)
    search = await index_checks.search(indexed)

    assert (integrity.status, search.status) == (Status.WARNING, Status.WARNING)


async def test_a_passage_is_found_by_its_own_words(indexed: Settings) -> None:
    off = indexed.model_copy(update={"lightrag_enabled": False})

    assert (await index_checks.integrity(off)).status is Status.OK
    assert (await index_checks.search(off)).status is Status.OK


async def test_a_file_that_is_no_index_is_a_failure(indexed: Settings) -> None:
    [database] = indexed.storage_dir.glob("generations/*/index.sqlite")
    for leftover in database.parent.iterdir():
        leftover.unlink()
    database.write_bytes(b"this is no database" * 1000)

    [check] = await examine(indexed, (("integrity", index_checks.integrity),))

    assert check.finding.status is Status.FAILED


async def test_who_writes_the_index_is_told(indexed: Settings) -> None:
    free = await index_checks.writer(indexed)
    with writer_lock(indexed.storage_dir):
        held = await index_checks.writer(indexed)

    assert "Nobody" in free.detail
    assert "being written by process" in held.detail


async def test_the_label_of_a_killed_run_holds_no_lock(indexed: Settings) -> None:
    (indexed.storage_dir / LOCK_FILE).write_text('{"pid": 1}')

    assert "broken off" in (await index_checks.writer(indexed)).detail


async def test_a_database_that_is_none_is_a_failure(indexed: Settings) -> None:
    before = await index_checks.ledger(indexed)
    (indexed.storage_dir / "cmo.sqlite3").write_bytes(b"this is no database" * 1000)
    [after] = await examine(indexed, (("ledger", index_checks.ledger),))

    assert (before.status, after.finding.status) == (Status.OK, Status.FAILED)


async def test_custom_assessors_are_told_and_one_that_cannot_be_asked_is_a_warning(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    none = await machine_checks.assessors(settings)
    about = tmp_path / "reading_ease-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: reading-ease\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[cmo.assessors]\nreading = no_such_module_of_anybody:ReadingEase\n")
    monkeypatch.syspath_prepend(tmp_path)

    broken = await machine_checks.assessors(settings)

    assert none.status is Status.OK
    assert broken.status is Status.WARNING
    assert "no_such_module_of_anybody:ReadingEase" in broken.detail
