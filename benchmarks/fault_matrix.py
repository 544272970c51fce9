"""What people get, and what the books and the breakers show, while everything that can go wrong at the servers does.

    python -m benchmarks.fault_matrix [--all] [--only TEXT]

The whole application runs between the fake servers of tests/servers. The cells are those of tests/faults, which judges
them; this prints them. Dollars charged are the servers' own count; a call whose end nobody was told is booked by an
estimate, marked ~. Each breaker shows calls and failures of this question. With --all, the rarer combinations as well.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.faults.cells import Cell, Outcome, cells, further_cells, open_worlds, run
from tests.faults.world import index

COLUMNS = ("asked", "fault", "who answered", "s", "booked $", "charged $", "papers", "web", "left over", "told")
WIDTH = 200


def main() -> None:
    arguments = _arguments()
    logging.disable(logging.ERROR)  # the failures that are asked for
    chosen = [*cells(), *(further_cells() if arguments.all else ())]
    wanted = [cell for cell in chosen if arguments.only in cell.name]
    table = Table(*COLUMNS, box=None, header_style="bold", pad_edge=False)
    for cell, outcome in asyncio.run(_outcomes(wanted)):
        table.add_row(*_row(cell, outcome))
    Console(width=WIDTH, emoji=False, highlight=False).print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fault_matrix", description=__doc__.split("\n")[0])
    parser.add_argument("--all", action="store_true", help="the rarer combinations as well")
    parser.add_argument("--only", default="", metavar="TEXT", help="only cells with this in their name")
    return parser.parse_args()


async def _outcomes(wanted: Sequence[Cell]) -> list[tuple[Cell, Outcome]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        await index(folder)
        async with open_worlds(folder, folder) as worlds:
            return [(cell, await run(cell, await worlds.of(cell.setup))) for cell in wanted]


def _row(cell: Cell, outcome: Outcome) -> tuple[str | Text, ...]:
    told, trace = outcome.told, outcome.trace
    charged = sum(charge.cost_usd for traffic in trace.traffic.values() for charge in traffic.charges)
    booked = sum(call.microdollars for call in trace.calls) / 1_000_000
    about = "~" if any(call.estimated and call.microdollars for call in trace.calls) else ""
    health = [trace.breakers.get(engine) for engine in ("lightrag", "perplexity")]
    left = [
        *(f"{len(trace.tasks)} task(s)" for _ in trace.tasks[:1]),
        *(f"{traffic.unfinished} call(s)" for traffic in trace.traffic.values() if traffic.unfinished),
        *(f"${trace.reserved / 1_000_000:.4f}" for _ in range(trace.reserved > 0)),
    ]
    return (
        cell.setup.name,
        f"{cell.fault.value}{' once' if cell.once else ''}",
        _who(outcome),
        f"{told.seconds:.1f}",
        f"{about}{booked:.6f}",
        f"{charged:.6f}",
        *(f"{one.calls}/{one.failed}" if one else "" for one in health),
        ", ".join(left) or "-",
        Text(told.notice, overflow="ellipsis", no_wrap=True),
    )


def _who(outcome: Outcome) -> str:
    answer = outcome.told.answer
    if answer is None:
        return "nobody"
    if not answer.written:
        return "sentences"
    return {"lightrag": "papers", "perplexity": "web"}[answer.engine]


if __name__ == "__main__":
    main()
