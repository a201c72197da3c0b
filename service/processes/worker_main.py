"""The main function of a worker process: runs Dramatiq's worker until a signal stops it.

A stop is clean: messages that were prefetched and not started return to their queue at once, and
running tasks finish. A worker process whose supervisor is dead stops in the same way.
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
from broker.run_here import run_here
from broker.stack import install
from middleware.envelopes import to_message
from middleware.hard_limits import DeadlineTable
from middleware.policy import TASKS
from middleware.quarantine import Quarantine
from middleware.worker_stats import TaskCounter, WorkerStats
from mirt.observe import multiprocess, traces
from mirt.runtime import open_runtime, use_runtime
from mirt.store.queue.suspects import read_task
from service.processes.fork import RETIRE, STOP_SIGNALS, die_with
from service.processes.heartbeat import Heartbeat
from service.processes.startup import read_settings
from service.processes.stop_signal import StopFlag

log = structlog.get_logger(__name__)

IDLE_WAKE_MS: Final = 1000
POLL_S: Final = 0.02
BEAT_EVERY_S: Final = 0.5
FORCED_EXIT_AFTER_S: Final = 2.0
"""A stop signal that comes later than this after the first one forces an immediate exit. An earlier
one is the same request: systemd and a terminal signal every process of a group, and the supervisor
then signals its worker processes too."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a stop signal; return the exit code of the process."""
    options = _parse(arguments)
    if not die_with(options.supervisor):
        return 0
    multiprocess.init_child(options.process_number)
    stop = _stop_on_signals(options.supervisor)
    settings = read_settings()
    structlog.contextvars.bind_contextvars(worker=options.worker_id)
    deadlines = DeadlineTable(options.deadlines, rows=options.threads)
    stats = WorkerStats(options.stats)
    quarantine = Quarantine(report=stats.report_suspect)
    if options.suspect:
        quarantine = Quarantine(is_here=True)
    broker = install(
        settings, worker_id=options.worker_id, deadlines=deadlines, quarantine=quarantine
    )
    broker.add_middleware(TaskCounter(stats))
    use_runtime(open_runtime(settings))
    traces.start("worker")
    threading.Thread(target=_beat, args=(stats,), name="beat", daemon=True).start()
    if options.suspect:
        _run_suspect(broker, options.suspect)
    else:
        _work(broker, options, stats, stop)
    broker.close()
    traces.stop()
    return 0


def _run_suspect(broker: DurableBroker, task_id: str) -> None:
    """Run one task, and nothing else: if this process dies, the task is the cause.

    A stop signal lets it finish, as a running task in any worker.
    """
    with broker.database.transaction() as tx:
        task = read_task(tx, task_id)
    if task is not None and task.actor in TASKS:
        run_here(broker, to_message(task))


def _work(
    broker: DurableBroker, options: argparse.Namespace, stats: WorkerStats, stop: StopFlag
) -> None:
    """Run the tasks of the queues until a stop signal."""
    worker = start_worker(broker, queues=set(options.queues), threads=options.threads)
    heartbeat = Heartbeat(options.heartbeat, lambda: faults_of(worker, broker))
    heartbeat.start()
    while not stop.wait(POLL_S):
        if not faults_of(worker, broker):
            stats.mark_ready()
            stop.wait()
    heartbeat.stop()
    stop_worker(worker, grace_s=options.grace)


def start_worker(
    broker: DurableBroker, *, queues: set[str], threads: int, idle_ms: int = IDLE_WAKE_MS
) -> Worker:
    """Start Dramatiq's worker; it prefetches no more of a queue than ``threads_for_one`` says.

    ``idle_ms`` is how often an idle thread checks for a stop, in milliseconds.
    """
    worker = Worker(broker, queues=queues, worker_threads=threads, worker_timeout=idle_ms)
    worker.queue_prefetch = threads_for_one(threads, len(queues))
    worker.start()
    log.info("worker_started", queues=sorted(queues), threads=threads)
    return worker


def threads_for_one(threads: int, queues: int) -> int:
    """Return how many of the threads one queue may occupy, where they serve several queues.

    If the tasks of one queue hang, there is still a thread for each of the others. A process with
    too few threads for that has no limit.
    """
    most = threads - (queues - 1)
    return most if 2 * most >= threads else threads


def faults_of(worker: Worker, broker: DurableBroker) -> list[str]:
    """Return why the worker is not ready: a thread has died, or a consumer receives nothing."""
    threads = [*worker.workers, *worker.consumers.values()]
    why = broker.problems()
    return [
        *("a thread has died" for thread in threads if not thread.is_alive()),
        *(
            f"{queue}: {why.get(queue, 'no consumer yet')}"
            for queue, thread in worker.consumers.items()
            if not (isinstance(thread.consumer, RabbitConsumer) and thread.consumer.connected)
        ),
    ]


def stop_worker(worker: Worker, *, grace_s: float) -> None:
    """Requeue the messages that have not started, then wait up to ``grace_s`` s for running tasks.

    Consumers are cancelled first, so no message arrives meanwhile.
    """
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


def _beat(stats: WorkerStats) -> NoReturn:
    # It never ends: while the process stops, running tasks may take the whole grace period.
    while True:
        stats.beat()
        time.sleep(BEAT_EVERY_S)


def _stop_on_signals(supervisor: int) -> StopFlag:
    stop = StopFlag()
    first_at = inf

    def on_signal(signum: int, _frame: object) -> None:
        nonlocal first_at
        first_at = min(first_at, time.monotonic())
        # The kernel reports the supervisor's death by the same signal, and that forces no exit.
        if time.monotonic() - first_at > FORCED_EXIT_AFTER_S and os.getppid() == supervisor:
            # When the leases expire, other workers run the interrupted tasks again.
            os._exit(128 + signum)
        stop.set()

    for signum in STOP_SIGNALS:
        signal.signal(signum, on_signal)
    signal.signal(RETIRE, lambda *_: stop.set())
    return stop


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mirt worker (worker process)")
    parser.add_argument("queues", nargs="+")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--grace", type=float, required=True)
    parser.add_argument("--supervisor", type=int, required=True)
    purpose = parser.add_mutually_exclusive_group(required=True)
    purpose.add_argument("--heartbeat", type=Path)
    purpose.add_argument("--suspect")
    parser.add_argument("--deadlines", type=Path, required=True)
    parser.add_argument("--stats", type=Path, required=True)
    parser.add_argument("--worker-id", required=True)
    parser.add_argument("--process-number", required=True)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
