"""Bring the schema to the version this code knows, and refuse to work on any other."""

from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from mirt.store.database import Database

_LOCK: Final = 0x6D697274


class SchemaError(Exception):
    """The database has another schema than this code knows; the text says what to run."""


def upgrade(url: str) -> None:
    """Run every migration that the database has not seen. Safe to run twice and two at once."""
    database = Database(url)
    try:
        with database.transaction() as tx:
            if not database.is_sqlite:
                tx.execute(text("SET LOCAL statement_timeout = 0"))
                tx.execute(text("SET LOCAL lock_timeout = 0"))
                tx.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            config = _config()
            config.attributes["connection"] = tx
            command.upgrade(config, "head")
    finally:
        database.close()


def check_schema(database: Database) -> None:
    """Make sure that the schema is the one this code knows.

    Raises:
        SchemaError: when it is not.
        DatabaseError: when the database cannot be asked.
    """
    known = ScriptDirectory.from_config(_config()).get_current_head()
    with database.transaction() as tx:
        found = MigrationContext.configure(tx).get_current_revision()
    if found is None:
        raise SchemaError("the database has no schema yet; run: mirt migrate")
    if found != known:
        raise SchemaError(
            f"the database's schema is {found}, this version of the service knows {known}; "
            "run: mirt migrate (or start the version that made it)"
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "mirt.store:migrations")
    config.set_main_option("path_separator", "os")
    return config
