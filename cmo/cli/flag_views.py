"""How `cmo flags` shows flags, changes to them, and what they are worth: to people, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from cmo.cli.output import print_json, printable, say
from cmo.policy.flag_documents import document_of
from cmo.policy.flags import AnyFlag, FeatureFlag, FlagStatus, FlagValue, MalformedFlag
from cmo.storage.flags import FlagChange

DRY = "Nothing is changed, this would be: "
"""How a trial begins."""


def tell(flag: FeatureFlag, before: Mapping[str, Any], now: datetime, *, dry_run: bool, as_json: bool) -> None:
    """Tell what a change has made, or would make, of a flag whose document was `before`."""
    after = document_of(flag)
    if as_json:
        changed = {key: {"old": before.get(key), "new": after.get(key)} for key in _changed(before, after)}
        print_json({"dry_run": dry_run, "flag": flag_as_json(flag, now), "changed": changed})
        return
    say(f'{DRY if dry_run else ""}The flag "{flag.name}" is at version {flag.version}: {_in_words(flag)}.')
    for difference in _differences(before, after):
        say(f"  {difference}")


def _in_words(flag: FeatureFlag) -> str:
    if flag.status in (FlagStatus.DISABLED, FlagStatus.ENABLED):
        return (
            f"{flag.status.value}, whatever its percentage" if 0 < flag.rollout_percentage < 100 else flag.status.value
        )
    return f"{flag.status.value}, {flag.rollout_percentage:g} %"


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What differs between two documents, a line for each key."""
    return [f"{key}: {_short(before.get(key))} -> {_short(after.get(key))}" for key in _changed(before, after)]


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    keys = [*after, *(key for key in before if key not in after)]
    return [key for key in keys if before.get(key) != after.get(key)]


def _short(value: object) -> str:
    return "(default)" if value is None else json.dumps(value, ensure_ascii=False)


def parsed(document: str | None) -> dict[str, Any]:
    """A document of the history; one that was malformed when it was replaced counts as empty."""
    try:
        parsed = json.loads(document or "{}")
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def remarks(flag: AnyFlag, now: datetime) -> str:
    """What somebody should look at."""
    if isinstance(flag, MalformedFlag):
        return f"Malformed, so it is off. {flag.problem}"
    if flag.has_expired(now):
        return f"Expired on {flag.expires_at:%Y-%m-%d}, so it is off: delete it or give it more time."
    if flag.is_stale(now):
        return "Stale: is it still needed? Delete it, or call it --permanent."
    return ""


def flags_table(found: Iterable[AnyFlag], now: datetime) -> Table:
    """All flags, with those somebody should look at."""
    table = Table("flag", "status", "share", "variants", "owner", "version", "remarks", box=None, header_style="bold")
    for flag in found:
        advice = Text(printable(remarks(flag, now)), style="yellow")
        if isinstance(flag, MalformedFlag):
            table.add_row(Text(printable(flag.name)), "-", "", "", "", str(flag.version), advice)
            continue
        table.add_row(
            Text(flag.name),
            flag.status.value,
            "" if flag.status in (FlagStatus.DISABLED, FlagStatus.ENABLED) else f"{flag.rollout_percentage:g} %",
            ", ".join(f"{variant.name} {variant.weight:g}" for variant in flag.variants),
            Text(printable(flag.owner)),
            str(flag.version),
            advice,
        )
    return table


def flag_as_json(flag: AnyFlag, now: datetime) -> dict[str, Any]:
    """A flag whole."""
    if isinstance(flag, MalformedFlag):
        return {"name": flag.name, "version": flag.version, "malformed": flag.problem}
    return {
        "name": flag.name,
        "version": flag.version,
        **document_of(flag),
        "status": flag.status.value,
        "rollout_percentage": flag.rollout_percentage,
        "owner": flag.owner,
        "created_at": flag.created_at and flag.created_at.isoformat(),
        "updated_at": flag.updated_at and flag.updated_at.isoformat(),
        "expired": flag.has_expired(now),
        "stale": flag.is_stale(now),
    }


def history_table(changes: Iterable[FlagChange]) -> Table:
    """Changes, each with what it changed."""
    table = Table("version", "when", "who", "what", "why", "changed", box=None, header_style="bold")
    for change in changes:
        table.add_row(
            str(change.version),
            f"{change.by.at:%Y-%m-%d %H:%M:%S}",
            Text(printable(change.by.author)),
            change.action.value,
            Text(printable(change.by.reason)),
            Text(printable("\n".join(_differences(parsed(change.old), parsed(change.new))))),
        )
    return table


def change_as_json(change: FlagChange) -> dict[str, Any]:
    """A change, with the flag's documents before and after."""
    return {
        "version": change.version,
        "action": change.action.value,
        "at": change.by.at.isoformat(),
        "author": change.by.author,
        "reason": change.by.reason,
        "old": None if change.old is None else parsed(change.old),
        "new": None if change.new is None else parsed(change.new),
    }


def value_as_json(name: str, found: FlagValue) -> dict[str, Any]:
    """What a flag is worth, and why."""
    variant = found.variant
    return {
        "name": name,
        "value": found.value,
        "reason": found.reason.value,
        "variant": variant.name if variant else None,
        "config_overrides": dict(variant.config_overrides) if variant else {},
        "bucket": found.bucket,
        "version": found.version,
    }


def print_value(name: str, found: FlagValue) -> None:
    """Tell what a flag is worth, and why."""
    say(f'The flag "{name}" is {"on" if found.value else "off"} ({found.reason.value}).')
    if found.variant is not None:
        say(f"Variant: {found.variant.name}.")
        if found.variant.config_overrides:
            say(f"Overrides: {json.dumps(dict(found.variant.config_overrides), ensure_ascii=False)}.")
    if found.bucket is not None:
        say(f"Place: {found.bucket:.2f} of 100.")
