"""What a variant of the main rollout changes: which engine is asked, and how it works for that question.

Pure. A variant's overrides come from outside, so they are checked in two places: `refuse_wrong` for whoever writes
them down, and `engine_of` and `tuning_of` for whoever obeys them, which pass over what makes no sense.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from cmo.values import Tuning

ENGINE = "engine"
MODE = "mode"

MOST_PASSAGES = 50
MOST_TOKENS = 8_000
HOTTEST = 2.0
"""The largest temperature that OpenAI's interface allows (platform.openai.com, "Create chat completion")."""


def engine_of(overrides: Mapping[str, object]) -> str | None:
    """The engine a variant names, None when it leaves that open."""
    engine = overrides.get(ENGINE)
    return engine if isinstance(engine, str) and engine else None


def tuning_of(overrides: Mapping[str, object]) -> Tuning:
    """How an engine is to work by a variant. What makes no sense is as if it were not there."""
    right: dict[str, Any] = {key: overrides[key] for key in _ALLOWED if _is_right(key, overrides)}
    return Tuning(**right)


def refuse_wrong(overrides: Mapping[str, object], *, engines: Collection[str], modes: Collection[str]) -> None:
    """Let overrides pass that can be obeyed.

    Raises:
        ValueError: one is unknown, or its value is not allowed; names it and what is allowed.
    """
    known = (ENGINE, *_ALLOWED)
    for key, value in overrides.items():
        if key not in known:
            raise ValueError(f'The override "{key}" is unknown. Allowed: {", ".join(known)}.')
        if key == ENGINE and value not in engines:
            raise ValueError(f'The override "{ENGINE}" is {value!r}. Allowed: {", ".join(engines)}.')
        if key == MODE and value not in modes:
            raise ValueError(f'The override "{MODE}" is {value!r}. Allowed: {", ".join(modes)}.')
        if key in _ALLOWED and not _is_right(key, overrides):
            raise ValueError(f'The override "{key}" is {value!r}. Allowed: {_ALLOWED[key][1]}.')


def _is_right(key: str, overrides: Mapping[str, object]) -> bool:
    return key in overrides and _ALLOWED[key][0](overrides[key])


def _is_whole(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _is_temperature(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= HOTTEST


_ALLOWED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    MODE: (lambda value: isinstance(value, str) and bool(value), "the name of a mode"),
    "top_k": (lambda value: _is_whole(value, MOST_PASSAGES), f"a whole number from 1 to {MOST_PASSAGES}"),
    "max_tokens": (lambda value: _is_whole(value, MOST_TOKENS), f"a whole number from 1 to {MOST_TOKENS:,}"),
    "temperature": (_is_temperature, f"a number from 0 to {HOTTEST:g}"),
}
"""The parts of a Tuning: what is right for each, and that in words."""
