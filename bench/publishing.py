"""Publishing from one process with 64 threads, beside the confirmed ``send`` of stock Dramatiq."""

import os
import re
import subprocess
import sys
from pathlib import Path

from bench.reached import Reached
from bench.setups import CONTENDERS_PYTHON, DRAMATIQ, OURS, ROOT, running
from tests.servers import Servers

_MEASURE = """
import time
from concurrent.futures import ThreadPoolExecutor

def rate(send, count):
    with ThreadPoolExecutor(64) as threads:
        list(threads.map(send, range(64)))
        began = time.monotonic()
        list(threads.map(send, range(count)))
        return count / (time.monotonic() - began)
"""
_STOCK = (
    _MEASURE
    + """
from bench.contenders.dramatiq_tasks import noop
print("send", rate(lambda _: noop.send(), 3_000))
"""
)
_OURS = (
    _MEASURE
    + """
from concurrent.futures import wait
from actors.health import ping
from broker.task import registry

print("send", rate(lambda _: ping.send(), 5_000))
publisher, body = registry.broker.publisher, ping.message().encode()
def wake(_):
    confirms = [publisher.publish("default", body, message_id="m") for _ in range(100)]
    wait(confirms)
    assert all(one.exception() is None for one in confirms)
print("wake", 100 * rate(wake, 300))
"""
)


def measure(servers: Servers) -> list[Reached]:
    """Compare our wake-ups and our ``send`` with the ``send`` of stock Dramatiq."""
    stock = _rates(DRAMATIQ, servers, CONTENDERS_PYTHON, _STOCK)["send"]
    ours = _rates(OURS, servers, Path(sys.executable), _OURS)
    return [
        Reached(row, ours[kind] / stock, goal, f"{_FROM} {ours[kind]:,.0f}/s and {stock:,.0f}/s")
        for row, kind, goal in (("wake-ups", "wake", 10), ("send", "send", 3))
    ]


_FROM = "of stock Dramatiq's confirmed send, each from 64 threads:"


def _rates(name: str, servers: Servers, python: Path, code: str) -> dict[str, float]:
    with running(name, servers, "http://127.0.0.1:9", workers=False) as system:
        environment = {**os.environ, **system.environment, "LOG_LEVEL": "ERROR"}
        done = subprocess.run(
            [python, "-c", code], env=environment, cwd=ROOT, check=True, capture_output=True
        )
    return {kind: float(rate) for kind, rate in re.findall(r"(\w+) ([\d.]+)", done.stdout.decode())}
