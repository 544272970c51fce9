import json
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner, Result

from cmo.cli.app import app


def run(storage: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["emergency", *arguments, "--storage", str(storage)])


def test_a_stop_is_told_and_lifted(tmp_path: Path) -> None:
    assert run(tmp_path, "stop", "--engine", "lightrag", "--reason", "wrong answers", "--author", "ann").exit_code == 0
    told = run(tmp_path, "status").stdout
    assert "by ann: lightrag. Why: wrong answers" in told

    assert "In service again: lightrag." in run(tmp_path, "lift", "--reason", "mended").stdout
    assert run(tmp_path, "status").stdout == "Nothing is stopped.\n"


def test_without_an_engine_all_are_stopped(tmp_path: Path) -> None:
    result = run(tmp_path, "stop", "--reason", "leak", "--json")

    assert json.loads(result.stdout)["engines"] == ["lightrag", "perplexity"]


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    assert (
        "stopped would be: lightrag."
        in run(tmp_path, "stop", "--engine", "lightrag", "--reason", "to see", "--dry-run").stdout
    )
    assert list(tmp_path.iterdir()) == []
    run(tmp_path, "stop", "--reason", "leak")
    assert "in service again would be" in run(tmp_path, "lift", "--reason", "to see", "--dry-run").stdout
    assert json.loads(run(tmp_path, "status", "--json").stdout)["engines"] == ["lightrag", "perplexity"]


def test_a_reason_is_asked_for(tmp_path: Path) -> None:
    assert run(tmp_path, "stop").exit_code == 2
    assert run(tmp_path, "lift").exit_code == 2


def test_a_file_that_cannot_be_understood_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "EMERGENCY_STOP").write_text("?")

    assert "cannot be understood, so everything is stopped" in run(tmp_path, "status").stdout


def test_nothing_heavy_is_loaded_for_it() -> None:
    heavy = ("lightrag", "chainlit", "onnxruntime", "openai", "sqlalchemy")
    code = f"import sys; import cmo.cli.emergency; print([name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert loaded.strip() == "[]"


def test_a_blank_reason_is_none(tmp_path: Path) -> None:
    result = run(tmp_path, "stop", "--reason", "  ")

    assert result.exit_code == 2
    assert "Say why" in result.output
    assert not (tmp_path / "EMERGENCY_STOP").exists()
