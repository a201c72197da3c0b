"""What a command opens: only the database, to look; the whole of the service, to act."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mirt.clock import Clock, utc_now
from mirt.settings import Mode, Settings, load_settings
from mirt.store.engine.database import Database
from mirt.store.engine.revision import check_schema
from service.cli.errors import CommandError
from service.exit_codes import UNAVAILABLE


@dataclass(frozen=True, slots=True)
class CommandContext:
    """Enough for whoever looks: nothing can be written by it."""

    settings: Settings
    database: Database
    clock: Clock = utc_now


@contextmanager
def read_only() -> Iterator[CommandContext]:
    """Open the database to read it, beside whatever works with it.

    Raises:
        SettingsError, SchemaError, DatabaseError: it cannot be looked at.
    """
    settings = load_settings()
    _require_file(settings)
    database = Database(settings.database_url.get_secret_value(), pool_size=1, reads_only=True)
    try:
        check_schema(database)
        yield CommandContext(settings, database)
    finally:
        database.close()


@contextmanager
def full_access() -> Iterator[CommandContext]:
    """Open everything that a replay or a purge needs, with every task bound to its broker.

    Raises:
        SettingsError, SchemaError, DatabaseError: it cannot be acted on.
    """
    gc.enable()
    import actors  # noqa: F401 - declares the tasks
    from broker.stack import install
    from mirt.observe.logs import configure
    from mirt.runtime import open_runtime, use_runtime

    settings = load_settings()
    _require_file(settings)
    if "log_level" not in settings.model_fields_set:
        settings = settings.model_copy(update={"log_level": "ERROR"})
    configure(settings)
    context = open_runtime(settings)
    use_runtime(context)
    check_schema(context.database)
    broker = install(settings, outbox_only=True)
    try:
        yield CommandContext(settings, context.database)
    finally:
        broker.close()
        context.close()


def _require_file(settings: Settings) -> None:
    """Looking must not make the file that it looks for."""
    url = settings.database_url.get_secret_value()
    if settings.mode is Mode.EMBEDDED and url.startswith("sqlite:///"):
        file = Path(url.removeprefix("sqlite:///"))
        if not file.exists():
            problem = f"there is no {file} here: nothing has been started yet; mirt up"
            raise CommandError("DATABASE_URL", problem, "UNAVAILABLE", UNAVAILABLE)
