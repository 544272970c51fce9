"""What the buttons under an answer send, which may be anything."""

from datetime import UTC, datetime
from typing import Any

import pytest

from cmo.errors import OracleError
from cmo.ui.feedback import MOST_CHARACTERS, feedback, feedback_props
from cmo.values import Feedback, Thumb

ASKED = {"m1": "q1", "m2": "q2"}
AT = datetime(2026, 1, 2, tzinfo=UTC)


def given(**payload: Any) -> Feedback:
    return feedback(ASKED, payload, user_id="guest-1", at=AT)


def test_a_thumb_is_about_the_question_behind_its_answer() -> None:
    assert given(answer="m2", thumb="down", comment=" Not so. ") == Feedback(
        question_id="q2", user_id="guest-1", thumb=Thumb.DOWN, comment="Not so.", at=AT
    )


def test_what_is_taken_back_has_no_comment() -> None:
    assert (given(answer="m1", thumb=None, comment="Still").thumb, given(answer="m1", thumb=None).comment) == (None, "")
    assert given(answer="m1", comment="Still").comment == ""


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"answer": "q1", "thumb": "up"},
        {"answer": ["m1"], "thumb": "up"},
        {"answer": None, "thumb": "up"},
        {"answer": "m1", "thumb": "sideways"},
        {"answer": "m1", "thumb": ["up"]},
        {"answer": "m1", "thumb": ""},
        {"answer": "m1", "thumb": "up", "comment": {"a": 1}},
        {"answer": "m1", "thumb": "up", "comment": "x" * (MOST_CHARACTERS + 1)},
    ],
)
def test_nothing_else_is_taken(payload: dict[str, Any]) -> None:
    with pytest.raises(OracleError):
        feedback(ASKED, payload, user_id="guest-1", at=AT)


def test_the_longest_comment_is_taken() -> None:
    assert len(given(answer="m1", thumb="up", comment="x" * MOST_CHARACTERS).comment) == MOST_CHARACTERS


def test_the_buttons_run_the_way_of_their_language() -> None:
    assert feedback_props("m1", "ar")["direction"] == "rtl"
    assert feedback_props("m1", "en")["labels"]["up"] == "Helpful"
