"""Seconds of one indexing run over a folder of awkward files, and what becomes of each of them.

The folder holds everything the tests make (damaged, encrypted, scanned, wrongly named, no files at all ...), two PDFs
of 500 pages, and the files of a folder of odd PDFs when there is one. `cmo index` runs as a person runs it.

    python -m benchmarks.nasty [--odd ../shared/nasty_pdfs]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.library import files

ODD = Path(__file__).resolve().parents[2] / "shared" / "nasty_pdfs"


def fill(papers: Path, odd: Path) -> dict[str, str]:
    """Make the folder; returns the status each file made here has to get."""
    papers.mkdir()
    expected = {name: str(status) for name, status in files.write_nasty_folder(papers).items()}
    files.write_long_pdf(papers / "500 pages.pdf", 500)
    files.write_monotonous_pdf(papers / "500 times the same.pdf", 500)
    for document in sorted(odd.glob("*.pdf")):
        shutil.copy(document, papers / document.name)
    return expected | {"500 pages.pdf": "indexed", "500 times the same.pdf": "indexed"}


def index(papers: Path, storage: Path) -> tuple[dict[str, Any], float, float]:
    """The report of a run, its seconds on the clock and those of the processors."""
    command = [sys.executable, "-m", "cmo", "index", "--papers", str(papers), "--storage", str(storage), "--json"]
    before, started = _processor_seconds(), time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report, time.perf_counter() - started, _processor_seconds() - before


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def show(report: dict[str, Any], expected: dict[str, str]) -> Table:
    table = Table("file", "status", "pages", "passages", "reason", box=None)
    for file in report["files"]:
        wrong = expected.get(file["file"], file["status"]) != file["status"]
        status = f"{file['status']} (wrong)" if wrong else file["status"]
        name = json.dumps(file["file"], ensure_ascii=False)[1:-1]
        table.add_row(name[:45], status, str(file["pages"]), str(file["passages"]), file["reason"] or "")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--odd", type=Path, default=ODD, help="a folder of odd PDFs to add")
    arguments = parser.parse_args()
    console = Console(width=200, markup=False)
    folder = Path(tempfile.mkdtemp(prefix="nasty-"))
    try:
        expected = fill(folder / "papers", arguments.odd)
        for name in ("first run", "second run"):
            report, seconds, processor_seconds = index(folder / "papers", folder / "storage")
            if name == "first run":
                console.print(show(report, expected))
            took = f"{seconds:.1f} s on the clock, {processor_seconds:.1f} s of processors"
            console.print(f"{name}: {took}, load {os.getloadavg()[0]:.1f}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
