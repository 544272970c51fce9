"""What a person says of an answer: the buttons under it, and what they send. Pure; nothing is kept here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict

from cmo.errors import OracleError
from cmo.phrases import Phrase
from cmo.ui.labels import Labels, direction, labelled
from cmo.values import Feedback, Thumb

RATE = "rate_answer"
"""The action behind the buttons."""

MOST_CHARACTERS = 2_000
"""The longest comment, in characters."""

_LABELS = {
    "ask": Phrase("Was this answer helpful?"),
    "up": Phrase("Helpful"),
    "down": Phrase("Not helpful"),
    "comment": Phrase("Comment, if you like"),
    "send": Phrase("Send"),
    "thanks": Phrase("Thank you."),
    "takenBack": Phrase("Taken back."),
    "failed": Phrase("This could not be kept."),
}


class FeedbackProps(TypedDict):
    """What the buttons need, in JSON."""

    action: str
    answer: str
    most: int
    language: str
    direction: str
    labels: Labels


def feedback_props(message_id: str, language: str) -> FeedbackProps:
    """The buttons under the answer in a message."""
    return FeedbackProps(
        action=RATE,
        answer=message_id,
        most=MOST_CHARACTERS,
        language=language,
        direction=direction(language),
        labels=labelled(_LABELS, language),
    )


def feedback(asked: Mapping[str, str], payload: Mapping[str, Any], *, user_id: str, at: datetime) -> Feedback:
    """What a button sends, about one of this chat's answers; `asked` holds the id of the question behind each.

    Raises:
        OracleError: it is about no answer of this chat or cannot be understood; what a browser sends may be anything.
    """
    message_id, thumb, comment = payload.get("answer"), payload.get("thumb"), payload.get("comment", "")
    question_id = asked.get(message_id) if isinstance(message_id, str) else None
    if question_id is None:
        raise OracleError(Phrase("This answer is no longer there to be rated."))
    if thumb not in (None, *Thumb) or not isinstance(comment, str):
        raise OracleError(Phrase("This rating cannot be understood."))
    if len(comment) > MOST_CHARACTERS:
        raise OracleError(Phrase("A comment may have {most} characters at most.", most=MOST_CHARACTERS))
    return Feedback(
        question_id=question_id,
        user_id=user_id,
        thumb=Thumb(thumb) if thumb else None,
        comment=comment.strip() if thumb else "",
        at=at,
    )
