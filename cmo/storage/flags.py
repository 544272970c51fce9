"""Feature flags in the application's database, and who changed what of them, when and why.

A change and its entry in the history are one transaction. The history is only ever added to: its last number is the
revision by which other processes see that something has changed. What a flag means is not known here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa

from cmo.errors import FlagChanged, FlagMalformed, OracleError
from cmo.policy.flag_documents import document_text, flag_from
from cmo.policy.flags import AnyFlag, FeatureFlag, FlagSet, MalformedFlag, sharing_people
from cmo.storage.assignments import forget
from cmo.storage.columns import UtcTime
from cmo.storage.database import Database, as_unavailable

LONGEST_REASON = 500
"""Characters of an author or a reason at most."""

T = TypeVar("T")

_meta = sa.MetaData()

_flags = sa.Table(
    "flags",
    _meta,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
)

_changes = sa.Table(
    "flag_changes",
    _meta,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("action", sa.String, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("author", sa.String, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("old", sa.Text),
    sa.Column("new", sa.Text),
)

_REVISION = sa.select(sa.func.coalesce(sa.func.max(_changes.c.id), 0))
_UNREADABLE = "The flags could not be read from the database: check its file and its permissions."
_UNWRITABLE = "The flag could not be changed: check the database's file and its permissions."


class FlagAction(StrEnum):
    """What was done to a flag."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    REVERT = "revert"


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorship:
    """Who changes something, why, and when."""

    author: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagChange:
    """An entry of a flag's history. `old` and `new` are its documents in JSON, None where there was no flag."""

    name: str
    version: int
    action: FlagAction
    by: Authorship
    old: str | None
    new: str | None


class SqlFlags:
    """Flags in the application's database. It is a source of dispatch.flags.

    With `trial` every change is made and taken back, so that it tells what would come of it.

    Raises (every method):
        StorageUnavailable: the database cannot be read or written.
    """

    def __init__(self, database: Database, *, trial: bool = False) -> None:
        self._database = database
        self._trial = trial

    async def revision(self) -> str:
        """What differs when any flag has changed. One look at the end of an index."""
        with as_unavailable(_UNREADABLE):
            return str(await self._database.look(lambda connection: connection.execute(_REVISION).scalar_one()))

    async def load(self) -> FlagSet:
        """All flags, in the order of their names."""
        with as_unavailable(_UNREADABLE):
            return await self._database.look(_all)

    async def get(self, name: str) -> AnyFlag | None:
        """The flag of that name."""
        with as_unavailable(_UNREADABLE):
            row = await self._database.look(partial(_row, name))
        return None if row is None else _flag(row)

    async def history(self, name: str) -> tuple[FlagChange, ...]:
        """Every change to the flag, the newest first."""
        newest_first = sa.select(_changes).where(_changes.c.name == name).order_by(_changes.c.version.desc())
        with as_unavailable(_UNREADABLE):
            rows = await self._database.look(lambda connection: connection.execute(newest_first).all())
        return tuple(map(_change, rows))

    async def create(self, flag: FeatureFlag, by: Authorship) -> FeatureFlag:
        """The flag as it is kept.

        Raises:
            OracleError: there is one of that name, or it may not be kept; the message says why.
        """
        return await self._write(partial(_create, flag, by))

    async def update(self, flag: FeatureFlag, by: Authorship, *, version: int) -> FeatureFlag:
        """The flag as it is kept in place of the one at `version`.

        Raises:
            FlagChanged: it is at another version.
            OracleError: there is none of that name, or it may not be kept; the message says why.
        """
        return await self._write(partial(_update, flag, by, version, FlagAction.UPDATE))

    async def delete(self, name: str, by: Authorship, *, version: int) -> None:
        """Takes the flag away, and who had which variant; its history stays, and `revert` brings it back.

        Raises:
            FlagChanged: it is at another version.
            OracleError: there is none of that name.
        """
        await self._write(partial(_delete, name, by, version))

    async def revert(self, name: str, by: Authorship, *, to: int, version: int) -> FeatureFlag:
        """The flag as it was at version `to`, kept as a new version after `version`, which may be its deletion.

        Raises:
            FlagChanged: it is at another version than `version`.
            OracleError: it never was at that version, or was deleted then.
        """
        return await self._write(partial(_revert, name, by, to, version))

    async def _write(self, work: Callable[[sa.Connection], T]) -> T:
        with as_unavailable(_UNWRITABLE):
            return await booked(self._database, work, trial=self._trial)


