"""What `cmo export` lists, writes and forgets."""

import asyncio
import dataclasses
import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cmo.cli.app import app
from cmo.storage.database import Database, migrate
from cmo.storage.ledger import SqlLedger
from cmo.values import Answer, Citation, Question

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PAPER = Citation(
    number=1,
    document="a.pdf",
    title="Paper A",
    page=3,
    quote="Glucose rose.",
    url="/papers/doc-1.pdf#page=3",
    doc_id="doc-1",
    authors=("Ada Núñez",),
    year=2019,
)
ANSWER = Answer(
    text="Glucose rises [1].",
    answered=True,
    language="en",
    engine="lightrag",
    model="m",
    reason="rollout",
    citations=(PAPER,),
    cost_usd=0.01,
    seconds=0.5,
    written=True,
)


async def _record(storage: Path, *questions: Question) -> None:
    url = f"sqlite+aiosqlite:///{storage / 'cmo.sqlite3'}"
    await migrate(url)
    database = Database(url)
    for question in questions:
        ledger = SqlLedger(database, keep_texts=timedelta(days=90))
        await ledger.record(question, ANSWER, outcome="answered", seconds=1.0)
    await database.close()


def question(text: str, thread_id: str, minute: int = 0, user_id: str = "ann", question_id: str = "") -> Question:
    asked = Question(text=text, user_id=user_id, thread_id=thread_id, asked_at=NOON + timedelta(minutes=minute))
    return dataclasses.replace(asked, id=question_id or asked.id)


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which nobody has asked anything."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with three conversations, which is copied for each test."""
    folder = tmp_path_factory.mktemp("recorded")
    asyncio.run(
        _record(
            folder,
            question("What is glucose?", "chat-aa", question_id="q1"),
            question("Is it a sugar?", "chat-aa", minute=2, question_id="q2"),
            question("What is [/] alanine?\x1b", "chat-ab", minute=1, user_id="[/]", question_id="q3"),
            question("What is TMAO?", "chat", question_id="q4"),
        )
    )
    return folder / "cmo.sqlite3"


@pytest.fixture
def storage(recorded: Path, empty: Path) -> Path:
    """A folder with three conversations."""
    shutil.copy(recorded, empty)
    return empty


def run(storage: Path, *arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(
        app, ["export", "--storage", str(storage), *arguments], input=stdin, env={"COLUMNS": "120"}
    )


def words(text: str) -> str:
    return " ".join(text.split())


def test_conversations_are_listed_the_newest_first(storage: Path) -> None:
    result = run(storage, "--list")

    assert result.exit_code == 0
    assert [words(line) for line in result.stdout.splitlines()] == [
        "thread last person answers first question",
        "chat-aa 2026-03-01 12:02 ann 2 What is glucose?",
        "chat-ab 2026-03-01 12:01 [/] 1 What is [/] alanine?\N{REPLACEMENT CHARACTER}",
        "chat 2026-03-01 12:00 ann 1 What is TMAO?",
    ]


def test_programs_get_the_list_as_json_and_no_more_than_asked_for(storage: Path) -> None:
    result = run(storage, "--list", "--limit", "1", "--json")

    assert json.loads(result.stdout) == [
        {
            "thread_id": "chat-aa",
            "user_id": "ann",
            "beginning": "What is glucose?",
            "answers": 2,
            "begun": "2026-03-01T12:00:00+00:00",
            "ended": "2026-03-01T12:02:00+00:00",
        }
    ]


@pytest.mark.parametrize(
    ("arguments", "begins"),
    [
        ([], "# What is glucose?\n"),
        (["--format", "bibtex"], "@misc{nunez2019paper,\n"),
        (["--format", "ris"], "TY  - GEN\r\n"),
        (["--format", "csl-json"], "[\n"),
    ],
)
def test_a_conversation_is_written_to_stdout_in_any_format(storage: Path, arguments: list[str], begins: str) -> None:
    result = run(storage, "chat-aa", *arguments)

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout_bytes.startswith(begins.encode())


def test_a_conversation_is_exported_whole_and_in_order(storage: Path) -> None:
    text = run(storage, "chat-aa").stdout

    assert [line for line in text.splitlines() if line.startswith("# ")] == ["# What is glucose?", "# Is it a sugar?"]
    assert "“Glucose rose.”" in text


def test_the_conversation_that_went_on_last_needs_no_name(storage: Path) -> None:
    assert run(storage, "--last").stdout == run(storage, "chat-aa").stdout


def test_one_answer_is_exported_by_its_questions_id(storage: Path) -> None:
    text = run(storage, "--answer", "q2").stdout

    assert [line for line in text.splitlines() if line.startswith("# ")] == ["# Is it a sugar?"]


def test_the_format_is_what_the_file_is_named_for(storage: Path) -> None:
    result = run(storage, "chat-aa", "--output", str(storage / "a.RIS"))

    assert (result.exit_code, result.stdout) == (0, "")
    assert (storage / "a.RIS").read_bytes().startswith(b"TY  - GEN\r\n")


def test_the_beginning_of_an_id_is_enough_when_only_one_begins_so(storage: Path) -> None:
    assert run(storage, "chat-ab").stdout.startswith("# What is \\[/\\] alanine?")
    assert run(storage, "chat").stdout.startswith("# What is TMAO?")


@pytest.mark.parametrize("option", [[], ["--forget"]])
def test_of_several_that_begin_so_none_is_taken(storage: Path, option: list[str]) -> None:
    result = run(storage, *option, "chat-")

    assert result.exit_code == 1
    assert 'Several conversations begin with "chat-": chat-aa, chat-ab.' in words(result.stderr)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["chat-x"], 'There is no conversation "chat-x". `cmo export --list` shows'),
        (["--answer", "q9"], 'There is no answer "q9". `cmo export --list` shows'),
        (["--forget", "%"], 'There is no conversation "%".'),
    ],
)
def test_what_is_not_there_is_said_to_be_so(storage: Path, arguments: list[str], told: str) -> None:
    result = run(storage, *arguments)

    assert result.exit_code == 1
    assert told in words(result.stderr)


