"""Feature flags as documents of JSON or YAML: read, checked and written. Pure.

Nothing is guessed: an unknown key, a value of the wrong type or a flag that could not do what it says is refused. What
the parts of a flag mean is told in flags.py.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from types import MappingProxyType
from typing import Any

from cmo.errors import FlagMalformed
from cmo.policy.conditions import condition_from
from cmo.policy.conditions import document_of as condition_document
from cmo.policy.flags import (
    CONTROL,
    EXPERIMENTS,
    FeatureFlag,
    FeatureVariant,
    FlagStatus,
    Namespace,
    Segmentation,
    Segments,
    Share,
    thousandths,
)

LARGEST_DOCUMENT = 64 * 1_024
"""Characters of a flag's document at most."""

MOST_VARIANTS = 20
_LONGEST_TEXT = 2_000
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,79}")
_STATUSES = frozenset(FlagStatus)
_SEGMENTATIONS = frozenset(Segmentation)
_NAME_WORDS = "1 to 80 small letters, digits, _, . or -, beginning with a letter or digit"


def flag_from(
    name: str,
    document: object,
    *,
    version: int = 0,
    created_at: datetime | None = None,
    updated_at: datetime | None = None,
) -> FeatureFlag:
    """The flag a document describes; its version and times stand beside the document.

    Raises:
        FlagMalformed: it describes none; names the flag, the key and what is allowed.
    """
    try:
        if not _NAME.fullmatch(name):
            raise FlagMalformed(f"its name is wrong. Allowed: {_NAME_WORDS}.")
        table = _table(document, "the flag", _KEYS)
        said = {key: _KEYS[key](key, value) for key, value in table.items()}
        flag = FeatureFlag(name=name, version=version, created_at=created_at, updated_at=updated_at, **said)
        _refuse_senseless(flag)
    except FlagMalformed as error:
        raise FlagMalformed(f'Flag "{name[:80]}": {error}') from error
    return flag


def document_of(flag: FeatureFlag) -> dict[str, Any]:
    """The flag as a document, without what stands in it by default; `flag_from` makes the flag again."""
    return {
        field.name: _WRITTEN.get(field.name, _as_it_is)(getattr(flag, field.name))
        for field in dataclasses.fields(FeatureFlag)
        if field.name in _KEYS and getattr(flag, field.name) != getattr(_PLAIN, field.name)
    }


def document_text(flag: FeatureFlag) -> str:
    """The flag's document as JSON.

    Raises:
        FlagMalformed: it is too large, or holds what JSON cannot.
    """
    try:
        text = json.dumps(document_of(flag), ensure_ascii=False, allow_nan=False)
        text.encode("utf-8")
    except (TypeError, ValueError) as error:
        raise FlagMalformed(f'Flag "{flag.name}": it holds a value that cannot be kept. Allowed: JSON.') from error
    if len(text) > LARGEST_DOCUMENT:
        raise FlagMalformed(f'Flag "{flag.name}": it is too large. Allowed: {LARGEST_DOCUMENT:,} characters of JSON.')
    return text


def _refuse_senseless(flag: FeatureFlag) -> None:
    names = [variant.name for variant in flag.variants]
    if len(set(names)) < len(names):
        raise FlagMalformed('"variants" names one twice. Allowed: a name of its own for each variant.')
    if names and not any(thousandths(variant.weight) for variant in flag.variants):
        raise FlagMalformed('"variants" have no weight. Allowed: a weight above 0 for one or more.')
    if flag.status is FlagStatus.AB_TEST and len(names) < 2:
        raise FlagMalformed('"ab_test" has nothing to compare. Allowed: two variants or more.')
    if flag.status is FlagStatus.CANARY and names and (len(names) != 2 or CONTROL not in names):
        raise FlagMalformed(f'"canary" has the wrong variants. Allowed: none, or two, one of them "{CONTROL}".')
    if flag.status in EXPERIMENTS and flag.segmentation is Segmentation.RANDOM:
        raise FlagMalformed(f'"{flag.status}" cannot be random: everybody has to stay in their group. Allowed: hash.')
    for given in flag.overrides.values():
        if isinstance(given, str) and flag.variant(given) is None:
            raise FlagMalformed(f'"overrides" names the unknown variant "{given}". Allowed: {_or(names)}true or false.')


def _or(names: list[str]) -> str:
    return "".join(f"{name}, " for name in names)


_Read = Callable[[str, object], Any]


def _table(value: object, what: str, keys: Mapping[str, object]) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise FlagMalformed(f"{what} has a wrong form. Allowed: a table of keys and values.")
    if unknown := [key for key in value if key not in keys]:
        raise FlagMalformed(f'{what} has the unknown key "{unknown[0]}". Allowed: {", ".join(keys)}.')
    return value


def _wrong(key: str, allowed: str) -> FlagMalformed:
    return FlagMalformed(f'"{key}" has a wrong value. Allowed: {allowed}.')


