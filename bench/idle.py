"""The cost of each process while nothing happens, and of each turn that waits for the LLM."""

import time
from collections.abc import Iterator

import psutil

from bench.load import send_all
from bench.reached import Reached
from bench.setups import MIRT, OURS, Running, outside, running
from bench.whole_way import wait_for
from tests.polling import wait_until
from tests.servers import Servers

SETTLED_S = 8
OVER_S = 20
TURNS = 500
AGENT_S = 12.0


def measure_idle(servers: Servers) -> list[Reached]:
    """Measure every process of a whole service without customers, in per cent of a core."""
    with outside(0.2) as url, running(OURS, servers, url) as system:
        system.start("io", MIRT, "worker", "webhooks", "crm", "followups", "default")
        system.start("scheduler", MIRT, "scheduler")
        wait_until(lambda: system.logs().count("worker_started") >= 3, within_s=60)
        time.sleep(SETTLED_S)
        before = {process: _cpu_s(process) for process in _processes(system)}
        time.sleep(OVER_S)
        spent = {process: 100 * (_cpu_s(process) - before[process]) / OVER_S for process in before}
    most = max(spent.values())
    about = (
        f"% of a core, the busiest of {len(spent)} idle processes; {sum(spent.values()):.1f} in all"
    )
    return [Reached("idle", most, 1.0, about, at_most=True)]


def measure_waiting(servers: Servers) -> list[Reached]:
    """Measure the memory of 500 turns that wait in one process, and how late they are answered."""
    with (
        outside(AGENT_S) as url,
        running(OURS, servers, url, workers=False, threads=TURNS) as system,
    ):
        system.start("worker", MIRT, "worker", "llm", "--processes", "1")
        wait_until(lambda: "worker_started" in system.logs(), within_s=60)
        [child] = psutil.Process(system.processes["worker"][0].pid).children()
        time.sleep(1)
        before = child.memory_full_info().uss
        began = time.monotonic()
        send_all(system.port, [(1 + n, 1) for n in range(TURNS)], connections=32)
        time.sleep(max(0.0, AGENT_S - 2 - (time.monotonic() - began)))
        kb = (child.memory_full_info().uss - before) / TURNS / 1024
        wait_for(url, TURNS)
        late_s = time.monotonic() - began - AGENT_S
    return [
        Reached("500 waiting turns", kb, 150, "kB for each", at_most=True),
        Reached("500 turns that end", late_s, 10, "s until the last is answered", at_most=True),
    ]


def _processes(system: Running) -> Iterator[psutil.Process]:
    for group in system.processes.values():
        for started in group:
            top = psutil.Process(started.pid)
            yield from (top, *top.children(recursive=True))


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
