"""Follow-ups and summaries after a customer's silence, health checks of workers, and ticks."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from mirt.store.migrations.steps import add_column, create_index, update_in_batches

revision = "0002"
down_revision = "0001"

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    add_column("conversations", sa.Column("order_status", sa.String()))
    add_column(
        "conversations",
        sa.Column("followups_taken", sa.Integer(), server_default="0", nullable=False),
    )
    add_column(
        "conversations",
        sa.Column("summary_awaited", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    # No customer gets a follow-up for a silence that began before there were follow-ups.
    update_in_batches(
        "conversations", "session_id", set_="summary_awaited = true, followups_taken = 1000000"
    )
    add_column("turns", sa.Column("actions", JSON, server_default="[]", nullable=False))
    create_index("conversations_silent", "conversations", ["followups_taken", "last_customer_at"])
    create_index(
        "conversations_unsummarised",
        "conversations",
        ["last_customer_at"],
        postgresql_where=sa.text("summary_awaited"),
        sqlite_where=sa.text("summary_awaited"),
    )
    create_index("inbox_session", "inbox", ["session_id", "received_at"])
    op.create_table(
        "followups",
        sa.Column("task_id", sa.String(), nullable=False),
        sa.Column("session_id", sa.String(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("task_id"),
        sa.UniqueConstraint("session_id", "since", "number", name="followups_once"),
        if_not_exists=True,
    )
    op.create_table(
        "health_checks",
        sa.Column("worker_id", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("checks", JSON, nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("worker_id"),
        if_not_exists=True,
    )
    op.create_table(
        "ticks",
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("task"),
        if_not_exists=True,
    )
