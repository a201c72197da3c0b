"""A process that has imported the service and forks a worker process for each line that it reads.

A line is JSON: the settings of the worker, its files, and where it is to stop. The answer is its
process id.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import actors  # noqa: F401 - declares the tasks
from broker.stack import install
from middleware.policy import QUEUES
from mirt.runtime import open_runtime, use_runtime
from mirt.settings import Settings
from mirt.store.engine import database
from service.processes.worker_main import start_worker
from tests.interleavings.points import Points

IDLE_S = 1.0
"""Seconds after which PostgreSQL ends the transaction of a worker that is held still."""


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _work(json.loads(line))
        print(pid, flush=True)


def _work(order: dict[str, Any]) -> None:
    with Path(order["output"]).open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    how = order["how"] and signal.Signals[order["how"]]
    points = Points(Path(order["log"]), stop_at=order["stop_at"], how=how, away_s=order["away_s"])
    database.IDLE_S = IDLE_S  # type: ignore[misc]
    settings = Settings(_env_file=None, **order["settings"])
    runtime = open_runtime(settings)
    use_runtime(runtime)
    broker = install(settings)
    points.listen(runtime.database, broker)
    start_worker(broker, queues=set(QUEUES), threads=1, idle_ms=20)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
