"""Questions as JSON lines: one line in, one line out, whatever the line is."""

import json

import pytest

from cmo.cli.batch import BadLine, BatchQuestion, BatchText, read_batch, read_texts, run_batch, run_texts
from cmo.errors import EngineUnavailable


def line(fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def printed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(text) for text in capsys.readouterr().out.split("\n") if text]


def answer(question: str) -> dict[str, object]:
    if question == "fail":
        raise EngineUnavailable("nothing works")
    return {"answer": question.upper()}


@pytest.mark.parametrize("identifier", [1, "q1", None, [1, {"a": 2}], 1.5])
def test_an_id_is_given_back_as_it_is(identifier: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_batch([line({"id": identifier, "question": "why?"})], answer)

    assert printed(capsys) == [{"id": identifier, "answer": "WHY?"}]


def test_results_come_in_the_order_of_the_questions(capsys: pytest.CaptureFixture[str]) -> None:
    run_batch([line({"id": number, "question": f"q{number}"}) for number in range(5)], answer)

    assert [row["id"] for row in printed(capsys)] == [0, 1, 2, 3, 4]


def test_empty_lines_are_passed_over() -> None:
    assert list(read_batch([b"\n", b"  \r\n", line({"id": 1, "question": "why?"})])) == [
        BatchQuestion(id=1, question="why?")
    ]


@pytest.mark.parametrize(
    "bad",
    [b"not json\n", b"[1, 2]\n", b"3\n", b"\xff\xfe\n", line({}), line({"question": " "}), line({"question": 5})],
)
def test_a_bad_line_is_told_with_its_number_and_stops_nothing(bad: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    good = line({"id": 2, "question": "why?"})

    assert not run_batch([good, bad, good], answer)

    first, second, third = printed(capsys)
    assert first == third == {"id": 2, "answer": "WHY?"}
    assert second["id"] is None
    assert "Line 2 of stdin" in str(second["error"])


def test_a_bad_line_keeps_its_id() -> None:
    [bad] = read_batch([line({"id": "q7", "query": "why?"})])

    assert isinstance(bad, BadLine)
    assert bad.id == "q7"


def test_a_question_that_fails_is_told_and_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [line({"id": 1, "question": "fail"}), line({"id": 2, "question": "why?"})]

    assert not run_batch(rows, answer)

    assert printed(capsys) == [{"id": 1, "error": "nothing works"}, {"id": 2, "answer": "WHY?"}]


def test_deeply_nested_json_is_a_bad_line() -> None:
    [bad] = read_batch([b"[" * 100_000])

    assert isinstance(bad, BadLine)


def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    assert list(read_batch([b"\xef\xbb\xbf" + line({"id": 1, "question": "why?"})])) == [
        BatchQuestion(id=1, question="why?")
    ]


def test_half_a_character_in_a_question_is_made_storable() -> None:
    [row] = read_batch([b'{"id": 1, "question": "gluc\\ud800ose"}'])

    assert isinstance(row, BatchQuestion)
    assert row.question == "gluc?ose"


def test_lines_are_answered_as_they_come(capsys: pytest.CaptureFixture[str]) -> None:
    def lines() -> object:
        yield line({"id": 1, "question": "why?"})
        assert printed(capsys) == [{"id": 1, "answer": "WHY?"}]
        yield line({"id": 2, "question": "how?"})

    assert run_batch(lines(), answer)  # type: ignore[arg-type]


def test_a_text_keeps_every_character_where_it_was() -> None:
    assert list(read_texts([line({"id": 1, "text": "  a \ud800 b\n"}), b"\n", line({"id": 2, "text": ""})])) == [
        BatchText(id=1, text="  a ? b\n"),
        BatchText(id=2, text=""),
    ]


@pytest.mark.parametrize("bad", [b"not json\n", b"[1]\n", line({"id": 7, "question": "why?"}), line({"text": 5})])
def test_a_line_without_text_is_told_and_stops_nothing(bad: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    good = line({"id": 2, "text": "because"})

    assert not run_texts([bad, good], answer)

    first, second = printed(capsys)
    assert "Line 1 of stdin" in str(first["error"])
    assert second == {"id": 2, "answer": "BECAUSE"}
