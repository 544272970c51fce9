"""What is printed: one JSON document a line, and text that cannot steer a terminal."""

import io
import json

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from cmo.cli.output import fail, print_json, printable, say


def test_a_json_document_is_one_line(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    print_json({"text": "two\nlines\u2028and é代"})

    out = capfdbinary.readouterr().out
    assert out.count(b"\n") == 1
    assert json.loads(out) == {"text": "two\nlines\u2028and é代"}


def test_json_is_utf8_whatever_the_terminal_is(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="ascii"))
    print_json("é代")

    assert raw.getvalue() == '"é代"\n'.encode()


def test_half_a_character_is_still_json(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    print_json({"file": "a\udcff.pdf"})

    assert json.loads(capfdbinary.readouterr().out) == {"file": "a\udcff.pdf"}


def test_a_failure_in_json_is_on_stdout_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        fail("The papers folder is not there.", as_json=True)

    assert ended.value.exit_code == 1
    assert json.loads(capsys.readouterr().out) == {"error": "The papers folder is not there."}


def test_a_failure_for_a_person_is_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        fail("The papers folder [bold] is not there.", as_json=False)

    assert capsys.readouterr() == ("", "The papers folder [bold] is not there.\n")


def test_a_long_answer_is_not_broken_into_lines_for_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    text = "Glucose rises in diabetes. " * 20
    say(text)

    assert capsys.readouterr().out == f"{text}\n"


def test_markup_and_emoji_codes_of_a_paper_stay_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    say("[red]ratio[/red] :warning: [12]")

    assert capsys.readouterr().out == "[red]ratio[/red] :warning: [12]\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2Jgone", "\ufffd[2Jgone"),
        ("bell\a back\b return\r", "bell\ufffd back\ufffd return\ufffd"),
        ("soft\u00adhyphen and \u202eturned\u202c", "softhyphen and turned"),
        ("half \udcff", "half \ufffd"),
        ("Überblick 代谢\nα", "Überblick 代谢\nα"),
    ],
)
def test_what_steers_a_terminal_is_not_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_whatever_a_paper_holds_can_be_printed(text: str) -> None:
    assert all(character.isprintable() or character == "\n" for character in printable(text))
