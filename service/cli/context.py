"""Opens what a command needs: the database to read, or the whole service to change something."""

import getpass
import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mirt.clock import Clock
from mirt.operators import Door, Operator, acting_as
from mirt.settings import DatabaseSettings, Mode, Settings, load_settings
from mirt.store.engine.database import Database
from mirt.store.engine.revision import check_schema
from service.cli.errors import CommandError
from service.exit_codes import UNAVAILABLE
from service.processes import garbage_collector


@dataclass(frozen=True, slots=True)
class CommandContext:
    """Settings, database and clock of a command."""

    settings: Settings
    database: Database

    @property
    def clock(self) -> Clock:
        """The clock of the database, which dates everything that a command reads."""
        return self.database.clock


@contextmanager
def read_only() -> Iterator[CommandContext]:
    """Open the database for reading, beside the processes that use it. A write fails.

    It needs no key of an outside service.

    Raises:
        CommandError: the database file of the embedded mode does not exist.
        DatabaseError: the database cannot be reached.
        SchemaError: its schema is not the one of this version.
        SettingsError: the settings are invalid.
    """
    settings = load_settings(kind=DatabaseSettings)
    _require_file(settings)
    database = Database(settings.database_url.get_secret_value(), pool_size=1, reads_only=True)
    try:
        check_schema(database)
        yield CommandContext(settings, database)
    finally:
        database.close()


@contextmanager
def database_only() -> Iterator[CommandContext]:
    """Open the database for a change of rows that running processes heed by themselves.

    It needs no key of an outside service. The acts of the body are those of the user of this
    machine. Raises as ``read_only``.
    """
    settings = load_settings(kind=DatabaseSettings)
    _require_file(settings)
    database = Database(settings.database_url.get_secret_value(), pool_size=1)
    try:
        check_schema(database)
        with acting_as(user_of_this_machine()):
            yield CommandContext(settings, database)
    finally:
        database.close()


def read_texts(*, texts: bool) -> AbstractContextManager[CommandContext]:
    """Open the database to read; with ``texts`` also to record in the audit that they are read.

    Raises as ``read_only``.
    """
    return database_only() if texts else read_only()


@contextmanager
def full_access() -> Iterator[CommandContext]:
    """Open everything that a replay or a purge needs, with every task bound to a broker.

    The broker writes to the outbox only; the running service publishes from there. The acts of the
    body are those of the user of this machine.

    Raises:
        CommandError, DatabaseError, SchemaError, SettingsError: as for ``read_only``.
    """
    garbage_collector.resume()
    import actors  # noqa: F401 - declares the tasks
    from broker.stack import install
    from mirt.observe.logs import configure
    from mirt.runtime import open_runtime, use_runtime

    settings = load_settings()
    _require_file(settings)
    if "log_level" not in settings.model_fields_set:
        settings = settings.model_copy(update={"log_level": "ERROR"})
    configure(settings)
    runtime = open_runtime(settings)
    use_runtime(runtime)
    check_schema(runtime.database)
    broker = install(settings, outbox_only=True)
    try:
        with acting_as(user_of_this_machine()):
            yield CommandContext(settings, runtime.database)
    finally:
        broker.close()
        runtime.close()


def user_of_this_machine() -> Operator:
    """Return the operator of a command: the user of the operating system, and the machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # as in a container, whose user has a number and no name
        user = f"uid {os.getuid()}"
    return Operator(f"{user}@{socket.gethostname()}", Door.COMMAND)


def _require_file(settings: Settings) -> None:
    # Opening a SQLite database would create its file, and a look must not create anything.
    url = settings.database_url.get_secret_value()
    if settings.mode is Mode.EMBEDDED and url.startswith("sqlite:///"):
        file = Path(url.removeprefix("sqlite:///"))
        if not file.exists():
            problem = f"there is no {file} here: nothing has been started yet; mirt up"
            raise CommandError("DATABASE_URL", problem, "UNAVAILABLE", UNAVAILABLE)
