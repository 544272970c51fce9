"""First questions that fit the papers at hand, made from their titles. Pure.

A question is only offered when its words come from a title, so the papers have something to say about it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from cmo.phrases import Phrase
from cmo.values import Document

COUNT = 4
"""So many questions are offered at most."""

_SAMPLE_QUESTIONS = {
    "What clinical metabolomics is and what it is used for": (
        Phrase("What is clinical metabolomics?"),
        Phrase("How do targeted and untargeted studies differ?"),
    ),
    "From sample to data in clinical metabolomics": (
        Phrase("Why does lactate rise when blood stands at room temperature?"),
        Phrase("What is an internal standard?"),
    ),
    "Reading the results of a metabolomics study": (
        Phrase("Why is correction for multiple testing needed?"),
        Phrase("What is a biomarker?"),
    ),
}
"""The papers that come with the application, by title."""

_LONGEST_TOPIC = 72
"""Characters; what is longer is cut before a preposition."""

_LEAD_IN = re.compile(
    r"(?i)^(?:(?:a|an|the)\s+)?(?:(?:systematic|narrative|scoping|critical|comprehensive|comparative|targeted|brief)\s+)*"
    r"(?:review|overview|survey|study|analysis|assessment|evaluation|investigation|role|notes?|report)\s+(?:of|on)\s+(?:the\s+)?"
)
_METABOLITES_IN = re.compile(r"(?i)\b(?:metabolom\w*|metabonom\w*|lipidom\w*)\b.*?\b(?:in|of|for)\s+(?P<topic>.+)$")
_METHOD = re.compile(
    r"(?i)\s+(?:using|by means of|based on|stimulated with|determined by|measured by|in response to)\s.*$"
)
_JOINT = re.compile(r"(?i)\s+(?:after|as|at|between|by|during|for|from|in|of|on|to|under|using|with|within)\s")
_EFFECT = re.compile(r"(?i)^(?:the\s+)?(?:effects?|impact|influence)\s+of\s+(?P<cause>.+?)\s+on\s+(?P<target>.+)$")


def questions(documents: Sequence[Document]) -> tuple[str, ...]:
    """At most COUNT questions, spread over the documents; none without documents."""
    in_turn = zip_longest(*(_about(document.title) for document in documents))
    return tuple(dict.fromkeys(question for row in in_turn for question in row if question))[:COUNT]


def _about(title: str) -> Iterator[str]:
    """Questions about one document, best first."""
    line = " ".join(title.split()).rstrip(". ")
    if line in _SAMPLE_QUESTIONS:
        yield from _SAMPLE_QUESTIONS[line]
    elif _is_a_title(line):
        yield _asked(line)


def _is_a_title(line: str) -> bool:
    """Whether this is a title in words rather than the name of a file or a stray heading."""
    words = line.split()
    return len(words) >= 3 and not re.search(r"[_\\/]|\.(?:pdf|txt|md)$", line, re.IGNORECASE)


def _asked(title: str) -> str:
    if title.endswith("?"):
        return title.rsplit(": ", 1)[-1] if ": " in title else title
    topic = _METHOD.sub("", _main_part(title))
    if match := _EFFECT.match(topic):
        cause, target = _words(match["cause"]), _words(match["target"])
        return Phrase("What effect does {cause} have on {target}?", cause=cause, target=target)
    if (match := _METABOLITES_IN.search(topic)) and len(match["topic"].split()) > 1:
        return Phrase("Which metabolites matter in {topic}?", topic=_words(match["topic"]))
    return Phrase("What is known about {topic}?", topic=_words(_LEAD_IN.sub("", topic)))


def _main_part(title: str) -> str:
    """The title without its sub-title, unless that leaves next to nothing."""
    head = re.split(r":\s|\s[–—-]\s|\s\(", title, maxsplit=1)[0]
    return head if len(head.split()) >= 3 else title.replace(": ", ", ", 1)


def _words(text: str) -> str:
    """The text as it stands inside a question: short, and without the capitals of a title."""
    words = _short(text).split()
    capitals = sum(word[:1].isupper() for word in words)
    title_case = len(words) > 2 and capitals > len(words) / 2
    return " ".join(_lowered(word) if title_case or index == 0 else word for index, word in enumerate(words))


def _lowered(word: str) -> str:
    """An ordinary word in lower case; abbreviations and names with inner capitals stay."""
    return word.lower() if word[1:].islower() or word in {"A"} else word


def _short(text: str) -> str:
    if len(text) <= _LONGEST_TOPIC:
        return text
    joints = [match.start() for match in _JOINT.finditer(text) if match.start() <= _LONGEST_TOPIC]
    end = max((joint for joint in joints if joint >= _LONGEST_TOPIC // 3), default=None)
    return text[:end].rstrip(",;") if end else text[:_LONGEST_TOPIC].rsplit(" ", 1)[0].rstrip(",;")
