"""G12: stopping loses and repeats nothing; a lost connection comes back by itself, and is seen."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence

import pika
import pytest

from service.processes.worker_main import FORCED_EXIT_AFTER_S
from tests.deployment import Deployment, children, update
from tests.fakes import Hang
from tests.polling import wait_until
from tests.servers import RabbitMQ


def is_able(deployed: Deployment) -> bool:
    """Return whether the health check of the container passes."""
    return deployed.run("worker", "--check") == 0


def test_a_worker_without_its_broker_fails_its_health_check_until_it_is_back(
    deployed: Deployment, rabbitmq: RabbitMQ
) -> None:
    assert not is_able(deployed)
    deployed.start("worker", "llm")
    deployed.web()
    wait_until(lambda: is_able(deployed))
    rabbitmq.kill()
    wait_until(lambda: not is_able(deployed), within_s=30)
    rabbitmq.start()
    wait_until(lambda: is_able(deployed), within_s=30)
    deployed.post(update(7, 1, "Привіт"))
    wait_until(lambda: deployed.services.sent(7))


def prefetched(deployed: Deployment, queue: str) -> bool:
    """Whether consumers hold all messages of this queue."""
    connection = pika.BlockingConnection(pika.URLParameters(deployed.environment["RABBITMQ_URL"]))
    with connection:
        registry = connection.channel().queue_declare(queue, passive=True)
    return bool(registry.method.message_count == 0)


def busy(
    deployed: Deployment, *arguments: str, threads: int = 3, chats: Sequence[int] = (1, 2)
) -> "subprocess.Popen[bytes]":
    """A worker in which the turns of these chats wait for the agent."""
    worker = deployed.start("worker", "llm", "webhooks", "--threads", str(threads), *arguments)
    deployed.web()
    wait_until(lambda: deployed.log_text().count("worker_started") == 1)
    for chat in chats:
        deployed.post(update(chat, 1, "Привіт"))
    wait_until(lambda: len(deployed.services.requests("llm")) == len(chats))
    return worker


def another(deployed: Deployment) -> None:
    deployed.start("worker", "llm", "webhooks", "--threads", "4")
    wait_until(lambda: deployed.log_text().count("worker_started") == 2)


def agent_calls_of(deployed: Deployment, seconds: float) -> None:
    deployed.services.latency["llm"] = seconds


def test_in_the_middle_of_an_agent_call_what_was_prefetched_starts_elsewhere_at_once(
    deployed: Deployment,
) -> None:
    deployed.environment = {**deployed.environment, "LLM_CALL_TIMEOUT_SECONDS": "110"}
    deployed.services.misbehave("llm", Hang())
    stopping = busy(deployed, threads=1, chats=[1])
    send = "from actors.messages import send_response as s; s.send('telegram', '2', 'prefetched')"
    deployed.python(send)
    wait_until(lambda: prefetched(deployed, "webhooks"))
    another(deployed)
    assert deployed.services.sent(2) == []
    stopping.terminate()
    wait_until(lambda: deployed.services.sent(2))
    assert stopping.poll() is None, "its turn goes on"
    deployed.services.release()
    assert stopping.wait(40) == 0
    assert [len(deployed.services.sent(chat)) for chat in (1, 2)] == [1, 1]
    assert len(deployed.services.requests("llm")) == 1


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_turn_of_a_minute_is_finished_before_its_worker_stops(deployed: Deployment) -> None:
    agent_calls_of(deployed, 60)
    stopping = busy(deployed)
    stopping.terminate()
    assert stopping.wait(100) == 0
    assert [len(deployed.services.sent(chat)) for chat in (1, 2)] == [1, 1]
    assert len(deployed.services.requests("llm")) == 2


def test_at_the_grace_limit_it_exits_and_what_ran_goes_on_elsewhere(deployed: Deployment) -> None:
    deployed.services.misbehave("llm", Hang(applied=False), times=2)
    deployed.environment = {**deployed.environment, "LEASE_SECONDS": "60"}
    stopping = busy(deployed, "--grace", "2")
    another(deployed)
    began = time.monotonic()
    stopping.terminate()
    assert stopping.wait(15) == 0
    assert time.monotonic() - began >= 2
    wait_until(lambda: all(deployed.services.sent(chat) for chat in (1, 2)), within_s=5)
    assert [len(deployed.services.sent(chat)) for chat in (1, 2)] == [1, 1]


def test_a_signal_to_every_process_at_once_is_one_asking(deployed: Deployment) -> None:
    agent_calls_of(deployed, 2)
    stopping = busy(deployed)
    for pid in (*children(stopping), stopping.pid):
        os.kill(pid, signal.SIGTERM)
    assert stopping.wait(15) == 0
    assert [len(deployed.services.sent(chat)) for chat in (1, 2)] == [1, 1]
    assert len(deployed.services.requests("llm")) == 2


def test_a_child_that_is_retired_is_asked_once_when_everybody_is(deployed: Deployment) -> None:
    deployed.environment = {**deployed.environment, "WORKER_MAX_TASKS": "1"}
    agent_calls_of(deployed, 8)
    worker = deployed.start("worker", "llm", "webhooks", "--threads", "2")
    deployed.web()
    deployed.post(update(1, 1, "Привіт"))
    wait_until(lambda: len(deployed.services.requests("llm")) == 1)
    deployed.python(
        "from actors.messages import send_response as s; s.send('telegram', '2', 'quick')"
    )
    wait_until(lambda: "worker_recycled" in deployed.log_text())
    retired_at = time.monotonic()
    wait_until(lambda: time.monotonic() > retired_at + 1.5 * FORCED_EXIT_AFTER_S)
    for pid in (*children(worker), worker.pid):
        os.kill(pid, signal.SIGTERM)
    assert worker.wait(20) == 0
    assert len(deployed.services.sent(1)) == len(deployed.services.requests("llm")) == 1


def test_a_child_that_is_held_still_is_replaced_and_its_turns_go_on(deployed: Deployment) -> None:
    deployed.environment = {**deployed.environment, "LEASE_SECONDS": "2"}
    agent_calls_of(deployed, 1)
    worker = busy(deployed)
    [held] = children(worker)
    os.kill(held, signal.SIGSTOP)
    wait_until(lambda: all(deployed.services.sent(chat) for chat in (1, 2)), within_s=10)
    assert held not in children(worker)
    unfinished = "SELECT count(*) FROM tasks WHERE starts > 0"
    wait_until(lambda: deployed.rows(unfinished) == [(0,)])
    assert [len(deployed.services.sent(chat)) for chat in (1, 2)] == [1, 1]
