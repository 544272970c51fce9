"""Run the benchmarks, each in a process of its own, so that none of them finds what another one has loaded.

    python -m benchmarks [NAME ...]

A benchmark is a module of this package that can be run with `python -m benchmarks.NAME`, which shows its options.
"""

from __future__ import annotations

import argparse
import pkgutil
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def names() -> list[str]:
    """All benchmarks there are: the modules with a `main`."""
    found = [module.name for module in pkgutil.iter_modules([str(FOLDER)])]
    return sorted(name for name in found if "\ndef main(" in (FOLDER / f"{name}.py").read_text(encoding="utf-8"))


def run(name: str) -> bool:
    """Run one; whether it ended well."""
    print(f"== {name}", flush=True)
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=FOLDER.parent, check=False)
    print(f"== {name}: exit code {done.returncode} after {time.perf_counter() - started:.0f} s\n", flush=True)
    return done.returncode == 0


def main() -> None:
    known = [name for name in names() if name != "__main__"]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(known)}; all without any")
    wanted = parser.parse_args().names
    if unknown := sorted(set(wanted) - set(known)):
        parser.error(f"no such benchmark: {', '.join(unknown)}")
    results = [run(name) for name in wanted or known]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
