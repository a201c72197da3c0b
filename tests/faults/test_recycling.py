"""G12: children are recycled one at a time; nothing is lost or run twice, no hole appears."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pika
import pytest

from bench import recycling as bench
from tests.conftest import SERVERS
from tests.deployment import Deployment, children, update
from tests.polling import wait_until
from tests.servers import Postgres, RabbitMQ, Redis

MESSAGES = 300


@contextmanager
def fewest_consumers(deployed: Deployment, queue: str) -> Iterator[list[int]]:
    """How many children took work from the queue, as RabbitMQ has counted them all the while."""
    counts: list[int] = []
    over = threading.Event()
    connection = pika.BlockingConnection(pika.URLParameters(deployed.environment["RABBITMQ_URL"]))
    channel = connection.channel()

    def look() -> None:
        while not over.wait(0.02):
            counts.append(channel.queue_declare(queue, passive=True).method.consumer_count)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield counts
    finally:
        over.set()
        thread.join()
        connection.close()


def both_work(deployed: Deployment) -> bool:
    return (
        deployed.log_text().count("worker_started") == 2 and deployed.run("worker", "--check") == 0
    )


def test_children_give_way_to_others_without_a_hole(deployed: Deployment) -> None:
    deployed.environment = {**deployed.environment, "WORKER_MAX_TASKS": "10", "WORKER_THREADS": "4"}
    worker = deployed.start("worker", "llm", "--processes", "2")
    deployed.web()
    wait_until(lambda: both_work(deployed))
    with fewest_consumers(deployed, "llm") as counts:
        deployed.post_all([update(chat, 1, "Привіт") for chat in range(1, MESSAGES + 1)])
        wait_until(
            lambda: all(deployed.services.sent(c) for c in range(1, MESSAGES + 1)), within_s=60
        )
        wait_until(lambda: deployed.log_text().count("worker_stopped") >= 3, within_s=30)
    assert min(counts) >= 2
    assert len(deployed.services.requests("llm")) == MESSAGES
    assert [c for c in range(1, MESSAGES + 1) if len(deployed.services.sent(c)) != 1] == []
    assert "worker_died" not in deployed.log_text()
    worker.terminate()
    assert worker.wait(10) == 0


def test_a_child_that_holds_too_much_memory_gives_way(deployed: Deployment) -> None:
    deployed.environment = {**deployed.environment, "WORKER_MAX_MEMORY_MB": "1"}
    deployed.start("worker", "llm")
    deployed.web()
    deployed.post(update(1, 1, "Привіт"))
    wait_until(lambda: deployed.services.sent(1))
    wait_until(lambda: deployed.log_text().count("worker_stopped") == 1)
    assert deployed.log_text().count("worker_recycled") == 1
    deployed.post(update(1, 2, "Ще раз"))
    wait_until(lambda: len(deployed.services.sent(1)) == 2)


@pytest.mark.slow
def test_a_child_works_on_while_its_successors_die_young(deployed: Deployment) -> None:
    deployed.environment = {**deployed.environment, "WORKER_MAX_TASKS": "1"}
    worker = deployed.start("worker", "llm")
    deployed.web()
    [old] = wait_until(lambda: children(worker))
    wait_until(lambda: "worker_started" in deployed.log_text())
    deployed.post(update(1, 1, "Привіт"))
    for _ in range(2):
        [young] = wait_until(lambda: set(children(worker)) - {old})
        os.kill(young, signal.SIGKILL)
        wait_until(lambda dead=young: dead not in children(worker))  # type: ignore[misc]
    assert old in children(worker)
    deployed.post(update(1, 2, "Ще раз"))
    wait_until(lambda: len(deployed.services.sent(1)) == 2)
    wait_until(lambda: old not in children(worker))
    assert deployed.log_text().count("worker_died") == 2


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_thousand_messages_while_children_are_recycled_after_ten_are_as_fast_and_once(
    pytestconfig: pytest.Config, rabbitmq: RabbitMQ, redis_server: Redis, postgres: Postgres
) -> None:
    servers = pytestconfig.stash[SERVERS]
    never, often = bench.measure(servers, bench.NEVER), bench.measure(servers, bench.OFTEN)
    once = {str(chat): 1 for chat in range(1, bench.MESSAGES + 1)}
    assert (never.replies, often.replies) == (once, once)
    assert never.finished == []
    assert len(often.finished) >= 10
    assert never.seconds / often.seconds >= 0.8, f"{never.seconds:.1f} s, {often.seconds:.1f} s"
