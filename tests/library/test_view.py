"""What people may see of the library, and which files they may open."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cmo.interfaces import LibraryView
from cmo.library.generations import GenerationInfo, Recipe, create, prepare, serve
from cmo.library.process import IndexingProcess
from cmo.library.view import Library
from cmo.storage.manifest import SCHEMA, FileRow, Manifest, StoredDocument, StoredPage
from cmo.values import Document, FileStatus, Passage

TEXT = "Glucose rises in diabetes."
WAITING = (sys.executable, "-c", "import signal; signal.pause()")


def doc_id(number: int) -> str:
    return f"doc-{number:016x}"


def sha256(number: int) -> str:
    return f"{number:016x}" + "0" * 48


def row(name: str, number: int, status: FileStatus = FileStatus.INDEXED, reason: str | None = None) -> FileRow:
    passages = 1 if status is FileStatus.INDEXED else 0
    return FileRow(
        path=name, size=1, mtime_ns=1, inode=1, sha256=sha256(number), status=status, reason=reason, pages=1,
        passages=passages,
    )  # fmt: skip


def add(manifest: Manifest, number: int, *names: str) -> None:
    passage = Passage(
        chunk_id=f"{doc_id(number)}-p0001-c00", doc_id=doc_id(number), page=1, start=0, end=len(TEXT), text=TEXT
    )
    document = Document(doc_id=doc_id(number), file=names[0], title=f"Paper {number}", pages=1)
    pages = (StoredPage(text=TEXT),)
    manifest.add(StoredDocument(document=document, sha256=sha256(number), pages=pages, passages=(passage,)))
    manifest.publish(doc_id(number), *(row(name, number) for name in names))


def generation(storage: Path, name: str = "1") -> GenerationInfo:
    prepare(storage)
    return create(storage, Recipe(reader=name, passages="1", embedder="e", extractor="x", graph="g", schema=SCHEMA))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "papers").mkdir()
    return tmp_path / "papers", tmp_path / "storage"


@pytest.fixture
def manifest(folders: tuple[Path, Path]) -> Manifest:
    """The manifest of the generation that serves, empty."""
    info = generation(folders[1])
    manifest = Manifest(info.database, writable=True)
    serve(folders[1], info)
    return manifest


@pytest.fixture
async def library(folders: tuple[Path, Path]) -> AsyncIterator[Library]:
    papers, storage = folders
    library = Library(papers=papers, storage=storage, process=IndexingProcess(WAITING))
    yield library
    await library.close()


def test_it_is_a_library_view(library: Library) -> None:
    view: LibraryView = library

    assert view


async def test_a_library_without_an_index_is_empty(library: Library) -> None:
    state = await library.state()

    assert (state.documents, state.passages, state.generation, state.indexing) == ((), 0, "", None)


async def test_what_is_indexed_is_shown(library: Library, manifest: Manifest) -> None:
    add(manifest, 1, "one.pdf")
    add(manifest, 2, "two.pdf")

    state = await library.state()

    assert [document.title for document in state.documents] == ["Paper 1", "Paper 2"]
    assert state.passages == 2
    assert state.generation.startswith("g0001-")


async def test_copies_of_a_paper_count_once(library: Library, manifest: Manifest) -> None:
    add(manifest, 1, "one.pdf", "copy of one.pdf")

    state = await library.state()

    assert (len(state.documents), state.passages) == (1, 1)


async def test_files_that_could_not_be_read_are_shown_with_their_reason(library: Library, manifest: Manifest) -> None:
    add(manifest, 1, "one.pdf")
    manifest.record([row("locked.pdf", 2, FileStatus.ENCRYPTED, "It needs a password.")])

    [problem] = (await library.state()).problems

    assert (problem.file, problem.status, problem.reason) == (
        "locked.pdf",
        FileStatus.ENCRYPTED,
        "It needs a password.",
    )


async def test_what_comes_in_is_seen_at_the_next_look(library: Library, manifest: Manifest) -> None:
    add(manifest, 1, "one.pdf")
    await library.state()
    add(manifest, 2, "two.pdf")

    assert len((await library.state()).documents) == 2


async def test_a_new_generation_is_seen_at_the_next_look(
    library: Library, manifest: Manifest, folders: tuple[Path, Path]
) -> None:
    add(manifest, 1, "one.pdf")
    await library.state()
    info = generation(folders[1], "2")
    later = Manifest(info.database, writable=True)
    add(later, 2, "two.pdf")
    serve(folders[1], info)

    state = await library.state()

    assert (state.generation, [document.title for document in state.documents]) == (info.name, ["Paper 2"])


async def test_a_damaged_index_is_shown_as_none(
    library: Library, manifest: Manifest, folders: tuple[Path, Path]
) -> None:
    manifest.set_meta({"schema": "another"})

    assert (await library.state()).documents == ()


async def test_a_run_under_way_is_shown_and_can_be_cancelled(library: Library) -> None:
    await library.start_indexing()
    during = (await library.state()).indexing
    await library.cancel_indexing()
    after = (await library.state()).indexing

    assert during is not None
    assert after is None


async def test_closing_ends_a_run_under_way(folders: tuple[Path, Path]) -> None:
    process = IndexingProcess(WAITING)
    library = Library(papers=folders[0], storage=folders[1], process=process)
    await library.start_indexing()
    async with asyncio.timeout(20):
        await library.close()

    assert process.progress is None


async def test_a_documents_file_is_the_one_in_the_papers_folder(
    library: Library, manifest: Manifest, folders: tuple[Path, Path]
) -> None:
    (folders[0] / "sub").mkdir()
    (folders[0] / "sub" / "one.pdf").write_bytes(b"%PDF-")
    add(manifest, 1, "sub/one.pdf")

    assert await library.page_source(doc_id(1)) == (folders[0] / "sub" / "one.pdf").resolve()


async def test_when_a_copy_is_gone_another_one_opens(
    library: Library, manifest: Manifest, folders: tuple[Path, Path]
) -> None:
    (folders[0] / "two.pdf").write_bytes(b"%PDF-")
    add(manifest, 1, "one.pdf", "two.pdf")

    assert await library.page_source(doc_id(1)) == (folders[0] / "two.pdf").resolve()


async def test_a_file_that_is_gone_cannot_be_opened(library: Library, manifest: Manifest) -> None:
    add(manifest, 1, "one.pdf")

    assert await library.page_source(doc_id(1)) is None


@pytest.mark.parametrize("unknown", [doc_id(9), "", "../secret", "doc-%"])
async def test_what_is_no_document_has_no_file(library: Library, manifest: Manifest, unknown: str) -> None:
    assert await library.page_source(unknown) is None


async def test_without_an_index_nothing_can_be_opened(library: Library) -> None:
    assert await library.page_source(doc_id(1)) is None


async def test_no_file_outside_the_papers_folder_is_given_out(
    library: Library, manifest: Manifest, folders: tuple[Path, Path]
) -> None:
    secret = folders[0].parent / "secret.pdf"
    secret.write_bytes(b"%PDF-")
    os.symlink(secret, folders[0] / "link.pdf")
    add(manifest, 1, "link.pdf")
    add(manifest, 2, "../secret.pdf")

    assert await library.page_source(doc_id(1)) is None
    assert await library.page_source(doc_id(2)) is None
