"""Since when a customer takes no messages from us."""

import sqlalchemy as sa

from mirt.store.migrations.steps import add_column

revision = "0008"
down_revision = "0007"
works_with = "0006"


def upgrade() -> None:
    add_column("conversations", sa.Column("unreachable_since", sa.DateTime(timezone=True)))
