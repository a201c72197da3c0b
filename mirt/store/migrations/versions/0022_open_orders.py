"""Indexes of the orders whose status may still change, and of customers who have blocked us."""

import sqlalchemy as sa

from mirt.store.migrations.steps import create_index

revision = "0022"
down_revision = "0021"
works_with = "0006"


def upgrade() -> None:
    is_open = sa.text(
        "state = 'created' AND (status NOT IN ('cancelled', 'delivered', 'returned'))"
    )
    create_index(
        "orders_open", "orders", ["status_at"], postgresql_where=is_open, sqlite_where=is_open
    )
    is_set = sa.text("unreachable_since IS NOT NULL")
    create_index(
        "conversations_unreachable",
        "conversations",
        ["unreachable_since"],
        postgresql_where=is_set,
        sqlite_where=is_set,
    )
