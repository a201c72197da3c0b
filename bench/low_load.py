"""The time of a message beside that of the agent, while hardly anything is going on."""

import time
from collections.abc import Sequence
from statistics import median

import httpx

from bench.load import send_paced
from bench.reached import Reached
from bench.setups import DRAMATIQ, OURS, outside, running
from bench.whole_way import Measured, judge, wait_for
from tests.servers import Servers

AGENT_S = 0.2
PER_SECOND = 10
MESSAGES = 150


def measure(servers: Servers, rounds: int) -> list[Reached]:
    """Compare our overhead with that of stock Dramatiq: its median, and its 99th percentile."""
    found: dict[str, list[Measured]] = {OURS: [], DRAMATIQ: []}
    for _ in range(rounds):
        for system, runs in found.items():
            runs.append(_run(system, servers))
    ours, stock = (
        (_overhead_ms([one.p50_ms for one in runs]), _overhead_ms([one.p99_ms for one in runs]))
        for runs in (found[OURS], found[DRAMATIQ])
    )
    about = "of stock Dramatiq's overhead at 10 messages/s: {:.0f} and {:.0f} ms"
    return [
        Reached(f"overhead {name}", mine / other, goal, about.format(mine, other), at_most=True)
        for name, mine, other, goal in (
            ("median", ours[0], stock[0], 1.3),
            ("99th percentile", ours[1], stock[1], 1.6),
        )
    ]


def _overhead_ms(measured: Sequence[float]) -> float:
    return max(median(measured) - 1000 * AGENT_S, 0.1)


def _run(name: str, servers: Servers) -> Measured:
    messages = [(1 + n, 1) for n in range(MESSAGES)]
    with outside(AGENT_S) as url, running(name, servers, url) as system:
        warm = [(900_000 + n, 1) for n in range(40)]
        send_paced(system.port, warm, per_second=PER_SECOND * 4)
        wait_for(url, len(warm))
        began = time.time()
        answers = send_paced(system.port, messages, per_second=PER_SECOND)
        wait_for(url, len(warm) + MESSAGES)
        report = httpx.get(f"{url}/_report", timeout=30).json()
    return judge(Measured(name, "10/s"), report, answers, began)
