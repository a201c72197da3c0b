"""Where in its trace a message was accepted, for who takes it out of the mailbox later."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from mirt.store.migrations.steps import add_column

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    add_column("inbox", sa.Column("trace_context", json, server_default="{}", nullable=False))
