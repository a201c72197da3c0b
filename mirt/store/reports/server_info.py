"""Ask a database server for its version, its clock, its schema and our privileges."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, func, select, text

from mirt.clock import Clock
from mirt.store.engine.revision import is_usable_newer, known_revision, revision_of
from mirt.store.tables import metadata

WANTED: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")
"""Privileges that we need on each table."""


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """Facts about a database server.

    ``ahead_s``: seconds that its clock is ahead of ours. ``missing``: privileges that we need but
    do not have. ``is_usable``: this version works on the schema.
    """

    version: str
    revision: str | None
    is_usable: bool
    ahead_s: float
    missing: list[str]
    is_read_only: bool = False


def database_facts(tx: Connection, clock: Clock) -> DatabaseFacts:
    """Return the facts; takes a handful of queries."""
    if tx.dialect.name == "sqlite":
        version = tx.execute(text("SELECT sqlite_version()")).scalar_one()
        return DatabaseFacts(f"SQLite {version}", *_schema(tx), 0.0, [])
    before = clock()
    now: datetime = tx.execute(select(func.clock_timestamp())).scalar_one()
    between = before + (clock() - before) / 2
    version = tx.execute(text("SHOW server_version")).scalar_one()
    read_only = tx.execute(
        text("SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool")
    ).scalar_one()
    revision, is_usable = _schema(tx)
    return DatabaseFacts(
        version=f"PostgreSQL {str(version).split()[0]}",
        revision=revision,
        is_usable=is_usable,
        ahead_s=(now.astimezone(UTC) - between).total_seconds(),
        missing=_missing(tx),
        is_read_only=bool(read_only),
    )


def _schema(tx: Connection) -> tuple[str | None, bool]:
    found = revision_of(tx)
    return found, found == known_revision() or is_usable_newer(tx)


def _missing(tx: Connection) -> list[str]:
    rows = tx.execute(
        text(
            "SELECT t.name, p.name FROM unnest(CAST(:tables AS text[])) AS t(name)"
            " CROSS JOIN unnest(CAST(:wanted AS text[])) AS p(name)"
            " WHERE to_regclass(t.name) IS NOT NULL"
            " AND NOT has_table_privilege(to_regclass(t.name), p.name) ORDER BY 1, 2"
        ),
        {"tables": sorted(metadata.tables), "wanted": list(WANTED)},
    )
    missing = [f"{privilege} on {table}" for table, privilege in rows]
    may_create = tx.execute(
        text("SELECT has_schema_privilege(coalesce(current_schema(), 'public'), 'CREATE')")
    ).scalar_one()
    return missing if may_create else [*missing, "CREATE in the schema (for mirt migrate)"]
