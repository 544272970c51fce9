"""What is shown about an answer's quality: its badge, the marks behind its sentences, and the evidence. Pure.

Every word is made here and said in the language of the question. This module refuses to know how quality is found, and
how text becomes Markdown (render.py).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from types import MappingProxyType
from typing import NamedTuple, TypedDict

from cmo.citations import ANY_MARKER
from cmo.phrases import Phrase
from cmo.quality.assessment import ACCURACY_SHARE, CONSISTENCY_SHARE, RELEVANCE_SHARE
from cmo.translation.phrases import in_language
from cmo.ui.labels import PASSAGE, Labels, direction, labelled
from cmo.values import Answer, Badge, Quality, SentenceSupport, Verdict

CAUTION = Phrase("For research, not for diagnosis or treatment.")

BADGES = MappingProxyType(
    {
        Badge.EXCELLENT: Phrase("Excellent"),
        Badge.GOOD: Phrase("Good"),
        Badge.ACCEPTABLE: Phrase("Acceptable"),
        Badge.LOW: Phrase("Low quality"),
    }
)

VERDICTS = MappingProxyType(
    {
        Verdict.SUPPORTED: Phrase("supported"),
        Verdict.RELATED: Phrase("related"),
        Verdict.NOT_FOUND: Phrase("not found"),
        Verdict.CONTRADICTED: Phrase("contradicted"),
        Verdict.UNCHECKED: Phrase("cannot be checked"),
    }
)

_COUNTED = MappingProxyType(
    {
        Verdict.SUPPORTED: Phrase("Supported"),
        Verdict.RELATED: Phrase("Related"),
        Verdict.NOT_FOUND: Phrase("Not found"),
        Verdict.CONTRADICTED: Phrase("Contradicted"),
        Verdict.UNCHECKED: Phrase("Cannot be checked"),
    }
)


class Marking(NamedTuple):
    """What stands behind a sentence without support: its words, and why."""

    words: Phrase
    reason: Phrase


MARKINGS = MappingProxyType(
    {
        Verdict.CONTRADICTED: Marking(
            Phrase("contradicted by the page"), Phrase("The cited page seems to say the opposite.")
        ),
        Verdict.NOT_FOUND: Marking(
            Phrase("not found on the page"), Phrase("Nothing that says this was found on the cited pages.")
        ),
        Verdict.RELATED: Marking(
            Phrase("only related"), Phrase("The cited page speaks of this, but does not clearly say it.")
        ),
        Verdict.UNCHECKED: Marking(
            Phrase("cannot be checked"), Phrase("Nothing of what it cites can be read here. Please open the source.")
        ),
    }
)

_LABELS = {
    **PASSAGE,
    "title": Phrase("Evidence"),
    "show": Phrase("Show the evidence"),
    "sentences": Phrase("Each sentence held against its pages"),
    "why": Phrase("Why this score?"),
    "page": Phrase("Show on the page"),
    "hide": Phrase("Close the evidence"),
    "cites": Phrase("It cites:"),
    "quote": Phrase("Nearest words of the source:"),
    "checkedAs": Phrase("Checked in English as:"),
}


class Mark(NamedTuple):
    """A small link right behind a sentence: where in the answer's text, to what, its words and its title."""

    at: int
    target: str
    words: str
    title: str


class SentenceProps(TypedDict):
    """A sentence in the evidence, in JSON. `source` is the number of the source quoted, 0 without one."""

    text: str
    english: str
    verdict: str
    word: str
    support: str
    judged: str
    source: int
    cited: list[int]
    quote: str


class EvidenceProps(TypedDict):
    """What the badge and the panel behind it show, in JSON. `level` is "" for an answer that was not assessed."""

    level: str
    words: str
    reason: str
    summary: str
    sentences: list[SentenceProps]
    why: list[str]
    language: str
    direction: str
    labels: Labels


def marks(answer: Answer) -> list[Mark]:
    """The links behind an answer's sentences that are not supported, in no order."""
    sentences = answer.quality.sentences if answer.quality else ()
    return [_mark(place, each, answer) for place, each in enumerate(sentences) if _is_marked(each, answer)]


def evidence(answer: Answer) -> EvidenceProps | None:
    """The badge and the evidence behind it; None for an answer about which there is nothing to say."""
    if answer.quality is None:
        return _not_assessed(answer) if answer.not_assessed else None
    quality, language = answer.quality, answer.language
    return EvidenceProps(
        level=quality.badge.name.lower(),
        words=f"{in_language(BADGES[quality.badge], language)} {_composite(quality)}",
        reason="",
        summary=in_language(_counted(Verdict.SUPPORTED, quality), language),
        sentences=[_sentence(each, answer) for each in quality.sentences],
        why=[in_language(line, language) for line in explanation(quality)],
        language=language,
        direction=direction(language),
        labels=labelled(_LABELS, language),
    )


