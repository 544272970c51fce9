"""Costs: one row for each call to a model, what may still be spent, and more of each question."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("questions", sa.Column("decision", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("questions", sa.Column("cached", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("questions", sa.Column("written", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_table(
        "calls",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("question_id", sa.Integer, sa.ForeignKey("questions.id"), nullable=True),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("user_id", sa.String, nullable=False),
        sa.Column("engine", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("stage", sa.String, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("tokens_in", sa.Integer, nullable=False),
        sa.Column("tokens_cached", sa.Integer, nullable=False),
        sa.Column("tokens_out", sa.Integer, nullable=False),
        sa.Column("cost_microdollars", sa.BigInteger, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("estimated", sa.Boolean, nullable=False),
        sa.Column("variant", sa.String, nullable=False),
        sa.CheckConstraint("outcome IN ('ok', 'failed', 'stopped')", name="known_call_outcome"),
        sa.CheckConstraint("cost_microdollars >= 0 AND seconds >= 0", name="no_negative_call"),
    )
    op.create_index("calls_by_time", "calls", ["at"])
    op.create_index("calls_by_question", "calls", ["question_id"])
    # subject is whose limit it is, "" for everybody's; starts_on is the first day of the period, in UTC.
    op.create_table(
        "budget_spent",
        sa.Column("scope", sa.String, primary_key=True),
        sa.Column("subject", sa.String, primary_key=True),
        sa.Column("starts_on", sa.Date, primary_key=True),
        sa.Column("spent_microdollars", sa.BigInteger, nullable=False),
        sa.CheckConstraint("spent_microdollars >= 0", name="no_negative_spending"),
    )
    op.create_table(
        "budget_reservations",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("user_id", sa.String, nullable=False),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("microdollars", sa.BigInteger, nullable=False),
        sa.CheckConstraint("microdollars > 0", name="something_reserved"),
    )
    op.create_table(
        "budget_alerts",
        sa.Column("scope", sa.String, primary_key=True),
        sa.Column("subject", sa.String, primary_key=True),
        sa.Column("starts_on", sa.Date, primary_key=True),
        sa.Column("limit_microdollars", sa.BigInteger, primary_key=True),
        sa.Column("level", sa.String, primary_key=True),
    )
