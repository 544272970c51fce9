"""Feature flags, the history of every change to them, to which rows can only be added, and who has which variant."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "flags",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("updated_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "flag_changes",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("author", sa.String, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("old", sa.Text, nullable=True),
        sa.Column("new", sa.Text, nullable=True),
        sa.UniqueConstraint("name", "version"),
    )
    op.create_table(
        "flag_assignments",
        sa.Column("user_id", sa.String, primary_key=True),
        sa.Column("flag", sa.String, primary_key=True),
        sa.Column("variant", sa.String, nullable=False),
        sa.Column("hash_version", sa.Integer, nullable=False),
        sa.Column("at", sa.DateTime, nullable=False),
    )
    for what in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER flag_changes_without_{what.lower()} BEFORE {what} ON flag_changes "
            "BEGIN SELECT RAISE(ABORT, 'the history of flags is only added to'); END"
        )
