"""When an order was last asked for without a known outcome, and indexes for the removal of rows."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("orders", sa.Column("unknown_since", sa.DateTime(timezone=True)))
    op.create_index("turns_answered", "turns", ["answered_at"])
    op.create_index("followups_taken", "followups", ["taken_at"])
    op.create_index(
        "conversations_restarted",
        "conversations",
        ["session_id"],
        postgresql_where=sa.text("restarted_after > 0"),
        sqlite_where=sa.text("restarted_after > 0"),
    )
