"""Which variant each person got in a test, so that they keep it when the test's weights are changed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from cmo.policy.assignment import HASH_VERSION
from cmo.storage.columns import UtcTime
from cmo.storage.database import Database, as_unavailable

_assignments = sa.Table(
    "flag_assignments",
    sa.MetaData(),
    sa.Column("user_id", sa.String, primary_key=True),
    sa.Column("flag", sa.String, primary_key=True),
    sa.Column("variant", sa.String, nullable=False),
    sa.Column("hash_version", sa.Integer, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
)


class SqlAssignments:
    """Assignments in the application's database. Those made by another rule than the present one count as none.

    Raises (every method):
        StorageUnavailable: the database cannot be read or written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def assigned(self, user_id: str) -> Mapping[str, str]:
        """The person's variants, by flag."""
        with as_unavailable("Assignments could not be read from the database: check its file and its permissions."):
            return await self._database.look(partial(_assigned, user_id))

    async def keep(self, flag: str, user_id: str, variant: str, *, instead_of: str, at: datetime) -> str:
        """The variant the person has from now on: this one, unless they got another in the meantime.

        `instead_of` is one they had that there is no more, "" for none.
        """
        row = {"user_id": user_id, "flag": flag, "variant": variant, "hash_version": HASH_VERSION, "at": at}
        with as_unavailable("An assignment could not be kept: check the database's file and its permissions."):
            return await self._database.book(partial(_keep, row, instead_of))


def forget(connection: sa.Connection, flag: str) -> None:
    """Takes away who had which variant of a flag."""
    connection.execute(sa.delete(_assignments).where(_assignments.c.flag == flag))


def _assigned(user_id: str, connection: sa.Connection) -> dict[str, str]:
    of = _assignments.c
    theirs = sa.select(of.flag, of.variant).where(of.user_id == user_id, of.hash_version == HASH_VERSION)
    return {row.flag: row.variant for row in connection.execute(theirs)}


def _keep(row: Mapping[str, Any], instead_of: str, connection: sa.Connection) -> str:
    of = _assignments.c
    new = insert(_assignments).values(row)
    connection.execute(
        new.on_conflict_do_update(
            index_elements=[of.user_id, of.flag],
            set_={name: new.excluded[name] for name in ("variant", "hash_version", "at")},
            where=(of.variant == instead_of) | (of.hash_version != HASH_VERSION),
        )
    )
    return _assigned(row["user_id"], connection)[row["flag"]]
