"""The ledger: one row for each question asked."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "questions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("asked_at", sa.DateTime, nullable=False),
        sa.Column("user_id", sa.String, nullable=False),
        sa.Column("thread_id", sa.String, nullable=False),
        sa.Column("engine", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("mode", sa.String, nullable=False),
        sa.Column("tokens_in", sa.Integer, nullable=False),
        sa.Column("tokens_out", sa.Integer, nullable=False),
        sa.Column("cost_microdollars", sa.BigInteger, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("answered", sa.Boolean, nullable=False),
        sa.Column("language", sa.String, nullable=False),
        sa.Column("generation", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.CheckConstraint("outcome IN ('answered', 'refused', 'stopped', 'failed')", name="known_outcome"),
        sa.CheckConstraint("cost_microdollars >= 0 AND seconds >= 0", name="nothing_negative"),
    )
    op.create_index("questions_by_time", "questions", ["asked_at"])
