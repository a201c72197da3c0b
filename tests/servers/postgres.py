"""PostgreSQL for the tests. A killed postmaster loses nothing, even without ``fsync``: what it had
written is with the kernel, so ``fsync`` (which guards against the machine's own death) is off.
"""

import os
import pwd
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import LiteralString, Self
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from tests.servers.directories import private_directory
from tests.servers.docker import Container
from tests.servers.ports import free_port
from tests.servers.process import Process
from tests.servers.provision import Program
from tests.servers.server import Foreign, Runner, Server

IMAGE = "postgres:16-alpine"
SETTINGS = (
    *("-c", "fsync=off"),
    *("-c", "full_page_writes=off"),
    *("-c", "synchronous_commit=on"),
    *("-c", "max_connections=300"),
)
CLUSTER = (
    *("--username", "mirt", "--auth", "trust"),
    *("--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"),
)


def prepare_template(url: str) -> None:
    """Bring the empty database at ``url`` to what every test's database starts as."""
    if find_spec("mirt.store.engine.migrate") is not None:
        import_module("mirt.store.engine.migrate").upgrade(url)


class Postgres(Server):
    """Each test gets a database of its own, copied from a template that is prepared once a run."""

    name = "PostgreSQL"
    variable = "TEST_DATABASE_URL"
    program = Program(
        "postgres", package="postgresql", patterns=("/usr/lib/postgresql/*/bin/postgres",)
    )

    def __init__(self, url: str, runner: Runner) -> None:
        super().__init__(url, runner)
        self._number = count(1)
        # On a shared server another run has its own.
        self._template = f"mirt_template_{os.getpid()}"

    @classmethod
    def named(cls, url: str) -> Self:
        return cls(url, Foreign(cls.name, cls.variable))

    @classmethod
    def private(cls, program: Path) -> Self:
        port = free_port()
        user = _unprivileged_user()
        home = private_directory("postgres", user)
        data = home / "data"
        listen = ("-c", "listen_addresses=127.0.0.1", "-c", f"port={port}")
        # No socket file: its path may be longer than a socket's can be.
        no_socket = ("-c", "unix_socket_directories=")
        serve = [str(program), "-D", str(data), *listen, *no_socket, *SETTINGS]
        initdb = [str(program.with_name("initdb")), "--pgdata", str(data), *CLUSTER]
        first = f"test -e {shlex.quote(str(data / 'PG_VERSION'))} || {shlex.join(initdb)}"
        process = Process(
            cls.name,
            home,
            ["sh", "-ec", f"{first}; exec {shlex.join(serve)}"],
            stop_signal=signal.SIGINT,  # "fast": clients are disconnected, not waited for
            user=user,
        )
        return cls(f"postgresql://mirt@127.0.0.1:{port}/postgres", process)

    @classmethod
    def contained(cls) -> Self:
        port = free_port()
        settings = {"POSTGRES_USER": "mirt", "POSTGRES_HOST_AUTH_METHOD": "trust"}
        container = Container(
            cls.name, IMAGE, {port: 5432}, settings=settings, command=["postgres", *SETTINGS]
        )
        return cls(f"postgresql://mirt@127.0.0.1:{port}/postgres", container)

    @contextmanager
    def isolated(self) -> Iterator[str]:
        name = f"mirt_test_{os.getpid()}_{next(self._number)}"
        if not self._has(self._template):
            self._make_template()
        self._execute("CREATE DATABASE {} TEMPLATE {}", name, self._template)
        try:
            yield self._url_of(name)
        finally:
            self.start()
            self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def answers(self) -> bool:
        try:
            with psycopg.connect(self.url, connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def close(self) -> None:
        """End it; on a server that goes on, the template is removed."""
        if isinstance(self._runner, Foreign):
            self._execute("DROP DATABASE IF EXISTS {}", self._template)
        super().close()

    def _make_template(self) -> None:
        """Prepare it under another name, so that one that failed half-way is never used."""
        draft = f"{self._template}_draft"
        self._execute("DROP DATABASE IF EXISTS {}", draft)
        self._execute("CREATE DATABASE {}", draft)
        prepare_template(self._url_of(draft))
        self._execute("ALTER DATABASE {} RENAME TO {}", draft, self._template)

    def _has(self, database: str) -> bool:
        with psycopg.connect(self.url) as connection:
            found = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [database]
            ).fetchone()
        return found is not None

    def _execute(self, statement: LiteralString, *names: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def _url_of(self, database: str) -> str:
        return urlsplit(self.url)._replace(path=f"/{database}").geturl()


def _unprivileged_user() -> str | None:
    """Return the user to run as: PostgreSQL refuses to be root."""
    if os.geteuid() != 0:
        return None
    users = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in users else "nobody"
