"""Where a sentence says the opposite of another one in nearly the same words, or gives another number. Pure.

Similarity is blind to this: "was not associated" is as like "was associated" as a text can be. So the words of both are
laid side by side, and where they part, numbers with their units, negations and directions are compared. Where a
sentence is worded freely, only direct disagreement about the same word counts. What is merely swapped ("higher in A
than in B"), or contradicted in free paraphrase, is not seen; this module knows no meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType

from cmo.models.wording import STOP_WORDS, stem


class ConflictKind(StrEnum):
    """What two sentences disagree about."""

    NUMBER = "number"
    NEGATION = "negation"
    DIRECTION = "direction"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A number, and the unit behind it as its dimension and size ("" and 1 without one). `decimals` as written."""

    value: float
    decimals: int
    dimension: str = ""
    size: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A word, number or sign as it is compared: `key` is its stem, its value or its unit.

    `direction` is 1 for more, -1 for less. `negates` marks one that turns what it stands with into its opposite.
    """

    key: str
    direction: int = 0
    negates: bool = False
    quantity: Quantity | None = None
    light: bool = False


ALIKE_FROM = 0.6
"""Share of a sentence's words that stand in the other one, in the same order, from which their wording is compared."""
SAME_SUBJECT_FROM = 0.75
"""Share of a sentence's content words the other one holds from which disagreement about one of them counts. At 0.5, one
in twelve sentences of authors' conclusions is told to contradict their own abstract (benchmarks/support.py)."""
_COMPARED_FROM = 0.5
"""Share of common content words under which two sentences are not compared at all."""
_LONGEST_CHANGE = 6
"""Words that may stand for each other where two wordings part; longer stretches are different statements."""
_REACH = 4
"""How many words on either side of a direction word belong to it."""
_NEGATED_WORDS = 2
"""How many content words behind a negation it is taken to deny."""


def conflicts(claim: str, evidence: str) -> frozenset[ConflictKind]:
    """What a sentence disagrees about with another one that speaks of the same."""
    ours, theirs = tokens(claim), tokens(evidence)
    if not ours or not theirs or _shared(ours, theirs) < _COMPARED_FROM:
        return frozenset()
    matcher = SequenceMatcher(None, [each.key for each in theirs], [each.key for each in ours], autojunk=False)
    same = sum(block.size for block in matcher.get_matching_blocks())
    found: frozenset[ConflictKind] = frozenset()
    if same >= ALIKE_FROM * len(ours):
        found = frozenset(_side_by_side(ours, theirs, matcher))
    elif _shared(ours, theirs) >= SAME_SUBJECT_FROM:
        found = frozenset(_by_word(ours, theirs))
    states = _ASKS.search(claim) or not _ASKS.search(evidence)
    return found if states else found & {ConflictKind.NUMBER}


_ASKS = re.compile(
    r"\b(?:whether|hypothes\w+|sought to"
    r"|(?:to|we) (?:\w+ )?(?:examine|determine|evaluate|assess|investigate|test|compare|explore)d?"
    r"|(?:aim|objective|purpose|goal)s?\b.{0,40}\b(?:is|was|were))\b",
    re.IGNORECASE,
)
"""Signs that a sentence tells what was asked, not what was found: such a sentence denies nothing."""


def quantities(text: str) -> tuple[Quantity, ...]:
    """The numbers of a text, with their units, in order."""
    return tuple(_quantities(_numbers_alone(text)))


def missing_quantities(wanted: Sequence[Quantity], known: Sequence[Quantity]) -> int:
    """How many of a sentence's numbers no source has, rounded or in another unit."""
    return sum(not any(_agree(number, other) for other in known) for number in wanted)


@lru_cache(maxsize=1024)
def tokens(text: str) -> tuple[Token, ...]:
    """The words, numbers and comparison signs of a text in order."""
    plain = text.translate(_PLAIN)
    found = list(_TOKEN.finditer(plain))
    made: list[Token] = []
    for place, match in enumerate(found):
        if match.lastgroup == "number":
            made.append(_number(match.group(), plain[match.end() : match.end() + _UNIT_CHARACTERS]))
        elif not (match.lastgroup == "unit" and place and found[place - 1].lastgroup == "number"):
            made.extend(_words(match.group().lower(), plain[match.end() : match.end() + 6].lower()))
    return tuple(made)


def _numbers_alone(text: str) -> Iterator[Token]:
    plain = text.translate(_PLAIN)
    for match in _TOKEN.finditer(plain):
        if match.lastgroup == "number":
            yield _number(match.group(), plain[match.end() : match.end() + _UNIT_CHARACTERS])
        elif match.group().lower() in _SPELLED:
            yield from _words(match.group().lower(), "")


