"""Run our migrations with Alembic, on the connection that ``migrate`` passes."""

from alembic import context

from mirt.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection, target_metadata=metadata, render_as_batch=True, compare_type=True
)
with context.begin_transaction():
    context.run_migrations()
