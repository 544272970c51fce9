"""What must not change in translation is taken out of a sentence before, and put back after. Pure.

Names, identifiers, numbers with their units and signs, abbreviations, addresses and markers [n] become placeholders
that services leave alone. Names stay as they are in English, which is always right, if not always beautiful. Whether
what came back can be believed is decided in verify.py.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from cmo import identifiers
from cmo.translation.phrases import RIGHT_TO_LEFT
from cmo.translation.quantities import VALUE, shortened

Span: TypeAlias = tuple[int, int]
Names: TypeAlias = Callable[[str], Iterable[Span]]
"""Where a text names things whose names are not to be translated, as [start, end)."""


class Kind(StrEnum):
    """What a placeholder stands for: a number with what belongs to it, or a name, code or marker."""

    NAME = "name"
    VALUE = "value"


@dataclass(frozen=True, slots=True, kw_only=True)
class Protected:
    """A piece of a sentence that comes back as `text`. `opens` is set when the sentence begins with it."""

    kind: Kind
    text: str
    opens: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Masked:
    """A sentence for a translation service. `things` are its pieces by the numbers of their placeholders in `text`.

    `lead` and `tail` are the mark of a list before it and the markers [n] behind it, which are not sent at all;
    `stopped` is set when the full stop stood behind those.
    """

    text: str
    things: Mapping[int, Protected]
    lead: str = ""
    tail: str = ""
    stopped: bool = False

    @property
    def has_words(self) -> bool:
        """Whether there is anything to translate."""
        return WORD.search(PLACEHOLDER.sub(" ", self.text)) is not None


PLACEHOLDER: Final = re.compile(r"XQ ?(\d{1,4}) ?X", re.IGNORECASE)
"""Services copy such codes. Some write them small or spaced, or with digits of the target language."""

WORD: Final = re.compile(r"[^\W\d_]{2,}")
_MARKER: Final = re.compile(r"\[\d{1,3}\]")
_LEAD: Final = re.compile(r"(?:[ \t]*(?:[-–*•+]|#{1,6}|\d{1,2}[.)]|>)[ \t]+)+")
_TAIL: Final = re.compile(r"((?:\s*\[\d{1,3}\])+)([.!?…]?)$")
_STOP: Final = re.compile(r"[.!?。！？…।؟]+$")

_ADDRESS: Final = re.compile(r"\b(?:https?://|www\.)\S*[^\s.,;:!?)\]}'\"”’>*_]|\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_ACCESSION: Final = re.compile(
    r"\b(?:[A-Z]{14}-[A-Z]{10}-[A-Z]|(?:CHEBI|CHEMBL|CID|KEGG|HMDB|LIPID ?MAPS|MESH|CAS)[: ]\s?[\w-]*\d[\w-]*)\b"
)

_CODE_LETTER: Final = r"[A-Za-z\dͰ-Ͽ⁺⁻²³]"
_TOKEN: Final = re.compile(rf"{_CODE_LETTER}+(?:(?:[-–‐/.:·+_]|(?<=\d)['’′]-?){_CODE_LETTER}+)*[+′]?")

_FULL_WIDTH: Final = str.maketrans(
    {chr(0xFEE0 + code): chr(code) for code in range(0x21, 0x7F) if chr(code) not in "(),.:;!?"}
)
DIGITS: Final = frozenset({"Nd", "No", "Nl"})
_ISOLATE, _END_ISOLATE = "\u2066", "\u2069"
"""Unicode's marks for a stretch that is read from left to right: "−5" would otherwise be shown as "5−"."""


def no_names(text: str) -> tuple[Span, ...]:
    """For texts whose names need no protection beyond what their looks tell."""
    return ()


def mask(sentence: str, names: Names = no_names, *, first: int = 0) -> Masked:
    """A sentence with numbered placeholders, `first` being the first number."""
    lead = _LEAD.match(sentence)
    start = lead.end() if lead else 0
    body = sentence[start:]
    ending = _TAIL.search(body)
    tail, stopped = (ending[1], bool(ending[2])) if ending else ("", False)
    if ending:
        body = body[: ending.start()] + ending[2]
    things: dict[int, Protected] = {}
    parts: list[str] = []
    at = 0
    for begin, end, kind in _protected_spans(body, names):
        number = first + len(things)
        text = shortened(body[begin:end]) if kind is Kind.VALUE else body[begin:end]
        things[number] = Protected(kind=kind, text=text, opens=begin == 0)
        parts += [body[at:begin], f"XQ{number}X"]
        at = end
    masked = "".join((*parts, body[at:]))
    return Masked(text=masked, things=things, lead=sentence[:start], tail=tail, stopped=stopped)


def restored(masked: Masked, translated: str, language: str) -> str:
    """The translation of a masked sentence with everything back in its place. Only for one without `loss`."""
    text = PLACEHOLDER.sub(lambda match: _put_back(masked.things, match, language), plain(translated))
    if masked.stopped:
        stop = _STOP.search(text)
        end = stop[0] if stop else "."
        return f"{masked.lead}{_STOP.sub('', text)}{masked.tail}{end}"
    return f"{masked.lead}{text}{masked.tail}"


def plain(translated: str) -> str:
    """The text without white space around it, and with full-width letters, digits and signs as ordinary ones."""
    return translated.translate(_FULL_WIDTH).strip()


def _put_back(things: Mapping[int, Protected], match: re.Match[str], language: str) -> str:
    thing = things[int(match[1])]
    if thing.opens and match.start() > 0 and re.fullmatch("[A-Z][a-z]{3,}", thing.text):
        return thing.text.lower()
    if thing.kind is Kind.VALUE and language in RIGHT_TO_LEFT:
        return f"{_ISOLATE}{thing.text}{_END_ISOLATE}"
    return thing.text


def _protected_spans(text: str, names: Names) -> list[tuple[int, int, Kind]]:
    """Everything to be taken out, in order. What overlaps is one piece: a name if any of it is one."""
    found = [(*match.span(), Kind.NAME) for match in _MARKER.finditer(text)]
    found += [(mention.start, mention.end, Kind.NAME) for mention in identifiers.mentions(text)]
    found += [(*match.span(), Kind.NAME) for pattern in (_ADDRESS, _ACCESSION) for match in pattern.finditer(text)]
    found += [(*span, Kind.NAME) for span in names(text)]
    found += [(*match.span(), Kind.VALUE) for match in VALUE.finditer(text)]
    found += [(*match.span(), Kind.NAME) for match in _TOKEN.finditer(text) if _is_code(match[0], match.span(), found)]
    found += [(at, at + 1, Kind.VALUE) for at, letter in enumerate(text) if unicodedata.category(letter) in DIGITS]
    return _united(found)


def _united(found: Iterable[tuple[int, int, Kind]]) -> list[tuple[int, int, Kind]]:
    spans: list[tuple[int, int, Kind]] = []
    for start, end, kind in sorted(found):
        if spans and start < spans[-1][1]:
            begin, until, before = spans[-1]
            spans[-1] = (begin, max(end, until), kind if before is Kind.VALUE else before)
        else:
            spans.append((start, end, kind))
    return spans


def _is_code(token: str, span: Span, found: Iterable[tuple[int, int, Kind]]) -> bool:
    """Whether it is an abbreviation, formula or symbol, and not all of it a number or name found before."""
    capitals = sum(map(str.isupper, token))
    looks = capitals > 1 or any(letter.isnumeric() or "Ͱ" <= letter <= "Ͽ" for letter in token)
    return looks and not any(start <= span[0] and span[1] <= end for start, end, _ in found)
