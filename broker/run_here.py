"""Run one message in the calling thread, with the whole middleware, as a worker's thread does."""

from queue import PriorityQueue
from typing import Any

from dramatiq import Broker, Message, MessageProxy
from dramatiq.worker import WorkerThread


def run_here(broker: Broker, message: Message[Any]) -> None:
    """Run a message and settle its row; no transport has a copy of it to acknowledge."""
    worker = WorkerThread(
        broker=broker,
        consumers={message.queue_name: _Signals(broker)},  # type: ignore[dict-item]
        work_queue=PriorityQueue(),
        worker_timeout=0,
    )
    worker.work_queue.put(None)  # type: ignore[arg-type]
    worker.process_message(MessageProxy(message))


class _Signals:
    """The signals that a consumer thread emits after the run of a message."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def post_process_message(self, message: MessageProxy) -> None:
        signal = "nack" if message.failed else "ack"
        self._broker.emit_before(signal, message)
        self._broker.emit_after(signal, message)
