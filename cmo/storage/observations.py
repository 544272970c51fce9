"""What was seen in an experiment: an observation for each question whose engine the flag chose by a variant.

Made from four records: where the flag led (before anybody was asked, so that no question is missing), what was booked,
what was measured of the engine that was meant, and the thumb. How a record becomes a metric is told in
policy/experiment_in_service.py.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, TypeAlias

import sqlalchemy as sa

from cmo.errors import FlagMalformed
from cmo.policy.budget import MICRODOLLARS
from cmo.policy.experiment_in_service import LOST_AFTER, Outcome, measured
from cmo.policy.flag_documents import flag_from
from cmo.policy.flags import FeatureVariant
from cmo.policy.measuring import Observation, Revision
from cmo.storage.exposures import EXPOSURES, MEASUREMENTS
from cmo.storage.flags import documents
from cmo.storage.ledger import QUESTIONS
from cmo.values import Thumb

_Arms: TypeAlias = Mapping[str, FeatureVariant]

_thumbs = sa.table("feedback", sa.column("question_id"), sa.column("thumb"))
"""As much of storage/feedback.py's table as is needed here."""


def observed(
    connection: sa.Connection, flag: str, *, version: int, until: datetime, now: datetime
) -> Sequence[Observation]:
    """What was seen of questions that the flag led somewhere by a variant, from `version` of it on and before `until`.

    In the order in which what came of them was known, so that what is known later never comes before what was known.
    Each has the weights by which that version of the flag drew variants. A question that is not booked yet is left out
    as long as it may be under way, and then counts as lost. An arm that a version serves otherwise than `version` did
    is another one, and named so.
    """
    made = documents(connection, flag, since=version, until=until)
    arms = {number: _arms(flag, text) for number, text in made.items()}
    thumbs = _thumbs_given(connection, flag, version, until)
    seen = [
        _observation(row, arms, first=arms.get(version, {}), thumbs=thumbs.get(row.question_id, ()))
        for row in connection.execute(_rows(flag, version, until))
        if row.flag_version in arms and (row.outcome is not None or row.at + LOST_AFTER <= now)
    ]
    return [observation for _, observation in sorted(seen, key=itemgetter(0))]


def _observation(
    row: sa.Row[Any], arms: Mapping[int, _Arms], *, first: _Arms, thumbs: Sequence[sa.Row[Any]]
) -> tuple[datetime, Observation]:
    """What was seen of a question, and when. `thumbs` are those that were given for it, the last one still stands."""
    found, there = _outcome(row), arms[row.flag_version]
    at = row.at + (LOST_AFTER if found is None else timedelta(seconds=row.seconds))
    was, now = first.get(row.variant), there.get(row.variant)
    is_the_same = was is None or now is None or was.config_overrides == now.config_overrides
    return at, Observation(
        user=row.user_id,
        arm=row.variant if is_the_same else f"{row.variant} of version {row.flag_version}",
        metrics=measured(found),
        at=at,
        weights={name: arm.weight for name, arm in there.items()} or None,
        revised=tuple(_revisions(found, thumbs)),
    )


def _revisions(found: Outcome | None, thumbs: Sequence[sa.Row[Any]]) -> Iterator[Revision]:
    """What was known before each thumb. One that was taken back counts nowhere: nobody knows when."""
    if found is None or found.thumb is None:
        return
    before: Thumb | None = None
    for given in thumbs:
        yield Revision(until=given.at, metrics=measured(replace(found, thumb=before)))
        before = Thumb.UP if given.satisfied else Thumb.DOWN


def _thumbs_given(
    connection: sa.Connection, flag: str, version: int, until: datetime
) -> Mapping[str, Sequence[sa.Row[Any]]]:
    """The thumbs for the answers to each question, in the order in which they were given."""
    of, given = MEASUREMENTS.c, defaultdict[str, list[sa.Row[Any]]](list)
    rows: sa.Select[Any] = (
        sa.select(of.question_id, of.at, of.satisfied)
        .join(EXPOSURES, EXPOSURES.c.question_id == of.question_id)
        .where(of.satisfied.is_not(None), *_exposed(flag, version, until))
        .order_by(of.id)
    )
    for row in connection.execute(rows):
        given[row.question_id].append(row)
    return given


def _rows(flag: str, version: int, until: datetime) -> sa.Select[Any]:
    exposed, asked = EXPOSURES.c, QUESTIONS.c
    missed = sa.exists().where(MEASUREMENTS.c.question_id == exposed.question_id, MEASUREMENTS.c.failed.is_(sa.true()))
    return (
        sa.select(
            exposed.question_id,
            exposed.user_id,
            exposed.variant,
            exposed.at,
            exposed.flag_version,
            asked.outcome,
            asked.answered,
            asked.seconds,
            asked.composite,
            asked.cost_microdollars,
            asked.custom,
            _thumbs.c.thumb,
            missed.label("missed"),
        )
        .outerjoin_from(EXPOSURES, QUESTIONS, asked.question_id == exposed.question_id)
        .outerjoin(_thumbs, _thumbs.c.question_id == exposed.question_id)
        .where(*_exposed(flag, version, until))
        .order_by(exposed.at, exposed.id)
    )


def _exposed(flag: str, version: int, until: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    of = EXPOSURES.c
    return of.flag == flag, of.variant != "", of.flag_version >= version, of.at < until


def _outcome(row: sa.Row[Any]) -> Outcome | None:
    if row.outcome is None:
        return None
    return Outcome(
        outcome=row.outcome,
        missed=row.missed,
        answered=row.answered,
        seconds=row.seconds,
        quality=row.composite,
        custom=row.custom or {},
        cost_usd=row.cost_microdollars / MICRODOLLARS,
        thumb=Thumb(row.thumb) if row.thumb else None,
    )


def _arms(flag: str, document: str | None) -> _Arms:
    """The variants in a flag's document, by name; none where there is no flag that can be read."""
    if document is None:
        return {}
    try:
        return {arm.name: arm for arm in flag_from(flag, json.loads(document)).arms}
    except FlagMalformed:
        return {}
