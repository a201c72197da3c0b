"""RabbitMQ: one publishing connection a process, own consumers, quorum queues."""

from broker.rabbitmq.broker import RabbitBroker

__all__ = ["RabbitBroker"]
