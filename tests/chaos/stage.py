"""The stage of a run: private servers, the fake services and every process of the Procfile."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

import httpx
import psutil
import sqlalchemy

from tests.chaos.errands import TOKEN
from tests.chaos.supervisor import Supervisor
from tests.deployment import ROOT, Deployment, children, deployment
from tests.fakes import FakeServices, RemoteServices
from tests.polling import wait_until
from tests.servers import Postgres, RabbitMQ, Redis, start_servers
from tests.servers.balancer import Balancer

LEASE_S: Final = 3
SETTINGS: Final = {
    "LEASE_SECONDS": str(LEASE_S),
    "RETRY_BASE_SECONDS": "1",
    "WORKER_THREADS": "16",
    "LOG_LEVEL": "INFO",
    "OPS_TOKEN": TOKEN,
    "QUIET_HOURS": "none",
    "SNITKIX_API_KEY": "crm-key",
}
SABOTAGE: Final = Path(__file__).with_name("sabotage")
SABOTAGES: Final = {
    "no-fencing": ("worker held past its lease",),
    "ack-first": ("worker killed with its children", "worker child killed"),
    "half-batch": ("PostgreSQL held still", "PostgreSQL killed"),
    "publish-first": ("worker child killed", "PostgreSQL killed", "RabbitMQ loses its disk"),
}
"""Bugs that can be put into the service, a module each, and the faults that show them."""
SECOND: Final = "-2"
"""The worker of turns runs twice, so that one can go on where the other was killed."""


@dataclass
class Stage:
    """Everything of one run, started."""

    rabbitmq: RabbitMQ
    redis: Redis
    postgres: Postgres
    services: RemoteServices
    deployed: Deployment
    processes: Supervisor
    to_rabbitmq: Balancer
    """The balancer of every connection to RabbitMQ; the next one is that of PostgreSQL."""
    to_postgres: Balancer

    @property
    def workers(self) -> list[str]:
        """The services that take turns."""
        return [name for name in self.processes.services if name.startswith("worker-llm")]

    def worker_children(self) -> list[int]:
        """The pids of the processes that run turns now."""
        return [pid for name in self.workers for pid in self.children_of(name)]

    def children_of(self, name: str) -> list[int]:
        """The pids of the processes that this service has started; none while it starts itself."""
        process = self.processes.services[name].process
        with suppress(psutil.NoSuchProcess):
            return children(process) if process is not None else []
        return []

    @property
    def vhost(self) -> str:
        """The virtual host of the deployment."""
        return urlsplit(self.deployed.environment["RABBITMQ_URL"]).path.strip("/")

    def workers_consume(self) -> bool:
        """Whether every worker of turns listens to its queue again."""
        try:
            consumers = self.rabbitmq.management.request("GET", "consumers", self.vhost)
        except OSError:
            return False
        listening = [one for one in consumers if one["queue"]["name"] == "llm"]
        return len(listening) >= len(self.workers)

    def queues(self) -> list[str]:
        """Return the names of all queues."""
        found = self.rabbitmq.management.request("GET", "queues", self.vhost)
        return [queue["name"] for queue in found]

    def workers_started(self) -> int:
        """How many processes that take turns have begun to work since the beginning."""
        return sum(
            (self.deployed.logs / f"{name}.log").read_text(errors="replace").count("worker_started")
            for name in self.workers
        )

    def is_ready(self) -> bool:
        """Whether the ingress reaches everything that it needs or would like to have."""
        try:
            answer = self.deployed.get("/readyz")
        except httpx.TransportError:
            return False
        checks: dict[str, str] = answer.json().get("checks", {})
        return all(checks.get(name) == "ok" for name in ("database", "redis", "rabbitmq"))

    def rows(self, sql: str) -> list[Any]:
        """Return the rows of a query; an empty list while the database is away."""
        try:
            return self.deployed.rows(sql)
        except sqlalchemy.exc.OperationalError:
            return []


@contextmanager
def stage(logs: Path, *, agent_s: float, sabotage: str | None) -> Iterator[Stage]:
    """Start everything; at the end stop it all, by its pids. Logs go to ``logs``.

    With ``sabotage`` each process of the service has this bug.
    """
    with ExitStack() as stack:
        servers = start_servers()
        stack.callback(servers.close)
        rabbitmq, redis, postgres = (
            servers.get(RabbitMQ),
            servers.get(Redis),
            servers.get(Postgres),
        )
        services = stack.enter_context(_fake_services(logs))
        services.latency("llm", agent_s)
        to_rabbitmq = stack.enter_context(Balancer.before(rabbitmq.url))
        to_postgres = stack.enter_context(Balancer.before(postgres.url))
        urls = {
            "RABBITMQ_URL": to_rabbitmq.url(stack.enter_context(rabbitmq.isolated())),
            "REDIS_URL": stack.enter_context(redis.isolated()),
            "DATABASE_URL": to_postgres.url(stack.enter_context(postgres.isolated())),
        }
        # The deployment asks the fake services for its URLs only, and both kinds have those.
        here = stack.enter_context(
            deployment(
                cast("FakeServices", services),
                logs,
                urls,
                **SETTINGS,
                SNITKIX_API_URL=services.crm_url,
            )
        )
        environment = {**os.environ, **here.environment}
        if sabotage is not None:
            environment |= {"PYTHONPATH": str(SABOTAGE), "CHAOS_SABOTAGE": sabotage}
        processes = Supervisor(environment, logs)
        stack.callback(processes.close)
        for name, command in _procfile(here.port):
            processes.start(name, *command)
            if name == "worker-llm":
                processes.start(name + SECOND, *command)
        ready = Stage(
            rabbitmq, redis, postgres, services, here, processes, to_rabbitmq, to_postgres
        )
        wait_until(here.is_alive, within_s=60, what="the ingress answers")
        wait_until(ready.workers_consume, within_s=60, what="the workers listen")
        yield ready


def _procfile(port: int) -> Iterator[tuple[str, list[str]]]:
    """The name and the arguments of each process, as a shell starts it where they are deployed."""
    for line in (ROOT / "Procfile").read_text().splitlines():
        if line.startswith("release:"):
            continue  # the database has been migrated
        name, _, command = line.partition(":")
        filled_in = subprocess.run(
            ["sh", "-c", f"echo {command}"],
            env={"PORT": str(port)},
            capture_output=True,
            check=True,
        )
        yield name, filled_in.stdout.decode().split()[1:]


@contextmanager
def _fake_services(logs: Path) -> Iterator[RemoteServices]:
    with (
        (logs / "services.log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "tests.fakes"], cwd=ROOT, stdout=subprocess.PIPE, stderr=log
        ) as process,
    ):
        assert process.stdout is not None
        try:
            yield RemoteServices(process.stdout.readline().decode().strip())
        finally:
            process.terminate()
