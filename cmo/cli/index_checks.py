"""What `cmo doctor` looks at of the index and the database: what is in them, whether they are whole and answer."""

from __future__ import annotations

import asyncio
import os
from contextlib import closing
from pathlib import Path

from cmo.bootstrap.answering import open_application
from cmo.bootstrap.indexing import wanted_recipe
from cmo.bootstrap.parts import graph_of, open_extractor
from cmo.cli.checks import Finding, Status
from cmo.errors import IndexDamaged, OracleError, WriterLocked
from cmo.library.changes import compare
from cmo.library.generations import GenerationInfo, Recipe, current, generations
from cmo.library.lock import LOCK_FILE, writer_lock
from cmo.library.reader import scan
from cmo.library.succession import Succession
from cmo.models.minilm import MiniLM
from cmo.settings import Settings
from cmo.storage.database import Database
from cmo.storage.manifest import Manifest
from cmo.values import FileStatus, PassageKind, Retrieval

PROBE_WORDS = 12
"""How many words of a passage look for it in the test search."""
PROBE_DEPTH = 10


async def index(settings: Settings) -> Finding:
    """What is in the serving index."""
    info = current(settings.storage_dir)
    if info is None:
        return Finding(Status.FAILED, f"There is no index in {settings.storage_dir}.", "Run `cmo index`.")
    return await asyncio.to_thread(_contents, info)


def _contents(info: GenerationInfo) -> Finding:
    with closing(Manifest(info.database)) as manifest:
        documents = len(manifest.documents())
        passages = sum(len(chunks) for chunks in manifest.chunk_ids(PassageKind.BODY).values())
        bad = [file for file in manifest.files() if file.status is not FileStatus.INDEXED]
    size = info.database.stat().st_size / 1e6
    detail = f"{info.name}: {documents} document(s), {passages} passages, {size:.0f} MB"
    if not passages:
        return Finding(
            Status.FAILED, f"{detail}: nothing can be found.", "Put papers into the folder, run `cmo index`."
        )
    if bad:
        advice = f"{bad[0].path}: {bad[0].reason or bad[0].status}"
        return Finding(Status.WARNING, f"{detail}; {len(bad)} file(s) could not be read", advice)
    return Finding(Status.OK, detail)


async def integrity(settings: Settings) -> Finding:
    """Whether the index is whole."""
    info = current(settings.storage_dir)
    if info is None:
        return Finding(Status.OK, "There is no index to look into.")
    try:
        faults = await asyncio.to_thread(_manifest_faults, info)
    except IndexDamaged as error:
        return Finding(
            Status.FAILED, str(error), "Run `cmo index`: it puts the damaged index aside and builds another."
        )
    if settings.lightrag_enabled:
        faults += await _graph_faults(settings, info)
    if not faults:
        return Finding(Status.OK, "The file is sound and nothing is missing in it.")
    if _is_being_written(settings.storage_dir):
        return Finding(Status.OK, "It is being written; look again when that is done.")
    return Finding(Status.WARNING, " ".join(faults), "Run `cmo index`; when that does not help, move the index away.")


def _manifest_faults(info: GenerationInfo) -> list[str]:
    with closing(Manifest(info.database)) as manifest:
        manifest.check_file()
        found = manifest.audit()
    counted = {
        f"{len(found.documents)} document(s) are incomplete.": found.documents,
        f"{len(found.files)} file(s) have lost their document.": found.files,
        "Full-text search does not know all passages.": found.search,
    }
    return [fault for fault, there in counted.items() if there]


async def _graph_faults(settings: Settings, info: GenerationInfo) -> list[str]:
    extractor = await asyncio.to_thread(open_extractor, settings)
    with closing(Manifest(info.database)) as manifest, closing(MiniLM(settings.cache_dir)) as embedder:
        expected = await asyncio.to_thread(manifest.chunk_ids, PassageKind.BODY)
        graph = graph_of(info, embedder, extractor, writable=False)
        try:
            await graph.open()
            bad = await graph.audit(expected)
        except OracleError as error:
            return [f"{error} Full-text search works alone."]
        finally:
            await graph.close()
    return [f"{len(bad)} document(s) are not whole in the knowledge graph."] if bad else []


async def recipe(settings: Settings) -> Finding:
    """Whether the index is what this version of the program would make."""
    info = current(settings.storage_dir)
    if info is None:
        return Finding(Status.OK, "There is no index to compare with.")
    wanted = await wanted_recipe(settings)
    changed = await asyncio.to_thread(_changed_steps, info, wanted)
    if changed:
        detail = f"The index was made with another {', '.join(changed)} than this version has or the settings name."
        advice = await asyncio.to_thread(_advice, settings.storage_dir, wanted)
        return Finding(Status.WARNING, detail, advice)
    return Finding(Status.OK, f"The index is what this version makes ({wanted.fingerprint[:8]}).")


