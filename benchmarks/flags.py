"""What feature flags take: asking for one, and reading all of them anew.

200 flags of every kind are loaded (shares, tests with four variants, cohorts, conditions, namespaces), and people who
are all different ask for them; the aim is 50 microseconds for 99 of 100 evaluations. Then 1,000 flags are read from
the application's own database in a temporary folder, as after a change in another process; the aim is 50 ms.

    python -m benchmarks.flags [--evaluations 100000] [--loads 15]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cmo.bootstrap.money import SystemClock
from cmo.dispatch.flags import Flags
from cmo.policy.flag_documents import flag_from
from cmo.policy.flags import FeatureFlag, FlagContext, FlagSet
from cmo.storage.database import Database, migrate
from cmo.storage.flags import Authorship, SqlFlags

FLAGS_ASKED = 200
FLAGS_LOADED = 1_000
AIM_P99_MICROSECONDS = 50.0
AIM_LOAD_MS = 50.0

KINDS: Sequence[dict[str, Any]] = (
    {"status": "gradual_rollout", "rollout_percentage": 25},
    {
        "status": "ab_test",
        "rollout_percentage": 80,
        "variants": [
            {"name": "control", "weight": 40},
            {"name": "conservative", "weight": 20, "config_overrides": {"mode": "local"}},
            {"name": "balanced", "weight": 30, "config_overrides": {"mode": "hybrid"}},
            {"name": "aggressive", "weight": 10, "config_overrides": {"mode": "global"}},
        ],
        "namespace": {"name": "answers", "from": 0, "to": 50},
    },
    {
        "status": "enabled",
        "segments": {
            "cohorts": {"beta_testers": {"percentage": 100}, "new": {"enabled": False}},
            "regions": {"europe": {"percentage": 10}},
            "condition": {
                "and": [
                    {"attribute": "plan", "in": ["pro", "team"]},
                    {"not": {"attribute": "questions", "below": 10}},
                    {
                        "or": [
                            {"attribute": "email", "matches": r".*@[\w.]+\.edu"},
                            {"attribute": "tags", "contains": "ms"},
                        ]
                    },
                ]
            },
        },
    },
    {"status": "canary", "rollout_percentage": 5, "overrides": {"user1": "canary"}},
    {"status": "disabled", "owner": "ann", "description": "Not yet."},
)


class _Loaded:
    """A source that has the flags already."""

    def __init__(self, flags: Sequence[FeatureFlag]) -> None:
        self._found = FlagSet(revision="1", flags={flag.name: flag for flag in flags})

    async def revision(self) -> str:
        return self._found.revision

    async def load(self) -> FlagSet:
        return self._found


def some_flags(count: int) -> list[FeatureFlag]:
    """Flags of every kind in turn; none that have to be held against each other when they are kept."""
    return [flag_from(f"flag.{number}", KINDS[number % len(KINDS)]) for number in range(count)]


def somebody(number: int) -> FlagContext:
    return FlagContext(
        user_id=f"user{number}",
        cohort=("general", "new", "beta_testers")[number % 3],
        region=("europe", "other")[number % 2],
        attributes={"plan": "pro", "questions": number % 40, "email": f"u{number}@uni.edu", "tags": ["nmr", "ms"]},
    )


async def evaluations(count: int) -> list[float]:
    """How long each took, in microseconds."""
    flags = Flags(_Loaded(some_flags(FLAGS_ASKED)), salt="s", clock=SystemClock(), chance=lambda: 0.5)
    await flags.refresh()
    names, people = [f"flag.{number}" for number in range(FLAGS_ASKED)], [somebody(number) for number in range(1_000)]
    took = []
    gc.freeze()  # as the chat does
    for number in range(count):
        name, person = names[number % FLAGS_ASKED], people[number % 997]
        started = time.perf_counter_ns()
        flags.evaluate(name, person)
        took.append((time.perf_counter_ns() - started) / 1_000)
    return took


async def loads(count: int) -> list[float]:
    """How long each took, in milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite+aiosqlite:///{Path(folder, 'cmo.sqlite3').as_posix()}"
        await migrate(url)
        database = Database(url)
        store, by = SqlFlags(database), Authorship(author="benchmark", reason="to measure", at=datetime.now(UTC))
        for number in range(FLAGS_LOADED):
            kind = {key: value for key, value in KINDS[number % len(KINDS)].items() if key != "namespace"}
            await store.create(flag_from(f"flag.{number}", kind), by)
        took = []
        for _ in range(count):
            started = time.perf_counter()
            found = await store.load()
            took.append((time.perf_counter() - started) * 1_000)
            assert len(found.flags) == FLAGS_LOADED
        await database.close()
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=100_000)
    parser.add_argument("--loads", type=int, default=15)
    arguments = parser.parse_args()
    asked = asyncio.run(evaluations(arguments.evaluations))
    loaded = asyncio.run(loads(arguments.loads))
    p99 = statistics.quantiles(asked, n=100)[98]
    print(f"evaluation with {FLAGS_ASKED} flags: median {statistics.median(asked):.1f} us, p99 {p99:.1f} us")
    print(f"reading {FLAGS_LOADED} flags: median {statistics.median(loaded):.1f} ms, slowest {max(loaded):.1f} ms")
    sys.exit(0 if p99 <= AIM_P99_MICROSECONDS and statistics.median(loaded) <= AIM_LOAD_MS else 1)


if __name__ == "__main__":
    main()
