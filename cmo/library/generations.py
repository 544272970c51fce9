"""The generations of an index: one folder each, and the pointer that says which one answers questions.

    <storage>/
      .writer                           the writer lock (lock.py)
      CURRENT                           the name of the serving generation
      generations/
        g0001-3fa8c01d/index.sqlite     manifest and graph of one generation
        g0002-90bb12ae/index.sqlite     the next one, built beside it while the first still serves
        g0001-...damaged-20250102T0304  set aside because it could not be read

A generation is made by one `Recipe`, and is never changed to another: what was made by other rules or another embedding
model cannot be searched together. The pointer is replaced atomically, so a reader sees the old generation or the
new one, whole. Nothing here looks into an index.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from cmo.errors import LibraryError

POINTER = "CURRENT"
FOLDER = "generations"
DATABASE = "index.sqlite"

_NAME = re.compile(r"g\d{4,}-[0-9a-f]{8}")
_NUMBER = re.compile(r"g(\d{4,})-")
_DAMAGED = ".damaged-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides how an index comes out of the same papers: the versions of each step.

    `reader` is PDF to pages, `passages` pages to passages, `embedder` and `extractor` the models, `graph` the version
    of LightRAG, `schema` the manifest's tables.
    """

    reader: str
    passages: str
    embedder: str
    extractor: str
    graph: str
    schema: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all steps, in hexadecimal. Indexes of different fingerprints are different generations."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """The steps and their versions, in a fixed order."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """The recipe written by `to_json`.

        Raises:
            ValueError: the text is of another kind, or of another version of the program.
        """
        try:
            return cls(**json.loads(text))
        except TypeError as error:
            raise ValueError(f"not a recipe: {text[:200]}") from error

    def changes(self, other: Recipe) -> tuple[str, ...]:
        """The names of the steps in which two recipes differ."""
        theirs = asdict(other)
        return tuple(step for step, version in asdict(self).items() if theirs[step] != version)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationInfo:
    """One generation on disk: `name` is unique for ever within its storage, `folder` holds nothing but its index."""

    name: str
    folder: Path

    @property
    def database(self) -> Path:
        """The SQLite file with manifest and graph."""
        return self.folder / DATABASE

    @property
    def number(self) -> int:
        """Later generations have higher numbers."""
        return int(self.name[1:].partition("-")[0])

    def made_by(self, recipe: Recipe) -> bool:
        """Whether the name says that `recipe` made it; the full fingerprint stands in its manifest."""
        return self.name.endswith(f"-{recipe.fingerprint[:8]}")


def current(storage: Path) -> GenerationInfo | None:
    """The generation that answers questions, or None while there is none.

    Cheap enough to be asked before every question: readers notice a swap by comparing names.

    Raises:
        LibraryError: the pointer is there and cannot be read.
    """
    try:
        name = (storage / POINTER).read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LibraryError(f"{storage / POINTER} cannot be read ({error}): check its permissions.") from error
    info = GenerationInfo(name=name, folder=storage / FOLDER / name)
    return info if _NAME.fullmatch(name) and info.database.is_file() else None


def generations(storage: Path) -> tuple[GenerationInfo, ...]:
    """All generations on disk, oldest first, without those set aside."""
    folder = storage / FOLDER
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    found = [GenerationInfo(name=name, folder=folder / name) for name in names if _NAME.fullmatch(name)]
    return tuple(sorted(found, key=lambda info: info.number))


def prepare(storage: Path) -> None:
    """Create the storage folder and what has to be in it, readable by this user only.

    Raises:
        LibraryError: it cannot be created.
    """
    try:
        storage.mkdir(mode=0o700, parents=True, exist_ok=True)
        (storage / FOLDER).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise LibraryError(
            f"The index folder {storage} cannot be created ({error.strerror}): choose a folder that can be written."
        ) from error


def create(storage: Path, recipe: Recipe) -> GenerationInfo:
    """An empty folder for a new generation, with a number that was never used here.

    Raises:
        LibraryError: the folder cannot be created.
    """
    used = [_NUMBER.match(entry.name) for entry in (storage / FOLDER).iterdir()]
    number = max((int(found[1]) for found in used if found), default=0) + 1
    name = f"g{number:04d}-{recipe.fingerprint[:8]}"
    folder = storage / FOLDER / name
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise LibraryError(f"{folder} cannot be created ({error.strerror}): check space and permissions.") from error
    return GenerationInfo(name=name, folder=folder)


def serve(storage: Path, info: GenerationInfo) -> None:
    """Make `info` the generation that answers questions, at once and for good, whatever happens in the middle.

    Raises:
        LibraryError: the pointer cannot be written; the generation before goes on serving.
    """
    pointer = storage / POINTER
    draft = storage / f"{POINTER}.new"
    try:
        _sync_folder(info.folder)
        with draft.open("w", encoding="utf-8") as file:
            file.write(info.name + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(pointer)
        _sync_folder(storage)
    except OSError as error:
        raise LibraryError(f"{pointer} cannot be written ({error.strerror}): check space and permissions.") from error


def set_aside(info: GenerationInfo, when: datetime) -> Path:
    """Move a damaged generation out of the way, keeping it for whoever wants to look, and return where it went."""
    place = info.folder.with_name(f"{info.name}{_DAMAGED}{when:%Y%m%dT%H%M%S}")
    try:
        info.folder.replace(place)
    except OSError as error:
        raise LibraryError(f"{info.folder} is damaged and cannot be renamed ({error.strerror}): remove it.") from error
    return place


def prune(storage: Path, *, keep: set[str]) -> tuple[str, ...]:
    """Delete all generations but those named in `keep` and the latest damaged one; return the names deleted.

    A process that still has a deleted generation open goes on reading it until it lets go.
    """
    folder = storage / FOLDER
    damaged = sorted(entry.name for entry in folder.iterdir() if _DAMAGED in entry.name)[:-1]
    old = [info.name for info in generations(storage) if info.name not in keep]
    for name in (*old, *damaged):
        shutil.rmtree(folder / name, ignore_errors=True)
    return (*old, *damaged)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