def _advice(storage: Path, wanted: Recipe) -> str:
    """What leads to an index of that recipe: a run, unless somebody switched away from the one there is."""
    made = [info.name for info in generations(storage) if info.made_by(wanted)]
    if made and (left := Succession(storage).left(made[-1])) is not None:
        return f"{left.author} switched away from it ({left.reason}); `cmo generations switch {made[-1]}` goes back."
    return "Run `cmo index` to rebuild it; the old one answers meanwhile."


def _changed_steps(info: GenerationInfo, wanted: Recipe) -> tuple[str, ...]:
    with closing(Manifest(info.database)) as manifest:
        made = manifest.meta("recipe") or ""
    try:
        return wanted.changes(Recipe.from_json(made))
    except ValueError:
        return ("recipe",)


async def changes(settings: Settings) -> Finding:
    """Whether the papers folder has changed since it was indexed."""
    info = current(settings.storage_dir)
    if info is None or not settings.papers_dir.is_dir():
        return Finding(Status.OK, "There is nothing to compare.")
    return await asyncio.to_thread(_changed_files, settings.papers_dir, info)


def _changed_files(papers: Path, info: GenerationInfo) -> Finding:
    with closing(Manifest(info.database)) as manifest:
        found = compare(scan(papers), manifest.files())
    counts = {"new or changed": len(found.open), "renamed": len(found.moved), "removed": len(found.gone)}
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    if told:
        return Finding(Status.WARNING, f"Since the last run: {told}.", "Run `cmo index`.")
    return Finding(Status.OK, "The index is up to date with the papers folder.")


async def writer(settings: Settings) -> Finding:
    """Who is writing the index."""
    label = settings.storage_dir / LOCK_FILE
    if not label.is_file() or not label.stat().st_size:
        return Finding(Status.OK, "Nobody is writing the index.")
    try:
        # A killed run leaves its label behind: only the lock itself tells.
        with writer_lock(settings.storage_dir):
            return Finding(Status.OK, "Nobody is writing the index. The last run was broken off; the next one goes on.")
    except WriterLocked as error:
        return Finding(Status.OK, str(error))


def _is_being_written(storage: Path) -> bool:
    try:
        with writer_lock(storage):
            return False
    except WriterLocked:
        return True


async def ledger(settings: Settings) -> Finding:
    """Whether questions can be recorded."""
    file = Path(settings.database.partition(":///")[2])
    finding = await asyncio.to_thread(_database_file, file)
    if finding is not None:
        return finding
    database = Database(settings.database)
    try:
        await database.ping()
    finally:
        await database.close()
    return Finding(Status.OK, f"{file} answers.")


def _database_file(file: Path) -> Finding | None:
    """What is to be said without opening it."""
    if not file.exists():
        return Finding(Status.OK, f"{file} is made by the first question.")
    if not os.access(file, os.W_OK) or not os.access(file.parent, os.W_OK):
        return Finding(Status.FAILED, f"{file} cannot be written.", "Allow it to be written, or set DATABASE_URL.")
    return None


async def search(settings: Settings) -> Finding:
    """Whether a passage of the index is found by its own words."""
    info = current(settings.storage_dir)
    probe = None if info is None else await asyncio.to_thread(_probe, info)
    if probe is None:
        return Finding(Status.FAILED, "There is no passage to look for.", "Run `cmo index`.")
    chunk_id, question = probe
    async with open_application(settings) as application:
        await application.retriever.retrieve(question, top_k=PROBE_DEPTH)
        found = await application.retriever.retrieve(question, top_k=PROBE_DEPTH)
    return _judged(found, chunk_id)


def _probe(info: GenerationInfo) -> tuple[str, str] | None:
    """A passage and some words of it."""
    with closing(Manifest(info.database)) as manifest:
        chunks = next(iter(manifest.chunk_ids(PassageKind.BODY).values()), ())
        found = manifest.passages(chunks[len(chunks) // 2 :][:1])
    return (found[0][0].chunk_id, " ".join(found[0][0].text.split()[:PROBE_WORDS])) if found else None


def _judged(found: Retrieval, chunk_id: str) -> Finding:
    if not found.passages:
        return Finding(Status.FAILED, "A test search found nothing.", "Run `cmo index`.")
    if found.degraded:
        return Finding(Status.WARNING, found.degraded, "The checks above say why.")
    if chunk_id not in {scored.passage.chunk_id for scored in found.passages}:
        return Finding(Status.WARNING, "A passage was not found by its own words.", "Run `cmo index`.")
    return Finding(Status.OK, f"A passage was found by its own words in {found.seconds * 1000:.0f} ms.")
