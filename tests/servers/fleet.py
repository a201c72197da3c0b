"""The servers of one run: obtained from wherever they can be had, and started side by side."""

import os
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from tests.servers import docker
from tests.servers.errors import ServerFailed, ServerUnavailable
from tests.servers.postgres import Postgres
from tests.servers.provision import install
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis
from tests.servers.server import Server

AnyServer = TypeVar("AnyServer", bound=Server)
KINDS: tuple[type[Server], ...] = (RabbitMQ, Redis, Postgres)


class Servers:
    """RabbitMQ, Redis and PostgreSQL, booting in parallel from the moment this is made.

    A server comes from the environment, else from the machine's own programs (which are installed
    first where that is possible), else from Docker.
    """

    def __init__(self, announce: Callable[[str], None]) -> None:
        """Return when everything is there to start them; ``announce`` is told what takes long."""
        not_installed = _install_what_is_needed(announce)
        self._threads = ThreadPoolExecutor(len(KINDS), thread_name_prefix="server")
        self._servers: dict[type[Server], Server | ServerUnavailable] = {}
        self._boots: dict[type[Server], Future[None]] = {}
        for kind in KINDS:
            try:
                server = _obtain(kind, not_installed)
            except ServerUnavailable as unavailable:
                self._servers[kind] = unavailable
            else:
                self._servers[kind] = server
                self._boots[kind] = self._threads.submit(server.start)

    def get(self, kind: type[AnyServer]) -> AnyServer:
        """Answer the server of this kind, once it has booted.

        Raises:
            ServerUnavailable: when there is no way to get one here.
            ServerFailed: when it was started and did not come up.
        """
        server = self._servers[kind]
        if isinstance(server, ServerUnavailable):
            raise server
        assert isinstance(server, kind)
        self._boots[kind].result()
        return server

    def close(self) -> None:
        """End them all, and remove what they left."""
        wait(self._boots.values())
        for server in self._servers.values():
            if isinstance(server, Server):
                server.close()
        self._threads.shutdown()


def start_servers(announce: Callable[[str], None] = print) -> Servers:
    """Start what the tests need; see :class:`Servers`."""
    return Servers(announce)


def _install_what_is_needed(announce: Callable[[str], None]) -> str | None:
    needed = [kind.program for kind in KINDS if not os.environ.get(kind.variable)]
    return install(needed, announce)


def _obtain(kind: type[AnyServer], not_installed: str | None) -> AnyServer:
    url = os.environ.get(kind.variable)
    if url:
        return kind.named(url)
    not_set = f"{kind.variable} is not set"
    if sys.platform != "linux":
        raise ServerUnavailable(kind.name, [not_set, "private servers need Linux"])
    program = kind.program.find()
    if program is not None:
        return kind.private(program)
    tried = [not_set, f"no program {kind.program.name}", not_installed or "nor was it installed"]
    if not docker.engine_answers():
        raise ServerUnavailable(kind.name, [*tried, "no Docker engine answers"])
    try:
        return kind.contained()
    except ServerFailed as failure:
        raise ServerUnavailable(kind.name, [*tried, str(failure)]) from failure
