"""JSON lines on stdin, questions for `--batch` and texts for what judges texts: one line in, one line out, in order.

A line that is none, or one that fails, gets {"id", "error"} in its place, and the others go on.
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
class BatchText:
    """One line of texts, every character where it was. `id` is given back with its result, whatever it is."""

    id: object
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """A line that is no question or text, and why; `id` as far as it has one."""

    id: object
    error: str


def read_batch(lines: Iterable[bytes]) -> Iterator[BatchQuestion | BadLine]:
    """The questions of JSON lines {"id", "question"} in UTF-8; empty lines are passed over."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _parse(number, line)


def read_texts(lines: Iterable[bytes]) -> Iterator[BatchText | BadLine]:
    """The texts of JSON lines {"id", "text"} in UTF-8, empty texts too; empty lines are passed over."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _parse_text(number, line)


def run_batch(lines: Iterable[bytes], answer: Callable[[str], Results]) -> bool:
    """Print the result of every question; whether all went well."""
    return _run((line if isinstance(line, BadLine) else (line.id, line.question) for line in read_batch(lines)), answer)


def run_texts(lines: Iterable[bytes], judge: Callable[[str], Results]) -> bool:
    """Print the result of every text; whether all went well."""
    return _run((line if isinstance(line, BadLine) else (line.id, line.text) for line in read_texts(lines)), judge)


def _run(lines: Iterable[tuple[object, str] | BadLine], answer: Callable[[str], Results]) -> bool:
    went_well = True
    for line in lines:
        if isinstance(line, BadLine):
            known, result = line.id, _failure(line.error)
        else:
            known, result = line[0], _result(line[1], answer)
        went_well = went_well and "error" not in result
        print_json({"id": known, **result})
    return went_well


def _result(text: str, answer: Callable[[str], Results]) -> Results:
    try:
        return answer(text)
    except OracleError as error:
        return _failure(str(error))


def _failure(error: str) -> Results:
    return {"error": error}


def _parse(number: int, line: bytes) -> BatchQuestion | BadLine:
    row = _fields(number, line)
    if isinstance(row, BadLine):
        return row
    question = row.get("question")
    if not isinstance(question, str) or not question.strip():
        wanted = '{"id": 1, "question": "..."}'
        return BadLine(id=row.get("id"), error=f'Line {number} of stdin needs a "question" with text, like {wanted}.')
    return BatchQuestion(id=row.get("id"), question=readable(question.strip()))


def _parse_text(number: int, line: bytes) -> BatchText | BadLine:
    row = _fields(number, line)
    if isinstance(row, BadLine):
        return row
    text = row.get("text")
    if not isinstance(text, str):
        wanted = '{"id": 1, "text": "..."}'
        return BadLine(id=row.get("id"), error=f'Line {number} of stdin needs a "text", like {wanted}.')
    return BatchText(id=row.get("id"), text=readable(text))


def _fields(number: int, line: bytes) -> dict[str, object] | BadLine:
    try:
        row = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError) as error:
        return BadLine(id=None, error=f"Line {number} of stdin is not JSON: {error}.")
    return row if isinstance(row, dict) else {}