_UNIT_CHARACTERS = 12
"""Behind a number, where its unit stands."""
_PLAIN = str.maketrans("−‐‑’·µ\u202f\xa0", "---'.μ  ") | {ord("–"): " - "}
_TOKEN = re.compile(
    r"(?P<name>[^\W\d_]+(?:-?\d\w*)+(?:[:.]\d+)?)"  # IL-6, p53, omega-3: digits of a name are no quantity
    r"|(?P<number>(?<![\w.])(?:(?<![\w)]-)|-)?\d{1,3}(?:,\d{3})+(?:\.\d+)?|(?<![\w.])-?\d+(?:\.\d+)?|\d+(?:\.\d+)?)"
    r"|(?P<unit>[%‰])"
    r"|(?P<sign>[<>≤≥])"
    r"|(?P<word>[^\W\d_]+(?:'[a-z]+)?)"
)

_UNITS = MappingProxyType(
    {
        **{name: ("share", 1.0) for name in ("%", "percent", "per cent")},
        "‰": ("share", 0.1),
        **{name: ("mass", 1.0) for name in ("g", "gram", "grams")},
        "kg": ("mass", 1e3),
        "mg": ("mass", 1e-3),
        "μg": ("mass", 1e-6),
        "ug": ("mass", 1e-6),
        "mcg": ("mass", 1e-6),
        "ng": ("mass", 1e-9),
        "pg": ("mass", 1e-12),
        **{name: ("volume", 1.0) for name in ("l", "litre", "litres", "liter", "liters")},
        "dl": ("volume", 0.1),
        "ml": ("volume", 1e-3),
        "μl": ("volume", 1e-6),
        "mol": ("amount", 1.0),
        "mmol": ("amount", 1e-3),
        "μmol": ("amount", 1e-6),
        "nmol": ("amount", 1e-9),
        "pmol": ("amount", 1e-12),
        "mm": ("mm", 1.0),
        "mM": ("molar", 1e-3),
        "μM": ("molar", 1e-6),
        "uM": ("molar", 1e-6),
        "nM": ("molar", 1e-9),
        "pM": ("molar", 1e-12),
        **{name: ("time", 1.0) for name in ("h", "hr", "hrs", "hour", "hours")},
        **{name: ("time", 1 / 60) for name in ("min", "mins", "minute", "minutes")},
        **{name: ("time", 1 / 3600) for name in ("s", "sec", "second", "seconds")},
        **{name: ("time", 24.0) for name in ("day", "days", "d")},
        **{name: ("time", 168.0) for name in ("week", "weeks", "wk")},
        **{name: ("months", 1.0) for name in ("month", "months")},
        **{name: ("months", 12.0) for name in ("year", "years", "yr", "yrs")},
        **{name: ("fold", 1.0) for name in ("fold", "times", "x")},
        "Da": ("dalton", 1.0),
        "kDa": ("dalton", 1e3),
    }
)
"""Units as (dimension, size in it). Molar units keep their capital, which tells mM from millimetres."""
_UNIT_BEHIND = re.compile(r"[\s-]?(per cent|[%‰]|[^\W\d_]+)")
_SPELLED = MappingProxyType(
    {
        word: number
        for number, word in enumerate(
            "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
            "eighteen nineteen twenty".split(),
            start=2,
        )
    }
)


def _number(text: str, behind: str) -> Token:
    digits = text.replace(",", "")
    decimals = len(digits.partition(".")[2])
    unit = _UNIT_BEHIND.match(behind)
    name = unit.group(1) if unit else ""
    dimension, size = _UNITS.get(name) or _UNITS.get(name.lower()) or ("", 1.0)
    quantity = Quantity(value=float(digits), decimals=decimals, dimension=dimension, size=size)
    return Token(key=f"{quantity.value:g}{dimension and name}", quantity=quantity)


