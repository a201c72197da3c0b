"""What a customer's silence leads to, what workers say of their health, and ticks."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("conversations", sa.Column("order_status", sa.String()))
    op.add_column(
        "conversations",
        sa.Column("followups_taken", sa.Integer(), server_default="0", nullable=False),
    )
    op.add_column(
        "conversations",
        sa.Column("summary_awaited", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    # Nobody is to be reminded of a silence that is older than the reminders.
    op.execute(
        sa.text("UPDATE conversations SET summary_awaited = true, followups_taken = 1000000")
    )
    op.add_column("turns", sa.Column("actions", JSON, server_default="[]", nullable=False))
    op.create_index(
        "conversations_silent", "conversations", ["followups_taken", "last_customer_at"]
    )
    op.create_index(
        "conversations_unsummarised",
        "conversations",
        ["last_customer_at"],
        postgresql_where=sa.text("summary_awaited"),
        sqlite_where=sa.text("summary_awaited"),
    )
    op.create_index("inbox_session", "inbox", ["session_id", "received_at"])
    op.create_table(
        "followups",
        sa.Column("task_id", sa.String(), nullable=False),
        sa.Column("session_id", sa.String(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("task_id"),
        sa.UniqueConstraint("session_id", "since", "number", name="followups_once"),
    )
    op.create_table(
        "health_checks",
        sa.Column("worker_id", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("checks", JSON, nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("worker_id"),
    )
    op.create_table(
        "ticks",
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("task"),
    )
