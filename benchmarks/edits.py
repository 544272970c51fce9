"""Sentences of papers with one thing changed, to see whether the change is noticed. The same seed, the same edits.

Every edit gives a sentence that says something else than its source, or None when there is nothing to change in it.
Trimmed and reworded sentences say the same, or less. The words that are swapped and reworded here were chosen by the
author of cmo.quality.guards, who tuned it on the papers' sentences: other people's edits may use words it lacks.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cmo.errors import UnreadableDocument
from cmo.library.passages import split_passages
from cmo.library.pdf import read_pdf
from cmo.sentences import is_complete, split_sentences
from cmo.values import PassageKind

Edit = Callable[[str, random.Random], str | None]

_WORDS = (10, 45)
"""Fewest and most words of a sentence that is edited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A sentence as it stands in a passage."""

    text: str
    source: str


def sentences_of_papers(folder: Path) -> list[Found]:
    """The whole sentences of the body passages of a folder's papers."""
    found: list[Found] = []
    for path in sorted(folder.glob("*.pdf")):
        try:
            pages = read_pdf(path)
        except UnreadableDocument:
            continue
        for passage in split_passages(path.stem, pages):
            if passage.kind is PassageKind.BODY:
                found += sentences_of(passage.text)
    return found


def sentences_of(source: str) -> list[Found]:
    """The whole sentences of a text, neither very short nor very long."""
    spans = [source[start:end] for start, end in split_sentences(source)]
    return [
        Found(text=text, source=source)
        for text in spans
        if is_complete(text) and _WORDS[0] <= len(text.split()) <= _WORDS[1]
    ]


_NUMBER = re.compile(r"(?<![\w.,\[/-])(?<!\d )\d+(?:\.\d+)?(?![\w\]/]|[.,]\d|-\w)")
_NO_QUANTITY = re.compile(r"(?:fig\.?|figs\.?|figure|table|ref\.?|section|no\.?|\()\s*$", re.IGNORECASE)


def number_changed(text: str, chance: random.Random) -> str | None:
    """One number made another one."""
    places = [match for match in _NUMBER.finditer(text) if not _NO_QUANTITY.search(text[: match.start()])]
    if not places:
        return None
    match = chance.choice(places)
    old = match.group()
    decimals = len(old.partition(".")[2])
    factor = chance.choice((0.5, 0.8, 1.25, 1.5, 2, 3))
    new = f"{float(old) * factor:.{decimals}f}"
    if float(new) == float(old):
        new = f"{float(old) + 10.0**-decimals:.{decimals}f}"
    return text[: match.start()] + new + text[match.end() :]


_DENIAL = re.compile(r"\b(?:not (?!only)|without\b|no (?=[a-z]))")
_AFFIRMATION = re.compile(r"\b(?:was|were|is|are|has|have|had|can|could|may|might|will|would|should|did)\b(?! not\b)")


def negation_flipped(text: str, chance: random.Random) -> str | None:
    """A denial taken away, or one put in."""
    if denials := list(_DENIAL.finditer(text)):
        match = chance.choice(denials)
        return text[: match.start()] + ("with" if match.group() == "without" else "") + text[match.end() :]
    if verbs := list(_AFFIRMATION.finditer(text)):
        match = chance.choice(verbs)
        return f"{text[: match.end()]} not{text[match.end() :]}"
    return None


_OPPOSITES = [
    tuple(pair.split("/"))
    for pair in (
        "increase/decrease increases/decreases increased/decreased increasing/decreasing higher/lower highest/lowest "
        "high/low elevated/reduced greater/smaller larger/smaller more/less upregulated/downregulated "
        "up-regulated/down-regulated improved/worsened improves/worsens enhanced/impaired rise/fall rose/fell "
        "gain/loss positive/negative positively/negatively longer/shorter above/below faster/slower stronger/weaker "
        "activated/inhibited activation/inhibition"
    ).split()
]
_OPPOSITE = {one: other for pair in _OPPOSITES for one, other in (pair, pair[::-1])}
_DIRECTION = re.compile(rf"\b(?:{'|'.join(sorted(_OPPOSITE, key=len, reverse=True))})\b")


