"""``mirt migrate``: prepares the database for this version."""

from typing import Annotated

import typer

from mirt.settings import DatabaseSettings, Settings
from mirt.store.engine.migrate import upgrade
from service.processes.startup import read_settings

CheckSettings = Annotated[
    bool,
    typer.Option(
        "--check-settings",
        help="First check all settings, also those that only the other processes need.",
    ),
]


def migrate(*, check_settings: CheckSettings = False) -> None:
    """Bring the database to the schema that this version needs. It needs DATABASE_URL only."""
    settings = read_settings(quiet=True, kind=Settings if check_settings else DatabaseSettings)
    upgrade(settings.database_url.get_secret_value())
    print("The database has a schema that this version works on.")
