"""Questions as JSON lines on stdin, for `--batch`: one line in, one line out, in order.

A line that is no question, or a question that fails, gets {"id", "error"} in its place, and the others go on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from cmo.cli.options import readable
from cmo.cli.output import print_json
from cmo.errors import OracleError

Results = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchQuestion:
    """One line of a batch. `id` is given back with its result, whatever it is."""

    id: object
    question: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """A line that is no question, and why; `id` as far as it has one."""

    id: object
    error: str


def read_batch(lines: Iterable[bytes]) -> Iterator[BatchQuestion | BadLine]:
    """The questions of JSON lines {"id", "question"} in UTF-8; empty lines are passed over."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _parse(number, line)


def run_batch(lines: Iterable[bytes], answer: Callable[[str], Results]) -> bool:
    """Print the result of every line; whether all went well."""
    went_well = True
    for line in read_batch(lines):
        result = {"error": line.error} if isinstance(line, BadLine) else _result(line.question, answer)
        went_well = went_well and "error" not in result
        print_json({"id": line.id, **result})
    return went_well


def _result(question: str, answer: Callable[[str], Results]) -> Results:
    try:
        return answer(question)
    except OracleError as error:
        return {"error": str(error)}


def _parse(number: int, line: bytes) -> BatchQuestion | BadLine:
    try:
        row = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError) as error:
        return BadLine(id=None, error=f"Line {number} of stdin is not JSON: {error}.")
    known = row.get("id") if isinstance(row, dict) else None
    question = row.get("question") if isinstance(row, dict) else None
    if not isinstance(question, str) or not question.strip():
        wanted = '{"id": 1, "question": "..."}'
        return BadLine(id=known, error=f'Line {number} of stdin needs a "question" with text, like {wanted}.')
    return BatchQuestion(id=known, question=readable(question.strip()))
