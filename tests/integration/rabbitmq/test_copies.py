"""RabbitMQ delivers at least once: a message that comes twice runs once."""

from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit

import pika

from actors.messages import send_response
from tests.fakes import FakeServices
from tests.integration.conftest import Running
from tests.polling import wait_until
from tests.servers import RabbitMQ

Run = Callable[..., Running]
CHATS = [str(chat) for chat in range(1, 9)]


def is_empty(url: str, queue: str) -> bool:
    """Whether no message waits in the queue."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        found = connection.channel().queue_declare(queue, passive=True)
    return bool(found.method.message_count == 0)


def test_copies_of_a_send_that_seemed_to_fail_run_once(
    run: Run, rabbitmq_url: str, services: FakeServices
) -> None:
    run("rabbitmq")
    send_response.send("telegram", "8", "the queues are there")
    wait_until(lambda: services.sent("8"))
    copy = send_response.message("telegram", "7", "once").encode()
    with pika.BlockingConnection(pika.URLParameters(rabbitmq_url)) as connection:
        for _ in range(5):
            connection.channel().basic_publish("", "webhooks", copy)
    wait_until(lambda: services.sent("7"))
    send_response.send("telegram", "8", "after all of them")
    wait_until(lambda: len(services.sent("8")) == 2 and is_empty(rabbitmq_url, "webhooks"))
    assert services.sent("7") == ["once"]


def test_a_message_prefetched_when_the_connections_were_lost_runs_once(
    run: Run, rabbitmq: RabbitMQ, rabbitmq_url: str, services: FakeServices
) -> None:
    services.latency["telegram"] = 2
    run("rabbitmq")
    for chat in CHATS:
        send_response.send("telegram", chat, "once")
    wait_until(lambda: len(services.requests("telegram")) == 4)
    vhost = urlsplit(rabbitmq_url).path.removeprefix("/")
    wait_until(lambda: rabbitmq.management.close_connections(vhost))
    wait_until(lambda: all(services.sent(chat) for chat in CHATS))
    send_response.send_with_options(args=("telegram", "9", "after all of them"), task_id="last")
    wait_until(lambda: services.sent("9") and is_empty(rabbitmq_url, "webhooks"))
    got = Counter(chat for _, chat, text in services.replies() if text == "once")
    assert got == dict.fromkeys(CHATS, 1)
