"""What the manifest lets readers find, and when."""

import contextlib
import os
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmo.errors import IndexDamaged, LibraryError
from cmo.storage.manifest import (
    ColumnWeights,
    DocumentState,
    FileRow,
    Manifest,
    StoredDocument,
    StoredPage,
)
from cmo.values import Document, FileStatus, Passage, PassageKind

GLUCOSE = "Glucose rises in diabetes. It falls after insulin."
LACTATE = "Lactate rises in sepsis. The tricarboxylic acid cycle slows down."


def stored(number: int, *pages: str, title: str = "", references: str = "") -> StoredDocument:
    """A document with one body passage a page, and a references page when there are any."""
    doc_id = f"doc-{number:016x}"
    texts = [*pages, *([references] if references else [])]
    passages = [
        Passage(
            chunk_id=f"{doc_id}-p{page:04d}-c00",
            doc_id=doc_id,
            page=page,
            start=0,
            end=len(text),
            text=text,
            section="Results" if text != references else "References",
            kind=PassageKind.BODY if text != references else PassageKind.REFERENCES,
        )
        for page, text in enumerate(texts, start=1)
    ]
    return StoredDocument(
        document=Document(
            doc_id=doc_id, file="", title=title, authors=("Ö. Ada",), year=2020, doi="10.1/x", pages=len(texts)
        ),
        sha256=f"{number:064x}",
        pages=tuple(StoredPage(text=text, layout="[]") for text in texts),
        passages=tuple(passages),
    )