def direction_swapped(text: str, chance: random.Random) -> str | None:
    """More made less, or less made more, in one place."""
    places = list(_DIRECTION.finditer(text))
    if not places:
        return None
    match = chance.choice(places)
    return text[: match.start()] + _OPPOSITE[match.group()] + text[match.end() :]


def trimmed(text: str, chance: random.Random) -> str | None:
    """The sentence without what stands in brackets, or before its first or behind its last comma."""
    ways = [re.sub(r"\s*\([^()]*\)", "", text)]
    first, last = text.find(", "), text.rfind(", ")
    if first > 0:
        rest = text[first + 2 :]
        ways += [rest[0].upper() + rest[1:], text[:last] + "."]
    ways = [each for each in ways if each != text and len(each.split()) >= _WORDS[0] // 2]
    return chance.choice(ways) if ways else None


_REWORDINGS = (
    (r"\bshowed that\b", "demonstrated that"),
    (r"\bsignificantly\b", "markedly"),
    (r"\bpatients\b", "participants"),
    (r"\bsubjects\b", "volunteers"),
    (r"\bmice\b", "animals"),
    (r"\bconcentrations?\b", "levels"),
    (r"\bcompared (?:with|to)\b", "relative to"),
    (r"\bassociated with\b", "linked to"),
    (r"\bobserved\b", "seen"),
    (r"\bstudy\b", "investigation"),
    (r"\bused\b", "employed"),
    (r"\busing\b", "by means of"),
    (r"\bperformed\b", "carried out"),
    (r"\bmeasured\b", "determined"),
    (r"\bfound\b", "detected"),
    (r"\bindicates?\b", "suggests"),
    (r"\bindicated\b", "suggested"),
    (r"\bobtained\b", "acquired"),
    (r"\bin order to\b", "to"),
    (r"\bsuch as\b", "including"),
    (r"\bHowever, ", "Yet "),
    (r"\bIn addition, ", "Moreover, "),
    (r"\bdue to\b", "because of"),
    (r"\bincluded\b", "comprised"),
    (r"\bafter\b", "following"),
    (r"\bimportant\b", "relevant"),
    (r"\bdifferent\b", "distinct"),
    (r"\bsimilar\b", "comparable"),
    (r"\bin this\b", "in the present"),
    (r"\bwe\b", "the authors"),
    (r"\bWe\b", "The authors"),
    (r"\bour\b", "their"),
    (r"\bOur\b", "Their"),
    (r"\bshown\b", "displayed"),
    (r"\bbetween\b", "among"),
)
_LEAST_REWORDED = 2


def reworded(text: str, chance: random.Random) -> str | None:
    """The sentence in other words, its first clause put last where it has one; None where too little can be changed."""
    changes = 0
    for pattern, other in _REWORDINGS:
        text, count = re.subn(pattern, other, text)
        changes += count
    opening = re.match(r"((?:In|After|During|For|At|Following|Among|As|With) [^,()]{8,60}), (.+)\.$", text)
    if opening:
        first, rest = opening.groups()
        text = f"{rest[0].upper()}{rest[1:]}, {first[0].lower()}{first[1:]}."
        changes += 1
    return text if changes >= _LEAST_REWORDED else None


EDITS: dict[str, Edit] = {
    "number changed": number_changed,
    "negation flipped": negation_flipped,
    "direction swapped": direction_swapped,
}


def edited(found: Sequence[Found], edit: Edit, *, count: int, seed: int) -> list[tuple[Found, str]]:
    """`count` sentences, each with its edit, drawn at random from those in which there is something to change."""
    chance = random.Random(seed)
    made: list[tuple[Found, str]] = []
    for each in chance.sample(found, len(found)):
        text = edit(each.text, chance)
        if text is not None and text != each.text:
            made.append((each, text))
        if len(made) == count:
            break
    return made
