"""Faults of RabbitMQ."""

import random
from collections.abc import Iterator

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
