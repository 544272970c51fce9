"""What was seen in an experiment: an observation for each question whose engine the flag chose by a variant.

Made from four records: where the flag led (before anybody was asked, so that no question is missing), what was booked,
what was measured of the engine that was meant, and the thumb. How a record becomes a metric is told in
policy/experiment_in_service.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cmo.errors import FlagMalformed
from cmo.policy.budget import MICRODOLLARS
from cmo.policy.experiment_in_service import LOST_AFTER, Outcome, measured
from cmo.policy.flag_documents import flag_from
from cmo.policy.measuring import Observation
from cmo.storage.exposures import EXPOSURES, MEASUREMENTS
from cmo.storage.flags import documents
from cmo.storage.ledger import QUESTIONS
from cmo.values import Thumb

_thumbs = sa.table("feedback", sa.column("question_id"), sa.column("thumb"))
"""As much of storage/feedback.py's table as is needed here."""


def observed(
    connection: sa.Connection, flag: str, *, version: int, until: datetime, now: datetime
) -> Sequence[Observation]:
    """What was seen of questions that the flag led somewhere by a variant, from `version` of it on and before `until`.

    In the order of time. Each has the weights by which that version of the flag drew variants. A question that is not
    booked yet is left out as long as it may be under way, and then counts as lost.
    """
    weights = {number: _weights(flag, text) for number, text in documents(connection, flag, since=version).items()}
    return [
        Observation(
            user=row.user_id,
            arm=row.variant,
            metrics=measured(_outcome(row)),
            at=row.at,
            weights=weights.get(row.flag_version),
        )
        for row in connection.execute(_rows(flag, version, until))
        if row.outcome is not None or row.at + LOST_AFTER <= now
    ]


def _rows(flag: str, version: int, until: datetime) -> sa.Select[Any]:
    exposed, asked = EXPOSURES.c, QUESTIONS.c
    missed = sa.exists().where(MEASUREMENTS.c.question_id == exposed.question_id, MEASUREMENTS.c.failed.is_(sa.true()))
    return (
        sa.select(
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
        .where(exposed.flag == flag, exposed.variant != "", exposed.flag_version >= version, exposed.at < until)
        .order_by(exposed.at, exposed.id)
    )


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


def _weights(flag: str, document: str | None) -> Mapping[str, float] | None:
    """The weights that a flag's document gives its variants; None where there is none that can be read."""
    if document is None:
        return None
    try:
        return {arm.name: arm.weight for arm in flag_from(flag, json.loads(document)).arms}
    except FlagMalformed:
        return None
