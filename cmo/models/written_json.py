"""What a language model wrote as JSON, read tolerantly. Pure; whoever asked for it says what a record must hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

_DECODER = json.JSONDecoder()


def json_records(answer: str) -> Iterator[dict[str, Any]]:
    """Every JSON object in a text, also in one that is fenced, talked about, or broken off in the middle."""
    position = answer.find("{")
    while position >= 0:
        try:
            value, end = _DECODER.raw_decode(answer, position)
        except (ValueError, RecursionError):
            end = position + 1
        else:
            yield from _objects_in(value)
        position = answer.find("{", end)


def _objects_in(value: object) -> Iterator[dict[str, Any]]:
    waiting = [value]
    while waiting:
        match waiting.pop(0):
            case dict() as record:
                yield record
                waiting += record.values()
            case list() as values:
                waiting += values