def test_without_any_conversation_that_is_said_and_no_database_is_made(empty: Path) -> None:
    listed, newest = run(empty, "--list"), run(empty, "--last")

    assert (listed.exit_code, listed.stdout) == (0, "No conversation is kept yet.\n")
    assert (newest.exit_code, newest.stderr) == (1, "No conversation is kept yet.\n")
    assert json.loads(run(empty, "--list", "--json").stdout) == []
    assert list(empty.iterdir()) == []


def test_when_conversations_are_not_kept_that_is_said(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMO_KEEP_CONVERSATIONS", "false")

    for arguments in (["--list"], ["--last"], ["chat"], ["--answer", "q1"]):
        result = run(empty, *arguments)
        assert "CMO_KEEP_CONVERSATIONS is off." in words(result.output)


def test_what_was_kept_before_is_still_exported(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMO_KEEP_CONVERSATIONS", "false")

    assert run(storage, "--last").stdout.startswith("# What is glucose?")


def test_a_file_that_cannot_be_written_is_told(storage: Path) -> None:
    result = run(storage, "--last", "--output", str(storage / "missing" / "a.md"))

    assert result.exit_code == 1
    assert "could not be written: No such file or directory." in words(result.stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["chat-aa", "--last"],
        ["--list", "--last"],
        ["--forget", "chat-aa", "--list"],
        ["--last", "--output", "a.docx"],
        ["--last", "--json"],
        ["--list", "--limit", "0"],
    ],
    ids=" ".join,
)
def test_what_does_not_go_together_is_wrong_usage(storage: Path, arguments: list[str]) -> None:
    assert run(storage, *arguments).exit_code == 2


def test_a_conversation_is_forgotten_after_a_yes(storage: Path) -> None:
    result = run(storage, "--forget", "chat-aa", stdin="y\n")

    assert result.exit_code == 0
    assert "Answers: 2 of ann, “What is glucose?”" in words(result.stderr)
    assert "Deleted. Answers: 2." in words(result.stdout)
    assert run(storage, "chat-aa").exit_code == 1
    assert run(storage, "chat-ab").exit_code == 0


@pytest.mark.parametrize("stdin", ["n\n", ""])
def test_without_a_yes_nothing_is_deleted(storage: Path, stdin: str) -> None:
    assert run(storage, "--forget", "chat-aa", stdin=stdin).exit_code == 1
    assert run(storage, "chat-aa").exit_code == 0


def test_programs_forget_without_being_asked(storage: Path) -> None:
    result = run(storage, "--forget", "chat-aa", "--yes", "--json")

    assert json.loads(result.stdout) == {"thread_id": "chat-aa", "forgotten": 2}


def test_an_answer_of_a_later_version_is_told_in_a_sentence(storage: Path) -> None:
    with closing(sqlite3.connect(storage / "cmo.sqlite3")) as connection:
        connection.execute("UPDATE exchanges SET format = 99")
        connection.commit()

    result = run(storage, "--last")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "format 99" in words(result.stderr)
