"""Leases in the application's database: of several processes, one does something, until it stops or is gone.

To be taken in the transaction that does what the lease is for: a process that was stalled may believe for as long as it
likes that it is the one, and finds out before it has changed anything. What leases are for is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from cmo.storage.columns import UtcTime

LONGEST_STALL = timedelta(hours=1)
"""To a process that has read its clock and was stalled then, everybody else's clock seems to have been ahead."""

_leases = sa.Table(
    "leases",
    sa.MetaData(),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("owner", sa.String, nullable=False),
    sa.Column("until", UtcTime, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What `owner` alone may do, until then unless it is taken anew."""

    name: str
    owner: str
    until: datetime


def take(connection: sa.Connection, name: str, owner: str, now: datetime, seconds: float) -> bool:
    """Whether the lease is `owner`'s for so long from `now`: it was already, or has expired, or nobody had it.

    One that lasts for longer than any would was taken by a clock that has been set back since, and counts as expired.
    """
    wanted = insert(_leases).values(name=name, owner=owner, until=now + timedelta(seconds=seconds))
    too_long = now + timedelta(seconds=seconds) + LONGEST_STALL
    free = sa.or_(_leases.c.owner == owner, _leases.c.until <= now, _leases.c.until > too_long)
    wanted = wanted.on_conflict_do_update(
        index_elements=["name"], set_={"owner": wanted.excluded.owner, "until": wanted.excluded.until}, where=free
    )
    return connection.execute(wanted).rowcount == 1


def release(connection: sa.Connection, name: str, owner: str) -> None:
    """Give the lease back before its time; nothing when it is somebody else's by now."""
    connection.execute(sa.delete(_leases).where(_leases.c.name == name, _leases.c.owner == owner))


def lease_in(connection: sa.Connection, name: str) -> Lease | None:
    """The lease as it was taken last, which may have expired; None when it was given back."""
    row = connection.execute(sa.select(_leases).where(_leases.c.name == name)).first()
    return None if row is None else Lease(name=row.name, owner=row.owner, until=row.until)
