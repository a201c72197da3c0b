"""Tasks that an operator has cancelled."""

import sqlalchemy as sa

from mirt.store.migrations.steps import add_column

revision = "0018"
down_revision = "0017"
works_with = "0006"


def upgrade() -> None:
    add_column("tasks", sa.Column("cancelled_by", sa.String()))
