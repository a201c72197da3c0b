"""Whether messages of a channel can arrive, as its platform says."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
works_with = "0006"


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("expected_url", sa.String()),
        sa.Column("url", sa.String()),
        sa.Column("pending", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("last_error", sa.Text()),
        sa.Column("last_error_at", sa.DateTime(timezone=True)),
        sa.Column("failure", sa.Text()),
        sa.Column("polling_failure", sa.Text()),
        sa.Column("is_polled", sa.Boolean(), nullable=False),
        sa.Column("last_message_at", sa.DateTime(timezone=True)),
        sa.Column("checked_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("channel"),
        if_not_exists=True,
    )
