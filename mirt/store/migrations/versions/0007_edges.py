"""When an order was last requested, indexes for the removal of rows, and which code works on what.

``works_with`` is stored in ``schema_versions``: the revision of the oldest code that works on the
schema of this migration. A migration that only adds names the one of the migration before.
"""

import sqlalchemy as sa
from alembic import op

from mirt.store.migrations.steps import add_column, create_index

revision = "0007"
down_revision = "0006"
works_with = "0006"


def upgrade() -> None:
    op.create_table(
        "schema_versions",
        sa.Column("revision", sa.String(), nullable=False),
        sa.Column("works_with", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("revision"),
        if_not_exists=True,
    )
    add_column("orders", sa.Column("unknown_since", sa.DateTime(timezone=True)))
    create_index("turns_answered", "turns", ["answered_at"])
    create_index("followups_taken", "followups", ["taken_at"])
    create_index(
        "conversations_restarted",
        "conversations",
        ["session_id"],
        postgresql_where=sa.text("restarted_after > 0"),
        sqlite_where=sa.text("restarted_after > 0"),
    )
