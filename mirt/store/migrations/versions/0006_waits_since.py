"""Since when a task has waited for a worker, which is not always since it was sent."""

import sqlalchemy as sa

from mirt.store.migrations.steps import add_column, update_in_batches

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    add_column("tasks", sa.Column("waits_since", sa.DateTime(timezone=True)))
    # What is over waits no more, and a delay that ends or a replay sets it anew.
    update_in_batches("tasks", "id", set_="waits_since = created_at", where="due_at IS NOT NULL")
