"""Rollouts as JSON: plans, states and what gates found, written, read and checked.

Pure. Plans and states have a version, so that an older one is recognised. What is read is the same as what was written,
to the last digit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from cmo.policy.gates import GateResult
from cmo.policy.rollout import RolloutState
from cmo.policy.rollout_plan import RolloutPlan

VERSION = 1
"""Of the form of the documents, and of what the evidence in them means."""

T = TypeVar("T")


def plan_document(plan: RolloutPlan) -> dict[str, Any]:
    """The plan as a document of JSON."""
    return {"version": VERSION, "plan": _plans().dump_python(plan, mode="json")}


def plan_from(text: str | bytes) -> RolloutPlan:
    """The plan a document describes.

    Raises:
        ValueError: it describes none; says where and why.
    """
    plan = _read(text, "plan", _plans())
    for name in _unknown(json.loads(text)["plan"], plan_document(plan)["plan"]):
        raise ValueError(f'"{name}" means nothing in a plan.')  # misspelt, an approval would be left out unnoticed
    return plan


def state_text(state: RolloutState) -> str:
    """The state as JSON, the plan in it."""
    return json.dumps({"version": VERSION, "state": _states().dump_python(state, mode="json")})


def state_from(text: str | bytes) -> RolloutState:
    """The state that was written.

    Raises:
        ValueError: it is none, or one of another version.
    """
    state = _read(text, "state", _states())
    if not 0 <= state.stage <= state.plan.last or len(state.tracks) != len(state.plan.criteria):
        raise ValueError("The state does not fit its plan.")
    return state


def gates_text(gates: tuple[GateResult, ...]) -> str:
    """What gates found, as JSON."""
    return json.dumps(_gates().dump_python(gates, mode="json"))


def gates_from(text: str | bytes) -> tuple[GateResult, ...]:
    """What gates found, as it was written.

    Raises:
        ValueError: it is nothing of the kind.
    """
    return _gates().validate_python(json.loads(text))


def _read(text: str | bytes, key: str, adapter: TypeAdapter[T]) -> T:
    try:
        document = json.loads(text)
    except RecursionError as error:
        raise ValueError("It is nested too deeply.") from error
    if not isinstance(document, dict) or document.get("version") != VERSION or key not in document:
        raise ValueError(f'It is no {key} of version {VERSION}: "version" and "{key}" are needed.')
    try:
        return adapter.validate_python(document[key])
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        problem = first["msg"].removeprefix("Value error, ").rstrip(".")
        raise ValueError(f"{place or key}: {problem}.") from error


def _unknown(given: Any, known: Any) -> Iterator[str]:
    """The names in a document that were passed over when it was read."""
    if isinstance(given, dict):
        yield from sorted(given.keys() - known.keys())
        for name in given.keys() & known.keys():
            yield from _unknown(given[name], known[name])
    elif isinstance(given, list):
        for each, read in zip(given, known, strict=True):
            yield from _unknown(each, read)


@cache
def _plans() -> TypeAdapter[RolloutPlan]:
    return TypeAdapter(RolloutPlan)


@cache
def _gates() -> TypeAdapter[tuple[GateResult, ...]]:
    return TypeAdapter(tuple[GateResult, ...])


@cache
def _states() -> TypeAdapter[RolloutState]:
    return TypeAdapter(RolloutState)
