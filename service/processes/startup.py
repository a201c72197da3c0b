"""What every process does first: read its settings, and refuse what it cannot work with."""

import secrets
import sys
from typing import Final, NoReturn

import structlog
from pydantic import SecretStr

from mirt.observe.logs import configure
from mirt.settings import Settings, SettingsError, load_settings, old_names_in_use
from mirt.store.engine.database import Database
from mirt.store.engine.revision import SchemaError, check_schema
from service.exit_codes import CONFIGURATION

log = structlog.get_logger(__name__)

HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8000


def read_settings(*, quiet: bool = False) -> Settings:
    """The settings, with logging set up; ends the process when they are wrong.

    ``quiet`` is for commands that answer a person: they log what is wrong only, unless asked.
    """
    try:
        settings = load_settings()
    except SettingsError as wrong:
        refuse("The configuration is wrong:", str(wrong))
    if quiet and "log_level" not in settings.model_fields_set:
        settings = settings.model_copy(update={"log_level": "WARNING"})
    configure(settings)
    log.info("configuration", mode=settings.mode, **settings.masked())
    for line in old_names_in_use():
        log.warning("old_name", what=line)
    return settings


def with_ops_token(settings: Settings) -> Settings:
    """The settings, with an OPS_TOKEN made up for this start if there is none."""
    if settings.ops_token is not None:
        return settings
    made = SecretStr(secrets.token_urlsafe(24))
    return settings.model_copy(update={"ops_token": made})


def require_schema(settings: Settings) -> None:
    """End the process when the database has not the schema that this code knows.

    Raises:
        DatabaseError: it cannot be reached.
    """
    database = Database(settings.database_url.get_secret_value(), pool_size=1, reads_only=True)
    try:
        check_schema(database)
    except SchemaError as wrong:
        refuse("Cannot work with this database:", str(wrong))
    finally:
        database.close()


def refuse(what: str, why: str) -> NoReturn:
    """Say why there will be no start, and end."""
    print(what, *(f"  {line}" for line in why.splitlines()), sep="\n", file=sys.stderr)
    raise SystemExit(CONFIGURATION)
