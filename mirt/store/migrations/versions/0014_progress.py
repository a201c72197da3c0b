"""How far a task has come, for its next attempt."""

import sqlalchemy as sa

from mirt.store.migrations.steps import add_column, create_index

revision = "0014"
down_revision = "0013"
works_with = "0006"


def upgrade() -> None:
    add_column("tasks", sa.Column("progress", sa.Integer(), nullable=False, server_default="0"))
    waits = sa.text("state = 'needs_approval'")
    create_index(
        "orders_to_approve", "orders", ["updated_at"], postgresql_where=waits, sqlite_where=waits
    )
