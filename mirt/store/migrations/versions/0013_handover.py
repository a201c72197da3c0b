"""A person takes a conversation over, answers it and hands it back."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from mirt.store.migrations.steps import add_column, create_index

revision = "0013"
down_revision = "0012"
works_with = "0006"

_TIME = sa.DateTime(timezone=True)
_ADDED = {
    "conversations": (
        sa.Column("handover_state", sa.String()),
        sa.Column("handover_by", sa.String()),
        sa.Column("handover_reason", sa.Text()),
        sa.Column("handover_since", _TIME),
        sa.Column("handover_until", _TIME),
        sa.Column("handover_turn", sa.String()),
        sa.Column("withheld_turn", sa.String()),
        sa.Column("replies_waiting", sa.Boolean(), nullable=False, server_default=sa.false()),
    ),
    "turns": (
        sa.Column("withheld_tasks", sa.JSON().with_variant(postgresql.JSONB(), "postgresql")),
    ),
    "history": (sa.Column("said_by", sa.String()),),
    "deliveries": (sa.Column("said_by", sa.String()), sa.Column("reply_number", sa.Integer())),
}


def upgrade() -> None:
    for table, columns in _ADDED.items():
        for column in columns:
            add_column(table, column)
    is_handed_over = sa.text("handover_state IS NOT NULL")
    create_index(
        "conversations_handed_over",
        "conversations",
        ["handover_since"],
        postgresql_where=is_handed_over,
        sqlite_where=is_handed_over,
    )
    op.create_table(
        "handover_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("session_id", sa.String(), nullable=False),
        sa.Column("act", sa.String(), nullable=False),
        sa.Column("operator", sa.String()),
        sa.Column("reason", sa.Text()),
        sa.Column("at", _TIME, nullable=False),
        if_not_exists=True,
    )
    create_index("handover_events_session", "handover_events", ["session_id", "at"])
    create_index("handover_events_at", "handover_events", ["at"])
