"""Since when a customer takes no messages from us."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("conversations", sa.Column("unreachable_since", sa.DateTime(timezone=True)))
