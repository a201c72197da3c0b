"""Run our migrations with Alembic, on the connection that ``migrate`` passes."""

from collections.abc import Collection, Mapping
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo

from mirt.store.engine.revision import record_works_with
from mirt.store.tables import metadata


def _record(
    ctx: MigrationContext,
    step: MigrationInfo,
    heads: Collection[Any],  # noqa: ARG001 - Alembic passes it by name
    run_args: Mapping[str, Any],  # noqa: ARG001
) -> None:
    """Store which code works on the schema that this migration has made."""
    script: Any = step.revision_map.get_revision(step.up_revision_id)
    works_with = getattr(script.module, "works_with", None)
    if works_with is not None and ctx.connection is not None:
        record_works_with(ctx.connection, script.revision, works_with)


attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    compare_type=True,
    transaction_per_migration=attributes["commits_each_step"],
    on_version_apply=_record,
)
with context.begin_transaction():
    context.run_migrations()
