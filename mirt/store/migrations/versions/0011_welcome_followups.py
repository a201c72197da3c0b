"""Customers who want no follow-ups, and follow-ups that were asked for."""

import sqlalchemy as sa

from mirt.store.migrations.steps import add_column

revision = "0011"
down_revision = "0010"
works_with = "0006"


def upgrade() -> None:
    for table, column in (("conversations", "followups_off"), ("followups", "asked")):
        add_column(
            table, sa.Column(column, sa.Boolean(), nullable=False, server_default=sa.false())
        )
