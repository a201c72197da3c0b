"""G1: a message answered with 2xx is never lost."""

import os
import re
import signal
import subprocess
from threading import Event, Thread
from typing import Self

import pytest

from tests.deployment import Deployment, children, update
from tests.polling import wait_until
from tests.servers import Postgres, RabbitMQ, Redis

CHATS = range(1, 41)
EACH = 5


def answered(deployed: Deployment, chat: int) -> list[str]:
    """The messages of a chat in the order in which replies answer them; a reply may answer many."""
    return re.findall(r"m\d+", " ".join(deployed.services.sent(chat)))


def all_answered(deployed: Deployment, each: int = EACH) -> bool:
    return all(len(set(answered(deployed, chat))) == each for chat in CHATS)


def unknown(deployed: Deployment) -> dict[str, int]:
    """Return the number of deliveries with an unknown outcome, by chat."""
    rows = deployed.rows("SELECT chat_id, sum(unknown) FROM deliveries GROUP BY chat_id")
    return {chat: int(count) for chat, count in rows if count}


def assert_in_order_and_once(deployed: Deployment, each: int = EACH) -> None:
    """Every message once and in order; twice only where the outcome is recorded as unknown."""
    wanted = [f"m{n}" for n in range(each)]
    twice = unknown(deployed)
    for chat in CHATS:
        got = answered(deployed, chat)
        once = list(dict.fromkeys(got))
        assert once == wanted, f"chat {chat}: {got}"
        assert got == wanted or str(chat) in twice, f"chat {chat} got a reply twice: {got}"


@pytest.fixture
def updates() -> list[dict[str, object]]:
    return [update(chat, n, f"m{n}") for n in range(EACH) for chat in CHATS]


@pytest.fixture
def slow_agent(deployed: Deployment) -> None:
    deployed.services.latency["llm"] = 0.2


def test_killed_workers_lose_nothing_and_keep_the_order(
    deployed: Deployment, slow_agent: None
) -> None:
    workers = [deployed.start("worker", "llm") for _ in range(2)]
    deployed.web()
    wait_until(lambda: deployed.log_text().count("worker_started") == 2)
    with Customers(deployed) as customers:
        for kill in range(3):
            _kill_one_at_work(deployed, workers[kill % 2])
    wait_until(lambda: all_answered(deployed, customers.rounds), within_s=60)
    assert_in_order_and_once(deployed, customers.rounds)


class Customers:
    """Every chat writes one message after the other until the block ends, three at least."""

    def __init__(self, deployed: Deployment) -> None:
        self.rounds = 0
        self._deployed = deployed
        self._enough = Event()
        self._thread = Thread(target=self._write)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()

    def _write(self) -> None:
        while self.rounds < 3 or not self._enough.is_set():
            updates = [update(chat, self.rounds, f"m{self.rounds}") for chat in CHATS]
            assert {answer.status_code for answer in self._deployed.post_all(updates)} == {200}
            self.rounds += 1


def _kill_one_at_work(
    deployed: Deployment, worker: "subprocess.Popen[bytes]", asked: int = 10
) -> None:
    """kill -9 while turns are running, and wait until another child is in its place."""
    seen = len(deployed.services.requests("llm"))
    wait_until(lambda: len(deployed.services.requests("llm")) > seen + asked)
    [victim] = children(worker)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: children(worker) not in ([], [victim]))


def test_a_killed_parent_leaves_nothing_behind_and_its_messages_go_on(
    deployed: Deployment, updates: list[dict[str, object]], slow_agent: None
) -> None:
    doomed = deployed.start("worker", "llm")
    deployed.web()
    wait_until(lambda: "worker_started" in deployed.log_text())
    posting = Thread(target=deployed.post_all, args=(updates,))
    posting.start()
    wait_until(lambda: len(deployed.services.requests("llm")) > 20)
    doomed.kill()
    doomed.wait()
    other = deployed.start("worker", "llm")
    posting.join()
    wait_until(lambda: all_answered(deployed), within_s=60)
    assert other.poll() is None
    assert_in_order_and_once(deployed)


def test_rabbitmq_losing_its_disk_loses_no_message(
    deployed: Deployment, updates: list[dict[str, object]], rabbitmq: RabbitMQ
) -> None:
    deployed.web()
    answers = deployed.post_all(updates)
    assert {answer.status_code for answer in answers} == {200}
    wait_until(lambda: deployed.rows("SELECT 1 FROM tasks WHERE state = 'queued'"))
    rabbitmq.kill()
    rabbitmq.wipe()
    rabbitmq.start()
    deployed.start("worker", "llm")
    wait_until(lambda: all_answered(deployed), within_s=60)
    assert_in_order_and_once(deployed)


def test_rabbitmq_being_away_stops_no_webhook_and_all_are_answered_after_it(
    deployed: Deployment, updates: list[dict[str, object]], rabbitmq: RabbitMQ
) -> None:
    deployed.start("worker", "llm")
    deployed.web()
    assert deployed.post(update(999, 0, "m0")).status_code == 200
    wait_until(lambda: deployed.services.sent(999))
    rabbitmq.kill()
    answers = deployed.post_all(updates)
    assert {answer.status_code for answer in answers} == {200}
    rabbitmq.start()
    wait_until(lambda: all_answered(deployed), within_s=60)
    assert_in_order_and_once(deployed)


def test_redis_losing_everything_loses_no_message(
    deployed: Deployment, updates: list[dict[str, object]], redis_server: Redis
) -> None:
    deployed.start("worker", "llm")
    deployed.web()
    posting = Thread(target=deployed.post_all, args=(updates,))
    posting.start()
    wait_until(lambda: len(deployed.services.requests("llm")) > 20)
    redis_server.kill()
    redis_server.start()
    posting.join()
    wait_until(lambda: all_answered(deployed), within_s=60)
    assert_in_order_and_once(deployed)


def test_a_restart_of_postgresql_loses_no_accepted_message(
    deployed: Deployment, updates: list[dict[str, object]], postgres: Postgres, slow_agent: None
) -> None:
    deployed.start("worker", "llm")
    deployed.web()

    # Telegram repeats what was not accepted, and a chat's next only after it.
    def post(one: dict[str, object]) -> None:
        wait_until(lambda: deployed.post(one).status_code == 200, within_s=30)

    def post_all() -> None:
        for one in updates:
            post(one)

    posting = Thread(target=post_all)
    posting.start()
    wait_until(lambda: len(deployed.services.requests("llm")) > 10)
    postgres.kill()
    postgres.start()
    posting.join()
    wait_until(lambda: all_answered(deployed), within_s=60)
    assert_in_order_and_once(deployed)