async def booked(database: Database, work: Callable[[sa.Connection], T], *, trial: bool) -> T:
    """What `work` returns after a transaction that writes; with `trial` it is taken back."""
    try:
        return await database.book(partial(_taken_back, work) if trial else work)
    except _TakenBackError as taken_back:
        result: T = taken_back.args[0]
        return result


def flag_in(connection: sa.Connection, name: str) -> AnyFlag | None:
    """The flag of that name, in a transaction of somebody else's."""
    row = _row(name, connection)
    return None if row is None else _flag(row)


def last_version(connection: sa.Connection, name: str) -> int:
    """The version of the last change to the flag, which may be its deletion; 0 when there never was one."""
    last = sa.select(sa.func.coalesce(sa.func.max(_changes.c.version), 0)).where(_changes.c.name == name)
    return int(connection.execute(last).scalar_one())


def put(connection: sa.Connection, flag: FeatureFlag, by: Authorship) -> FeatureFlag:
    """The flag as it is kept in a transaction of somebody else's, in place of the one of its name, if there is one.

    Raises:
        OracleError: it may not be kept; the message says why.
    """
    is_there = _row(flag.name, connection) is not None
    return _keep(connection, flag, by, action=FlagAction.UPDATE if is_there else FlagAction.CREATE)


def put_back(connection: sa.Connection, name: str, by: Authorship, *, before: int) -> None:
    """Makes the flag what it was before its version `before`, also none at all, in a transaction of somebody else's.

    Raises:
        OracleError: what it was may not be kept any more; the message says why.
    """
    was = sa.select(_changes.c.old).where(_changes.c.name == name, _changes.c.version == before)
    document, row = connection.execute(was).scalar_one(), _row(name, connection)
    if document is not None:
        _keep(connection, flag_from(name, json.loads(document)), by, action=FlagAction.REVERT)
    elif row is not None:
        _remove(connection, row, by)


def documents(connection: sa.Connection, name: str, *, since: int, until: datetime) -> Mapping[int, str | None]:
    """The flag's documents in JSON by their versions, from `since` on and made before `until`; None for no flag."""
    of = _changes.c
    these = (of.name == name, of.version >= since, of.at < until)
    rows = connection.execute(sa.select(of.version, of.new).where(*these))
    return {row.version: row.new for row in rows}


def said(what: str, text: str) -> str:
    """The text of an author or a reason on one line.

    Raises:
        OracleError: it is empty, too long, or cannot be shown.
    """
    text = " ".join(text.split())
    if not text or len(text) > LONGEST_REASON or not text.isprintable():
        raise OracleError(f"The {what} is missing or wrong. Allowed: a text of at most {LONGEST_REASON} characters.")
    return text


class _TakenBackError(Exception):
    """Ends a transaction without keeping it; carries what came of it."""


def _taken_back(work: Callable[[sa.Connection], T], connection: sa.Connection) -> T:
    raise _TakenBackError(work(connection))


def _all(connection: sa.Connection) -> FlagSet:
    revision = connection.execute(_REVISION).scalar_one()
    rows = connection.execute(sa.select(_flags).order_by(_flags.c.name)).all()
    return FlagSet(revision=str(revision), flags={row.name: _flag(row) for row in rows})


def _row(name: str, connection: sa.Connection) -> sa.Row[Any] | None:
    return connection.execute(sa.select(_flags).where(_flags.c.name == name)).first()


def _flag(row: sa.Row[Any]) -> AnyFlag:
    times = {"created_at": row.created_at, "updated_at": row.updated_at}
    try:
        return flag_from(row.name, json.loads(row.document), version=row.version, **times)
    except FlagMalformed as error:
        return MalformedFlag(name=row.name, problem=str(error), version=row.version)
    except (ValueError, RecursionError):
        return MalformedFlag(name=row.name, problem=f'Flag "{row.name}": it is no JSON.', version=row.version)


