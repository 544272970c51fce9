"""What `cmo detect` prints for texts on stdin, and what it loads for that."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cmo.cli.app import app


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*rows: object) -> Result:
    return CliRunner().invoke(app, ["detect"], input="".join(f"{json.dumps(row)}\n" for row in rows))


def printed(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_each_text_gets_its_language_and_a_confidence() -> None:
    result = run(
        {"id": 1, "text": "Quelle est la concentration de TMAO ?"}, {"id": "b", "text": "糖尿病患者血浆中的亮氨酸"}
    )

    first, second = printed(result)
    assert (first["id"], first["language"], second["id"], second["language"]) == (1, "fr", "b", "zh")
    assert 0.5 < float(str(first["confidence"])) <= 1
    assert list(first) == ["id", "language", "confidence"]
    assert result.exit_code == 0


def test_an_empty_text_is_a_text() -> None:
    assert printed(run({"id": 1, "text": ""})) == [{"id": 1, "language": "en", "confidence": 0.0}]


def test_a_line_without_text_is_told_in_its_place_with_exit_code_1() -> None:
    result = run({"id": 1, "question": "Why?"}, {"id": 2, "text": "Was ist klinische Metabolomik?"})

    bad, good = printed(result)
    assert bad == {"id": 1, "error": 'Line 1 of stdin needs a "text", like {"id": 1, "text": "..."}.'}
    assert good["language"] == "de"
    assert result.exit_code == 1


def test_nothing_but_the_detector_is_loaded() -> None:
    code = "import sys, cmo.cli.detect; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    loaded = set(done.stdout.split())
    assert "py3langid" in loaded
    assert loaded.isdisjoint({"sqlalchemy", "lightrag", "chainlit", "onnxruntime", "pypdfium2"})


def test_wrong_settings_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "loud")

    assert run({"id": 1, "text": "What is it?"}).exit_code == 0
