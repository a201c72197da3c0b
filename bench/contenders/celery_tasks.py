"""Celery on Redis as it was deployed: acks late, prefetch 1."""

import os

from celery import Celery

from bench.contenders import job

app = Celery("bench", broker=os.environ["REDIS_URL"])
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
)


@app.task(name="answer")
def answer(chat: int, text: str) -> None:
    """Answer one message."""
    job.answer(chat, text)


@app.task(name="noop")
def noop() -> None:
    """Do nothing."""
