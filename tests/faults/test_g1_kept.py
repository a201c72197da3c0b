"""G1: a message answered with 2xx is never lost."""

import os
import signal
import subprocess

import pytest

from tests.deployment import Deployment, children, update
from tests.faults.customers import Customers
from tests.polling import wait_until
from tests.servers import Postgres, RabbitMQ, Redis

EACH = 5


@pytest.fixture
def customers(deployed: Deployment) -> Customers:
    """Return customers of forty chats, who write in rounds."""
    return Customers(deployed, range(1, 41), in_rounds=True)


@pytest.fixture
def slow_agent(deployed: Deployment) -> None:
    """Let a completion take a while, so that turns run when something breaks."""
    deployed.services.latency["llm"] = 0.2


def assert_all_are_kept(customers: Customers) -> None:
    wait_until(customers.answered, within_s=120)
    customers.assert_once_and_in_order()


def test_killed_workers_lose_nothing_and_keep_the_order(
    deployed: Deployment, customers: Customers, slow_agent: None
) -> None:
    workers = [deployed.start("worker", "llm") for _ in range(2)]
    deployed.web()
    wait_until(lambda: deployed.log_text().count("worker_started") == 2)
    with customers:
        # Twice, since a task that has lost three workers is a dead letter, as it should be.
        for worker in workers:
            _kill_one_at_work(deployed, worker)
    assert_all_are_kept(customers)


def _kill_one_at_work(
    deployed: Deployment, worker: "subprocess.Popen[bytes]", asked: int = 10
) -> None:
    """Kill a worker process with SIGKILL while turns run, and wait for its successor."""
    seen = len(deployed.services.requests("llm"))
    wait_until(lambda: len(deployed.services.requests("llm")) > seen + asked)
    [victim] = children(worker)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: children(worker) not in ([], [victim]))


def test_a_killed_parent_leaves_nothing_behind_and_its_messages_go_on(
    deployed: Deployment, customers: Customers, slow_agent: None
) -> None:
    doomed = deployed.start("worker", "llm")
    deployed.web()
    wait_until(lambda: "worker_started" in deployed.log_text())
    with customers:
        wait_until(lambda: len(deployed.services.requests("llm")) > 20)
        doomed.kill()
        doomed.wait()
        other = deployed.start("worker", "llm")
    assert_all_are_kept(customers)
    assert other.poll() is None


def test_rabbitmq_losing_its_disk_loses_no_message(
    deployed: Deployment, customers: Customers, rabbitmq: RabbitMQ
) -> None:
    deployed.web()
    customers.write(rounds=EACH)
    wait_until(lambda: deployed.rows("SELECT 1 FROM tasks WHERE state = 'queued'"))
    rabbitmq.kill()
    rabbitmq.wipe()
    rabbitmq.start()
    deployed.start("worker", "llm")
    assert_all_are_kept(customers)


def test_rabbitmq_being_away_stops_no_webhook_and_all_are_answered_after_it(
    deployed: Deployment, customers: Customers, rabbitmq: RabbitMQ
) -> None:
    deployed.start("worker", "llm")
    deployed.web()
    assert deployed.post(update(999, 0, "m0")).status_code == 200
    wait_until(lambda: deployed.services.sent(999))
    rabbitmq.kill()
    customers.write(rounds=EACH)
    rabbitmq.start()
    assert_all_are_kept(customers)


def test_redis_losing_everything_loses_no_message(
    deployed: Deployment, customers: Customers, redis_server: Redis
) -> None:
    deployed.start("worker", "llm")
    deployed.web()
    with customers:
        wait_until(lambda: len(deployed.services.requests("llm")) > 20)
        redis_server.kill()
        redis_server.start()
    assert_all_are_kept(customers)


def test_a_restart_of_postgresql_loses_no_accepted_message(
    deployed: Deployment, postgres: Postgres, slow_agent: None
) -> None:
    deployed.start("worker", "llm")
    deployed.web()
    with Customers(deployed, range(1, 9)) as customers:
        wait_until(lambda: len(deployed.services.requests("llm")) > 10)
        postgres.kill()
        postgres.start()
        customers.go_on()
    assert_all_are_kept(customers)