def _text(key: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        raise _wrong(key, f"a text of at most {_LONGEST_TEXT:,} characters")
    return value


def _truth(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(key, "true or false")
    return value


def _percentage(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        raise _wrong(key, "a number from 0 to 100")
    return float(value)


def _status(key: str, value: object) -> FlagStatus:
    if not isinstance(value, str) or value not in _STATUSES:
        raise _wrong(key, ", ".join(FlagStatus))
    return FlagStatus(value)


def _segmentation(key: str, value: object) -> Segmentation:
    if not isinstance(value, str) or value not in _SEGMENTATIONS:
        raise _wrong(key, ", ".join(Segmentation))
    return Segmentation(value)


def _moment(key: str, value: object) -> datetime:
    """A time in UTC; YAML reads times by itself. A day ends with its last second."""
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value) if len(value) == len("2026-01-01") else datetime.fromisoformat(value)
        except ValueError:
            raise _wrong(key, _MOMENTS) from None
    if isinstance(value, datetime):
        try:
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        except OverflowError:  # the first or last day there is, in another time zone
            raise _wrong(key, _MOMENTS) from None
    if isinstance(value, date):
        return datetime.combine(value, time(23, 59, 59), UTC)
    raise _wrong(key, _MOMENTS)


_MOMENTS = "a day (2026-12-31) or a time (2026-12-31T12:00:00+00:00)"


def _metadata(key: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise _wrong(key, "a table of keys and values")
    return MappingProxyType(dict(value))


def _overrides(key: str, value: object) -> Mapping[str, str | bool]:
    if not isinstance(value, Mapping) or not all(
        isinstance(user, str) and user and isinstance(given, str | bool) for user, given in value.items()
    ):
        raise _wrong(key, "a table of people's ids, each with a variant, true or false")
    return MappingProxyType(dict(value))


def _variants(key: str, value: object) -> tuple[FeatureVariant, ...]:
    if not isinstance(value, list) or len(value) > MOST_VARIANTS:
        raise _wrong(key, f"a list of at most {MOST_VARIANTS} variants")
    return tuple(map(_variant, value))


def _variant(value: object) -> FeatureVariant:
    table = _table(value, "a variant", _VARIANT_KEYS)
    name, weight = table.get("name"), table.get("weight")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise FlagMalformed(f'a variant\'s "name" is missing or wrong. Allowed: {_NAME_WORDS}.')
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= 1_000_000:
        raise FlagMalformed(f'variant "{name}": "weight" is missing or wrong. Allowed: a number from 0 to 1000000.')
    if not math.isclose(weight * 1_000, thousandths(weight), abs_tol=1e-6):
        raise FlagMalformed(f'variant "{name}": "weight" is too fine. Allowed: at most three decimals.')
    overrides = _metadata("config_overrides", table.get("config_overrides", {}))
    return FeatureVariant(name=name, weight=float(weight), config_overrides=overrides)


def _segments(key: str, value: object) -> Segments:
    table = _table(value, f'"{key}"', _SEGMENT_KEYS)
    return Segments(**{name: _SEGMENT_KEYS[name](name, within) for name, within in table.items()})


def _shares(key: str, value: object) -> Mapping[str, Share]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) and name for name in value):
        raise _wrong(key, 'a table of names, each with "enabled" and "percentage"')
    return MappingProxyType({name.casefold(): _share(name, share) for name, share in value.items()})


def _share(name: str, value: object) -> Share:
    table = _table(value, f'"{name}"', _SHARE_KEYS)
    return Share(**{key: _SHARE_KEYS[key](key, given) for key, given in table.items()})


def _namespace(key: str, value: object) -> Namespace:
    table = _table(value, f'"{key}"', _NAMESPACE_KEYS)
    name = table.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise FlagMalformed(f'"{key}": "name" is missing or wrong. Allowed: {_NAME_WORDS}.')
    start, end = _percentage("from", table.get("from")), _percentage("to", table.get("to"))
    if start >= end:
        raise FlagMalformed(f'"{key}": "from" is not smaller than "to", so that nobody would be in it.')
    return Namespace(name=name, start=start, end=end)


_VARIANT_KEYS = MappingProxyType({"name": None, "weight": None, "config_overrides": None})
_NAMESPACE_KEYS = MappingProxyType({"name": None, "from": None, "to": None})
_SHARE_KEYS: Mapping[str, _Read] = MappingProxyType({"enabled": _truth, "percentage": _percentage})
_SEGMENT_KEYS: Mapping[str, _Read] = MappingProxyType(
    {"cohorts": _shares, "regions": _shares, "condition": lambda _, value: condition_from(value)}
)

_KEYS: Mapping[str, _Read] = MappingProxyType(
    {
        "description": _text,
        "status": _status,
        "rollout_percentage": _percentage,
        "segments": _segments,
        "variants": _variants,
        "overrides": _overrides,
        "segmentation": _segmentation,
        "seed": _text,
        "namespace": _namespace,
        "metadata": _metadata,
        "owner": _text,
        "permanent": _truth,
        "expires_at": _moment,
    }
)
"""What a flag may say of itself; the keys are named as the fields of FeatureFlag."""

_PLAIN = FeatureFlag(name="plain")


def _as_it_is(value: Any) -> Any:
    return value


def _segments_document(segments: Segments) -> dict[str, Any]:
    document: dict[str, Any] = {
        key: {name: _share_document(share) for name, share in shares.items()}
        for key, shares in (("cohorts", segments.cohorts), ("regions", segments.regions))
        if shares
    }
    if segments.condition is not None:
        document["condition"] = condition_document(segments.condition)
    return document


def _share_document(share: Share) -> dict[str, Any]:
    known = {"enabled": share.enabled, "percentage": share.percentage}
    return {key: value for key, value in known.items() if value is not None}


def _variant_document(variant: FeatureVariant) -> dict[str, Any]:
    document: dict[str, Any] = {"name": variant.name, "weight": variant.weight}
    return {**document, "config_overrides": dict(variant.config_overrides)} if variant.config_overrides else document


_WRITTEN: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "status": lambda status: status.value,
        "segmentation": lambda segmentation: segmentation.value,
        "segments": _segments_document,
        "variants": lambda variants: list(map(_variant_document, variants)),
        "overrides": dict,
        "metadata": dict,
        "namespace": lambda namespace: {"name": namespace.name, "from": namespace.start, "to": namespace.end},
        "expires_at": lambda moment: moment.isoformat(),
    }
)
"""How the parts are written that JSON does not know."""
