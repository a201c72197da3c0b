"""Migrate the database to the schema that this code needs."""

from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from mirt.store.engine.database import Database

_LOCK: Final = 0x6D697274


def upgrade(url: str) -> None:
    """Run every migration that is missing. Running it twice, or in two processes, is safe."""
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


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "mirt.store:migrations")
    config.set_main_option("path_separator", "os")
    return config
