"""Change the schema of a database in use: steps that keep no reader or writer waiting.

On a PostgreSQL database with a schema each step commits. A migration may be cut off between two
steps, and then begins again with its first one, so a step that is done does nothing. On SQLite, and
on a database without a schema, all migrations are one transaction.

>>> add_column("orders", sa.Column("unknown_since", sa.DateTime(timezone=True)))
>>> create_index("turns_answered", "turns", ["answered_at"])
>>> update_in_batches("tasks", "id", set_="waits_since = created_at", where="due_at IS NOT NULL")
"""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from alembic import op

from mirt.store.engine.lock_patience import with_lock_patience

BATCH: Final = 1_000
"""Rows that one transaction looks at."""
_INVALID: Final = sa.text(
    "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(:name) AND NOT indisvalid"
)


def add_column(table: str, column: sa.Column[Any]) -> None:
    """Add a column that old code need not know: nullable, or with a constant default."""
    context = op.get_context()
    if not context.as_sql:
        known = sa.inspect(op.get_bind()).get_columns(table)
        if column.name in {one["name"] for one in known}:
            return
    op.add_column(table, column)
    _commit()


def create_index(name: str, table: str, columns: Sequence[str], **options: Any) -> None:
    """Create an index, in PostgreSQL concurrently: reads and writes go on meanwhile.

    The wait for transactions that began before has no limit, and keeps no other waiting.
    """
    context = op.get_context()
    if not _commits_each_step():
        op.create_index(
            name, table, list(columns), if_not_exists=None if context.as_sql else True, **options
        )
        return
    is_invalid = op.get_bind().execute(_INVALID, {"name": name}).first() is not None
    with context.autocommit_block():
        # Limits for the session: this block has no transaction that could have its own.
        op.execute("SET lock_timeout = 0")
        op.execute("SET statement_timeout = 0")
        if is_invalid:  # left by an attempt that was cut off
            op.drop_index(name, table, postgresql_concurrently=True)
        op.create_index(
            name, table, list(columns), postgresql_concurrently=True, if_not_exists=True, **options
        )
        op.execute("RESET lock_timeout")
        op.execute("RESET statement_timeout")


def update_in_batches(table: str, key: str, *, set_: str, where: str = "true") -> None:
    """Update rows, a thousand in each transaction, along the primary key. All three are SQL."""
    if not _commits_each_step():
        op.execute(f"UPDATE {table} SET {set_} WHERE {where}")  # noqa: S608
        return
    _commit()
    last_key = sa.text(
        f"SELECT max(k) FROM (SELECT {key} AS k FROM {table} WHERE {key} > :after"  # noqa: S608
        f" ORDER BY {key} LIMIT {BATCH}) batch"
    )
    change = sa.text(
        f"UPDATE {table} SET {set_}"  # noqa: S608
        f" WHERE {key} > :after AND {key} <= :until AND ({where})"
    )
    engine = op.get_bind().engine

    def change_next(after: str) -> str | None:
        with engine.begin() as tx:
            until: str | None = tx.execute(last_key, {"after": after}).scalar()
            if until is not None:
                tx.execute(change, {"after": after, "until": until})
        return until

    after: str | None = ""
    while after is not None:
        after = with_lock_patience(lambda after=after: change_next(after))  # type: ignore[misc]


def _commits_each_step() -> bool:
    context = op.get_context()
    return not context.as_sql and bool(context.opts.get("transaction_per_migration"))


def _commit() -> None:
    """End the transaction of this step, and with it its locks."""
    if _commits_each_step():
        with op.get_context().autocommit_block():
            pass
