"""Tasks that do nothing: what a queue and its middleware cost.

All messages are queued before the workers start. The clock runs while the queue falls from 95 per
cent to nothing.
"""

import os
import subprocess
import sys
import time
from statistics import median

import pika
from pika.adapters.blocking_connection import BlockingChannel

from bench.reached import Reached
from bench.setups import (
    CONTENDERS_PYTHON,
    DRAMATIQ,
    MIRT,
    OURS,
    ROOT,
    Running,
    running,
    server_cpu_s,
)
from tests.polling import wait_until
from tests.servers import Servers

COUNT = 6_000
THREADS = 8
PATIENCE_S = 120
_SEND = "from concurrent.futures import ThreadPoolExecutor as T\nwith T(16) as t:\n"
_OURS = (
    f"from actors.health import ping\n{_SEND}    list(t.map(lambda _: ping.send(), range({COUNT})))"
)
_STOCK = (
    "from bench.contenders.dramatiq_tasks import noop\n"
    f"{_SEND}    list(t.map(lambda _: noop.send(), range({COUNT})))"
)


def measure(servers: Servers, rounds: int) -> list[Reached]:
    """Compare our tasks a second with those of stock Dramatiq."""
    ours, stock = [], []
    for _ in range(rounds):
        ours.append(_run(OURS, servers))
        stock.append(_run(DRAMATIQ, servers))
    (mine, my_cpu), (other, cpu) = (
        (median(rate for rate, _ in runs), median(cpu for _, cpu in runs)) for runs in (ours, stock)
    )
    about = f"of stock Dramatiq: {mine:,.0f}/s ({my_cpu:.2f} ms) and {other:,.0f}/s ({cpu:.2f} ms)"
    return [Reached("no-op tasks", mine / other, 0.35, about)]


def _run(name: str, servers: Servers) -> tuple[float, float]:
    """Return tasks a second, and CPU of workers and servers for each, in ms."""
    with running(name, servers, "http://127.0.0.1:9", workers=False, threads=THREADS) as system:
        python, code = (sys.executable, _OURS) if name == OURS else (CONTENDERS_PYTHON, _STOCK)
        environment = {**os.environ, **system.environment, "LOG_LEVEL": "WARNING"}
        subprocess.run([python, "-c", code], env=environment, cwd=ROOT, check=True)
        queue = "default" if name == OURS else "stock-noop"
        with pika.BlockingConnection(pika.URLParameters(system.environment["RABBITMQ_URL"])) as one:
            channel = one.channel()
            wait_until(lambda: _ready(channel, queue) == COUNT)
            _start_workers(name, system)
            began, count = _wait_until_below(channel, queue, int(COUNT * 0.95))
            before = _cpu_s(system)
            ended, _ = _wait_until_below(channel, queue, 1)
        spent = _cpu_s(system) - before
    return count / (ended - began), 1000 * spent / count


def _cpu_s(system: Running) -> float:
    """Return the CPU seconds of workers and servers so far."""
    return system.cpu_s()["worker"] + sum(server_cpu_s().values())


def _start_workers(name: str, system: Running) -> None:
    if name == OURS:
        mirt = (MIRT, "worker", "default")
        system.start("worker", *mirt, "--processes", "2", "--threads", str(THREADS))
    else:
        stock = (CONTENDERS_PYTHON, "-m", "dramatiq", "bench.contenders.dramatiq_tasks")
        system.start("worker", *stock, "--processes", "2", "--threads", str(THREADS))


def _ready(channel: BlockingChannel, queue: str) -> int:
    return int(channel.queue_declare(queue, passive=True).method.message_count)


def _wait_until_below(channel: BlockingChannel, queue: str, limit: int) -> tuple[float, int]:
    """Return the moment at which the queue was shorter than this, and its length."""
    deadline = time.monotonic() + PATIENCE_S
    while (ready := _ready(channel, queue)) >= limit:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{ready} messages are still in {queue}")
        time.sleep(0.01)
    return time.monotonic(), ready
