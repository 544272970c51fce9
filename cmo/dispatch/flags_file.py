"""Flags that an admin writes down instead of keeping them in the database: in a YAML file, or in a setting.

A file holds a table of flags. Below `environments` a flag can say what differs in one of them:

    flags:
      new_ranking:
        status: enabled
        environments:
          production: {status: gradual_rollout, rollout_percentage: 10}

JSON is YAML, too. What the keys of a flag mean is told in policy/flag_documents.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from cmo.errors import FlagMalformed, SettingsError
from cmo.policy.flag_documents import flag_from
from cmo.policy.flags import AnyFlag, FeatureFlag, FlagSet, FlagStatus, MalformedFlag, sharing_people

_ENVIRONMENTS = "environments"
_WHOLLY = {"on": 100.0, "true": 100.0, "off": 0.0, "false": 0.0}


class FileFlags:
    """The flags of a YAML file, read again when it changes. It is a source of dispatch.flags.

    Raises (every method):
        SettingsError: the file cannot be read; names it and what is wrong.
    """

    def __init__(self, path: Path, *, environment: str, environments: Collection[str]) -> None:
        """`environment` is the one the application runs in, one of `environments`."""
        self._path = path
        self._environment = environment
        self._environments = environments

    async def revision(self) -> str:
        """What differs when the file has been written."""
        return await asyncio.to_thread(self._revision)

    async def load(self) -> FlagSet:
        """All flags of the file. One that is malformed leaves the others as they are."""
        return await asyncio.to_thread(self._load)

    def _revision(self) -> str:
        try:
            now = self._path.stat()
        except OSError as error:
            raise SettingsError(f"CMO_FLAGS_FILE: {self._path} cannot be read: {error.strerror}.") from error
        return f"{now.st_mtime_ns}-{now.st_size}-{now.st_ino}"

    def _load(self) -> FlagSet:
        revision = self._revision()
        try:
            content = document_in(self._path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise SettingsError(f"CMO_FLAGS_FILE: {self._path} cannot be read: {error.strerror}.") from error
        except (UnicodeDecodeError, FlagMalformed) as error:
            raise SettingsError(f"CMO_FLAGS_FILE: {self._path} cannot be read: {error}") from error
        tables = content.get("flags") if isinstance(content, Mapping) and content.keys() == {"flags"} else None
        if not isinstance(tables, Mapping):
            raise SettingsError(f'CMO_FLAGS_FILE: {self._path} has a wrong form. Allowed: a table "flags" of flags.')
        flags = {str(name): self._flag(str(name), table) for name, table in tables.items()}
        return FlagSet(revision=revision, flags=_apart(dict(sorted(flags.items()))))

    def _flag(self, name: str, table: object) -> AnyFlag:
        try:
            return flag_from(name, self._here(name, table))
        except FlagMalformed as error:
            return MalformedFlag(name=name, problem=str(error))

    def _here(self, name: str, table: object) -> object:
        """The flag's document in this environment."""
        if not isinstance(table, Mapping) or _ENVIRONMENTS not in table:
            return table
        elsewhere = table[_ENVIRONMENTS]
        if not isinstance(elsewhere, Mapping) or not all(
            key in self._environments and isinstance(within, Mapping) for key, within in elsewhere.items()
        ):
            raise FlagMalformed(
                f'Flag "{name}": "{_ENVIRONMENTS}" has a wrong value. Allowed: tables named '
                f"{' or '.join(self._environments)}."
            )
        everywhere = {key: value for key, value in table.items() if key != _ENVIRONMENTS}
        return {**everywhere, **elsewhere.get(self._environment, {})}


class GivenFlags:
    """The flags of a setting, which never change. It is a source of dispatch.flags."""

    def __init__(self, pairs: Iterable[str]) -> None:
        """`pairs` are NAME=on, NAME=off or NAME=PERCENTAGE."""
        self._flags = {flag.name: flag for flag in map(_given, sorted(pairs))}

    async def revision(self) -> str:
        """Always the same."""
        return "given"

    async def load(self) -> FlagSet:
        """The flags."""
        return FlagSet(revision="given", flags=self._flags)


def document_in(text: str) -> Any:
    """What a YAML or JSON text holds.

    Raises:
        FlagMalformed: it is neither; says where.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise FlagMalformed(f"it is no YAML: {' '.join(str(error).split())}.") from error
    except (RecursionError, ValueError) as error:
        raise FlagMalformed("it is no YAML that can be read.") from error


def yaml_of(document: Mapping[str, Any]) -> str:
    """A document as YAML, in the order of its keys."""
    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110))


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Refuses a key that stands twice in a table, of which YAML would silently take the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for number, key in enumerate(keys):
            if key in keys[:number]:
                raise yaml.constructor.ConstructorError(None, None, f'"{key}" stands there twice', node.start_mark)
        return super().construct_mapping(node, deep)


def _apart(flags: Mapping[str, AnyFlag]) -> dict[str, AnyFlag]:
    """The flags; one that shares people of a namespace with an earlier one is malformed."""
    kept: dict[str, AnyFlag] = {}
    for name, flag in flags.items():
        problem = sharing_people(flag, kept.values()) if isinstance(flag, FeatureFlag) else ""
        kept[name] = MalformedFlag(name=name, problem=problem) if problem else flag
    return kept


def _given(pair: str) -> FeatureFlag:
    name, _, value = pair.partition("=")
    percentage = _WHOLLY[value] if value in _WHOLLY else float(value)
    status = FlagStatus.GRADUAL_ROLLOUT if percentage else FlagStatus.DISABLED
    return flag_from(name, {"status": status.value, "rollout_percentage": percentage})
