import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cmo.cli.app import app
from cmo.cli.assess import AnsweredLine, parse
from cmo.cli.batch import BadLine

SOURCE = "Lactate rose by 12% in 88 septic patients. Glycine fell in fasting mice."
GOOD = {"id": "a", "query": "Did lactate rise in sepsis?", "response": SOURCE, "source": SOURCE}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def assessed(rows: list[object], cache: Path) -> tuple[int, list[dict[str, object]]]:
    lines = "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    result = CliRunner().invoke(app, ["assess"], input=lines, env={"CMO_CACHE_DIR": str(cache)})
    return result.exit_code, [json.loads(line) for line in io.StringIO(result.stdout)]


def test_an_answer_is_scored_as_a_whole_and_by_sentence(cache: Path) -> None:
    code, [row] = assessed([GOOD], cache)

    assert code == 0
    assert list(row) == ["id", "relevance", "accuracy", "consistency", "composite", "sentences"]
    assert row["sentences"] == [
        {"text": text, "verdict": "supported", "score": 0.98, "quote": text}
        for text in ("Lactate rose by 12% in 88 septic patients.", "Glycine fell in fasting mice.")
    ]
    assert isinstance(row["relevance"], float)
    assert row["relevance"] > 0.5


def test_a_changed_number_and_a_foreign_answer_cost_points(cache: Path) -> None:
    wrong = GOOD | {"id": "b", "response": "Lactate rose by 12% in 188 septic patients."}
    foreign = GOOD | {"id": "c", "response": "Orchids bloom every second spring."}

    _, [good, changed, other] = assessed([GOOD, wrong, foreign], cache)

    assert [row["id"] for row in (good, changed, other)] == ["a", "b", "c"]
    assert changed["consistency"] == 0
    assert other["sentences"][0]["verdict"] == "not_found"  # type: ignore[index]
    assert good["composite"] > changed["composite"]  # type: ignore[operator]
    assert good["relevance"] > other["relevance"]  # type: ignore[operator]


def test_a_bad_line_is_told_and_stops_nothing(cache: Path) -> None:
    code, rows = assessed(["not json", {"id": 3, "query": "x"}, GOOD], cache)

    assert code == 1
    assert [row["id"] for row in rows] == [None, 3, "a"]
    assert ["error" in row for row in rows] == [True, True, False]


@pytest.mark.parametrize("source", ["One.", ["One."], []])
def test_a_source_is_a_text_or_a_list_of_texts(source: object) -> None:
    parsed = parse(1, json.dumps(GOOD | {"source": source}).encode())

    assert isinstance(parsed, AnsweredLine)
    assert parsed.sources == (("One.",) if source else ())


@pytest.mark.parametrize("line", [b"[1]", b"\xff", b'{"id":1,"query":"q","response":"r","source":[1]}', b"[" * 10_000])
def test_what_is_no_answer_is_a_bad_line(line: bytes) -> None:
    assert isinstance(parse(7, line), BadLine)
