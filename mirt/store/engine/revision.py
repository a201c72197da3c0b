"""Check that this code works on the schema that the database has.

This does not use Alembic, which takes longer to load than most commands take to run.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, func, inspect, select, text

from mirt.store.engine.database import Database, upsert
from mirt.store.tables import schema_versions

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


def record_works_with(tx: Connection, revision: str, oldest: str) -> None:
    """Store the revision of the oldest code that works on the schema of ``revision``."""
    values = {"works_with": oldest}
    tx.execute(
        upsert(tx, schema_versions)
        .values(revision=revision, **values)
        .on_conflict_do_update(index_elements=[schema_versions.c.revision], set_=values)
    )


def is_usable_newer(tx: Connection) -> bool:
    """Whether the schema is newer than this code, and this code works on it all the same.

    It does if every migration that this code does not know says so. So an old version runs beside a
    new one during a deploy, and again after a step back.
    """
    found, known = revision_of(tx), known_revision()
    if found is None or found <= known or not inspect(tx).has_table(schema_versions.name):
        return False
    newer = schema_versions.c.revision > known
    latest, oldest = tx.execute(
        select(func.max(schema_versions.c.revision), func.max(schema_versions.c.works_with)).where(
            newer
        )
    ).one()
    return bool(latest == found and oldest <= known)


def check_schema(database: Database) -> None:
    """Check that this code works on the schema of the database.

    Raises:
        SchemaError: the database has no schema or one that this code does not work on.
        DatabaseError: the database does not answer.
    """
    with database.transaction() as tx:
        found, known = revision_of(tx), known_revision()
        if found == known or is_usable_newer(tx):
            return
    if found is None:
        raise SchemaError("the database has no schema yet; run: mirt migrate")
    raise SchemaError(
        f"the database's schema is {found}, this version of the service knows {known}; "
        "run: mirt migrate (or start the version that made it)"
    )
