"""How long one routing decision takes, beside one SHA-256 of a person's id in the same run.

    python -m benchmarks.routing [--facts 5000] [--rounds 9] [--seed 1]

The facts are drawn at random: two or three engines in every state, choices, stops, up to six conditional rules. Every
decision is timed by itself, once in each round. "all calls" is the distribution of all these times, with whatever other
programs did meanwhile. "each decision" takes the median over the rounds for each decision first, so that it tells the
code from a busy machine; the run fails when its 99th percentile is above 100 microseconds. The collector of garbage
runs as usual.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cmo.policy.assignment import bucket
from cmo.policy.flags import FlagReason, FlagValue
from cmo.policy.routing import EngineFacts, RoutingFacts, decide
from cmo.policy.rules import DEFAULT_RULES, Rule
from cmo.values import QuestionKind, QuestionType

MOST_P99_MICROSECONDS = 100
ENGINES = ("lightrag", "perplexity", "third")
SALT = "cmo_lightrag_2025"
RULES = (
    *DEFAULT_RULES,
    Rule(name="short", engine="lightrag", max_words=4),
    Rule(name="pasted", engine="third", min_characters=1_500),
    Rule(name="values", engine="lightrag", types=(QuestionType.VALUE, QuestionType.METHOD), coverage_at_least=0.55),
    Rule(name="europe", engine="lightrag", cohorts=("new", "general"), regions=("europe",), max_words=40),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Percentiles in microseconds."""

    p50: float
    p99: float
    max: float


def main() -> None:
    arguments = _arguments()
    chance = random.Random(arguments.seed)
    facts = [_facts(chance) for _ in range(arguments.facts)]
    _show_reasons(facts)
    rounds = [(_times(_hash, facts), _times(decide, facts)) for _ in range(arguments.rounds)]
    hashing, deciding = zip(*rounds, strict=True)
    _show("all calls", _of_all(hashing), _of_all(deciding))
    figures = _of_each(deciding)
    _show("each decision", _of_each(hashing), figures)
    if figures.p99 > MOST_P99_MICROSECONDS:
        sys.exit(f"The 99th percentile is above {MOST_P99_MICROSECONDS} microseconds.")


def _hash(facts: RoutingFacts) -> float:
    return bucket(facts.user_id, facts.salt)


def _times(call: Callable[[RoutingFacts], object], cases: Sequence[RoutingFacts]) -> list[int]:
    """Nanoseconds of one call for each case."""
    times = []
    for case in cases:
        start = time.perf_counter_ns()
        call(case)
        times.append(time.perf_counter_ns() - start)
    return times


def _of_all(rounds: Sequence[Sequence[int]]) -> Figures:
    return _figures([nanoseconds for times in rounds for nanoseconds in times])


def _of_each(rounds: Sequence[Sequence[int]]) -> Figures:
    return _figures([statistics.median(times) for times in zip(*rounds, strict=True)])


def _figures(nanoseconds: Sequence[float]) -> Figures:
    ordered = sorted(nanoseconds)
    return Figures(
        p50=ordered[len(ordered) // 2] / 1e3, p99=ordered[len(ordered) * 99 // 100] / 1e3, max=ordered[-1] / 1e3
    )


def _show(title: str, hashing: Figures, deciding: Figures) -> None:
    print(f"{title + ', us':20} {'p50':>8} {'p99':>8} {'max':>8}")
    for name, figures in (("one SHA-256", hashing), ("decide()", deciding)):
        print(f"  {name:18} {figures.p50:8.2f} {figures.p99:8.2f} {figures.max:8.1f}")
    print(f"  {'ratio':18} {deciding.p50 / hashing.p50:8.1f} {deciding.p99 / hashing.p99:8.1f}")


def _show_reasons(facts: Sequence[RoutingFacts]) -> None:
    reasons = Counter(decide(each).reason for each in facts)
    print(f"{len(facts)} decisions:", ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()))


def _facts(chance: random.Random) -> RoutingFacts:
    """Mostly undisturbed, so that most decisions pass all checks and the rules."""
    return RoutingFacts(
        engines=tuple(_engine(chance, name) for name in ENGINES[: chance.choice((2, 3))]),
        emergency_stopped=frozenset(name for name in ENGINES if chance.random() < 0.02),
        integration_enabled=chance.random() > 0.02,
        forced=chance.choice(ENGINES) if chance.random() < 0.02 else None,
        chosen=chance.choice(ENGINES) if chance.random() < 0.1 else None,
        user_id=f"user{chance.getrandbits(48):x}",
        salt=SALT,
        rollout_percentage=chance.choice((0, 10, 50, 100)),
        flag=FlagValue(value=chance.random() < 0.5, reason=FlagReason.ROLLOUT) if chance.random() < 0.5 else None,
        fallback_allowed=chance.random() < 0.9,
        conditional_routing=chance.random() < 0.8,
        rules=tuple(chance.sample(RULES, chance.randint(0, len(RULES)))),
        characters=chance.randint(5, 2_000),
        words=chance.randint(1, 300),
        kind=QuestionKind(type=chance.choice(tuple(QuestionType)), freshness=chance.random() ** 2),
        coverage=chance.choice((None, chance.random())),
        cohort=chance.choice(("", "new", "general", "power_users")),
        region=chance.choice(("", "europe", "other")),
        configuration="benchmark",
    )


def _engine(chance: random.Random, name: str) -> EngineFacts:
    return EngineFacts(
        name=name,
        available=chance.random() < 0.95,
        breaker_open=chance.random() < 0.05,
        quality_low=chance.random() < 0.05,
        estimate_usd=chance.random() / 20,
        affordable=chance.random() < 0.95,
        can_be_free=name == "lightrag",
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facts", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
