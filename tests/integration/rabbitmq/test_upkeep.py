"""Workers find what a queue has lost, and what it rejects, beside their messages."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pika
import pytest

from actors.health import ping
from actors.messages import send_response
from broker.rabbitmq import RabbitBroker
from broker.rabbitmq.queues import queue_arguments, rejects_name
from mirt.store.tables import tasks
from tests.fakes import FakeServices
from tests.integration.conftest import Running, dead_letters_of
from tests.polling import wait_until

Run = Callable[..., Running]


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.rabbitmq.upkeep.LOOK_EVERY_S", 0.2)
    monkeypatch.setattr("broker.rabbitmq.lost_messages.JUST_PUBLISHED", timedelta())
    monkeypatch.setattr("mirt.store.queue.outbox.REPUBLISH_AFTER", timedelta(hours=1))


def ask(url: str, question: Callable[[Any], object]) -> None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        question(connection.channel())


def test_purged_messages_are_published_again_when_a_worker_is_idle(
    run: Run, rabbitmq_url: str, services: FakeServices
) -> None:
    services.latency["telegram"] = 1
    run("rabbitmq")
    for n in range(12):
        send_response.send_with_options(args=("telegram", str(n + 1), "x"), task_id=f"t{n}")
    wait_until(lambda: len(services.requests("telegram")) >= 4)
    ask(rabbitmq_url, lambda channel: channel.queue_purge("webhooks"))
    wait_until(lambda: len(services.replies()) == 12)
    assert {len(services.sent(str(n + 1))) for n in range(12)} == {1}


@pytest.fixture
def consumers_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers miss that RabbitMQ has ended their consumer."""
    monkeypatch.setattr(
        "broker.rabbitmq.consumer.RabbitConsumer._cancelled_by_broker", lambda *_: None
    )


@pytest.mark.usefixtures("consumers_are_not_told")
def test_a_deleted_queue_is_found_even_if_its_consumer_was_not_told(
    run: Run, rabbitmq_url: str, services: FakeServices
) -> None:
    run("rabbitmq")
    ask(rabbitmq_url, lambda channel: channel.queue_delete("webhooks"))
    send_response.send_with_options(args=("telegram", "7", "x"), task_id="t")
    wait_until(lambda: services.sent("7"))


@pytest.mark.usefixtures("consumers_are_not_told")
def test_a_queue_that_was_deleted_and_declared_again_gets_its_consumer_back(
    run: Run, rabbitmq_url: str, services: FakeServices
) -> None:
    run("rabbitmq")

    def declare_again(channel: Any) -> None:
        channel.queue_delete("webhooks")
        channel.queue_declare("webhooks", durable=True, arguments=queue_arguments("webhooks"))

    ask(rabbitmq_url, declare_again)
    send_response.send_with_options(args=("telegram", "7", "x"), task_id="t")
    wait_until(lambda: services.sent("7"))


def test_rejects_become_dead_letters_unless_a_row_keeps_their_task(
    run: Run, rabbitmq_url: str
) -> None:
    running = run("rabbitmq", work=False)
    kept = send_response.send_with_options(args=("telegram", "8", "x"), task_id="kept")
    lost = send_response.message("telegram", "9", "x")
    unknown = lost.copy(actor_name="of_tomorrow", message_id="unknown")
    rejects = rejects_name("webhooks")
    bodies = [kept.encode(), lost.encode(), b"\xff no message", unknown.encode()]
    ask(rabbitmq_url, lambda channel: [channel.basic_publish("", rejects, b) for b in bodies])
    running = run("rabbitmq")
    wait_until(lambda: row_of(running, "unknown"))
    found = [dead_letter.error_code for dead_letter in dead_letters_of(running)]
    assert sorted(found) == ["DROPPED", "UNDECODABLE"]
    wait_until(lambda: row_of(running, "kept").state == "done")


def row_of(running: Running, task_id: str) -> Any:
    with running.broker.database.transaction() as tx:
        return tx.execute(tasks.select().where(tasks.c.id == task_id)).one_or_none()


def test_a_full_queue_is_reported_and_not_filled_in_a_loop(run: Run, rabbitmq_url: str) -> None:
    arguments = {"x-queue-type": "quorum", "x-max-length": 1, "x-overflow": "reject-publish"}
    ask(
        rabbitmq_url,
        lambda channel: channel.queue_declare("default", durable=True, arguments=arguments),
    )
    running = run("rabbitmq", work=False)
    assert isinstance(running.broker, RabbitBroker)
    publisher = running.broker.publisher
    for n in range(5):
        ping.send_with_options(task_id=f"t{n}")
    wait_until(lambda: "refuses messages of default" in str(publisher.problem))
    with running.broker.database.transaction() as tx:
        rows = tx.execute(tasks.select().where(tasks.c.publications > 1)).all()
    assert rows == []
