"""How far the clock of a worker's machine is off."""

import sqlalchemy as sa

from mirt.store.migrations.steps import add_column

revision = "0015"
down_revision = "0014"
works_with = "0006"


def upgrade() -> None:
    add_column("workers", sa.Column("clock_ahead_s", sa.Float()))