def _change(row: sa.Row[Any]) -> FlagChange:
    return FlagChange(
        name=row.name,
        version=row.version,
        action=FlagAction(row.action),
        by=Authorship(author=row.author, reason=row.reason, at=row.at),
        old=row.old,
        new=row.new,
    )


def _create(flag: FeatureFlag, by: Authorship, connection: sa.Connection) -> FeatureFlag:
    if _row(flag.name, connection) is not None:
        raise OracleError(f'There is a flag "{flag.name}" already. Choose another name, or change that one.')
    return _keep(connection, flag, by, action=FlagAction.CREATE)


def _update(
    flag: FeatureFlag, by: Authorship, version: int, action: FlagAction, connection: sa.Connection
) -> FeatureFlag:
    if _row(flag.name, connection) is None:
        raise _no_flag(flag.name)
    _expect(connection, flag.name, version)
    return _keep(connection, flag, by, action=action)


def _delete(name: str, by: Authorship, version: int, connection: sa.Connection) -> None:
    row = _row(name, connection)
    if row is None:
        raise _no_flag(name)
    _expect(connection, name, version)
    _remove(connection, row, by)


def _remove(connection: sa.Connection, row: sa.Row[Any], by: Authorship) -> None:
    connection.execute(sa.delete(_flags).where(_flags.c.name == row.name))
    forget(connection, row.name)
    _remember(connection, row.name, by, action=FlagAction.DELETE, old=row.document, new=None)


def _revert(name: str, by: Authorship, to: int, version: int, connection: sa.Connection) -> FeatureFlag:
    _expect(connection, name, version)
    that = sa.select(_changes.c.new).where(_changes.c.name == name, _changes.c.version == to)
    found = connection.execute(that).first()
    if found is None:
        raise OracleError(f'The flag "{name}" never was at version {to}.')
    if found.new is None:
        raise OracleError(f'The flag "{name}" was deleted at version {to}: there is nothing to go back to.')
    return _keep(connection, flag_from(name, json.loads(found.new)), by, action=FlagAction.REVERT)


def _keep(connection: sa.Connection, flag: FeatureFlag, by: Authorship, *, action: FlagAction) -> FeatureFlag:
    document, before = document_text(flag), _row(flag.name, connection)
    flag_from(flag.name, json.loads(document))  # what could not be read again must not be kept
    _refuse_overlap(connection, flag)
    version = _remember(connection, flag.name, by, action=action, old=before and before.document, new=document)
    created_at = before.created_at if before is not None else by.at
    row = {"version": version, "document": document, "created_at": created_at, "updated_at": by.at}
    if before is None:
        connection.execute(sa.insert(_flags).values(name=flag.name, **row))
    else:
        connection.execute(sa.update(_flags).where(_flags.c.name == flag.name).values(row))
    return replace(flag, version=version, created_at=created_at, updated_at=by.at)


def _remember(
    connection: sa.Connection, name: str, by: Authorship, *, action: FlagAction, old: str | None, new: str | None
) -> int:
    """The version that the change makes."""
    version = last_version(connection, name) + 1
    entry = {"name": name, "version": version, "action": action.value, "old": old, "new": new}
    why = {"author": said("author", by.author), "reason": said("reason", by.reason), "at": by.at}
    connection.execute(sa.insert(_changes).values({**entry, **why}))
    return version


def _expect(connection: sa.Connection, name: str, version: int) -> None:
    """Raises FlagChanged unless the flag is at that version."""
    present = last_version(connection, name)
    if present == 0:
        raise _no_flag(name)
    if present != version:
        raise FlagChanged(
            f'The flag "{name}" is at version {present}, not {version}: somebody has changed it. Look at it again.'
        )


def _refuse_overlap(connection: sa.Connection, flag: FeatureFlag) -> None:
    """Two flags of one namespace may not share people, or they would not exclude each other."""
    if flag.namespace is not None and (problem := sharing_people(flag, _all(connection).flags.values())):
        raise OracleError(problem)


def _no_flag(name: str) -> OracleError:
    return OracleError(f'There is no flag "{name}". `cmo flags list` shows those there are.')
