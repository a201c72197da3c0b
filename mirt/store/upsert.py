"""An INSERT that can say what a conflict means, in the dialect of the connection."""

from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert


def upsert(tx: Connection, table: Table) -> Any:
    """Begin such an INSERT; both dialects offer the same ``on_conflict_…`` methods."""
    return (sqlite_insert if tx.dialect.name == "sqlite" else postgres_insert)(table)
