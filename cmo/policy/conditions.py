"""Conditions on what is known of a person: a small language that reads well in JSON and YAML. Pure.

    {"and": [{"attribute": "plan", "in": ["pro", "team"]}, {"not": {"attribute": "questions", "below": 10}}]}

A condition is {"and": [...]}, {"or": [...]}, {"not": {...}} or a test: {"attribute": NAME, OPERATOR: VALUE}. A test of
something that is not known, or is of another kind, does not hold; its "not" does. Nothing here knows what follows from
a condition.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeAlias, cast

from cmo.errors import FlagMalformed

LONGEST_TEXT = 200
"""Longer texts match no pattern, so that no pattern takes long."""

MOST_PATHS = 100_000
"""So many ways a pattern may have to go over LONGEST_TEXT characters; two `*` have 40,000."""

MOST_PARTS = 100
DEEPEST = 10
_LONGEST_PATTERN = 200
_MOST_VALUES = 1_000


class Operator(StrEnum):
    """What an attribute can be tested for."""

    EQUALS = "equals"
    IN = "in"
    CONTAINS = "contains"
    MATCHES = "matches"
    ABOVE = "above"
    AT_LEAST = "at_least"
    BELOW = "below"
    AT_MOST = "at_most"


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """Holds when the attribute stands to the value as the operator says. Texts are compared as they are written."""

    __test__ = False  # pytest would take it for tests

    attribute: str
    operator: Operator
    value: Any


@dataclass(frozen=True, slots=True)
class Every:
    """Holds when all parts hold."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """Holds when one part or more holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Unless:
    """Holds when its part does not."""

    part: Condition


Condition: TypeAlias = Test | Every | Either | Unless


def holds(condition: Condition, attributes: Mapping[str, object]) -> bool:
    """Whether the condition holds for somebody with these attributes."""
    match condition:
        case Every(parts):
            return all(holds(part, attributes) for part in parts)
        case Either(parts):
            return any(holds(part, attributes) for part in parts)
        case Unless(part):
            return not holds(part, attributes)
        case Test():
            known = attributes.get(condition.attribute)
            return known is not None and _TESTS[condition.operator](known, condition.value)


def condition_from(document: object) -> Condition:
    """The condition a JSON document describes.

    Raises:
        FlagMalformed: it describes none; names the part and what is allowed.
    """
    return _Reading().condition(document, deep=1)


def document_of(condition: Condition) -> dict[str, Any]:
    """The condition as a JSON document, from which `condition_from` makes it again."""
    match condition:
        case Every(parts):
            return {"and": [document_of(part) for part in parts]}
        case Either(parts):
            return {"or": [document_of(part) for part in parts]}
        case Unless(part):
            return {"not": document_of(part)}
        case Test(attribute=attribute, operator=operator, value=value):
            return {"attribute": attribute, operator.value: _value_document(value)}


def bounded_pattern(text: str) -> re.Pattern[str]:
    """A regular expression that cannot take long, whatever text it is held against.

    Allowed are characters, classes, groups with alternatives, and repeats of single characters or classes, as long as
    there are at most MOST_PATHS ways through them.

    Raises:
        FlagMalformed: it is no such expression.
    """
    allowed = (
        f"a regular expression of at most {_LONGEST_PATTERN} characters, without repeated groups, look-around and "
        "references, and with two unlimited repeats (* + {n,}) at most"
    )
    if len(text) > _LONGEST_PATTERN or _paths(text) > MOST_PATHS:
        raise FlagMalformed(f'"matches" has a wrong value. Allowed: {allowed}.')
    try:
        return re.compile(text)
    except (re.error, OverflowError) as error:
        raise FlagMalformed(f'"matches" is no regular expression ({error}). Allowed: {allowed}.') from error


class _Reading:
    """The parts read so far count, wherever they stand."""

    def __init__(self) -> None:
        self._parts = 0

    def condition(self, document: object, *, deep: int) -> Condition:
        self._parts += 1
        if self._parts > MOST_PARTS or deep > DEEPEST:
            raise FlagMalformed(
                f'"condition" is too large. Allowed: {MOST_PARTS} parts, {DEEPEST} of them within each other.'
            )
        if not isinstance(document, Mapping):
            raise FlagMalformed(f'"condition" has a wrong part. Allowed: {_FORMS}.')
        if "attribute" in document:
            return _test(document)
        if len(document) != 1:
            raise FlagMalformed(f'"condition" has a part with {len(document)} keys. Allowed: {_FORMS}.')
        ((key, within),) = document.items()
        if key == "not":
            return Unless(self.condition(within, deep=deep + 1))
        if key not in ("and", "or"):
            raise FlagMalformed(f'"condition": unknown key "{key}". Allowed: {_FORMS}.')
        if not isinstance(within, list) or not within:
            raise FlagMalformed(f'"condition": "{key}" has a wrong value. Allowed: a list of conditions.')
        parts = tuple(self.condition(part, deep=deep + 1) for part in within)
        return Every(parts) if key == "and" else Either(parts)


