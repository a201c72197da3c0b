"""Brokers with a worker in this process, on the transport that a test asks for."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from dramatiq import Worker
from sqlalchemy import Row, Table

from actors.followups import check_all_sessions_for_followups
from actors.summarization import check_all_sessions_for_summarization
from broker.durable import DurableBroker
from broker.stack import install
from broker.task import registry
from middleware.policy import QUEUES
from mirt.clock import Clock, utc_now
from mirt.runtime import current_runtime, open_runtime, use_runtime
from mirt.settings import Settings
from mirt.store.engine.migrate import upgrade
from mirt.store.queue.dead_letters import DeadLetter, DeadLetterFilter, list_dead
from mirt.texts import FOLLOWUP_TEXTS
from service import dispatcher
from service.processes.worker_main import start_worker, stop_worker
from tests.clock import FakeClock
from tests.fakes import FakeServices
from tests.polling import START_WITHIN_S, wait_until
from tests.servers import Server
from tests.settings import settings_for, sqlite_url
from tests.unit.business import rows as rows_of

CHAT = "42"


@pytest.fixture
def impatient_with_unknown_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that this version does not know is a dead letter when it comes a second time."""
    for name in ("UNKNOWN_PATIENCE", "UNKNOWN_AGAIN"):
        monkeypatch.setattr(f"middleware.dead_letters.{name}", timedelta())


@dataclass
class Running:
    """A broker with its worker; the eager one has none."""

    broker: DurableBroker
    settings: Settings
    worker: Worker | None

    def stop(self) -> None:
        """Stop the worker, if it has one."""
        worker, self.worker = self.worker, None
        if worker is not None:
            stop_worker(worker, grace_s=10)


TRANSPORTS = ("eager", "embedded", "rabbitmq")
SERVERS = {"rabbitmq_url": "rabbitmq", "redis_url": "redis_server", "database_url": "postgres"}
"""The fixture of the server behind each URL."""


@dataclass
class Shop:
    """A service that does its work at once, and its clock."""

    services: FakeServices
    clock: FakeClock

    def hear(self, text: str = "Є сукня?", *, chat: str = CHAT, platform: str = "telegram") -> None:
        """Receive a message of a customer, and answer it."""
        dispatcher.dispatch_message(chat, text, platform, chat, fire_and_forget=True)

    def send_followups(self) -> int:
        """Send the due follow-ups, as the schedule does; return how many."""
        queued: int = result_of(check_all_sessions_for_followups.send())["queued"]
        return queued

    def send_summaries(self) -> int:
        """Start the due summaries, as the schedule does; return how many."""
        queued: int = result_of(check_all_sessions_for_summarization.send())["queued"]
        return queued

    def reminders(self, chat: str = CHAT) -> list[str]:
        """Return the follow-ups that the customer has got."""
        return [text for text in self.services.sent(chat) if text in FOLLOWUP_TEXTS]


def result_of(message: Any) -> Any:
    """Return the result of a task; wait up to 20 s for it.

    Raises:
        ResultFailure: the task has failed.
        ResultTimeout: there is no result in time.
    """
    backend = registry.broker.get_results_backend()
    return backend.get_result(message, block=True, timeout=20_000)


def rows(table: Table) -> list[Row[Any]]:
    """Return the rows of a table of the runtime's database, in the order of its key."""
    return rows_of(current_runtime().database, table)


def dead_letters_of(
    running: Running, wanted: DeadLetterFilter | None = None, *, limit: int = 1000
) -> list[DeadLetter]:
    """Return the dead letters, all of them by default."""
    with running.broker.database.transaction() as tx:
        return list_dead(tx, wanted or DeadLetterFilter(), limit=limit)


@pytest.fixture
def shop(run: Callable[..., Running], services: FakeServices) -> Shop:
    """Open a shop that does its work at once."""
    clock = FakeClock()
    run("eager", clock=clock)
    return Shop(services, clock)


@pytest.fixture
def run(
    services: FakeServices, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Running]]:
    """Start a broker of this kind, with a worker of four threads; stop all of it in order."""
    # A test that names one of these (perhaps overrides it) shares it with the broker.
    named = {
        name: request.getfixturevalue(name) for name in SERVERS if name in request.fixturenames
    }
    with brokers(services, tmp_path, request, named) as start:
        yield start


@contextmanager
def brokers(
    services: FakeServices,
    folder: Path,
    request: pytest.FixtureRequest,
    urls: dict[str, Any],
) -> Iterator[Callable[..., Running]]:
    """Yield a function that starts a broker; stop all that it has started in order at the end.

    The worker stops before its virtual host and its database go. Otherwise a consumer that has lost
    its connection first waits for seconds before it stops. ``urls`` are those that exist already.
    """
    with ExitStack() as running, pytest.MonkeyPatch.context() as patch:
        # On a busy machine an answer may take longer than a caller waits for it.
        patch.setattr("broker.durable.SEND_S", 30.0)
        patch.setattr("mirt.store.engine.redis_client.TIMEOUT_S", 5.0)
        running.callback(registry.release)

        def start(
            transport: str, *, work: bool = True, clock: Clock = utc_now, **values: Any
        ) -> Running:
            where: dict[str, Any] = {"database_url": sqlite_url(folder)}
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
            wait_until(lambda: broker.ready, within_s=START_WITHIN_S)
            started = Running(broker, settings, worker=None)
            running.callback(started.stop)
            if work and transport != "eager":
                started.worker = start_worker(broker, queues=set(QUEUES), threads=4, idle_ms=50)
            return started

        yield start
