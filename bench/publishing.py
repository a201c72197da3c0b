"""Compares pipelined confirms with confirms one by one, in messages a second to a quorum queue."""

import threading
import time
from collections.abc import Callable

import pika
from dramatiq import Message

from broker.rabbitmq.connection import ConnectionSettings
from broker.rabbitmq.publisher import Publisher
from broker.rabbitmq.queues import declarations
from tests.servers import RabbitMQ, start_servers

BODY = Message[None]("llm", "process_and_respond", ("42", "Привіт"), {}, {}).encode()
ONE_BY_ONE = 2_000
PIPELINED = 20_000
THREADS = 8


def one_by_one(url: str) -> None:
    """Publish like a client that waits for each confirm."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    for name, arguments in declarations("llm"):
        channel.queue_declare(name, durable=True, arguments=arguments)
    channel.confirm_delivery()
    properties = pika.BasicProperties(delivery_mode=2)
    for _ in range(ONE_BY_ONE):
        channel.basic_publish("", "llm", BODY, properties, mandatory=True)
    connection.close()


def pipelined(url: str) -> None:
    """Publish with our publisher, from several threads."""
    publisher = Publisher(ConnectionSettings(url), ["llm"])

    def send() -> None:
        sent = [
            publisher.publish("llm", BODY, message_id=str(n)) for n in range(PIPELINED // THREADS)
        ]
        for confirmed in sent:
            confirmed.result(timeout=60)

    threads = [threading.Thread(target=send) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    publisher.close()


def rate(publish: Callable[[str], None], count: int, url: str) -> float:
    """Return the messages a second."""
    began = time.monotonic()
    publish(url)
    return count / (time.monotonic() - began)


def main() -> None:
    """Measure both and print the ratio."""
    servers = start_servers(print)
    try:
        with servers.get(RabbitMQ).isolated() as url:
            slow = rate(one_by_one, ONE_BY_ONE, url)
            fast = rate(pipelined, PIPELINED, url)
    finally:
        servers.close()
    print(f"confirmed one by one   {slow:>8,.0f} messages/s")
    print(f"confirmed, pipelined   {fast:>8,.0f} messages/s   {fast / slow:.1f} times as many")


if __name__ == "__main__":
    main()
