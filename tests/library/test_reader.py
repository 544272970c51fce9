"""Rules for finding files and reading them in a process of their own."""

import asyncio
import csv
import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import BinaryIO

import pytest

from cmo.errors import LibraryError, UnreadableDocument
from cmo.library.reader import LENGTH, DocumentReader, Limits, ReadDocument, frame, hash_file, scan
from cmo.values import FileStatus
from tests.library import files

ROOT = Path(__file__).resolve().parents[2]
STRANGE = "tests.library.strange_parser:read"


async def process_of(reader: DocumentReader, folder: Path) -> int:
    """The number of the child process, as it says itself."""
    return int((await reader.read(folder / "fine.pdf")).pages[0].text)


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


async def opened_by_child(pipe: Path, reading: asyncio.Task[ReadDocument]) -> BinaryIO:
    """The pipe's end for writing, as soon as the child has opened the other one."""
    opening = asyncio.create_task(asyncio.to_thread(open, pipe, "wb"))
    await asyncio.wait({opening, reading}, return_when=asyncio.FIRST_COMPLETED)
    if not opening.done():
        os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))
        (await opening).close()
        pytest.fail(f"the child did not open the pipe: {reading}")
    return opening.result()


# scan


def test_papers_are_found_in_all_folders_in_order_whatever_the_case_of_their_suffix(tmp_path: Path) -> None:
    for name in ("b.PDF", "a/z.txt", "a/deep/y.md", "c.docx", "Readme.MD", "notes.text"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert [found.file for found in scan(tmp_path)] == ["Readme.MD", "a/deep/y.md", "a/z.txt", "b.PDF"]


def test_a_found_file_tells_what_shows_that_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("four")
    (found,) = scan(tmp_path)
    status = path.stat()
    assert (found.path, found.size, found.mtime_ns, found.inode) == (path, 4, status.st_mtime_ns, status.st_ino)
    assert found.problem is None


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    files.write_pdf(tmp_path / ".git" / "a.pdf")
    files.write_pdf(tmp_path / "._a.pdf")
    assert scan(tmp_path) == []


def test_a_link_inside_the_folder_is_followed(tmp_path: Path) -> None:
    target = files.write_pdf(tmp_path / "a.pdf")
    (tmp_path / "b.pdf").symlink_to(target)
    _, link = scan(tmp_path)
    assert (link.file, link.size, link.problem) == ("b.pdf", target.stat().st_size, None)


def test_a_link_out_of_the_folder_is_reported_and_one_to_a_folder_is_not_followed(tmp_path: Path) -> None:
    folder, outside = tmp_path / "papers", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "link.pdf").symlink_to(files.write_pdf(outside / "target.pdf"))
    (folder / "more").symlink_to(outside, target_is_directory=True)
    (found,) = scan(folder)
    assert found.file == "link.pdf"
    assert found.problem is not None
    assert "leads out of the papers folder" in found.problem


