"""The table of the schema itself: which code works on which version of it."""

from sqlalchemy import Column, String, Table

from mirt.store.tables.columns import metadata

schema_versions = Table(
    "schema_versions",
    metadata,
    # One row for each migration that only adds: code that knows ``works_with`` or later works on
    # the schema of ``revision``.
    Column("revision", String, primary_key=True),
    Column("works_with", String, nullable=False),
)
