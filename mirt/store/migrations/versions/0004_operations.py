"""Tables and indexes for operators: workers, events of tasks, and searches."""

import sqlalchemy as sa
from alembic import op

from mirt.store.migrations.steps import add_column, create_index, update_in_batches

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "workers",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("queues", _JSON, nullable=False),
        sa.Column("threads", sa.Integer(), nullable=False),
        sa.Column("finished", sa.Integer(), nullable=False),
        sa.Column("memory_mb", sa.Integer(), nullable=False),
        sa.Column("stopping", sa.Boolean(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
    )
    op.create_table(
        "task_events",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("task_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("code", sa.String()),
        sa.Column("why", sa.Text()),
        sa.Column("until", sa.DateTime(timezone=True)),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
    )
    create_index("task_events_task", "task_events", ["task_id"])
    create_index("task_events_at", "task_events", ["at"])

    add_column("tasks", sa.Column("trace_id", sa.String()))
    add_column("tasks", sa.Column("session_id", sa.String()))
    add_column("tasks", sa.Column("first_started_at", sa.DateTime(timezone=True)))
    create_index("tasks_trace", "tasks", ["trace_id"])
    create_index("tasks_session", "tasks", ["session_id", "created_at"])
    add_column("dead_letters", sa.Column("session_id", sa.String()))
    create_index("dead_letters_session", "dead_letters", ["session_id"])
    create_index("dead_letters_trace", "dead_letters", ["trace_id"])
    _fill("tasks")
    _fill("dead_letters")
    update_in_batches("tasks", "id", set_="first_started_at = started_at")

    create_index("inbox_trace", "inbox", ["trace_id"])
    create_index("inbox_message", "inbox", ["message_id"])
    create_index("orders_trace", "orders", ["trace_id"])
    create_index("followups_session", "followups", ["session_id", "taken_at"])
    for table in ("deliveries", "orders"):
        create_index(
            f"{table}_unknown",
            table,
            ["created_at"],
            postgresql_where=sa.text("unknown > 0"),
            sqlite_where=sa.text("unknown > 0"),
        )
    add_column("conversations", sa.Column("customer_name", sa.String()))
    create_index("conversations_latest", "conversations", ["last_customer_at", "session_id"])
    create_index(
        "conversations_waiting",
        "conversations",
        ["last_customer_at"],
        postgresql_where=sa.text("head_task_id IS NOT NULL"),
        sqlite_where=sa.text("head_task_id IS NOT NULL"),
    )
    for column in ("session_id", "user_id", "customer_name"):
        # Beginnings of a text are found by byte order, whatever the collation of the database.
        create_index(
            f"conversations_by_{column}",
            "conversations",
            [column],
            postgresql_ops={column: "text_pattern_ops"},
        )


_JSON = sa.JSON().with_variant(sa.dialects.postgresql.JSONB(), "postgresql")
_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _fill(table: str) -> None:
    trace = "trace_id = options->>'trace_id', " if table == "tasks" else ""
    key = "id" if table == "tasks" else "task_id"
    update_in_batches(table, key, set_=f"{trace}session_id = kwargs->>'session_id'")
