"""Quality: how good each answer was, the texts of conversations, and what people thought of answers."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # question_id is empty in rows of before. It is what the other records call the question; id is the row's number.
    op.add_column("questions", sa.Column("question_id", sa.String, nullable=True))
    for part in ("relevance", "accuracy", "consistency", "composite"):
        op.add_column("questions", sa.Column(part, sa.Float, nullable=True))
    op.add_column("questions", sa.Column("verdicts", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("questions", sa.Column("not_assessed", sa.String, nullable=False, server_default=""))
    op.add_column("questions", sa.Column("second_opinion", sa.String, nullable=False, server_default=""))
    op.create_index("questions_by_question_id", "questions", ["question_id"], unique=True)
    op.create_table(
        "exchanges",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("question_id", sa.String, sa.ForeignKey("questions.question_id"), nullable=False, unique=True),
        sa.Column("thread_id", sa.String, nullable=False),
        sa.Column("user_id", sa.String, nullable=False),
        sa.Column("asked_at", sa.DateTime, nullable=False),
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("format", sa.Integer, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
    )
    op.create_index("exchanges_by_thread", "exchanges", ["thread_id", "asked_at"])
    op.create_index("exchanges_by_time", "exchanges", ["asked_at"])
    op.create_table(
        "feedback",
        sa.Column("question_id", sa.String, sa.ForeignKey("questions.question_id"), primary_key=True),
        sa.Column("user_id", sa.String, nullable=False),
        sa.Column("thumb", sa.String, nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.CheckConstraint("thumb IN ('up', 'down')", name="known_thumb"),
    )
    op.create_index("feedback_by_time", "feedback", ["at"])
