"""First steps of every process: read the settings, set up the log, refuse what cannot work."""

import secrets
import sys
from collections.abc import Mapping
from typing import Final, NoReturn

import structlog
from pydantic import SecretStr

from broker.rabbitmq.connection import ConnectionSettings
from mirt.errors import ServerUrlError
from mirt.observe.logs import configure
from mirt.observe.printable import printable, printable_block
from mirt.settings import Settings, SettingsError, load_settings, old_names_in_use
from mirt.store.engine.database import Database, sqlalchemy_url
from mirt.store.engine.redis_client import connect_redis
from mirt.store.engine.revision import SchemaError, check_schema
from service.exit_codes import CONFIGURATION

log = structlog.get_logger(__name__)

HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8000


def read_settings(*, quiet: bool = False, kind: type[Settings] = Settings) -> Settings:
    """Return the settings, after setting up the log; end the process if they are invalid.

    Among them are the options in the URLs of servers, for every process that uses the servers.

    ``quiet`` is for commands that answer a person: their log has warnings and errors only, unless
    LOG_LEVEL is set. ``kind`` is ``DatabaseSettings`` for a command that opens the database only.
    """
    try:
        settings = load_settings(kind=kind)
        if kind is Settings:
            check_urls(settings)
    except SettingsError as invalid:
        refuse("The configuration is wrong:", str(invalid))
    except ServerUrlError as wrong:
        refuse(wrong.message)
    if quiet and "log_level" not in settings.model_fields_set:
        settings = settings.model_copy(update={"log_level": "WARNING"})
    configure(settings)
    log.info("configuration", mode=settings.mode, **settings.masked())
    for line in old_names_in_use():
        log.warning("old_name", what=line)
    return settings


def check_urls(settings: Settings) -> None:
    """Check that each driver takes the options in the URL of its server. Nothing connects.

    Raises:
        ServerUrlError: a driver does not.
    """
    sqlalchemy_url(settings.database_url.get_secret_value())
    if settings.redis_url is not None:
        connect_redis(settings.redis_url.get_secret_value())
    if settings.rabbitmq_url is not None:
        ConnectionSettings.of(settings)


def with_ops_token(settings: Settings) -> Settings:
    """Return the settings with an OPS_TOKEN: a random one for this start, if there is none."""
    if settings.ops_token is not None or settings.ops_tokens is not None:
        return settings
    token = SecretStr(secrets.token_urlsafe(24))
    return settings.model_copy(update={"ops_token": token})


def addresses(env: Mapping[str, str | None]) -> list[str]:
    """Return where the ingress listens: for webhooks, and with OPS_PORT for everything else.

    All interfaces, not only loopback: the proxy runs in another container.
    """
    found = [f"{env.get('WEB_HOST') or '0.0.0.0'}:{env.get('PORT') or DEFAULT_PORT}"]  # noqa: S104
    if port := env.get("OPS_PORT"):
        found.append(f"{env.get('OPS_HOST') or HOST}:{port}")
    return found


def require_schema(settings: Settings) -> None:
    """End the process if the database does not have the schema of this version.

    Raises:
        DatabaseError: the database cannot be reached.
    """
    database = Database(settings.database_url.get_secret_value(), pool_size=1, reads_only=True)
    try:
        check_schema(database)
    except SchemaError as wrong:
        refuse("Cannot work with this database:", str(wrong))
    finally:
        database.close()


def refuse(problem: str, reason: str = "") -> NoReturn:
    """Print the problem and its reason to standard error; exit with 78 (CONFIGURATION)."""
    lines = printable_block(reason).splitlines()
    print(printable(problem), *(f"  {line}" for line in lines), sep="\n", file=sys.stderr)
    raise SystemExit(CONFIGURATION)