def test_a_loop_of_folders_is_walked_once(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    files.write_pdf(tmp_path / "inner" / "a.pdf")
    files.make_folder_loop(tmp_path / "inner")
    assert [found.file for found in scan(tmp_path)] == ["inner/a.pdf"]


@pytest.mark.parametrize(
    "name", [name for name, (_, status) in files.UNREADABLE.items() if status is FileStatus.FAILED]
)
def test_what_is_no_file_is_reported_by_the_scan_and_refused_by_everybody_else(tmp_path: Path, name: str) -> None:
    make, _ = files.UNREADABLE[name]
    path = make(tmp_path / name)
    (found,) = scan(tmp_path)
    assert found.file == name
    assert found.problem
    with pytest.raises(UnreadableDocument) as refused:
        hash_file(path)
    assert refused.value.status is FileStatus.FAILED


def test_a_name_that_is_not_unicode_is_reported_in_readable_form(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xe9b\xe9.pdf")).write_text("x")
    (found,) = scan(tmp_path)
    assert found.file == r"b\xe9b\xe9.pdf"
    assert "Rename" in (found.problem or "")


def test_a_missing_papers_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="nowhere"):
        scan(tmp_path / "nowhere")


# hash_file


def test_the_hash_is_the_sha256_of_the_content(tmp_path: Path) -> None:
    content = os.urandom(3_000_001)
    (tmp_path / "a.pdf").write_bytes(content)
    assert hash_file(tmp_path / "a.pdf") == hashlib.sha256(content).hexdigest()


def test_a_file_that_changes_while_it_is_hashed_is_not_hashed(tmp_path: Path) -> None:
    path = tmp_path / "growing.pdf"
    path.write_bytes(b"")
    os.truncate(path, 30_000_000)
    begun, enough = threading.Event(), threading.Event()

    def keep_touching() -> None:
        moment = 1_000_000_000
        while not enough.is_set():
            moment += 1_000_000
            os.utime(path, ns=(moment, moment))
            begun.set()

    def refused_once_in(tries: int) -> bool:
        # On a busy machine a whole file may be hashed before the other thread gets its turn.
        for _ in range(tries):
            try:
                hash_file(path)
            except UnreadableDocument as refused:
                return "changed" in str(refused)
        return False

    toucher = threading.Thread(target=keep_touching)
    toucher.start()
    try:
        begun.wait()
        assert refused_once_in(1_000)
    finally:
        enough.set()
        toucher.join()


def test_a_vanished_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDocument, match="No such file") as refused:
        hash_file(tmp_path / "gone.pdf")
    assert refused.value.status is FileStatus.FAILED


# DocumentReader


async def test_a_paper_comes_back_with_its_pages_and_what_it_says_about_itself(tmp_path: Path) -> None:
    path = files.write_article(
        tmp_path / "x.pdf",
        title="Alanine after a glucose load in nine healthy volunteers",
        authors="Ada Baker^1, Carl Dorn^2 and Eva van der Veen^1",
        doi="10.1234/jir.2019.3.17",
        year=2019,
    )
    async with DocumentReader() as reader:
        read = await reader.read(path)
    assert read.title == "Alanine after a glucose load in nine healthy volunteers"
    assert read.authors == ("Ada Baker", "Carl Dorn", "Eva van der Veen")
    assert (read.year, read.doi) == (2019, "10.1234/jir.2019.3.17")
    page = read.pages[0]
    assert "Plasma alanine rose from 310 to 402" in page.text
    assert " ".join(page.text[block.start : block.end] for block in page.blocks).split() == page.text.split()


async def test_every_unreadable_file_gets_its_status_and_a_reason_and_the_next_one_is_read(tmp_path: Path) -> None:
    async with DocumentReader() as reader:
        for name, (make, status) in files.UNREADABLE.items():
            with pytest.raises(UnreadableDocument) as refused:
                await reader.read(make(tmp_path / name))
            assert (name, refused.value.status) == (name, status)
            assert str(refused.value).endswith(".")
        assert (await reader.read(files.write_pdf(tmp_path / "fine.pdf"))).pages


@pytest.mark.parametrize("name", files.AWKWARD_NAMES)
async def test_any_file_name_can_be_found_hashed_and_read(tmp_path: Path, name: str) -> None:
    files.write_pdf(tmp_path / name)
    (found,) = scan(tmp_path)
    assert found.file == name
    assert len(hash_file(found.path)) == 64
    async with DocumentReader() as reader:
        assert "alanine" in (await reader.read(found.path)).pages[0].text


async def test_a_pdf_with_an_empty_password_is_read(tmp_path: Path) -> None:
    async with DocumentReader() as reader:
        read = await reader.read(files.write_encrypted_pdf(tmp_path / "open.pdf", password=""))
    assert "alanine" in read.pages[0].text


async def test_five_hundred_pages_are_read(tmp_path: Path) -> None:
    async with DocumentReader() as reader:
        read = await reader.read(files.write_long_pdf(tmp_path / "long.pdf", 500))
    assert len(read.pages) == 500
    assert [page.text.startswith(f"Sheet {n} ") for n, page in enumerate(read.pages, 1)] == [True] * 500