def _test(document: Mapping[str, object]) -> Test:
    attribute = document["attribute"]
    operators = [key for key in document if key != "attribute"]
    if not isinstance(attribute, str) or not attribute:
        raise FlagMalformed('"condition": "attribute" has a wrong value. Allowed: a name.')
    if len(operators) != 1 or operators[0] not in _OPERATORS:
        raise FlagMalformed(f'"condition": "{attribute}" is not tested once. Allowed: one of {", ".join(Operator)}.')
    operator = Operator(operators[0])
    reading = _VALUES[operator]
    value = reading.read(document[operator.value])
    if value is None:
        raise FlagMalformed(f'"condition": "{operator}" has a wrong value. Allowed: {reading.allowed}.')
    return Test(attribute=attribute, operator=operator, value=value)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Value:
    """How the value of an operator is read; None stands for a wrong one."""

    read: Callable[[object], object]
    allowed: str


def _is_plain(value: object) -> bool:
    return isinstance(value, str | bool) or _is_number(value)


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _listed(value: object) -> tuple[object, ...] | None:
    if isinstance(value, list) and 0 < len(value) <= _MOST_VALUES and all(map(_is_plain, value)):
        return tuple(value)
    return None


_PLAIN = _Value(read=lambda value: value if _is_plain(value) else None, allowed="a text, a number, true or false")
_NUMBER = _Value(read=lambda value: value if _is_number(value) else None, allowed="a number")

_VALUES: Mapping[Operator, _Value] = MappingProxyType(
    {
        Operator.EQUALS: _PLAIN,
        Operator.IN: _Value(read=_listed, allowed=f"a list of 1 to {_MOST_VALUES} texts or numbers"),
        Operator.CONTAINS: _PLAIN,
        Operator.MATCHES: _Value(
            read=lambda value: bounded_pattern(value) if isinstance(value, str) else None, allowed="a text"
        ),
        Operator.ABOVE: _NUMBER,
        Operator.AT_LEAST: _NUMBER,
        Operator.BELOW: _NUMBER,
        Operator.AT_MOST: _NUMBER,
    }
)

_OPERATORS = frozenset(Operator)
_FORMS = '{"and": [...]}, {"or": [...]}, {"not": {...}} or {"attribute": NAME, OPERATOR: VALUE}'


def _value_document(value: object) -> object:
    if isinstance(value, re.Pattern):
        return value.pattern
    return list(value) if isinstance(value, tuple) else value


def _same(known: object, value: object) -> bool:
    """Equal and of one kind: to Python, True is 1."""
    return known == value and isinstance(known, bool) is isinstance(value, bool)


def _contains(known: object, value: object) -> bool:
    if isinstance(known, str):
        return isinstance(value, str) and value in known
    return isinstance(known, list | tuple | set | frozenset) and any(_same(each, value) for each in known)


def _matches(known: object, pattern: re.Pattern[str]) -> bool:
    return isinstance(known, str) and len(known) <= LONGEST_TEXT and pattern.fullmatch(known) is not None


def _compared(compare: Callable[[float, float], bool]) -> Callable[[object, Any], bool]:
    return lambda known, value: _is_number(known) and compare(cast("float", known), value)


_TESTS: Mapping[Operator, Callable[[object, Any], bool]] = MappingProxyType(
    {
        Operator.EQUALS: _same,
        Operator.IN: lambda known, values: any(_same(known, value) for value in values),
        Operator.CONTAINS: _contains,
        Operator.MATCHES: _matches,
        Operator.ABOVE: _compared(lambda known, value: known > value),
        Operator.AT_LEAST: _compared(lambda known, value: known >= value),
        Operator.BELOW: _compared(lambda known, value: known < value),
        Operator.AT_MOST: _compared(lambda known, value: known <= value),
    }
)

_TOKEN = re.compile(
    r"""(?P<one> \\(?:[bdfnrstwDSW]|\W) | \[\^?\]?(?:\\.|[^\]\\])*\] | [^\\\[\](){}*+?|] )
      | (?P<repeat> [*+?] | \{\d{0,4}(?:,\d{0,4})?\} )
      | (?P<open> \((?:\?:)? )
      | (?P<close> \) )
      | (?P<bar> \| )""",
    re.VERBOSE | re.DOTALL,
)
"""Of what regular expressions may be made. `one` stands for one character: itself, an escaped one, or a class."""


def _paths(pattern: str) -> float:
    """How many ways there are through a pattern over LONGEST_TEXT characters, at most; infinite for what is refused.

    Each repeat and each set of alternatives multiplies them, because the engine may try all of one for each of another.
    """
    paths, at, bars, before = 1.0, 0, [1], ""
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        if token is None:
            return math.inf
        kind, at = token.lastgroup or "", token.end()
        if kind == "repeat":
            if before != "one":
                return math.inf
            paths *= _times(token[0])
        elif kind == "open":
            bars.append(1)
        elif kind == "bar":
            bars[-1] += 1
        elif kind == "close":
            if len(bars) == 1:
                return math.inf
            paths *= bars.pop()
        before = kind
    return paths * math.prod(bars)


def _times(repeat: str) -> int:
    """How many numbers of times a repeat can stand for."""
    if repeat == "?":
        return 2
    if repeat in ("*", "+"):
        return LONGEST_TEXT
    least, comma, most = repeat[1:-1].partition(",")
    if not comma:
        return 1
    return max(1, (int(most) if most else LONGEST_TEXT) - int(least or 0) + 1)
