"""An index of the orders whose status may still change."""

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
