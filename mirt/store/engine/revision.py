"""Which schema the database has, and whether it is the one that this code knows.

Asked without Alembic, which takes longer to load than most commands to answer.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from mirt.store.engine.database import Database

_VERSIONS: Final = Path(__file__).parents[1] / "migrations" / "versions"


class SchemaError(Exception):
    """The database has another schema than this code knows; the text says what to run."""


def known_revision() -> str:
    """The revision that this code knows: the last of the migrations, which are numbered."""
    return max(file.name.partition("_")[0] for file in _VERSIONS.glob("[0-9]*.py"))


def revision_of(tx: Connection) -> str | None:
    """The revision that the database has; None while it has no schema."""
    if not inspect(tx).has_table("alembic_version"):
        return None
    found: str | None = tx.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def check_schema(database: Database) -> None:
    """Make sure that the schema is the one this code knows.

    Raises:
        SchemaError: when it is not.
        DatabaseError: when the database cannot be asked.
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
