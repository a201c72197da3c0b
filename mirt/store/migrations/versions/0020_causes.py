"""Causes of dead letters, to group them by."""

import sqlalchemy as sa

from mirt.store.migrations.steps import add_column, create_index

revision = "0020"
down_revision = "0019"
works_with = "0006"


def upgrade() -> None:
    add_column("dead_letters", sa.Column("cause", sa.Text()))
    create_index("dead_letters_cause", "dead_letters", ["error_code", "cause"])
