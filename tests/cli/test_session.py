"""How a command ends: errors as sentences, Ctrl-C without a traceback."""

import asyncio
from pathlib import Path

import pytest
import typer

from cmo.cli.options import one_question, readable, settings_for
from cmo.cli.output import INTERRUPTED, errors_as_sentences
from cmo.errors import LibraryError, SettingsError


def test_an_error_of_ours_is_its_sentence_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, errors_as_sentences(as_json=False):
        raise LibraryError("The papers folder is not there.")

    assert ended.value.exit_code == 1
    assert capsys.readouterr().err == "The papers folder is not there.\n"


@pytest.mark.parametrize("stop", [KeyboardInterrupt, asyncio.CancelledError])
def test_ctrl_c_ends_quietly(stop: type[BaseException], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, errors_as_sentences(as_json=True):
        raise stop

    assert ended.value.exit_code == INTERRUPTED
    assert capsys.readouterr() == ("", "")


def test_a_bug_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), errors_as_sentences(as_json=True):
        raise ZeroDivisionError


def test_a_question_is_given_or_a_batch() -> None:
    assert one_question(" What? ", batch=False) == "What?"
    assert one_question(None, batch=True) is None
    with pytest.raises(typer.BadParameter):
        one_question(None, batch=False)


def test_bytes_that_are_no_text_become_question_marks() -> None:
    assert readable("gluc\udcffose α") == "gluc?ose α"


def test_the_folders_of_the_command_win_over_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMO_PAPERS_DIR", "/elsewhere")
    monkeypatch.setenv("CMO_STORAGE_DIR", "/index")
    monkeypatch.chdir(tmp_path)
    settings = settings_for(papers=Path("here"), storage=None)

    assert (settings.papers_dir, settings.storage_dir) == (Path.cwd() / "here", Path("/index"))


def test_a_log_file_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_FILE", "/dev/null/cmo.log")

    with pytest.raises(SettingsError, match="LOG_FILE"):
        settings_for(papers=None, storage=None)
