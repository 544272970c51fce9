"""Answers to questions whose engine the main rollout chose, as they are written down."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

import sqlalchemy as sa

from cmo.policy.flags import MAIN_ROLLOUT
from cmo.storage.exposures import EXPOSURES, MEASUREMENTS


def pour(
    connection: sa.Connection,
    count: int,
    *,
    at: datetime,
    engine: str = "lightrag",
    variant: str = "",
    failed: bool = False,
    flag: str = MAIN_ROLLOUT,
) -> None:
    """So many answers of this engine, good unless they `failed`."""
    questions = [uuid4().hex for _ in range(count)]
    led = {"user_id": "u", "at": at, "flag": flag, "flag_version": 1, "variant": variant, "engine": engine}
    came = {"at": at, "failed": failed, "seconds": 2.0, "quality": None if failed else 0.85}
    connection.execute(sa.insert(EXPOSURES), [{"question_id": each, **led} for each in questions])
    connection.execute(sa.insert(MEASUREMENTS), [{"question_id": each, **came} for each in questions])