_MORE = (
    "increase increases increased increasing higher high highest greater greatest larger largest more most rise rises "
    "rose risen rising raised raise elevated elevation elevate upregulated upregulation upregulate upregulates up gain "
    "gained improved improve improves improvement enhanced enhance enhances enhancement longer positive positively "
    "above stronger faster better activated activation activates accelerated accumulation accumulated grew growth "
    "induced stimulated stimulates exceeded promoted promotes older heavier"
)
_LESS = (
    "decrease decreases decreased decreasing lower low lowest smaller smallest less least fewer fall falls fell fallen "
    "falling declined decline declines declining reduced reduce reduces reduction reducing lowered lowering "
    "downregulated downregulation downregulate downregulates down loss lost worsened worsen worsens worsening impaired "
    "impair impairs impairment attenuated shorter negative negatively inverse inversely below weaker slower worse "
    "inhibited inhibition inhibits inhibit suppressed suppression suppresses diminished depleted depletion decelerated "
    "dropped drop drops slowed younger lighter"
)
_DIRECTIONS = MappingProxyType(
    {word: 1 for word in [*_MORE.split(), ">", "≥"]} | {word: -1 for word in [*_LESS.split(), "<", "≤"]}
)
_NOT = "not"
_NEGATIONS = frozenset(
    "not no never none neither nor lack lacks lacked lacking failed fails fail cannot without".split()
)
_NEGATED = MappingProxyType(
    {
        "cannot": "can",
        "without": "with",
        "unable": "able",
        "unlikely": "likely",
        "insignificant": "significant",
        "insignificantly": "significantly",
        "insufficient": "sufficient",
        "ineffective": "effective",
        "inactive": "active",
        "unaffected": "affected",
        "unchanged": "changed",
        "unaltered": "altered",
        "unrelated": "related",
        "unsafe": "safe",
        "independent": "dependent",
        "independently": "dependently",
        "absence": "presence",
        "absent": "present",
        "unsuccessful": "successful",
        "uncommon": "common",
        "undetectable": "detectable",
    }
)
"""Words that deny, as the words they deny."""
_NON = re.compile(r"non(?=significant|diabetic|specific|essential|targeted|linear|toxic|obese|smoker|polar|invasive)")
_LIGHT = frozenset(
    "a an the any some there it to do does did is are was were be been being has have had can could may might will "
    "would all either both or and".split()
)
"""Words that may come and go with a negation ("did not differ", "no difference", "a difference")."""


def _words(word: str, behind: str) -> list[Token]:
    if word in _SPELLED:
        number = Quantity(value=float(_SPELLED[word]), decimals=0)
        return [Token(key=f"{number.value:g}", quantity=number)]
    if word == _NOT and behind.lstrip().startswith("only"):
        return []
    if word.endswith("n't"):
        return [_plain_word(word[:-3]), Token(key=_NOT, negates=True)]
    if word in _NEGATED:
        return [Token(key=_NOT, negates=True), _plain_word(_NEGATED[word])]
    if _NON.match(word):
        return [Token(key=_NOT, negates=True), _plain_word(word[3:])]
    if word == "non" or word in _NEGATIONS:
        return [Token(key=_NOT if word in ("not", "no", "non") else word, negates=True)]
    return [_plain_word(word)]


def _plain_word(word: str) -> Token:
    key = stem(word)
    return Token(key=key, direction=_DIRECTIONS.get(word, 0), light=word in _LIGHT)


def _side_by_side(
    ours: Sequence[Token], theirs: Sequence[Token], matcher: SequenceMatcher[str]
) -> Iterator[ConflictKind]:
    """What is in conflict where two wordings part."""
    steps = matcher.get_opcodes()
    for place, (what, their_start, their_end, our_start, our_end) in enumerate(steps):
        if what == "equal" or max(their_end - their_start, our_end - our_start) > _LONGEST_CHANGE:
            continue
        at_edge = place in (0, len(steps) - 1)
        yield from _change(theirs[their_start:their_end], ours[our_start:our_end], at_edge=at_edge)


def _change(theirs: Sequence[Token], ours: Sequence[Token], *, at_edge: bool) -> Iterator[ConflictKind]:
    """What it means that some words stand in the place of others; either may be none."""
    wanted, known = _quantities(ours), _quantities(theirs)
    if wanted and known and not all(any(_agree(number, other) for other in known) for number in wanted):
        yield ConflictKind.NUMBER
    if ours and theirs and _directions(ours) and _directions(theirs) and not _directions(ours) & _directions(theirs):
        yield ConflictKind.DIRECTION
    if any(_renumbered(each, other) for each in ours for other in theirs):
        yield ConflictKind.NUMBER
    if not (at_edge and not ours) and _denied_otherwise(theirs, ours):
        yield ConflictKind.NEGATION


def _denied_otherwise(theirs: Sequence[Token], ours: Sequence[Token]) -> bool:
    """Whether one of two short stretches that stand for each other denies and the other one does not."""
    denied, other = (sum(each.negates for each in side) % 2 for side in (ours, theirs))
    if denied == other:
        return False
    said, known = ([each.key for each in side if not each.negates and not each.light] for side in (ours, theirs))
    if not said and not known:
        return True
    reworded = 0 < len(said) <= _LONGEST_REWORDING and 0 < len(known) <= _LONGEST_REWORDING
    return reworded and not _OPPOSITES & {*said, *known}


