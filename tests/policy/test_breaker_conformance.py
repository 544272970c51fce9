"""The breaker against sequences taken from resilience4j's own tests, one test for each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cmo.policy.breaker import Breaker, BreakerRules, BreakerState, Recovery, TimeWindow
from tests.conftest import SHARED

FILE = SHARED / "evals" / "conformance" / "resilience4j" / "state_machine.json"
ABSENT = "the conformance sequences beside the project are not here"
START = 1_000_000.25
NO_CHANCE = 0.0


def _sequences(file: Path) -> list[Any]:
    if not file.is_file():
        return [pytest.param(None, None, marks=pytest.mark.skip(reason=ABSENT))]
    content = json.loads(file.read_text(encoding="utf-8"))
    return [pytest.param(content["config"], one["steps"], id=one["name"]) for one in content["tests"]]


@pytest.mark.parametrize(("config", "steps"), _sequences(FILE))
def test_the_breaker_does_as_resilience4j_does(config: dict[str, Any], steps: list[list[Any]]) -> None:
    circuit = Circuit(config)
    for number, (step, *arguments) in enumerate(steps):
        expected, found = getattr(circuit, step)(*arguments)
        assert found == expected, f"step {number}: {step} {arguments}"


DONE = (None, None)
"""What a step gives that expects nothing."""


class Circuit:
    """Takes a breaker through the steps of a sequence. Each step gives what it expects and what it found.

    resilience4j knows no permits: a result there belongs to whatever call. Here it ends the call admitted last, and
    where a sequence tells a result without a call before it, one is admitted first.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        assert config["window"]["type"] == "time"
        rules = BreakerRules(
            consecutive_failures=None,
            failure_percent=config["failure_rate_threshold"],
            slow_percent=config["slow_rate_threshold"],
            slow_call_seconds=config["slow_call_s"],
            minimum_calls=config["minimum_calls"],
            window=TimeWindow(seconds=config["window"]["seconds"]),
            recovery=Recovery(
                recovery_seconds=config["open_wait_s"],
                probes=config["half_open_permits"],
                probe_wait_seconds=config["half_open_max_wait_s"],
            ),
            initial=BreakerState[config["initial"]],
        )
        self._now = START
        self._breaker = Breaker.new(rules, now=self._now)
        self._permits: list[int] = []

    def try_acquire(self, expected: bool) -> tuple[Any, Any]:
        return expected, self._admitted()

    def success(self, seconds: float) -> tuple[Any, Any]:
        self._breaker = self._breaker.succeeded(self._permit(), seconds, now=self._now, jitter=NO_CHANCE)
        return DONE

    def error(self, seconds: float, kind: str) -> tuple[Any, Any]:
        if kind == "ignored":
            return self.release()
        self._breaker = self._breaker.failed(self._permit(), seconds, now=self._now, jitter=NO_CHANCE)
        return DONE

    def release(self) -> tuple[Any, Any]:
        self._breaker = self._breaker.abandoned(self._permit())
        return DONE

    def advance(self, seconds: float) -> tuple[Any, Any]:
        self._now += seconds
        return DONE

    def force(self, state: str) -> tuple[Any, Any]:
        self._breaker = self._breaker.forced(BreakerState[state], now=self._now)
        self._permits.clear()
        return DONE

    def force_open_for(self, seconds: float) -> tuple[Any, Any]:
        self._breaker = self._breaker.forced(BreakerState.OPEN, now=self._now, wait_seconds=seconds)
        self._permits.clear()
        return DONE

    def reset(self) -> tuple[Any, Any]:
        return self.force(BreakerState.CLOSED.name)

    def state(self, expected: str) -> tuple[Any, Any]:
        return expected, self._breaker.gate.state.name

    def metrics(self, expected: dict[str, float]) -> tuple[Any, Any]:
        reading = self._breaker.reading(now=self._now)
        found = {
            "failure_rate": _rate(reading.failure_percent),
            "slow_rate": _rate(reading.slow_percent),
            "success": reading.calls - reading.failed,
            "failed": reading.failed,
            "slow": reading.slow,
            "buffered": reading.calls,
            "not_permitted": self._breaker.gate.rejected,
        }
        return expected, {name: found[name] for name in expected}

    def _admitted(self) -> bool:
        self._breaker, permit = self._breaker.admit(now=self._now)
        if permit is not None:
            self._permits.append(permit)
        return permit is not None

    def _permit(self) -> int:
        assert self._permits or self._admitted(), "a result came, but no call may be made"
        return self._permits.pop()


def _rate(percent: float | None) -> float:
    """resilience4j writes -1 where it cannot tell."""
    return -1 if percent is None else percent
