"""A child of the worker: runs Dramatiq's worker until it is told to stop.

Stopping is clean: what was prefetched and not started goes back to its queue at once, what runs
finishes. A child whose parent is gone stops as if it had been told to.
"""

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from math import inf
from pathlib import Path
from queue import Empty
from typing import Final, NoReturn

import structlog
from dramatiq import Worker

import actors  # noqa: F401 - declares the tasks
from broker.durable import DurableBroker
from broker.rabbitmq.consumer import RabbitConsumer
from broker.stack import install
from middleware.hard_limits import DeadlineTable
from middleware.worker_stats import TaskCounter, WorkerStats
from mirt.observe import multiprocess, traces
from mirt.runtime import open_runtime, use_runtime
from service.processes.fork import RETIRE, STOP_SIGNALS, die_with
from service.processes.heartbeat import Heartbeat, is_able
from service.processes.startup import read_settings
from service.processes.stop_signal import Stop

log = structlog.get_logger(__name__)

IDLE_WAKE_MS: Final = 1000
LOOK_S: Final = 0.02
SIGN_EVERY_S: Final = 0.5
HURRY_S: Final = 2.0
"""Who asks again after this is in a hurry. Sooner it is the same asking, by another way: systemd
and a terminal signal every process, and then the parent does."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM; the exit code of the process."""
    options = _parse(arguments)
    if not die_with(options.parent):
        return 0
    multiprocess.init_child(options.seat)
    stop = _stop_on_signals(options.parent)
    settings = read_settings()
    structlog.contextvars.bind_contextvars(worker=options.worker_id)
    deadlines = DeadlineTable(options.deadlines, rows=options.threads)
    stats = WorkerStats(options.stats)
    broker = install(settings, worker_id=options.worker_id, deadlines=deadlines)
    broker.add_middleware(TaskCounter(stats))
    use_runtime(open_runtime(settings))
    traces.start("worker")
    worker = start_worker(broker, queues=set(options.queues), threads=options.threads)
    heartbeat = Heartbeat(options.heartbeat, lambda: is_able(worker))
    heartbeat.start()
    threading.Thread(target=_give_signs, args=(stats,), name="signs", daemon=True).start()
    while not stop.wait(LOOK_S):
        if is_able(worker):
            stats.mark_ready()
            stop.wait()
    heartbeat.stop()
    stop_worker(worker, grace_s=options.grace)
    broker.close()
    traces.stop()
    return 0


def start_worker(
    broker: DurableBroker, *, queues: set[str], threads: int, idle_ms: int = IDLE_WAKE_MS
) -> Worker:
    """Start Dramatiq's worker; it prefetches no more of a queue than it can run at once.

    ``idle_ms`` is how often its threads look whether they are to stop.
    """
    worker = Worker(broker, queues=queues, worker_threads=threads, worker_timeout=idle_ms)
    worker.queue_prefetch = threads
    worker.start()
    log.info("worker_started", queues=sorted(queues), threads=threads)
    return worker


def stop_worker(worker: Worker, *, grace_s: float) -> None:
    """Give back what has not been started, then wait for what runs, ``grace_s`` seconds at most."""
    log.info("worker_stopping")
    for thread in worker.consumers.values():
        if isinstance(thread.consumer, RabbitConsumer):
            thread.consumer.cancel()
    while True:
        try:
            message = worker.work_queue.get_nowait().message
        except Empty:
            break
        worker.consumers[message.queue_name].requeue_messages([message])
        worker.work_queue.task_done()
    worker.stop(timeout=int(grace_s * 1000))
    log.info("worker_stopped")


def _give_signs(stats: WorkerStats) -> NoReturn:
    # To the very end: a child that stops may go on for as long as its grace.
    while True:
        stats.beat()
        time.sleep(SIGN_EVERY_S)


def _stop_on_signals(parent: int) -> Stop:
    stop = Stop()
    first_at = inf

    def on_signal(signum: int, _frame: object) -> None:
        nonlocal first_at
        first_at = min(first_at, time.monotonic())
        # The death of the parent is told by a signal too, and is no hurry.
        if time.monotonic() - first_at > HURRY_S and os.getppid() == parent:
            # The leases bring back what was running.
            os._exit(128 + signum)
        stop.ask()

    for signum in STOP_SIGNALS:
        signal.signal(signum, on_signal)
    signal.signal(RETIRE, lambda *_: stop.ask())
    return stop


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mirt worker (child)")
    parser.add_argument("queues", nargs="+")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--grace", type=float, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--heartbeat", type=Path, required=True)
    parser.add_argument("--deadlines", type=Path, required=True)
    parser.add_argument("--stats", type=Path, required=True)
    parser.add_argument("--worker-id", required=True)
    parser.add_argument("--seat", required=True)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
