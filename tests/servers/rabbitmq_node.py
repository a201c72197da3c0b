"""A RabbitMQ node run from the machine's program, apart from every other node of the machine.

The program in ``/usr/sbin`` is Debian's wrapper, which changes to a system user and its files; we
run what it wraps. Its variables: https://www.rabbitmq.com/docs/configure#supported-environment-variables.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from tests.servers.directories import private_directory
from tests.servers.errors import ServerFailed
from tests.servers.ports import free_port
from tests.servers.process import Process

NAME = "mirt@localhost"
CONFIGURATION = """\
listeners.tcp.local = 127.0.0.1:{port}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management_port}
collect_statistics_interval = 1000
disk_free_limit.absolute = 50MB
raft.wal_max_size_bytes = 64000000
log.console.level = warning
"""
MEMBERSHIP = """\
cluster_partition_handling = pause_minority
"""
JOINING = """\
cluster_formation.peer_discovery_backend = classic_config
cluster_formation.classic_config.nodes.1 = {seed}
"""
ERLANG_FLAGS = (
    # Schedulers that spin while they wait for work starve the tests on a small machine.
    "+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"
)
NAMES_TIMEOUT = 10
"""Seconds. About one is usual."""


@dataclass(frozen=True)
class Membership:
    """The values that a node shares with the others of its cluster, and its own name.

    Without ``seed`` it founds the cluster; with the name of a member it joins that one's.
    """

    name: str
    epmd_port: int
    cookie: str
    seed: str | None = None


class Node(Process):
    """One node with its own cookie, ports and files; alone it also has its own name server (epmd).

    A member of a cluster finds the others by the cluster's name server.
    """

    def __init__(
        self,
        program: Path,
        port: int,
        management_port: int,
        member: Membership | None = None,
    ) -> None:
        home = private_directory("rabbitmq")
        (home / "enabled_plugins").write_text("[rabbitmq_management].")
        configuration = CONFIGURATION.format(port=port, management_port=management_port)
        if member is not None:
            cookie = home / ".erlang.cookie"
            cookie.write_text(member.cookie)
            cookie.chmod(0o400)
            configuration += MEMBERSHIP
            if member.seed is not None:
                configuration += JOINING.format(seed=member.seed)
        (home / "rabbitmq.conf").write_text(configuration)
        name = NAME if member is None else member.name
        epmd_port = free_port() if member is None else member.epmd_port
        super().__init__(
            "RabbitMQ", home, [str(program)], environment=_environment(home, name, epmd_port)
        )
        self._quorum = home / "data" / name / "quorum" / name

    def kill(self) -> None:
        """Kill the node, once the names of its quorum queues are on disk.

        They get there up to a second after their declaration was confirmed. Killed before, the node
        comes back with a queue that has no leader for ever, a fault of RabbitMQ's own
        (https://github.com/rabbitmq/rabbitmq-server/issues/10070), and of no use to a test.
        """
        deadline = time.monotonic() + NAMES_TIMEOUT
        while not self._names_are_on_disk():
            if time.monotonic() > deadline:
                raise ServerFailed("RabbitMQ does not write the names of its quorum queues")
            time.sleep(0.02)
        super().kill()

    def _names_are_on_disk(self) -> bool:
        """Whether each quorum queue, which has a directory by its id, is in the register of ids."""
        if not self._quorum.exists():
            return True
        register = (self._quorum / "names.dets").read_bytes()
        queues = [entry.name for entry in self._quorum.iterdir() if entry.is_dir()]
        return all(queue.encode() in register for queue in queues)


def _environment(home: Path, name: str, epmd_port: int) -> dict[str, str]:
    return {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        # A process manager is present: the script becomes the server instead of waiting for it.
        "RUNNING_UNDER_SYSTEMD": "true",
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(epmd_port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_NODENAME": name,
        "RABBITMQ_MNESIA_BASE": str(home / "data"),
        "RABBITMQ_LOG_BASE": str(home / "logs"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_CONF_ENV_FILE": str(home / "no-rabbitmq-env.conf"),
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "no-advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG_FLAGS,
    }
