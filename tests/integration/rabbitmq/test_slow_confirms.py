"""A RabbitMQ that is slow to confirm is not given the same message again and again."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from actors.health import ping
from broker.rabbitmq import RabbitBroker
from mirt.clock import utc_now
from mirt.errors import BrokerUnavailableError
from mirt.store.tables import tasks
from tests.integration.conftest import Running
from tests.polling import wait_until
from tests.servers import RabbitMQ
from tests.servers.balancer import Balancer

Run = Callable[..., Running]
SLOW_S = 5.0
pytestmark = pytest.mark.usefixtures("rabbitmq_url")


@pytest.fixture
def between(rabbitmq: RabbitMQ) -> Iterator[Balancer]:
    with Balancer.before(rabbitmq.url) as between:
        yield between


@pytest.fixture
def rabbitmq_url(rabbitmq_url: str, between: Balancer) -> str:
    return between.url(rabbitmq_url)


def row(running: Running, task_id: str) -> Any:
    with running.broker.database.transaction() as tx:
        return tx.execute(tasks.select().where(tasks.c.id == task_id)).one()


def test_a_message_without_its_confirm_yet_is_not_published_again_at_once(
    run: Run, rabbitmq: RabbitMQ
) -> None:
    running = run("rabbitmq")
    with rabbitmq.frozen():
        until = time.monotonic() + SLOW_S
        ping.send_with_options(task_id="slow")
        wait_until(lambda: row(running, "slow").publications > 2 or time.monotonic() > until)
        assert row(running, "slow").publications <= 2
    wait_until(lambda: row(running, "slow").state == "done")


def test_the_sender_of_a_task_without_a_row_is_told_that_it_was_not_confirmed(
    run: Run, rabbitmq: RabbitMQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("rabbitmq")
    monkeypatch.setattr("broker.durable.SEND_S", 1.0)
    with rabbitmq.frozen(), pytest.raises(BrokerUnavailableError):
        ping.send()


def test_a_message_unconfirmed_when_the_connection_was_cut_is_published_again_at_once(
    run: Run, rabbitmq: RabbitMQ, between: Balancer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirt.store.queue.outbox.REPUBLISH_AFTER", timedelta(hours=1))
    running = run("rabbitmq")
    with rabbitmq.frozen():
        ping.send_with_options(task_id="cut")
        assert row(running, "cut").due_at > utc_now()
        with between.cut_in_mid_message(), pytest.raises(BrokerUnavailableError):
            ping.send()
        wait_until(lambda: row(running, "cut").due_at <= utc_now(), within_s=3)
    wait_until(lambda: row(running, "cut").state == "done")


def test_a_message_unconfirmed_when_its_sender_stopped_is_left_to_others(
    run: Run, rabbitmq: RabbitMQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirt.store.queue.outbox.REPUBLISH_AFTER", timedelta(hours=1))
    running = run("rabbitmq", work=False)
    with rabbitmq.frozen():
        ping.send_with_options(task_id="left")
        running.broker.close()
        assert row(running, "left").due_at <= utc_now()


def test_a_task_whose_message_is_refused_by_its_queue_is_sent_again_after_a_pause(
    run: Run, rabbitmq: RabbitMQ, rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = timedelta(seconds=1)
    monkeypatch.setattr("mirt.store.queue.outbox.REPUBLISH_AFTER", pause)
    running = run("rabbitmq", work=False)
    assert isinstance(running.broker, RabbitBroker)
    publisher = running.broker.publisher
    rabbitmq.limit_queues(rabbitmq_url, to=1)
    sent: list[str] = []

    def is_refused() -> bool:
        sent.append(f"task-{len(sent)}")
        ping.send_with_options(task_id=sent[-1])
        return publisher.problem is not None

    wait_until(is_refused)
    refused = row(running, sent[-1])
    assert refused.due_at - refused.published_at == pause
    with pytest.raises(BrokerUnavailableError):
        ping.send()
    rabbitmq.limit_queues(rabbitmq_url, to=1000)
    running = run("rabbitmq")
    wait_until(lambda: {row(running, one).state for one in sent} == {"done"})