def row(number: int, path: str = "") -> FileRow:
    return FileRow(
        path=path or f"{number}.pdf",
        size=100,
        mtime_ns=1,
        inode=number,
        sha256=f"{number:064x}",
        status=FileStatus.INDEXED,
        pages=1,
        passages=1,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index.sqlite"


@pytest.fixture
def manifest(path: Path):  # type: ignore[no-untyped-def]
    opened = Manifest(path, writable=True)
    yield opened
    opened.close()


def publish(manifest: Manifest, number: int, *pages: str, **details: str) -> StoredDocument:
    document = stored(number, *pages, **details)
    manifest.add(document)
    manifest.publish(document.document.doc_id, row(number))
    return document


def found(manifest: Manifest, *words: str) -> list[str]:
    return [chunk_id for chunk_id, _ in manifest.search(words, limit=10)]


def test_a_pending_document_cannot_be_found(manifest: Manifest) -> None:
    document = stored(1, GLUCOSE)
    manifest.add(document)
    doc_id = document.document.doc_id
    assert manifest.documents() == ()
    assert found(manifest, "glucose") == []
    assert manifest.passages([document.passages[0].chunk_id]) == []
    assert manifest.page_text(doc_id, 1) is None
    assert manifest.document_pages(doc_id) == ()
    assert manifest.find_file(doc_id) is None
    assert manifest.states() == {doc_id: DocumentState.PENDING}


def test_a_published_document_is_found_with_all_of_it(manifest: Manifest) -> None:
    document = publish(manifest, 1, GLUCOSE, LACTATE, title="Sugars")
    doc_id = document.document.doc_id
    assert manifest.documents() == (replace(document.document, file="1.pdf"),)
    assert found(manifest, "glucose") == [f"{doc_id}-p0001-c00"]
    assert manifest.passages([document.passages[1].chunk_id]) == [
        (document.passages[1], replace(document.document, file="1.pdf"))
    ]
    assert manifest.page_text(doc_id, 2) == LACTATE
    assert manifest.page_text(doc_id, 3) is None
    assert manifest.document_pages(doc_id) == (GLUCOSE, LACTATE)
    assert manifest.find_file(doc_id) == "1.pdf"
    assert manifest.stored(doc_id) == replace(document, document=replace(document.document, file="1.pdf"))


def test_a_document_without_title_is_called_after_its_file(manifest: Manifest) -> None:
    publish(manifest, 1, GLUCOSE)
    manifest.record([row(1, "sub/new name.pdf")], gone=["1.pdf"])
    assert [document.title for document in manifest.documents()] == ["new name"]


def test_passages_come_in_the_order_asked_without_those_that_are_not_there(manifest: Manifest) -> None:
    first, second = publish(manifest, 1, GLUCOSE), publish(manifest, 2, LACTATE)
    ids = [second.passages[0].chunk_id, "doc-x-p0001-c00", first.passages[0].chunk_id]
    assert [passage.chunk_id for passage, _ in manifest.passages(ids)] == [ids[0], ids[2]]
    assert manifest.passages([]) == []


def test_a_changed_file_shows_its_new_content_at_the_instant_its_old_one_goes(manifest: Manifest) -> None:
    old = publish(manifest, 1, GLUCOSE)
    new = stored(2, LACTATE)
    manifest.add(new)
    assert found(manifest, "glucose", "lactate") == [old.passages[0].chunk_id]
    manifest.publish(new.document.doc_id, row(2, "1.pdf"))
    assert found(manifest, "glucose", "lactate") == [new.passages[0].chunk_id]
    assert manifest.states()[old.document.doc_id] is DocumentState.REMOVING


def test_a_removed_file_takes_its_document_along_at_once(manifest: Manifest) -> None:
    document = publish(manifest, 1, GLUCOSE)
    manifest.record(gone=["1.pdf"])
    assert found(manifest, "glucose") == []
    assert manifest.states() == {document.document.doc_id: DocumentState.REMOVING}


def test_one_of_two_equal_files_keeps_the_document(manifest: Manifest) -> None:
    document = publish(manifest, 1, GLUCOSE)
    manifest.record([row(1, "copy.pdf")])
    assert manifest.find_files(document.document.doc_id) == ("1.pdf", "copy.pdf")
    manifest.record(gone=["1.pdf"])
    assert manifest.find_file(document.document.doc_id) == "copy.pdf"
    assert [document.file for document in manifest.documents()] == ["copy.pdf"]


def test_a_forgotten_document_leaves_no_trace(manifest: Manifest, path: Path) -> None:
    publish(manifest, 2, LACTATE)
    document = publish(manifest, 1, GLUCOSE, "Glucose again.", references="1. Glucose. 2001.")
    manifest.record(gone=["1.pdf"])
    manifest.forget(document.document.doc_id)
    assert manifest.stored(document.document.doc_id) is None
    assert not manifest.audit()
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO passages_fts (passages_fts, rank) VALUES ('integrity-check', 1)")
        for table in ("documents", "pages", "passages", "passages_fts_docsize"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,)


def test_adding_a_document_again_replaces_it(manifest: Manifest) -> None:
    manifest.add(stored(1, GLUCOSE, LACTATE))
    manifest.add(stored(1, GLUCOSE))
    manifest.publish(f"doc-{1:016x}", row(1))
    assert manifest.document_pages(f"doc-{1:016x}") == (GLUCOSE,)
    assert not manifest.audit()


def test_a_passage_must_be_the_text_of_its_place(manifest: Manifest) -> None:
    document = stored(1, GLUCOSE)
    shifted = replace(document, passages=(replace(document.passages[0], start=1),))
    with pytest.raises(ValueError, match="not what stands on its page"):
        manifest.add(shifted)
    with pytest.raises(ValueError, match="NUL"):
        manifest.add(stored(2, "a\0b"))
    assert manifest.states() == {}


def test_spans_count_characters_as_python_does(manifest: Manifest) -> None:
    text = "α-Ketoglutarate 𝛽 naïve. Second sentence 🧪 here."
    document = stored(1, text)
    part = replace(document.passages[0], start=25, text=text[25:])
    manifest.add(replace(document, passages=(part,)))
    manifest.publish(document.document.doc_id, row(1))
    assert [passage for passage, _ in manifest.passages([part.chunk_id])] == [part]


def test_every_change_of_what_can_be_found_raises_the_revision(manifest: Manifest) -> None:
    revisions = [manifest.revision()]
    document = publish(manifest, 1, GLUCOSE)
    revisions.append(manifest.revision())
    manifest.hide(document.document.doc_id)
    revisions.append(manifest.revision())
    manifest.publish(document.document.doc_id)
    revisions.append(manifest.revision())
    manifest.record(gone=["1.pdf"])
    revisions.append(manifest.revision())
    assert revisions == sorted(set(revisions))


def test_it_is_empty_while_no_document_can_be_found(manifest: Manifest) -> None:
    before = manifest.is_empty()
    manifest.add(stored(1, GLUCOSE))
    pending = manifest.is_empty()
    publish(manifest, 1, GLUCOSE)
    published = manifest.is_empty()
    manifest.record(gone=["1.pdf"])

    assert (before, pending, published, manifest.is_empty()) == (True, True, False, True)


def test_search_ranks_by_bm25_and_finds_word_forms(manifest: Manifest) -> None:
    often = publish(manifest, 1, "Lactates. Lactate and lactate again, in sepsis.")
    once = publish(manifest, 2, "Lactate was measured together with many other things in the blood of patients.")
    publish(manifest, 3, GLUCOSE)
    scores = manifest.search(["LACTATE"], limit=10)
    assert [chunk_id for chunk_id, _ in scores] == [often.passages[0].chunk_id, once.passages[0].chunk_id]
    assert scores[0][1] > scores[1][1] > 0
    assert len(manifest.search(["lactate"], limit=1)) == 1


def test_search_finds_words_of_title_and_section_by_their_weight(manifest: Manifest) -> None:
    titled = publish(manifest, 1, GLUCOSE, title="Ketosis")
    texted = publish(manifest, 2, "Ketosis is here.", title="Nothing")
    first = [titled.passages[0].chunk_id, texted.passages[0].chunk_id]
    heavy, light = ColumnWeights(title=20.0), ColumnWeights(title=0.01)
    assert [chunk for chunk, _ in manifest.search(["ketosis"], limit=5, weights=heavy)] == first
    assert [chunk for chunk, _ in manifest.search(["ketosis"], limit=5, weights=light)] == first[::-1]


def test_references_are_not_searched(manifest: Manifest) -> None:
    publish(manifest, 1, GLUCOSE, references="Smith J. Lactate in sepsis. 2001.")
    assert found(manifest, "lactate") == []


def test_a_word_of_several_parts_is_a_phrase(manifest: Manifest) -> None:
    document = publish(manifest, 1, LACTATE, "An acid of the cycle, not tricarboxylic.")
    assert found(manifest, "tricarboxylic-acid") == [document.passages[0].chunk_id]


def test_hidden_documents_do_not_take_places_among_the_best(manifest: Manifest) -> None:
    for number in range(5):
        manifest.add(stored(number, "Lactate, lactate, lactate."))
    shown = publish(manifest, 9, LACTATE)
    assert manifest.search(["lactate"], limit=1)[0][0] == shown.passages[0].chunk_id


@given(words=st.lists(st.text(max_size=20), max_size=10))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
def test_no_word_is_taken_for_search_syntax(manifest: Manifest, words: list[str]) -> None:
    manifest.search(words, limit=3)


@pytest.mark.parametrize(
    "word", ['"', "glucose*", "NEAR(", "title:glucose", "^glucose", "a AND b", "NOT", "-", "\0", "'; DROP", "(", "{"]
)
def test_a_word_with_search_syntax_in_it_is_only_a_word(manifest: Manifest, word: str) -> None:
    document = publish(manifest, 1, GLUCOSE)
    assert found(manifest, word, "insulin") == [document.passages[0].chunk_id]


def test_no_words_find_nothing(manifest: Manifest) -> None:
    publish(manifest, 1, GLUCOSE)
    assert manifest.search([], limit=5) == []
    assert manifest.search(["", "  ", '"'], limit=5) == []


def test_a_thousand_words_are_not_too_many(manifest: Manifest) -> None:
    publish(manifest, 1, GLUCOSE)
    assert len(manifest.search([*(f"word{n}" for n in range(1000)), "glucose"], limit=5)) == 1


def test_files_and_facts_are_remembered(manifest: Manifest) -> None:
    bad = replace(row(7, "bad.pdf"), status=FileStatus.CORRUPT, reason="no PDF", pages=0, passages=0)
    manifest.record([bad, row(1)])
    manifest.set_meta({"colour": "blue"})
    assert manifest.files() == (row(1), bad)
    assert manifest.meta("colour") == "blue"
    assert manifest.meta("shape") is None


def test_content_is_recognised_by_its_hash_unless_it_failed(manifest: Manifest) -> None:
    manifest.record([row(1), replace(row(2), status=FileStatus.FAILED)])
    assert manifest.file_with(f"{1:064x}") == row(1)
    assert manifest.file_with(f"{2:064x}") is None


def test_an_audit_of_a_sound_manifest_finds_nothing(manifest: Manifest) -> None:
    publish(manifest, 1, GLUCOSE, references="Smith 2001")
    manifest.add(stored(2, LACTATE))
    manifest.check_file()
    assert not manifest.audit()


@pytest.mark.parametrize(
    ("damage", "documents", "files", "search"),
    [
        ("DELETE FROM pages WHERE page = 2", 1, 0, False),
        ("DELETE FROM documents", 0, 1, False),
        ("DELETE FROM files", 1, 0, False),
        ("INSERT INTO passages_fts (passages_fts) VALUES ('delete-all')", 0, 0, True),
        ("DELETE FROM passages WHERE page = 1", 1, 0, True),
    ],
)
def test_an_audit_finds_what_is_missing(
    manifest: Manifest, path: Path, damage: str, documents: int, files: int, search: bool
) -> None:
    publish(manifest, 1, GLUCOSE, LACTATE)
    with sqlite3.connect(path) as connection:
        connection.execute(damage)
    faults = manifest.audit()
    assert (len(faults.documents), len(faults.files), faults.search) == (documents, files, search)


def test_search_can_be_rebuilt_from_the_pages(manifest: Manifest, path: Path) -> None:
    document = publish(manifest, 1, GLUCOSE, references="Smith: lactate")
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO passages_fts (passages_fts) VALUES ('delete-all')")
    manifest.rebuild_search()
    assert not manifest.audit()
    assert found(manifest, "glucose", "lactate") == [document.passages[0].chunk_id]


def test_readers_in_many_threads_see_each_commit(manifest: Manifest, path: Path) -> None:
    reader = Manifest(path)
    stop = threading.Event()

    def watch(_: int) -> list[tuple[int, int]]:
        seen = []
        while not stop.is_set():
            before = reader.revision()
            seen.append((len(reader.documents()), len(reader.search(["glucose"], limit=99))))
            assert reader.revision() >= before
        return seen

    with ThreadPoolExecutor(4) as threads:
        watchers = threads.map(watch, range(4))
        for number in range(1, 31):
            publish(manifest, number, GLUCOSE)
        stop.set()
        for seen in watchers:
            assert seen == sorted(seen)
    assert len(reader.documents()) == 30
    reader.close()


def test_a_reader_cannot_write(manifest: Manifest, path: Path) -> None:
    reader = Manifest(path)
    with pytest.raises(LibraryError, match="cannot be written"):
        reader.set_meta({"colour": "red"})
    reader.close()


def test_a_missing_index_is_an_error_and_is_not_created(path: Path) -> None:
    with pytest.raises(LibraryError, match="index the papers first"):
        Manifest(path)
    assert not path.exists()


@pytest.mark.parametrize("writable", [True, False])
def test_a_file_that_is_no_database_is_damaged(path: Path, writable: bool) -> None:
    path.write_bytes(b"this is not a database, " * 100)
    with pytest.raises(IndexDamaged, match=r"index\.sqlite"):
        Manifest(path, writable=writable)


def test_an_empty_file_is_damaged_for_a_reader(path: Path) -> None:
    path.touch()
    with pytest.raises(IndexDamaged):
        Manifest(path)


def test_a_manifest_of_another_version_is_refused(manifest: Manifest, path: Path) -> None:
    manifest.set_meta({"schema": "manifest-0"})
    with pytest.raises(IndexDamaged, match="another version"):
        Manifest(path)


def test_a_full_disk_is_said_to_be_full_and_harms_nothing(manifest: Manifest) -> None:
    publish(manifest, 1, GLUCOSE)
    with manifest._file.writing() as connection:
        connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(LibraryError, match="is full: free some space"):
        manifest.add(stored(2, LACTATE * 1000))
    assert [document.file for document in manifest.documents()] == ["1.pdf"]
    assert not manifest.audit()


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_an_index_in_a_folder_that_cannot_be_written_can_be_read(path: Path) -> None:
    manifest = Manifest(path, writable=True)
    publish(manifest, 1, GLUCOSE)
    manifest.close()
    path.parent.chmod(0o500)
    reader = Manifest(path)
    assert len(reader.documents()) == 1
    reader.close()
    path.parent.chmod(0o700)


def test_damage_inside_the_file_is_found(path: Path) -> None:
    manifest = Manifest(path, writable=True)
    for number in range(1, 40):
        publish(manifest, number, GLUCOSE * 50)
    manifest.close()
    content = bytearray(path.read_bytes())
    content[20_000:60_000] = bytes(40_000)
    path.write_bytes(content)
    with pytest.raises(IndexDamaged):
        Manifest(path, writable=True).check_file()


@pytest.mark.parametrize(
    ("text", "found", "missed"),
    [
        ("糖尿病患者の血清グルコースが上昇した。", ("グルコース", "血清グルコース", "糖尿病"), ("尿糖", "乳酸")),
        ("患者血浆中的葡萄糖浓度升高。", ("葡萄糖", "血浆"), ("浆血", "乳酸")),
        ("포도당은 식사 후에 상승했다.", ("포도당", "식사"), ("젖산",)),
        ("ارتفع تركيز الجلوكوز في البلازما.", ("الجلوكوز",), ("اللاكتات",)),
        ("ריכוז הגלוקוז בפלזמה עלה.", ("הגלוקוז",), ("הלקטט",)),
    ],
)
def test_words_are_found_in_scripts_without_spaces_or_from_right_to_left(
    tmp_path: Path, text: str, found: tuple[str, ...], missed: tuple[str, ...]
) -> None:
    manifest = Manifest(tmp_path / "index.sqlite", writable=True)
    manifest.add(stored(1, text))
    manifest.publish(stored(1).document.doc_id, row(1))
    manifest.rebuild_search()

    assert [word for word in (*found, *missed) if manifest.search([word], limit=9)] == list(found)

    manifest.record(gone=[row(1).path])
    manifest.forget(stored(1).document.doc_id)
    with contextlib.closing(sqlite3.connect(tmp_path / "index.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM passages_fts_docsize").fetchone() == (0,)
        connection.execute("CREATE VIRTUAL TABLE temp.terms USING fts5vocab(main, passages_fts, row)")
        assert connection.execute("SELECT count(*) FROM terms").fetchone() == (0,)
    manifest.close()
