"""``mirt migrate``: prepares the database for this version."""

from mirt.store.engine.migrate import upgrade
from service.processes.startup import read_settings


def migrate() -> None:
    """Bring the database to the schema that this version needs."""
    settings = read_settings(quiet=True)
    upgrade(settings.database_url.get_secret_value())
    print("The database has a schema that this version works on.")
