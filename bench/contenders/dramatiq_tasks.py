"""Stock Dramatiq on RabbitMQ, with confirms: ``dramatiq bench.contenders.dramatiq_tasks``."""

import os

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from bench.contenders import job

broker = RabbitmqBroker(url=os.environ["RABBITMQ_URL"], confirm_delivery=True)
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name="stock")
def answer(chat: int, text: str) -> None:
    """Answer one message."""
    job.answer(chat, text)


@dramatiq.actor(queue_name="stock-noop")
def noop() -> None:
    """Do nothing."""
