"""Brokers with a worker in this process, on whatever transport a test asks for."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dramatiq import Worker

from broker.durable import DurableBroker
from broker.stack import install
from broker.task import registry
from middleware.policy import QUEUES
from mirt.clock import Clock, utc_now
from mirt.runtime import open_runtime, use_runtime
from mirt.settings import Settings
from mirt.store.engine.migrate import upgrade
from service.processes.worker_main import start_worker, stop_worker
from tests.fakes import FakeServices
from tests.polling import wait_until
from tests.servers import Server
from tests.settings import settings_for, sqlite_url


@dataclass
class Running:
    """A broker, and the worker that works for it unless sending does the work."""

    broker: DurableBroker
    settings: Settings
    worker: Worker | None


TRANSPORTS = ("eager", "embedded", "rabbitmq")
SERVERS = {"rabbitmq_url": "rabbitmq", "redis_url": "redis_server", "database_url": "postgres"}
"""The fixture of the server behind each URL."""


@pytest.fixture
def run(
    services: FakeServices,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., Running]]:
    """Start a broker of this kind, with a worker of four threads; stop all of it in order.

    The worker stops before its virtual host and its database go. Otherwise a consumer that has lost
    its connection first waits for seconds before it stops.
    """
    # On a busy machine an answer may take longer than a caller waits for it.
    monkeypatch.setattr("broker.durable.SEND_S", 30.0)
    monkeypatch.setattr("mirt.store.engine.redis_client.TIMEOUT_S", 5.0)
    # A test that names one of these (perhaps overrides it) shares it with the broker.
    urls: dict[str, Any] = {
        name: request.getfixturevalue(name) for name in SERVERS if name in request.fixturenames
    }

    with ExitStack() as running:

        def start(
            transport: str, *, work: bool = True, clock: Clock = utc_now, **values: Any
        ) -> Running:
            where: dict[str, Any] = {"database_url": sqlite_url(tmp_path)}
            if transport == "rabbitmq":
                for name in SERVERS.keys() - urls.keys():
                    server: Server = request.getfixturevalue(SERVERS[name])
                    # The hook that starts servers sees only those that the test names.
                    server.start()
                    urls[name] = running.enter_context(server.isolated())
                where = urls
            if transport == "eager":
                where["TASKS_EAGER"] = True
            settings = settings_for(services, **where, WORKER_THREADS=4, **values)
            upgrade(settings.database_url.get_secret_value())
            runtime = open_runtime(settings, clock=clock)
            running.callback(runtime.close)
            use_runtime(runtime)
            broker = install(settings, clock=clock)
            running.callback(broker.close)
            # RabbitMQ may refuse consumers (INTERNAL_ERROR) that declare a new queue while the
            # publisher declares it. The first declaration may also take longer than a send waits.
            wait_until(lambda: broker.ready, within_s=30)
            worker = None
            if work and transport != "eager":
                worker = start_worker(broker, queues=set(QUEUES), threads=4, idle_ms=50)
                running.callback(stop_worker, worker, grace_s=10)
            return Running(broker, settings, worker)

        yield start
    registry.release()
