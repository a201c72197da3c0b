"""RabbitMQ for the tests, with its management API and a virtual host for each test."""

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
from tests.servers.provision import Program
from tests.servers.rabbitmq_node import Node
from tests.servers.server import Foreign, Runner, Server

IMAGE = "rabbitmq:3-management"
MANAGEMENT_VARIABLE = "TEST_RABBITMQ_MANAGEMENT_URL"
GUEST = "guest:guest"


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

    def __init__(
        self, url: str, runner: Runner, management_url: str, control: str = "rabbitmqctl"
    ) -> None:
        super().__init__(url, runner)
        self._control = control
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
        return cls(
            f"amqp://{GUEST}@127.0.0.1:{port}/%2F",
            Node(program, port, management_port),
            f"http://{GUEST}@127.0.0.1:{management_port}",
            str(program.with_name("rabbitmqctl")),
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

    def control(self, *arguments: str) -> str:
        """Tell it something as its operator does, with ``rabbitmqctl``; what that prints.

        Raises:
            ServerFailed: when it refuses.
        """
        return self._runner.execute(self._control, "--quiet", *arguments)

    @contextmanager
    def disk_alarm(self) -> Iterator[None]:
        """Let it find its disk too full, so that it blocks every publisher.

        The memory alarm does the same: https://www.rabbitmq.com/docs/alarms.
        """
        self.control("set_disk_free_limit", "100000GB")
        try:
            yield
        finally:
            self.control("set_disk_free_limit", "50MB")

    @contextmanager
    def consumer_timeout(self, *, seconds: int) -> Iterator[None]:
        """Let it close new channels whose consumer holds a message for so long.

        It is looked after once a minute, and here every second:
        https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout.
        """
        self._configure(consumer_timeout=seconds * 1000, channel_tick_interval=1000)
        try:
            yield
        finally:
            self._configure(consumer_timeout=1_800_000, channel_tick_interval=60_000)

    def _configure(self, **milliseconds: int) -> None:
        settings = [f"application:set_env(rabbit, {n}, {v})" for n, v in milliseconds.items()]
        self.control("eval", ", ".join(settings) + ".")

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

    def limit_queues(self, url: str, *, to: int) -> None:
        """Let the queues of this virtual host refuse messages beyond that number."""
        vhost = urlsplit(url).path[1:]
        refusing = {"max-length": to, "overflow": "reject-publish"}
        policy = {"pattern": ".*", "apply-to": "queues", "definition": refusing}
        self.management.request("PUT", "policies", vhost, "limit", body=policy)

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
