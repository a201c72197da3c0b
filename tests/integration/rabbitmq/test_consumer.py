"""The consumer against a real RabbitMQ: a delivery belongs to one consumer and one connection."""

from collections.abc import Callable, Iterator
from typing import Any

import pika
import pytest
from dramatiq import Message
from dramatiq.errors import ConnectionClosed

from broker.rabbitmq.connection import ConnectionSettings
from broker.rabbitmq.consumer import RabbitConsumer, RabbitMessage
from broker.rabbitmq.queues import rejects_name
from middleware.run_state import run_state
from tests.polling import wait_until

Consume = Callable[..., RabbitConsumer]


@pytest.fixture
def consume(rabbitmq_url: str) -> Iterator[Consume]:
    consumers: list[RabbitConsumer] = []

    def consume(prefetch: int = 10) -> RabbitConsumer:
        parameters = ConnectionSettings(rabbitmq_url).parameters("test")
        consumers.append(RabbitConsumer(parameters, "llm", prefetch=prefetch, timeout_ms=100))
        return consumers[-1]

    yield consume
    for one in consumers:
        one.close()


@pytest.fixture
def channel(rabbitmq_url: str) -> Iterator[Any]:
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq_url))
    yield connection.channel()
    connection.close()


def send(channel: Any, *names: str) -> None:
    for name in names:
        message: Message[Any] = Message("llm", name, (), {}, {})
        channel.basic_publish("", "llm", message.encode())


def receive(consumer: RabbitConsumer, count: int) -> list[RabbitMessage]:
    got: list[RabbitMessage] = []

    def enough() -> bool:
        if (message := next(consumer)) is not None:
            got.append(message)
        return len(got) >= count

    wait_until(enough)
    return got


def names(messages: list[RabbitMessage]) -> list[str]:
    return [message.actor_name for message in messages]


def drained(consumer: RabbitConsumer) -> bool:
    """Nothing more comes within the consumer's own timeout, twice."""
    return next(consumer) is None and next(consumer) is None


def test_a_stale_ack_does_not_delete_another_message(consume: Consume, channel: Any) -> None:
    first = consume()
    send(channel, "old")
    [old] = receive(first, 1)
    first.close()
    second = consume()
    [again] = receive(second, 1)
    assert again.tag == old.tag
    second.ack(old)
    assert drained(second)
    second.close()
    assert names(receive(consume(), 1)) == ["old"]


def test_an_acked_message_does_not_come_back(consume: Consume, channel: Any) -> None:
    first = consume()
    send(channel, "done", "open")
    done, _ = receive(first, 2)
    first.ack(done)
    assert drained(first)
    first.close()
    assert names(receive(consume(), 1)) == ["open"]


def test_a_consumer_holds_no_more_than_its_prefetch(consume: Consume, channel: Any) -> None:
    consumer = consume(prefetch=2)
    send(channel, "a", "b", "c")
    a, _ = receive(consumer, 2)
    assert drained(consumer)
    consumer.ack(a)
    assert names(receive(consumer, 1)) == ["c"]


def test_prefetched_messages_go_back_at_once_when_a_consumer_is_cancelled(
    consume: Consume, channel: Any
) -> None:
    stopping = consume()
    send(channel, "running", "waiting-1", "waiting-2")
    [running, *waiting] = receive(stopping, 3)
    stopping.cancel()
    stopping.requeue(waiting)
    assert drained(stopping)
    other = consume()
    assert sorted(names(receive(other, 2))) == ["waiting-1", "waiting-2"]
    stopping.ack(running)
    assert drained(stopping)
    stopping.close()
    assert drained(other)


def test_a_message_that_nobody_can_read_goes_among_the_rejects(
    consume: Consume, channel: Any
) -> None:
    consumer = consume()
    channel.basic_publish("", "llm", b"\xff not a message")
    send(channel, "readable")
    assert names(receive(consumer, 1)) == ["readable"]
    rejects = rejects_name("llm")
    wait_until(lambda: channel.queue_declare(rejects, passive=True).method.message_count == 1)


def test_a_message_that_could_not_be_claimed_comes_back(consume: Consume, channel: Any) -> None:
    consumer = consume()
    send(channel, "later")
    [message] = receive(consumer, 1)
    run_state(message).give_back = True
    consumer.ack(message)
    assert names(receive(consumer, 1)) == ["later"]


def test_a_queue_with_other_arguments_is_consumed_and_loses_no_reject(
    consume: Consume, channel: Any
) -> None:
    channel.queue_declare("llm", durable=True)
    channel.basic_publish("", "llm", b"\xff not a message")
    send(channel, "readable")
    first = consume()
    assert names(receive(first, 1)) == ["readable"]
    first.close()
    assert channel.queue_declare("llm", passive=True).method.message_count == 2


def test_a_queue_of_another_program_alone_is_explained(consume: Consume, channel: Any) -> None:
    channel.queue_declare("llm", exclusive=True)
    with pytest.raises(ConnectionClosed, match=r"'llm'.*RESOURCE_LOCKED"):
        consume()


def test_a_consumer_that_the_broker_cancels_says_so(consume: Consume, channel: Any) -> None:
    consumer = consume()
    assert consumer.connected
    channel.queue_delete("llm")
    with pytest.raises(ConnectionClosed, match="ended the consumer of 'llm'"):
        receive(consumer, 1)
    assert not consumer.connected


def test_a_message_that_cannot_be_claimed_is_not_returned_until_its_consumer_stops(
    consume: Consume, channel: Any
) -> None:
    consumer = consume()
    send(channel, "later")
    for _ in range(3):
        [message] = receive(consumer, 1)
        run_state(message).give_back = True
        consumer.ack(message)
    consumer.cancel()
    assert drained(consumer)
    other = consume()
    [again] = receive(other, 1)
    assert again.actor_name == "later"
    assert deliveries(channel, other) == 1


def deliveries(channel: Any, consumer: RabbitConsumer) -> int:
    """Close the consumer; return how often RabbitMQ counts that its message came back."""
    consumer.close()
    got = wait_until(lambda: (found := channel.basic_get("llm"))[0] and found)
    return int(got[1].headers["x-delivery-count"]) - 1
