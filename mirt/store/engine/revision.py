"""Check that the database has the schema that this code needs.

This does not use Alembic, which takes longer to load than most commands take to run.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from mirt.store.engine.database import Database

_VERSIONS: Final = Path(__file__).parents[1] / "migrations" / "versions"


class SchemaError(Exception):
    """A schema of the database that this code does not know; the text says what to run."""


def known_revision() -> str:
    """Return the revision that this code needs: the highest number of a migration."""
    return max(file.name.partition("_")[0] for file in _VERSIONS.glob("[0-9]*.py"))


def revision_of(tx: Connection) -> str | None:
    """Return the revision of the database; None if it has no schema."""
    if not inspect(tx).has_table("alembic_version"):
        return None
    found: str | None = tx.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def check_schema(database: Database) -> None:
    """Check that the database has the schema that this code needs.

    Raises:
        SchemaError: the database has no schema or another one.
        DatabaseError: the database does not answer.
    """
    with database.transaction() as tx:
        found = revision_of(tx)
    if found is None:
        raise SchemaError("the database has no schema yet; run: mirt migrate")
    if found != (known := known_revision()):
        raise SchemaError(
            f"the database's schema is {found}, this version of the service knows {known}; "
            "run: mirt migrate (or start the version that made it)"
        )
