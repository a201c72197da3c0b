"""Indexes for the list of orders and the figures of a day."""

import sqlalchemy as sa

from mirt.store.migrations.steps import create_index

revision = "0021"
down_revision = "0020"
works_with = "0006"


def upgrade() -> None:
    create_index("orders_created", "orders", ["created_at"])
    is_troubled = sa.text("state IN ('rejected', 'failed', 'unknown')")
    create_index(
        "orders_troubled",
        "orders",
        ["updated_at"],
        postgresql_where=is_troubled,
        sqlite_where=is_troubled,
    )
