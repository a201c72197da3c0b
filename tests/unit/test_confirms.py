"""The confirms of RabbitMQ, as they come in every order and for several messages at once."""

from concurrent.futures import Future
from unittest.mock import create_autospec

import pytest
from pika.channel import Channel
from pika.frame import Method
from pika.spec import Basic

from broker.rabbitmq.connection import ConnectionSettings
from broker.rabbitmq.publisher import Publisher
from mirt.errors import MessageRefusedError

Confirms = list["Future[None]"]


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Publisher:
    """A publisher whose connection has just become ready, on a channel that only takes."""
    publisher = Publisher(ConnectionSettings("amqp://localhost"), ["llm"])
    monkeypatch.setattr(publisher, "start", lambda: None)
    publisher._ready(create_autospec(Channel, instance=True, is_open=True), {})
    return publisher


@pytest.fixture
def confirms(publisher: Publisher) -> Confirms:
    """The futures of three messages with the delivery tags 2, 3 and 4; the probe had 1."""
    futures = [publisher.publish("llm", b"{}", message_id=str(tag)) for tag in (2, 3, 4)]
    publisher._flush()
    return futures


def test_an_answer_for_many_messages_confirms_no_later_one(
    publisher: Publisher, confirms: Confirms
) -> None:
    publisher._answered(Method(1, Basic.Ack(delivery_tag=3, multiple=True)))
    assert [future.done() for future in confirms] == [True, True, False]


def test_an_answer_for_one_message_confirms_no_earlier_one(
    publisher: Publisher, confirms: Confirms
) -> None:
    publisher._answered(Method(1, Basic.Ack(delivery_tag=3)))
    assert [future.done() for future in confirms] == [False, True, False]


def test_a_refusal_of_many_messages_fails_each_of_them(
    publisher: Publisher, confirms: Confirms
) -> None:
    publisher._answered(Method(1, Basic.Nack(delivery_tag=3, multiple=True)))
    assert [type(future.exception(0)) for future in confirms[:2]] == [MessageRefusedError] * 2
    assert not confirms[2].done()
