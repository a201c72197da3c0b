"""Since when a task has waited for a worker, which is not always since it was sent."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("tasks", sa.Column("waits_since", sa.DateTime(timezone=True)))
    # What is over waits no more, and a delay that ends or a replay sets it anew.
    op.execute(sa.text("UPDATE tasks SET waits_since = created_at WHERE due_at IS NOT NULL"))
