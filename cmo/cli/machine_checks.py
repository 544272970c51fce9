"""What `cmo doctor` looks at besides the index: the machine, the folders, the model and the word lists.

Nothing is changed, except that missing files of the cache folder are made, as the first question would.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import shutil
import stat
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from cmo.bootstrap.parts import open_extractor
from cmo.cli.checks import Finding, Status
from cmo.engines.lightrag_runtime import load_lightrag
from cmo.errors import LibraryError, OracleError
from cmo.library.reader import scan
from cmo.models.minilm import MiniLM
from cmo.models.minilm_weights import WEIGHTS_SHA256, installed_files
from cmo.quality.custom import load_registered
from cmo.settings import Settings, variables
from cmo.storage.sqlite_library import VERSION as SQLITE
from cmo.storage.sqlite_library import has_full_text_search

LEAST_FREE_BYTES = 1_000_000_000
"""Less room than this is told: an index takes about as much as its papers, a rebuild as much again."""
LEAST_FREE_MEMORY_BYTES = 600_000_000
"""What answering needs with the model loaded, and indexing half as much again."""


async def python(_: Settings) -> Finding:
    """Whether this Python can search."""
    system = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, SQLite {SQLITE}"
    if not has_full_text_search():
        return Finding(Status.FAILED, f"{system} without FTS5.", "Use a Python whose SQLite has FTS5.")
    return Finding(Status.OK, f"{system} with FTS5")


async def memory(_: Settings) -> Finding:
    """Whether there is room to work."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return Finding(Status.OK, "This system does not tell how much memory is free.")
    detail = f"{free / 1e9:.1f} GB free, {os.cpu_count()} processors"
    if free < LEAST_FREE_MEMORY_BYTES:
        return Finding(Status.WARNING, detail, "Close other programs: answering takes about 0.6 GB.")
    return Finding(Status.OK, detail)


async def variables_set(settings: Settings) -> Finding:
    """What is set."""
    names = dict(zip(type(settings).model_fields, variables(), strict=True))
    told = [
        f"{variable.names[0]}={'(set)' if variable.secret else getattr(settings, field)}"
        for field, variable in names.items()
        if field in settings.model_fields_set
    ]
    return Finding(Status.OK, ", ".join(told) or "Nothing is set: the defaults hold.")


async def papers(settings: Settings) -> Finding:
    """Whether there are papers."""
    if not settings.papers_dir.is_dir():
        return Finding(
            Status.WARNING,
            f"{settings.papers_dir} is not there.",
            "Make it and put papers into it, or set CMO_PAPERS_DIR.",
        )
    try:
        files = await asyncio.to_thread(scan, settings.papers_dir)
    except LibraryError as error:
        return Finding(Status.WARNING, str(error), "Allow it to be read.")
    if not files:
        advice = "Put PDF, text or Markdown files into it, or set CMO_PAPERS_DIR."
        return Finding(Status.WARNING, f"{settings.papers_dir} holds no papers.", advice)
    bad = [file for file in files if file.problem or not os.access(file.path, os.R_OK)]
    detail = f"{len(files)} file(s) in {settings.papers_dir}"
    if bad:
        advice = f"{bad[0].file}: {bad[0].problem or 'Allow it to be read.'}"
        return Finding(Status.WARNING, f"{detail}, {len(bad)} of them cannot be opened", advice)
    return Finding(Status.OK, detail)


async def storage(settings: Settings) -> Finding:
    """Whether an index and a database can be kept."""
    return _folder(settings.storage_dir, "CMO_STORAGE_DIR", private=True)


async def cache(settings: Settings) -> Finding:
    """Whether converted weights and word lists can be kept."""
    return _folder(settings.cache_dir, "CMO_CACHE_DIR", private=False)


def _folder(folder: Path, variable: str, *, private: bool) -> Finding:
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        advice = f"Allow it to be written, or set {variable}."
        return Finding(Status.FAILED, f"{there} is no folder that can be written.", advice)
    free = shutil.disk_usage(there).free
    detail = f"{folder}{'' if there == folder else ' (is made when needed)'}, {free / 1e9:.1f} GB free"
    if free < LEAST_FREE_BYTES:
        return Finding(Status.WARNING, detail, f"Make room there, or set {variable}.")
    if private and there == folder and stat.S_IMODE(folder.stat().st_mode) & 0o077:
        return Finding(Status.WARNING, f"{detail}; other users may look into it", f"Run: chmod 700 '{folder}'")
    return Finding(Status.OK, detail)


async def model(settings: Settings) -> Finding:
    """Whether texts can be compared by meaning."""
    if await asyncio.to_thread(_sha256, installed_files().weights) != WEIGHTS_SHA256:
        advice = "Run `make setup` to install it again."
        return Finding(Status.FAILED, "The weights of the embedding model are not those they should be.", advice)
    with closing(MiniLM(settings.cache_dir)) as model:
        near, far = await _similarities(model)
    if not near > far:
        advice = "Delete the cache folder; the model is converted again."
        return Finding(Status.FAILED, "The embedding model gives vectors that mean nothing.", advice)
    return Finding(Status.OK, f"{model.fingerprint}: weights as pinned, and a test sentence embedded")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


async def _similarities(model: MiniLM) -> tuple[float, float]:
    """How near a question is to its answer and to something else, as cosines."""
    question, answer, other = await model.embed(
        ["What does a high blood sugar mean?", "Raised plasma glucose points to diabetes.", "The train leaves at noon."]
    )
    return float(question @ answer), float(question @ other)


async def word_lists(settings: Settings) -> Finding:
    """Whether named things are found."""
    extractor = await asyncio.to_thread(open_extractor, settings)
    if "glucose" not in extractor.names("Glucose was measured in plasma."):
        advice = "Delete the cache folder; the word lists are read again."
        return Finding(Status.FAILED, "The word lists do not know glucose.", advice)
    return Finding(Status.OK, f"{extractor.fingerprint}: metabolites, genes and diseases are found")


async def lightrag(settings: Settings) -> Finding:
    """Whether the knowledge graph can be searched."""
    if not settings.lightrag_enabled:
        advice = "Set LIGHTRAG_INTEGRATION_ENABLED=true to search by meaning too."
        return Finding(Status.WARNING, "Switched off: full-text search works alone.", advice)
    try:
        installed = version("lightrag-hku")
        await asyncio.to_thread(load_lightrag)
    except (PackageNotFoundError, OracleError) as error:
        detail = f"It cannot be loaded ({error}): full-text search works alone."
        return Finding(Status.WARNING, detail, "Run `make setup`.")
    return Finding(Status.OK, f"lightrag-hku {installed}")


async def assessors(_: Settings) -> Finding:
    """Which custom assessors are installed, and which of them cannot be asked."""
    found = await asyncio.to_thread(load_registered)
    told = ", ".join(f"{each.name} (weight {each.weight:g})" for each in found.assessors) or "None can be asked"
    if found.problems:
        advice = "Answers are assessed without it. docs/quality.md says what an assessor has to be."
        return Finding(Status.WARNING, " ".join((f"{told}.", *found.problems)), advice)
    return Finding(Status.OK, told if found.assessors else "None is installed: answers get our own scores only.")