def explanation(quality: Quality) -> Iterator[str]:
    """Why a score is what it is, line by line."""
    yield Phrase(
        "Relevance {score} (weight {weight}): how well the answer fits the question.",
        score=f"{quality.relevance:.2f}",
        weight=RELEVANCE_SHARE,
    )
    yield Phrase(
        "Accuracy {score} (weight {weight}): how far the cited pages bear out its sentences, on average.",
        score=f"{quality.accuracy:.2f}",
        weight=ACCURACY_SHARE,
    )
    yield Phrase(
        "Consistency {score} (weight {weight}): how free it is of sentences that disagree with their pages or with "
        "each other.",
        score=f"{quality.consistency:.2f}",
        weight=CONSISTENCY_SHARE,
    )
    for custom in quality.custom:
        yield Phrase(
            "{name} {score} (weight {weight} beside the three above): an assessor that was added here.",
            name=custom.name,
            score=f"{custom.score:.2f}",
            weight=custom.weight,
        )
    yield Phrase(
        "Together {score}. From 0.90 an answer is called Excellent, from 0.80 Good, from 0.70 Acceptable.",
        score=_composite(quality),
    )
    found = {each.verdict for each in quality.sentences}
    yield from (_counted(verdict, quality) for verdict in Verdict if verdict in found)
    yield Phrase(
        "Support is how probable it is that a page says what a sentence says, were half of all sentences supported. "
        "It was fitted to labelled sentences and their sources."
    )
    yield from quality.notes
    yield Phrase(
        "What such scores cannot see: a sentence that contradicts its page in other words may pass, and a true one "
        "that the page puts quite differently may not be found. Please look at the pages."
    )
    yield CAUTION


def support(share: float) -> Phrase:
    """How probable it is that a source says what a sentence says, 0 to 1, as people read it."""
    return Phrase("support {percent} %", percent=round(100 * share))


def _not_assessed(answer: Answer) -> EvidenceProps:
    return EvidenceProps(
        level="",
        words=in_language(Phrase("Not assessed"), answer.language),
        reason=in_language(answer.not_assessed, answer.language),
        summary="",
        sentences=[],
        why=[],
        language=answer.language,
        direction=direction(answer.language),
        labels={},
    )


def _composite(quality: Quality) -> str:
    """Two digits, rounded down: what is short of a badge's floor must not look as if it had reached it."""
    return f"{math.floor(100 * quality.composite + 1e-9) / 100:.2f}"


def _is_marked(sentence: SentenceSupport, answer: Answer) -> bool:
    return sentence.verdict in MARKINGS and 0 <= sentence.start < sentence.end <= len(answer.text)


def _mark(place: int, sentence: SentenceSupport, answer: Answer) -> Mark:
    marking = MARKINGS[sentence.verdict]
    return Mark(
        at=sentence.end,
        target=f"#cmo-{sentence.verdict.value}-{place}",
        words=in_language(marking.words, answer.language),
        title=in_language(marking.reason, answer.language),
    )


def _sentence(sentence: SentenceSupport, answer: Answer) -> SentenceProps:
    known = {citation.number for citation in answer.citations}
    shown = _bare(answer.text[sentence.start : sentence.end], written=answer.written) or sentence.text
    language = answer.language
    return SentenceProps(
        text=shown,
        english=sentence.text if answer.original and shown != sentence.text else "",
        verdict=sentence.verdict.value,
        word=in_language(VERDICTS[sentence.verdict], language),
        support="" if sentence.verdict is Verdict.UNCHECKED else in_language(support(sentence.score), language),
        judged=in_language(Phrase("judged by the model"), language) if sentence.judged else "",
        source=sentence.source if sentence.source in known else 0,
        cited=[number for number in sentence.cited if number in known],
        quote=sentence.quote,
    )


def _counted(verdict: Verdict, quality: Quality) -> Phrase:
    count = sum(each.verdict is verdict for each in quality.sentences)
    return Phrase("{verdict}: {count} of {total}", verdict=_COUNTED[verdict], count=count, total=len(quality.sentences))


_MARKERS = re.compile(rf"\s*{ANY_MARKER.pattern}")
_DRESSING = re.compile(r"^(?:[-*•>]+|\d{1,2}[.)])\s+|(?<!\w)\*{1,3}(?=\S)|(?<=\S)\*{1,3}(?!\w)")
"""Marks of lists and of emphasis, as a model writes them."""


def _bare(text: str, *, written: bool) -> str:
    """A sentence as it is read: without markers, and where a model wrote it, without its Markdown."""
    bare = _MARKERS.sub("", text)
    return " ".join((_DRESSING.sub("", bare) if written else bare).split())