async def test_a_file_of_too_many_pages_is_too_large(tmp_path: Path) -> None:
    path = files.write_long_pdf(tmp_path / "long.pdf", 4)
    async with DocumentReader(Limits(max_pages=3)) as reader:
        with pytest.raises(UnreadableDocument, match="4 pages; at most 3") as refused:
            await reader.read(path)
    assert refused.value.status is FileStatus.TOO_LARGE


async def test_a_file_of_too_many_bytes_is_too_large_whatever_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "big.pdf"
    path.write_bytes(bytes(2_000_000))
    async with DocumentReader(Limits(max_bytes=1_000_000)) as reader:
        with pytest.raises(UnreadableDocument, match="2 MB; at most 1") as refused:
            await reader.read(path)
    assert refused.value.status is FileStatus.TOO_LARGE


async def test_markdown_is_read_with_its_heading_for_title(tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_text(f"# Glucose load study\n\n{files.SENTENCE}\n", encoding="utf-8")
    async with DocumentReader() as reader:
        read = await reader.read(path)
    assert read.title == "Glucose load study"
    assert files.SENTENCE.strip() in read.pages[0].text


async def test_one_process_reads_many_files(tmp_path: Path) -> None:
    async with DocumentReader(parser=STRANGE) as reader:
        first = await process_of(reader, tmp_path)
        assert first != os.getpid()
        assert await process_of(reader, tmp_path) == first


async def test_a_file_that_hangs_the_parser_is_given_up_and_the_next_one_read(tmp_path: Path) -> None:
    path = files.make_pipe(tmp_path / "hang.pdf")
    # Long enough for a harmless file on a busy machine, too.
    async with DocumentReader(Limits(seconds=4.5), parser=STRANGE) as reader:
        hung = await process_of(reader, tmp_path)
        with pytest.raises(UnreadableDocument, match=r"longer than 4\.5 seconds") as refused:
            await reader.read(path)
        assert refused.value.status is FileStatus.FAILED
        assert not is_alive(hung)
        assert await process_of(reader, tmp_path) != hung


async def test_a_file_that_crashes_the_parser_fails_and_the_next_one_is_read(tmp_path: Path) -> None:
    async with DocumentReader(parser=STRANGE) as reader:
        crashed = await process_of(reader, tmp_path)
        with pytest.raises(UnreadableDocument, match="crash") as refused:
            await reader.read(tmp_path / "crash.pdf")
        assert refused.value.status is FileStatus.FAILED
        assert await process_of(reader, tmp_path) != crashed


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the address space of a process")
async def test_a_file_that_needs_too_much_memory_fails_and_the_next_one_is_read(tmp_path: Path) -> None:
    async with DocumentReader(Limits(memory_bytes=1024**3), parser=STRANGE) as reader:
        # Where the limit strikes decides whether Python can still say so or the child is gone.
        with pytest.raises(UnreadableDocument, match=r"more than 1\.0 GB|crash") as refused:
            await reader.read(tmp_path / "eat memory.pdf")
        assert refused.value.status is FileStatus.FAILED
        assert await process_of(reader, tmp_path)


async def test_an_error_inside_the_parser_costs_only_the_file(tmp_path: Path) -> None:
    async with DocumentReader(parser=STRANGE) as reader:
        before = await process_of(reader, tmp_path)
        with pytest.raises(UnreadableDocument, match="LookupError") as refused:
            await reader.read(tmp_path / "raise.pdf")
        assert refused.value.status is FileStatus.FAILED
        assert await process_of(reader, tmp_path) == before


async def test_a_reply_that_makes_no_sense_fails_the_file_and_replaces_the_process(tmp_path: Path) -> None:
    async with DocumentReader(parser=STRANGE) as reader:
        before = await process_of(reader, tmp_path)
        with pytest.raises(UnreadableDocument, match="nonsense"):
            await reader.read(tmp_path / "nonsense.pdf")
        assert await process_of(reader, tmp_path) != before


async def test_what_a_parser_prints_does_not_get_between_the_replies(tmp_path: Path) -> None:
    async with DocumentReader(parser=STRANGE) as reader:
        assert (await reader.read(tmp_path / "talk.pdf")).title == "talk"


async def test_half_a_character_does_not_shift_the_ones_behind_it(tmp_path: Path) -> None:
    async with DocumentReader(parser=STRANGE) as reader:
        assert (await reader.read(tmp_path / "surrogate.pdf")).pages[0].text == "a?b"


async def test_cancelling_kills_the_process_at_once_and_the_reader_goes_on(tmp_path: Path) -> None:
    path = files.make_pipe(tmp_path / "hang.pdf")
    async with DocumentReader(parser=STRANGE) as reader:
        hung = await process_of(reader, tmp_path)
        reading = asyncio.create_task(reader.read(path))
        with await opened_by_child(path, reading):
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
        assert not is_alive(hung)
        assert await process_of(reader, tmp_path) != hung


async def test_closing_twice_ends_the_process_once_and_for_all(tmp_path: Path) -> None:
    reader = DocumentReader(parser=STRANGE)
    process = await process_of(reader, tmp_path)
    await reader.close()
    await reader.close()
    assert not is_alive(process)
    with pytest.raises(LibraryError, match="closed"):
        await reader.read(tmp_path / "fine.pdf")


async def test_closing_during_a_read_ends_the_read_without_blaming_the_file(tmp_path: Path) -> None:
    path = files.make_pipe(tmp_path / "hang.pdf")
    reader = DocumentReader(parser=STRANGE)
    reading = asyncio.create_task(reader.read(path))
    with await opened_by_child(path, reading):
        await reader.close()
        with pytest.raises(LibraryError, match="closed") as ended:
            await reading
    assert not isinstance(ended.value, UnreadableDocument)


async def test_a_process_that_cannot_start_is_no_fault_of_the_file(tmp_path: Path) -> None:
    async with DocumentReader(parser="cmo.no_such_module:read") as reader:
        with pytest.raises(LibraryError, match="does not start") as refused:
            await reader.read(tmp_path / "fine.pdf")
    assert not isinstance(refused.value, UnreadableDocument)


# the child by itself


def start_child() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "cmo.library.reader_child", "--parser", STRANGE]
    child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    (length,) = LENGTH.unpack(child.stdout.read(LENGTH.size))
    assert json.loads(child.stdout.read(length)) == {"ready": True}
    return child


