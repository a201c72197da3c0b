"""Queues, tasks, channels and conversations that an operator has paused."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
works_with = "0006"


def upgrade() -> None:
    op.create_table(
        "pauses",
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("operator", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("subject"),
        if_not_exists=True,
    )
