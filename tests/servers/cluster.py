"""Three RabbitMQ nodes on one machine, whose quorum queues are kept by all of them."""

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import URLError

from tests.servers.balancer import Balancer
from tests.servers.directories import private_directory
from tests.servers.errors import ServerFailed, ServerUnavailable
from tests.servers.management import Management
from tests.servers.ports import free_port
from tests.servers.process import Process
from tests.servers.rabbitmq import GUEST, RabbitMQ
from tests.servers.rabbitmq_node import Membership, Node

FOUNDER, *OTHERS = (f"mirt-{letter}@localhost" for letter in "abc")
COOKIE = "a-cookie-for-the-tests"
STRANGE_COOKIE = "another-cookie"
"""Nodes whose cookies differ do not talk to each other."""
START_TIMEOUT = 90
"""Seconds until all nodes run. About 18 are usual on two idle cores."""


class Cluster:
    """A cluster behind a load balancer, which is what ``url`` names.

    The founder is the first of its targets. Who declares a queue through it makes it the leader.

    Raises:
        ServerUnavailable: when this machine has not the programs.
    """

    def __init__(self) -> None:
        program = RabbitMQ.program.find() if sys.platform == "linux" else None
        epmd = shutil.which("epmd")
        if program is None or epmd is None:
            raise ServerUnavailable("RabbitMQ cluster", ["needs Linux, rabbitmq-server and epmd"])
        self._control = program.with_name("rabbitmqctl")
        epmd_port = free_port()
        # Of its own: the nodes' would die with the node that happened to start it.
        self._names = Process(
            "epmd",
            private_directory("epmd"),
            [epmd, "-address", "127.0.0.1", "-port", str(epmd_port)],
        )
        ports = {name: free_port() for name in (FOUNDER, *OTHERS)}
        management_ports = {name: free_port() for name in ports}
        self._nodes = {
            name: Node(
                program,
                ports[name],
                management_ports[name],
                Membership(name, epmd_port, COOKIE, seed=None if name == FOUNDER else FOUNDER),
            )
            for name in ports
        }
        self._management = {
            name: Management(f"http://{GUEST}@127.0.0.1:{port}")
            for name, port in management_ports.items()
        }
        self._balancer = Balancer(list(ports.values()))
        self.url = f"amqp://{GUEST}@127.0.0.1:{self._balancer.port}/%2F"

    def start(self) -> None:
        """Return when all its nodes run, and know it.

        Raises:
            ServerFailed: they do not within ``START_TIMEOUT`` seconds.
        """
        self._names.start()
        self._nodes[FOUNDER].start()
        self._wait_until_running(FOUNDER, 1)
        for name in OTHERS:
            self._nodes[name].start()
        for name in self._nodes:
            self._wait_until_running(name, len(self._nodes))

    def leaders(self, queue: str) -> set[str]:
        """The node that leads the quorum queue, as a survivor sees it; empty while there is none.

        A node that does not run leads nothing.
        """
        seen = self._management[OTHERS[0]].request("GET", "queues", "/", queue)
        return {seen["leader"]} & set(seen["online"])

    def kill(self, name: str) -> None:
        """Kill a node with SIGKILL. Its disk stays."""
        self._nodes[name].kill()

    @contextmanager
    def cut_off(self, name: str) -> Iterator[None]:
        """Let a node lose the others, which it and they try to reach in vain.

        Its clients still reach it. It finds itself alone, and rests until it is not
        (``pause_minority``): https://www.rabbitmq.com/docs/partitions.
        """
        self._evaluate(
            name,
            COOKIE,
            f"erlang:set_cookie('{STRANGE_COOKIE}'), [erlang:disconnect_node(N) || N <- nodes()].",
        )
        try:
            yield
        finally:
            self._evaluate(name, STRANGE_COOKIE, f"erlang:set_cookie('{COOKIE}').")

    def _evaluate(self, name: str, cookie: str, expression: str) -> None:
        control = [str(self._control), "--quiet", "--erlang-cookie", cookie]
        self._nodes[name].execute(*control, "eval", expression)

    def close(self) -> None:
        """End it for good, and remove what it left."""
        for part in (*self._nodes.values(), self._names):
            part.close()
        self._balancer.close()

    def _wait_until_running(self, name: str, nodes: int) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while self._running(name) < nodes:
            if time.monotonic() > deadline or not self._nodes[name].running():
                raise ServerFailed(f"{name} is not up:\n{self._nodes[name].last_words()}")
            time.sleep(0.1)

    def _running(self, name: str) -> int:
        """How many nodes of its cluster run, as this one sees it."""
        try:
            nodes = self._management[name].request("GET", "nodes")
        except (URLError, ConnectionError):
            return 0
        return sum(node["running"] for node in nodes)
