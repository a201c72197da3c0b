"""Sends and consumes messages over RabbitMQ, in quorum queues.

Each process has one connection for publishing, and one for each queue that it consumes.
"""

from broker.rabbitmq.broker import RabbitBroker

__all__ = ["RabbitBroker"]
