"""RabbitMQ for the tests, with its management API.

The program in ``/usr/sbin`` is Debian's wrapper, which changes to a system user and its files; we
run what it wraps. Its variables: https://www.rabbitmq.com/docs/configure#supported-environment-variables.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import pika
from pika.exceptions import AMQPError

from tests.servers.docker import Container
from tests.servers.management import Management
from tests.servers.ports import free_port
from tests.servers.process import Process, private_directory
from tests.servers.provision import Program
from tests.servers.server import Foreign, Runner, Server

IMAGE = "rabbitmq:3-management"
MANAGEMENT_VARIABLE = "TEST_RABBITMQ_MANAGEMENT_URL"
GUEST = "guest:guest"
ERLANG_FLAGS = (
    # Schedulers that spin while they wait for work starve the tests on a small machine.
    "+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"
)
CONFIGURATION = """\
listeners.tcp.local = 127.0.0.1:{port}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management_port}
collect_statistics_interval = 1000
disk_free_limit.absolute = 50MB
raft.wal_max_size_bytes = 64000000
log.console.level = warning
"""


class RabbitMQ(Server):
    """Each test gets a virtual host of its own.

    The virtual hosts in use are made again on a wiped server before :meth:`start` returns: a disk
    is lost with its messages, queues and exchanges, and clients may come back to what they named.
    """

    name = "RabbitMQ"
    variable = "TEST_RABBITMQ_URL"
    program = Program(
        "rabbitmq-server",
        package="rabbitmq-server",
        patterns=("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server",),
        not_in=("/usr/sbin", "/sbin"),
    )

    def __init__(self, url: str, runner: Runner, management_url: str) -> None:
        super().__init__(url, runner)
        self.management = Management(management_url)
        self._number = count(1)
        self._vhosts: set[str] = set()

    @classmethod
    def named(cls, url: str) -> Self:
        """Answer the named one.

        Its management API is where ``TEST_RABBITMQ_MANAGEMENT_URL`` says, or on the same host and
        port 15672, with the same user.
        """
        parts = urlsplit(url)
        user = parts.netloc.rpartition("@")[0] or GUEST
        beside = f"http://{user}@{parts.hostname}:15672"
        management_url = os.environ.get(MANAGEMENT_VARIABLE) or beside
        return cls(url, Foreign(cls.name, cls.variable), management_url)

    @classmethod
    def private(cls, program: Path) -> Self:
        port, management_port = free_port(), free_port()
        home = private_directory(cls.name)
        (home / "enabled_plugins").write_text("[rabbitmq_management].")
        (home / "rabbitmq.conf").write_text(
            CONFIGURATION.format(port=port, management_port=management_port)
        )
        process = Process(cls.name, home, [str(program)], environment=_environment(home))
        return cls(
            f"amqp://{GUEST}@127.0.0.1:{port}/%2F",
            process,
            f"http://{GUEST}@127.0.0.1:{management_port}",
        )

    @classmethod
    def contained(cls) -> Self:
        port, management_port = free_port(), free_port()
        container = Container(cls.name, IMAGE, {port: 5672, management_port: 15672})
        return cls(
            f"amqp://{GUEST}@127.0.0.1:{port}/%2F",
            container,
            f"http://{GUEST}@127.0.0.1:{management_port}",
        )

    def start(self) -> None:
        super().start()
        for vhost in self._vhosts:
            self.management.create_vhost(vhost)

    @contextmanager
    def isolated(self) -> Iterator[str]:
        name = f"test-{os.getpid()}-{next(self._number)}"
        self.management.create_vhost(name)
        self._vhosts.add(name)
        try:
            yield urlsplit(self.url)._replace(path=f"/{name}").geturl()
        finally:
            self._vhosts.remove(name)
            self.start()
            self.management.delete_vhost(name)

    def answers(self) -> bool:
        return self._listens() and self._shakes_hands() and self._can_be_managed()

    def _listens(self) -> bool:
        """Ask with a bare socket first: pika logs a page of errors for each refusal."""
        parts = urlsplit(self.url)
        try:
            with socket.create_connection((parts.hostname, parts.port or 5672), timeout=2):
                return True
        except OSError:
            return False

    def _shakes_hands(self) -> bool:
        try:
            pika.BlockingConnection(pika.URLParameters(self.url)).close()
        except (AMQPError, OSError):
            return False
        return True

    def _can_be_managed(self) -> bool:
        try:
            self.management.request("GET", "overview")
        except OSError:
            return False
        return True


def _environment(home: Path) -> dict[str, str]:
    return {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        # A process manager is present: the script becomes the server instead of waiting for it.
        "RUNNING_UNDER_SYSTEMD": "true",
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(free_port()),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_NODENAME": "mirt@localhost",
        "RABBITMQ_MNESIA_BASE": str(home / "data"),
        "RABBITMQ_LOG_BASE": str(home / "logs"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_CONF_ENV_FILE": str(home / "no-rabbitmq-env.conf"),
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "no-advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG_FLAGS,
    }
