"""Outages of outside services, and the tasks that they hold."""

import sqlalchemy as sa
from alembic import op

from mirt.store.migrations.steps import add_column, create_index

revision = "0009"
down_revision = "0008"
works_with = "0006"


def upgrade() -> None:
    op.create_table(
        "holds",
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("setting", sa.String()),
        sa.Column("probes", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("probe_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("held", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("service"),
        if_not_exists=True,
    )
    add_column("tasks", sa.Column("held_by", sa.String()))
    add_column("tasks", sa.Column("held_since", sa.DateTime(timezone=True)))
    is_held = sa.text("held_by IS NOT NULL")
    create_index(
        "tasks_held",
        "tasks",
        ["held_by", "started_at"],
        postgresql_where=is_held,
        sqlite_where=is_held,
    )
