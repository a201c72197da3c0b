"""Sessions of operators that ended before their time."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
works_with = "0006"


def upgrade() -> None:
    op.create_table(
        "ended_sessions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
    )
