"""Where flags led people and what came of it, rollouts, experiments, leases, and answers compared in the shadow."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("questions", sa.Column("custom", sa.JSON(none_as_null=True), nullable=True))
    op.create_table(
        "exposures",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("question_id", sa.String, nullable=False, unique=True),
        sa.Column("user_id", sa.String, nullable=False),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("flag", sa.String, nullable=False),
        sa.Column("flag_version", sa.Integer, nullable=False),
        sa.Column("variant", sa.String, nullable=False),
        sa.Column("engine", sa.String, nullable=False),
    )
    op.create_index("exposures_by_flag", "exposures", ["flag", "at"])
    op.create_table(
        "measurements",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("question_id", sa.String, nullable=False),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("failed", sa.Boolean, nullable=True),
        sa.Column("seconds", sa.Float, nullable=True),
        sa.Column("quality", sa.Float, nullable=True),
        sa.Column("satisfied", sa.Boolean, nullable=True),
        sa.Column("cost_microdollars", sa.BigInteger, nullable=True),
    )
    op.create_index("measurements_by_question", "measurements", ["question_id"])
    op.create_table(
        "rollouts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("flag", sa.String, nullable=False),
        sa.Column("flag_version", sa.Integer, nullable=False),
        sa.Column("phase", sa.String, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("started_at", sa.DateTime, nullable=False),
        sa.Column("updated_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "rollout_events",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("rollout_id", sa.Integer, sa.ForeignKey("rollouts.id"), nullable=False),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("stage", sa.Integer, nullable=False),
        sa.Column("percentage", sa.Float, nullable=False),
        sa.Column("words", sa.Text, nullable=False),
        sa.Column("author", sa.String, nullable=False),
        sa.Column("gates", sa.Text, nullable=False),
    )
    op.create_index("rollout_events_by_rollout", "rollout_events", ["rollout_id", "id"])
    op.create_table(
        "leases",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("until", sa.DateTime, nullable=False),
    )
    op.create_table(
        "experiments",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("definition", sa.Text, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("flag", sa.String, nullable=False),
        sa.Column("flag_version", sa.Integer, nullable=True),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("started_at", sa.DateTime, nullable=True),
        sa.Column("stopped_at", sa.DateTime, nullable=True),
    )
    op.create_table(
        "experiment_events",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("author", sa.String, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_table(
        "shadow_answers",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("question_id", sa.String, nullable=False),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("engine", sa.String, nullable=False),
        sa.Column("shadow", sa.String, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("answered", sa.Boolean, nullable=False),
        sa.Column("shadow_answered", sa.Boolean, nullable=True),
        sa.Column("quality", sa.Float, nullable=True),
        sa.Column("shadow_quality", sa.Float, nullable=True),
        sa.Column("overlap", sa.Float, nullable=True),
        sa.Column("cost_microdollars", sa.BigInteger, nullable=False),
        sa.Column("shadow_cost_microdollars", sa.BigInteger, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("shadow_seconds", sa.Float, nullable=False),
    )
    op.create_index("shadow_answers_by_time", "shadow_answers", ["at"])
    for table, what_it_is in _ONLY_ADDED_TO.items():
        for what in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_without_{what.lower()} BEFORE {what} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{what_it_is} is only added to'); END"
            )


_ONLY_ADDED_TO = {
    "rollout_events": "the history of rollouts",
    "experiment_events": "the history of experiments",
}
