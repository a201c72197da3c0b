"""Brokers with a worker in this process, on whatever transport a test asks for."""

from collections.abc import Callable, Iterator
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
from mirt.runtime import current_runtime, open_runtime, use_runtime
from mirt.settings import Settings
from mirt.store.engine.migrate import upgrade
from service.processes.worker_main import start_worker, stop_worker
from tests.fakes import FakeServices
from tests.polling import wait_until
from tests.settings import settings_for, sqlite_url


@dataclass
class Running:
    """A broker, and the worker that works for it unless sending does the work."""

    broker: DurableBroker
    settings: Settings
    worker: Worker | None


TRANSPORTS = ("eager", "embedded", "rabbitmq")


@pytest.fixture
def run(
    services: FakeServices,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., Running]]:
    """Start a broker of this kind, with a worker of four threads."""
    started: list[Running] = []
    # On a busy machine an answer may take longer than a caller is to wait for it.
    monkeypatch.setattr("broker.durable.SEND_S", 30.0)
    monkeypatch.setattr("mirt.store.engine.redis_client.TIMEOUT_S", 5.0)

    def start(
        transport: str, *, work: bool = True, clock: Clock = utc_now, **values: Any
    ) -> Running:
        urls: dict[str, Any] = {"database_url": sqlite_url(tmp_path)}
        if transport == "rabbitmq":
            for server in ("rabbitmq", "redis_server", "postgres"):
                # Who asks for them here only is not seen by those who mend them before each test.
                request.getfixturevalue(server).start()
            names = ("rabbitmq_url", "redis_url", "database_url")
            urls = {name: request.getfixturevalue(name) for name in names}
        if transport == "eager":
            urls["TASKS_EAGER"] = True
        settings = settings_for(services, **urls, WORKER_THREADS=4, **values)
        upgrade(settings.database_url.get_secret_value())
        use_runtime(open_runtime(settings, clock=clock))
        broker = install(settings, clock=clock)
        worker = None
        if work and transport != "eager":
            worker = start_worker(broker, queues=set(QUEUES), threads=4, idle_ms=50)
        started.append(Running(broker, settings, worker))
        # A send waits three seconds for its confirm, the first declaration of all queues may not.
        wait_until(lambda: broker.ready, within_s=30)
        return started[-1]

    yield start
    for one in started:
        if one.worker is not None:
            stop_worker(one.worker, grace_s=10)
        one.broker.close()
        current_runtime().close()
    registry.release()
