"""The acts of operators."""

import sqlalchemy as sa
from alembic import op

from mirt.store.migrations.steps import create_index

revision = "0012"
down_revision = "0011"
works_with = "0006"


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("operator", sa.String(), nullable=False),
        sa.Column("door", sa.String(), nullable=False),
        sa.Column("act", sa.String(), nullable=False),
        sa.Column("target", sa.Text()),
        sa.Column("session_id", sa.String()),
        sa.Column("count", sa.Integer()),
        sa.Column("outcome", sa.String(), nullable=False),
        if_not_exists=True,
    )
    create_index("audit_at", "audit", ["at"])
    create_index("audit_session", "audit", ["session_id"])
