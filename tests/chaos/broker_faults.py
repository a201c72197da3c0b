"""Faults of RabbitMQ."""

import random
from collections.abc import Iterator
from contextlib import suppress
from urllib.error import HTTPError

from tests.chaos.kinds import AT_ONCE, Recovered, kind
from tests.chaos.stage import Stage


@kind("RabbitMQ killed", "rabbitmq", (0.5, 4))
def _rabbitmq_killed(stage: Stage, _: random.Random) -> Iterator[Recovered]:
    stage.rabbitmq.kill()
    yield stage.workers_consume
    stage.rabbitmq.start()


@kind("RabbitMQ loses its disk", "rabbitmq", (0.5, 4))
def _rabbitmq_wiped(stage: Stage, _: random.Random) -> Iterator[Recovered]:
    stage.rabbitmq.kill()
    stage.rabbitmq.wipe()
    yield stage.workers_consume
    stage.rabbitmq.start()


@kind("RabbitMQ closes its connections", "rabbitmq", AT_ONCE)
def _connections_closed(stage: Stage, _: random.Random) -> Iterator[Recovered]:
    stage.rabbitmq.control("close_all_connections", "chaos")
    yield stage.workers_consume


@kind("RabbitMQ memory alarm", "rabbitmq", (2, 6))
def _memory_alarm(stage: Stage, _: random.Random) -> Iterator[Recovered]:
    stage.rabbitmq.control("set_vm_memory_high_watermark", "0")
    yield stage.workers_consume
    stage.rabbitmq.control("set_vm_memory_high_watermark", "0.4")


@kind("RabbitMQ disk alarm", "rabbitmq", (2, 6))
def _disk_alarm(stage: Stage, _: random.Random) -> Iterator[Recovered]:
    stage.rabbitmq.control("set_disk_free_limit", "100000GB")
    yield stage.workers_consume
    stage.rabbitmq.control("set_disk_free_limit", "50MB")


@kind("RabbitMQ held still", "rabbitmq", (2, 6))
def _rabbitmq_held(stage: Stage, _: random.Random) -> Iterator[Recovered]:
    stage.rabbitmq.pause()
    yield stage.workers_consume
    stage.rabbitmq.resume()


@kind("RabbitMQ connections cut in mid-message", "rabbitmq", (0.5, 2))
def _rabbitmq_cut(stage: Stage, _: random.Random) -> Iterator[Recovered]:
    with stage.to_rabbitmq.cut_in_mid_message():
        yield stage.workers_consume


@kind("queue deleted, its consumers cancelled", "rabbitmq", AT_ONCE)
def _queue_deleted(stage: Stage, chance: random.Random) -> Iterator[Recovered]:
    stage.rabbitmq.management.request(
        "DELETE", "queues", stage.vhost, chance.choice(("llm", "webhooks", "default"))
    )
    yield stage.workers_consume


@kind("queues purged", "rabbitmq", AT_ONCE)
def _queues_purged(stage: Stage, _: random.Random) -> Iterator[Recovered]:
    for queue in ("llm", "webhooks", "default"):
        stage.rabbitmq.management.request("DELETE", "queues", stage.vhost, queue, "contents")
    yield stage.workers_consume


@kind("queue made again with other arguments", "rabbitmq", (1, 4))
def _queue_differs(stage: Stage, _: random.Random) -> Iterator[Recovered]:
    ask, queue = stage.rabbitmq.management.request, ("queues", stage.vhost, "llm")
    ask("DELETE", *queue)
    with suppress(HTTPError):  # the workers were faster
        ask("PUT", *queue, body={"durable": True})
    yield stage.workers_consume
    ask("DELETE", *queue)


@kind("delivery limit of two", "rabbitmq", (2, 6))
def _delivery_limit(stage: Stage, _: random.Random) -> Iterator[Recovered]:
    ask, policy = stage.rabbitmq.management.request, ("policies", stage.vhost, "limit")
    limit = {"pattern": ".*", "definition": {"delivery-limit": 2}, "apply-to": "queues"}
    ask("PUT", *policy, body=limit)
    stage.rabbitmq.management.close_connections(stage.vhost)
    yield stage.workers_consume
    ask("DELETE", *policy)


@kind("RabbitMQ permissions taken away", "rabbitmq", (1, 5))
def _forbidden(stage: Stage, _: random.Random) -> Iterator[Recovered]:
    management = stage.rabbitmq.management
    management.forbid(stage.vhost)
    management.close_connections(stage.vhost)
    yield stage.workers_consume
    management.create_vhost(stage.vhost)
