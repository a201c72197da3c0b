"""What a worker process cannot receive or publish, and why."""

import sqlalchemy as sa

from mirt.store.migrations.steps import add_column
from mirt.store.tables.columns import Json

revision = "0019"
down_revision = "0018"
works_with = "0006"


def upgrade() -> None:
    add_column("workers", sa.Column("problems", Json))
