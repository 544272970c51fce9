"""Reads the conditional rules an admin has written, a TOML file of [[rule]] tables.

Nothing is guessed: an unknown key, a value of the wrong type or a rule that could never or would always hold stops the
start. What the rules mean is told in policy/rules.py.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cmo.errors import SettingsError
from cmo.policy.rules import Rule
from cmo.values import QuestionType

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_NAME_WORDS = "1 to 40 small letters, digits, _ or -, beginning with a letter or digit"


def read_rules(path: Path, *, engines: Collection[str]) -> tuple[Rule, ...]:
    """The rules of the file in its order. `engines` are the names a rule may send questions to.

    Raises:
        SettingsError: the file cannot be read, or a rule is wrong; names file, rule, key and what is allowed.
    """
    rules: list[Rule] = []
    for number, table in enumerate(_tables(path), start=1):
        rule = _rule(_Place(file=path, number=number), table, engines)
        if any(rule.name == other.name for other in rules):
            raise SettingsError(f'{path}: two rules are named "{rule.name}". Allowed: a name of its own for each rule.')
        rules.append(rule)
    return tuple(rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where in the file a rule stands."""

    file: Path
    number: int
    name: str = ""

    def error(self, problem: str) -> SettingsError:
        named = f'rule "{self.name}"' if self.name else f"rule {self.number}"
        return SettingsError(f"{self.file}: {named}: {problem}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    """A key of a rule: `read` makes its value of what stands in the file, or None when that is wrong."""

    read: Callable[[object], object]
    allowed: str
    is_condition: bool = True


def _tables(path: Path) -> list[Mapping[str, Any]]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"{path}: the routing rules cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: the routing rules cannot be read. Allowed: a TOML file in UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: the routing rules are no TOML: {error}.") from error
    if unknown := sorted(content.keys() - {"rule"}):
        raise SettingsError(f'{path}: unknown key "{unknown[0]}". Allowed: [[rule]] tables.')
    tables = content.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise SettingsError(f'{path}: "rule" has a wrong form. Allowed: [[rule]] tables, with two brackets.')
    return tables


def _rule(place: _Place, table: Mapping[str, Any], engines: Collection[str]) -> Rule:
    name = table.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise place.error(f'"name" is missing or wrong. Allowed: {_NAME_WORDS}.')
    place = _Place(file=place.file, number=place.number, name=name)
    engine = table.get("engine")
    if not isinstance(engine, str) or engine not in engines:
        raise place.error(f'"engine" is missing or wrong. Allowed: {" or ".join(engines)}.')
    values = {key: _value(place, key, given) for key, given in table.items() if key not in ("name", "engine")}
    _refuse_senseless(place, values)
    return Rule(name=name, engine=engine, **values)


def _value(place: _Place, key: str, given: object) -> Any:
    if key not in _KEYS:
        raise place.error(f'unknown key "{key}". Allowed: {", ".join(("name", "engine", *_KEYS))}.')
    value = _KEYS[key].read(given)
    if value is None:
        raise place.error(f'"{key}" has a wrong value. Allowed: {_KEYS[key].allowed}.')
    return value


def _refuse_senseless(place: _Place, values: Mapping[str, Any]) -> None:
    if not any(_KEYS[key].is_condition for key in values):
        raise place.error(
            "it has no condition and would decide on every question. Allowed: one or more of "
            f"{', '.join(key for key, known in _KEYS.items() if known.is_condition)}. "
            "To send everybody to one engine, set LIGHTRAG_FORCE_USER_COHORT."
        )
    if "fresh_from" in values and "needs_fresh" not in values:
        raise place.error('"fresh_from" says nothing by itself. Allowed: together with "needs_fresh".')
    for least, most in (("min_characters", "max_characters"), ("min_words", "max_words")):
        if least in values and most in values and values[least] > values[most]:
            raise place.error(f'"{least}" is larger than "{most}", so that it never holds.')
    both = "coverage_below" in values and "coverage_at_least" in values
    if both and values["coverage_at_least"] >= values["coverage_below"]:
        raise place.error('"coverage_at_least" is not smaller than "coverage_below", so that it never holds.')


def _number(given: object) -> int | None:
    return given if isinstance(given, int) and not isinstance(given, bool) and given >= 1 else None


def _share(given: object) -> float | None:
    if isinstance(given, bool) or not isinstance(given, int | float):
        return None
    return float(given) if 0 <= given <= 1 else None


def _truth(given: object) -> bool | None:
    return given if isinstance(given, bool) else None


def _groups(given: object) -> tuple[str, ...] | None:
    texts = _texts(given)
    return texts if texts and all(texts) else None


def _types(given: object) -> tuple[QuestionType, ...] | None:
    texts = _texts(given)
    return tuple(map(QuestionType, texts)) if texts and set(texts) <= set(QuestionType) else None


def _texts(given: object) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(text, str) for text in given):
        return ()
    return tuple(text.strip().casefold() for text in given)


_NUMBER = _Key(read=_number, allowed="a whole number from 1")
_SHARE = _Key(read=_share, allowed="a number from 0 to 1")
_GROUPS = _Key(read=_groups, allowed='a list of names, such as ["europe", "other"]')

_KEYS: Mapping[str, _Key] = MappingProxyType(
    {
        "min_characters": _NUMBER,
        "max_characters": _NUMBER,
        "min_words": _NUMBER,
        "max_words": _NUMBER,
        "types": _Key(read=_types, allowed=f"a list of {', '.join(QuestionType)}"),
        "needs_fresh": _Key(read=_truth, allowed="true or false"),
        "fresh_from": _Key(read=_share, allowed="a number from 0 to 1", is_condition=False),
        "coverage_below": _SHARE,
        "coverage_at_least": _SHARE,
        "cohorts": _GROUPS,
        "regions": _GROUPS,
    }
)
"""What a rule may say besides its name and engine; the keys are named as the fields of Rule."""