_LONGEST_REWORDING = 2
"""Content words of a stretch that may have been put in other words beside a negation ("carried out", "performed")."""
_OPPOSITES = frozenset(
    stem(word)
    for word in "similar same equal identical comparable stable constant different excluded omitted absent rare rarely "
    "seldom normal abnormal missing free independent little few hardly short".split()
)
"""Words that say with a negation what others say without one: "did not differ", "was similar"."""


def _renumbered(claimed: Token, known: Token) -> bool:
    """Whether two names differ in their digits only: IL-6 and IL-10, C18:1 and C18:2."""
    letters = _NO_LETTERS.sub("", claimed.key)
    return (
        bool(letters)
        and claimed.key != known.key
        and not claimed.quantity
        and not known.quantity
        and letters != claimed.key
        and letters == _NO_LETTERS.sub("", known.key)
    )


_NO_LETTERS = re.compile(r"[\W\d]+")


def _by_word(ours: Sequence[Token], theirs: Sequence[Token]) -> Iterator[ConflictKind]:
    """What is in conflict between two wordings that differ throughout: only disagreement about the same word."""
    if any(_counted(ours, place, theirs) for place, each in enumerate(ours) if each.quantity):
        yield ConflictKind.NUMBER
    if any(_opposed(ours, place, theirs) for place, each in enumerate(ours) if each.direction):
        yield ConflictKind.DIRECTION
    denied, known = _denied(ours), _denied(theirs)
    if any(key in _keys(theirs) for key in denied - known) or any(key in _keys(ours) for key in known - denied):
        yield ConflictKind.NEGATION


def _counted(ours: Sequence[Token], place: int, theirs: Sequence[Token]) -> bool:
    """Whether the others count the same thing ("90 patients") and come to other numbers only."""
    number, thing = ours[place].quantity, _behind(ours, place)
    assert number is not None
    same = [
        each.quantity
        for at, each in enumerate(theirs)
        if each.quantity and each.quantity.dimension == number.dimension and _behind(theirs, at) == thing
    ]
    anywhere = _quantities(theirs)
    return bool(thing and same) and not any(_agree(number, other) for other in anywhere)


def _opposed(ours: Sequence[Token], place: int, theirs: Sequence[Token]) -> bool:
    """Whether the others tell only the opposite direction of a thing this direction word stands beside."""
    near = _keys(ours[max(0, place - _REACH) : place + _REACH + 1])
    told = [
        each.direction
        for at, each in enumerate(theirs)
        if each.direction and near & _keys(theirs[max(0, at - _REACH) : at + _REACH + 1])
    ]
    return bool(told) and ours[place].direction not in {each.direction for each in theirs}


def _behind(found: Sequence[Token], place: int) -> str:
    """The next content word after a number."""
    return next((each.key for each in found[place + 1 : place + 3] if _is_content(each)), "")


def _denied(found: Sequence[Token]) -> set[str]:
    """The content words that negations stand before."""
    denied: set[str] = set()
    for place, each in enumerate(found):
        if each.negates:
            denied |= set([token.key for token in found[place + 1 : place + 5] if _is_content(token)][:_NEGATED_WORDS])
    return denied


def _shared(ours: Sequence[Token], theirs: Sequence[Token]) -> float:
    wanted = _keys(ours)
    return len(wanted & _keys(theirs)) / max(1, len(wanted))


def _keys(found: Sequence[Token]) -> set[str]:
    return {each.key for each in found if _is_content(each)}


def _is_content(token: Token) -> bool:
    return not (token.negates or token.light or token.direction or token.quantity) and token.key not in STOP_WORDS


def _quantities(found: Iterable[Token]) -> list[Quantity]:
    return [each.quantity for each in found if each.quantity]


def _directions(found: Sequence[Token]) -> set[int]:
    return {each.direction for each in found if each.direction}


def _agree(claimed: Quantity, known: Quantity) -> bool:
    """Whether a number is the same as a known one, in another unit or rounded."""
    if claimed.dimension and known.dimension and claimed.dimension != known.dimension:
        return False
    both = bool(claimed.dimension and known.dimension)
    value = known.value * known.size / claimed.size if both else known.value
    tolerance = 0.5 * 10.0**-claimed.decimals if claimed.decimals < known.decimals or value != known.value else 0.0
    return abs(claimed.value - value) <= tolerance + 1e-9 * abs(value)