def test_the_child_ends_when_its_parent_is_gone() -> None:
    with start_child() as child:
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(timeout=300) == 0


def test_a_hanging_child_ends_itself_when_nobody_does(tmp_path: Path) -> None:
    path = files.make_pipe(tmp_path / "hang.pdf")
    with start_child() as child:
        assert child.stdin is not None
        child.stdin.write(frame({"path": str(path), "limits": {"seconds": 0.1}}))
        child.stdin.flush()
        assert child.wait(timeout=300) < 0


def test_the_child_imports_nothing_heavy() -> None:
    heavy = ("numpy", "onnxruntime", "lightrag", "chainlit", "sqlalchemy", "pandas")
    code = f"import sys, cmo.library.reader_child; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# real files

NASTY_STATUS = {
    "encrypted, needs password": FileStatus.ENCRYPTED,
    "corrupt (does not open)": FileStatus.CORRUPT,
}
"""By the manifest's kind; every other kind can be read."""


async def test_awkward_pdfs_of_other_makers_get_the_right_status(shared: Path) -> None:
    with (shared / "nasty_pdfs" / "MANIFEST.tsv").open(encoding="utf-8", newline="") as manifest:
        kinds = {row["file"]: row["kind"] for row in csv.DictReader(manifest, delimiter="\t")}
    expected = {file: NASTY_STATUS.get(kind, FileStatus.INDEXED) for file, kind in kinds.items()}
    found: dict[str, FileStatus] = {}
    async with DocumentReader() as reader:
        for file in scan(shared / "nasty_pdfs"):
            try:
                read = await reader.read(file.path)
            except UnreadableDocument as refused:
                found[file.file] = refused.status
            else:
                assert read.pages
                found[file.file] = FileStatus.INDEXED
    assert found == expected
