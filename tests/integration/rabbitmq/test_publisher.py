"""The publisher against a real RabbitMQ: what a confirmed future means, and what a failed one."""

import time
from collections.abc import Iterator
from concurrent.futures import wait

import pika
import pytest

from broker.rabbitmq.connection import ConnectionSettings
from broker.rabbitmq.publisher import Publisher
from mirt.errors import BrokerUnavailableError
from tests.polling import wait_until
from tests.servers import RabbitMQ


@pytest.fixture
def publisher(rabbitmq_url: str) -> Iterator[Publisher]:
    publisher = Publisher(ConnectionSettings(rabbitmq_url), ["llm"])
    yield publisher
    publisher.close()


def depth(url: str, queue: str) -> int:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        found = connection.channel().queue_declare(queue, passive=True)
        return int(found.method.message_count)
    finally:
        connection.close()


def test_a_confirmed_message_is_in_the_queue(publisher: Publisher, rabbitmq_url: str) -> None:
    futures = [publisher.publish("llm", b"{}", message_id=str(n)) for n in range(1000)]
    wait(futures, timeout=20)
    assert all(future.exception(timeout=0) is None for future in futures)
    assert depth(rabbitmq_url, "llm") == 1000


def test_the_first_message_waits_for_the_connection(publisher: Publisher) -> None:
    assert publisher.publish("llm", b"{}", message_id="1").result(timeout=10) is None


def test_a_message_that_no_queue_takes_fails_and_the_queue_is_made_again(
    publisher: Publisher, rabbitmq_url: str
) -> None:
    publisher.publish("llm", b"{}", message_id="1").result(timeout=10)
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq_url))
    connection.channel().queue_delete("llm")
    connection.close()
    with pytest.raises(BrokerUnavailableError, match="llm"):
        publisher.publish("llm", b"{}", message_id="2").result(timeout=10)

    def works_again() -> bool:
        return publisher.publish("llm", b"{}", message_id="3").exception(timeout=10) is None

    wait_until(works_again)


def test_a_message_that_its_queue_refuses_fails(
    publisher: Publisher, rabbitmq: RabbitMQ, rabbitmq_url: str
) -> None:
    publisher.publish("llm", b"{}", message_id="0").result(timeout=30)
    rabbitmq.limit_queues(rabbitmq_url, to=1)

    def is_refused() -> bool:
        refusal = publisher.publish("llm", b"{}", message_id="1").exception(timeout=30)
        assert refusal is None or "refused" in str(refusal)
        return isinstance(refusal, BrokerUnavailableError)

    # A quorum queue takes a few messages more before it refuses.
    wait_until(is_refused)


def test_without_a_server_it_fails_at_once_and_comes_back_by_itself(
    publisher: Publisher, rabbitmq: RabbitMQ, rabbitmq_url: str
) -> None:
    publisher.publish("llm", b"{}", message_id="1").result(timeout=10)
    rabbitmq.kill()
    wait_until(lambda: not publisher.connected)
    began = time.monotonic()
    for n in range(100):
        future = publisher.publish("llm", b"{}", message_id=str(n))
        assert isinstance(future.exception(timeout=5), BrokerUnavailableError)
    assert time.monotonic() - began < 5
    rabbitmq.start()
    wait_until(lambda: publisher.connected, within_s=30)
    publisher.publish("llm", b"{}", message_id="2").result(timeout=10)
    assert depth(rabbitmq_url, "llm") == 2


def test_an_unconfirmed_message_fails_when_the_publisher_is_closed(
    publisher: Publisher, rabbitmq: RabbitMQ
) -> None:
    publisher.publish("llm", b"{}", message_id="0").result(timeout=10)
    with rabbitmq.frozen():
        futures = [publisher.publish("llm", b"{}", message_id=str(n)) for n in range(50)]
        assert not any(future.done() for future in futures)
        publisher.close()
        assert all(isinstance(f.exception(timeout=5), BrokerUnavailableError) for f in futures)
