"""`cmo assess`: how good answers are, for measuring the scores on data of one's own."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

import typer

from cmo.cli.batch import BadLine
from cmo.cli.options import readable, settings_for
from cmo.cli.output import errors_as_sentences, print_json
from cmo.errors import OracleError
from cmo.models.minilm import MiniLM
from cmo.quality.assessment import Assessor
from cmo.values import Quality

_WANTED = '{"id": 1, "query": "...", "response": "...", "source": "..."}'


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredLine:
    """One line of stdin. `id` is given back with its result, whatever it is."""

    id: object
    query: str
    response: str
    sources: tuple[str, ...]


def assess() -> None:
    """Score answers against their sources, sentence by sentence.

    Reads JSON lines {"id", "query", "response", "source"} on stdin and prints a JSON line for each, in order. "source"
    is a text, or a list of texts to which markers [1], [2] ... in the response point. Needs no index, no key and no
    network. Exit code 1 when a line could not be assessed.
    """
    went_well = True
    with errors_as_sentences(as_json=True):
        settings = settings_for(papers=None, storage=None)
        with closing(MiniLM(settings.cache_dir)) as embedder, asyncio.Runner() as runner:
            assessor = Assessor(embedder)
            for number, line in enumerate(sys.stdin.buffer, start=1):
                if line.strip():
                    parsed = parse(number, line)
                    result = _result(runner, assessor, parsed)
                    print_json({"id": parsed.id, **result})
                    went_well = went_well and "error" not in result
    if not went_well:
        raise typer.Exit(1)


def parse(number: int, line: bytes) -> AnsweredLine | BadLine:
    """One line of stdin, `number` counting from 1."""
    try:
        row = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError) as error:
        return BadLine(id=None, error=f"Line {number} of stdin is not JSON: {error}.")
    fields = row if isinstance(row, dict) else {}
    query, response, sources = fields.get("query"), fields.get("response"), _sources(fields.get("source"))
    if not isinstance(query, str) or not isinstance(response, str) or sources is None:
        return BadLine(id=fields.get("id"), error=f"Line {number} of stdin needs the fields of {_WANTED}.")
    return AnsweredLine(
        id=fields.get("id"),
        query=readable(query),
        response=readable(response),
        sources=tuple(readable(source) for source in sources),
    )


def quality_as_json(quality: Quality) -> dict[str, object]:
    """The scores as `cmo assess` prints them."""
    return {
        "relevance": round(quality.relevance, 4),
        "accuracy": round(quality.accuracy, 4),
        "consistency": round(quality.consistency, 4),
        "composite": round(quality.composite, 4),
        "sentences": [
            {"text": each.text, "verdict": each.verdict.value, "score": round(each.score, 4), "quote": each.quote}
            for each in quality.sentences
        ],
    }


def _sources(given: object) -> list[str] | None:
    """The texts of a "source", None when it is neither a text nor a list of texts."""
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return None
    return texts


def _result(runner: asyncio.Runner, assessor: Assessor, line: AnsweredLine | BadLine) -> Mapping[str, object]:
    if isinstance(line, BadLine):
        return {"error": line.error}
    try:
        return quality_as_json(runner.run(assessor.assess(line.query, line.response, line.sources)))
    except OracleError as error:
        return {"error": str(error)}
