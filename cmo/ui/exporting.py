"""The answers of a chat as files: kept while the chat is open, written when somebody asks for one. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias, TypedDict

from cmo.errors import OracleError
from cmo.exports import FORMATS, Exchange, ExportFormat
from cmo.phrases import Phrase
from cmo.ui.labels import Labels, labelled

EXPORT = "export_answer"
"""The action behind the buttons."""

KEPT_ANSWERS = 50
"""So many of a chat's newest answers can be exported; one takes about 10 kB."""

GONE = Phrase("This answer is no longer there to be exported. Please ask the question again.")

_LABELS = {
    "export": Phrase("Export"),
    "answer": Phrase("This answer as"),
    "conversation": Phrase("This conversation as"),
    "failed": Phrase("The server does not answer: nothing was saved."),
}

Kept: TypeAlias = Mapping[str, Exchange]
"""The questions and answers of a chat by the answer's message, oldest first."""


class FormatProps(TypedDict):
    """A button, in JSON."""

    name: str
    label: str


class ExportProps(TypedDict):
    """What the buttons under an answer need, in JSON; `conversation` is set when there is more of it to export."""

    action: str
    answer: str
    formats: list[FormatProps]
    conversation: bool
    labels: Labels


class ExportedFile(TypedDict):
    """A file as the browser gets it, in JSON."""

    name: str
    media_type: str
    text: str


def with_newest(kept: Kept, message_id: str, exchange: Exchange) -> Kept:
    """What is kept after one more answer."""
    return dict([*kept.items(), (message_id, exchange)][-KEPT_ANSWERS:])


def export_props(kept: Kept, message_id: str) -> ExportProps:
    """The buttons under an answer that is kept; without sources there is nothing for reference managers."""
    answer = kept[message_id].answer
    return ExportProps(
        action=EXPORT,
        answer=message_id,
        formats=[
            FormatProps(name=name.value, label=form.label)
            for name, form in FORMATS.items()
            if answer.citations or name is ExportFormat.MARKDOWN
        ],
        conversation=len(kept) > 1,
        labels=labelled(_LABELS, answer.language),
    )


def exported(kept: Kept, payload: Mapping[str, Any]) -> ExportedFile:
    """The file that a button asks for: of one answer, or of all that are kept when it names none.

    Raises:
        OracleError: there is no such answer, or no such format; what comes from a browser may be anything.
    """
    answer, wanted = payload.get("answer"), payload.get("format")
    exchanges = [exchange for message_id, exchange in kept.items() if answer in (None, message_id)]
    form = next((form for name, form in FORMATS.items() if name == wanted), None)
    if not exchanges or form is None:
        raise OracleError(GONE)
    name = "conversation" if answer is None else "answer"
    return ExportedFile(name=f"{name}{form.suffix}", media_type=form.media_type, text=form.write(exchanges))
