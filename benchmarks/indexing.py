"""Seconds of indexing runs over a folder of real papers, and how many files each of them opened.

A copy of the folder is indexed from nothing, again without a change, and after one file each was touched, changed,
renamed and removed. Everything is as in `cmo index`; loading the models is part of the first run.

    python -m benchmarks.indexing [--papers ../shared/papers]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cmo.bootstrap.indexing import open_indexer
from cmo.settings import load_settings
from cmo.values import IndexReport

PAPERS = Path(__file__).resolve().parents[2] / "shared" / "papers"


class OpenedFiles:
    """The files below a folder which this process opened; the child that parses them gets none that was not hashed."""

    def __init__(self, folder: Path) -> None:
        self._folder = f"{folder}{os.sep}"
        self._opened: set[str] = set()
        sys.addaudithook(self._hear)

    def taken(self) -> int:
        """How many since this was last asked."""
        count = len(self._opened)
        self._opened.clear()
        return count

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | os.PathLike):
            name = os.fsdecode(arguments[0])
            if name.startswith(self._folder):
                self._opened.add(name)


def leave(papers: Path) -> None:
    """Change nothing."""


def touch(papers: Path) -> None:
    os.utime(_documents(papers)[0])


def change(papers: Path) -> None:
    # Behind its last line a PDF may hold anything; the text stays the same, the content is another.
    with _documents(papers)[1].open("ab") as file:
        file.write(b"\n% changed\n")


def rename(papers: Path) -> None:
    document = _documents(papers)[2]
    document.rename(document.with_name(f"renamed {document.name}"))


def remove(papers: Path) -> None:
    _documents(papers)[3].unlink()


STEPS: tuple[tuple[str, Callable[[Path], None]], ...] = (
    ("first run", leave),
    ("second run", leave),
    ("one touched", touch),
    ("one changed", change),
    ("one renamed", rename),
    ("one removed", remove),
)


def _documents(papers: Path) -> list[Path]:
    return sorted(path for path in papers.iterdir() if path.suffix == ".pdf")


async def run(papers: Path, storage: Path) -> IndexReport:
    environ = dict(os.environ) | {"CMO_PAPERS_DIR": str(papers), "CMO_STORAGE_DIR": str(storage)}
    async with open_indexer(load_settings(environ, env_file=None)) as indexer:
        return await indexer.run()


async def measure(source: Path, folder: Path) -> Table:
    papers = folder / "papers"
    papers.mkdir()
    for document in _documents(source):
        (papers / document.name).write_bytes(document.read_bytes())
    opened = OpenedFiles(papers)
    table = Table("run", "seconds", "files opened", "outcome", "pages", "passages", box=None)
    for name, step in STEPS:
        step(papers)
        opened.taken()
        report = await run(papers, folder / "storage")
        outcome = ", ".join(f"{count} {status}" for status, count in Counter(f.status for f in report.files).items())
        pages, passages = (sum(getattr(file, field) for file in report.files) for field in ("pages", "passages"))
        table.add_row(name, f"{report.seconds:.2f}", str(opened.taken()), outcome, str(pages), str(passages))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--papers", type=Path, default=PAPERS)
    arguments = parser.parse_args()
    if not arguments.papers.is_dir():
        sys.exit(f"{arguments.papers} is not there: give a folder of PDFs with --papers.")
    folder = Path(tempfile.mkdtemp(prefix="indexing-"))
    try:
        Console(width=140).print(asyncio.run(measure(arguments.papers, folder)))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
