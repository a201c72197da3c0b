"""The whole way of a message, and its first step, in each system: rates, order, CPU.

``python -m bench.whole_way ROW [ROW ...]`` prints one line for each system and row.
"""

import argparse
import re
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from bench.load import Answers, send_all
from bench.setups import CELERY, DRAMATIQ, OURS, Running, outside, running, server_cpu_s
from tests.servers import Servers, start_servers

PATIENCE_S = 120


@dataclass
class Measured:
    """One row of one system in one round."""

    system: str
    row: str
    per_second: float = 0.0
    turns_per_second: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    lost: int = 0
    doubled: int = 0
    out_of_order: int = 0
    refused: int = 0
    waits_s: list[float] = field(default_factory=list)
    """Seconds from each webhook to its reply, in ascending order."""
    cpu_ms: dict[str, float] = field(default_factory=dict)
    """CPU of each role and server for one message, in ms."""

    @property
    def cpu_all_ms(self) -> float:
        """CPU of everything but load and outside services, for one message, in ms."""
        return sum(self.cpu_ms.values())

    def line(self) -> str:
        """Say it in a line."""
        cpu = " ".join(f"{role} {ms:.1f}" for role, ms in self.cpu_ms.items())
        return (
            f"{self.row:<22} {self.system:<15} {self.per_second:7.1f}/s "
            f"turns {self.turns_per_second:6.1f}/s "
            f"p50 {self.p50_ms:7.1f} p99 {self.p99_ms:7.1f} ms "
            f"lost {self.lost} doubled {self.doubled} order {self.out_of_order} "
            f"503 {self.refused} cpu {self.cpu_all_ms:.1f} ms ({cpu})"
        )


def messages(count: int, chats: int) -> list[tuple[int, int]]:
    """Return ``count`` messages of so many chats, in rounds."""
    return [(1 + n % chats, 1 + n // chats) for n in range(count)]


def _cpu(system: Running) -> dict[str, float]:
    return {**system.cpu_s(), **server_cpu_s()}


def _spent(before: dict[str, float], after: dict[str, float], count: int) -> dict[str, float]:
    return {role: 1000 * (after[role] - before.get(role, 0.0)) / count for role in after}


def ingress(name: str, servers: Servers, *, clients: int, count: int) -> Measured:
    """Measure accepted webhooks alone, each of a new chat."""
    with outside(0.2) as url, running(name, servers, url, workers=False) as system:
        send_all(system.port, messages(200, 200), connections=clients)
        before = _cpu(system)
        todo = [(100_000 + n, 1) for n in range(count)]
        answers = send_all(system.port, todo, connections=clients)
        after = _cpu(system)
    found = Measured(name, f"ingress {clients} clients")
    found.per_second = answers.per_second
    found.p50_ms, found.p99_ms = answers.percentile_ms(50), answers.percentile_ms(99)
    found.refused = answers.statuses[503]
    found.cpu_ms = _spent(before, after, count)
    return found


def whole_way(
    name: str,
    servers: Servers,
    *,
    count: int,
    chats: int,
    threads: int,
    agent_s: float,
    database_ms: float = 0,
) -> Measured:
    """Measure from the first webhook to the last reply."""
    with (
        outside(agent_s) as url,
        running(name, servers, url, threads=threads, database_ms=database_ms) as system,
    ):
        warm = [(900_000 + n, 1) for n in range(40)]
        send_all(system.port, warm, connections=8)
        wait_for(url, len(warm))
        before, began = _cpu(system), time.time()
        answers = send_all(system.port, messages(count, chats), connections=32)
        wait_for(url, len(warm) + count)
        after = _cpu(system)
        report = httpx.get(f"{url}/_report", timeout=30).json()
    far = f" {database_ms:g}ms away" if database_ms else ""
    row = f"{count}/{chats} 2x{threads} {agent_s:g}s{far}"
    found = judge(Measured(name, row), report, answers, began)
    found.cpu_ms = _spent(before, after, count)
    return found


def wait_for(url: str, tags: int) -> None:
    """Wait until so many messages are answered, ``PATIENCE_S`` at most."""
    client = httpx.Client(timeout=30)
    deadline = time.monotonic() + PATIENCE_S
    while client.get(f"{url}/_count").json()["tags"] < tags and time.monotonic() < deadline:
        time.sleep(0.02)
    client.close()


def judge(
    found: Measured, report: dict[str, list[list[object]]], answers: Answers, began: float
) -> Measured:
    """Fill in what the channel has seen: rates, waits, and what was lost, doubled, out of order."""
    got: dict[str, list[int]] = defaultdict(list)
    waits: list[float] = []
    ends, turns, seen = began, 0, set()
    for at, _, text in report["sent"]:
        tags = [tag for tag in re.findall(r"#(\d+)\.(\d+)", str(text)) if int(tag[0]) < 900_000]
        turns += bool(tags)
        for chat, number in tags:
            got[chat].append(int(number))
            tag = f"#{chat}.{number}"
            if tag not in seen and isinstance(at, float):
                seen.add(tag)
                waits.append(at - answers.sent_at[tag])
                ends = max(ends, at)
    found.lost = len(answers.sent_at) - len(seen)
    found.doubled = sum(len(numbers) - len(set(numbers)) for numbers in got.values())
    found.out_of_order = sum(numbers != sorted(numbers) for numbers in got.values())
    found.refused = answers.statuses[503]
    seconds = max(ends - began, 0.001)
    found.waits_s = waits
    found.per_second, found.turns_per_second = len(seen) / seconds, turns / seconds
    waits.sort()
    if waits:
        found.p50_ms = 1000 * waits[len(waits) // 2]
        found.p99_ms = 1000 * waits[int(len(waits) * 0.99)]
    return found


ROWS = {
    "ingress": lambda n, s: ingress(n, s, clients=32, count=2500),
    "ingress200": lambda n, s: ingress(n, s, clients=200, count=2500),
    "chats": lambda n, s: whole_way(n, s, count=1000, chats=200, threads=16, agent_s=0.2),
    "chats64": lambda n, s: whole_way(n, s, count=1000, chats=200, threads=64, agent_s=0.2),
    "own": lambda n, s: whole_way(n, s, count=600, chats=600, threads=64, agent_s=0.2),
    "own16": lambda n, s: whole_way(n, s, count=600, chats=600, threads=16, agent_s=0.2),
    "far": lambda n, s: whole_way(
        n, s, count=1000, chats=200, threads=16, agent_s=0.2, database_ms=5
    ),
    "slow": lambda n, s: whole_way(n, s, count=1000, chats=200, threads=64, agent_s=1.0),
}


def measure(rows: Sequence[str], systems: Sequence[str], rounds: int) -> list[tuple[str, Measured]]:
    """Measure every row of every system, interleaved; return the name of each row with it."""
    servers = start_servers(print)
    found: list[tuple[str, Measured]] = []
    try:
        for _ in range(rounds):
            for row in rows:
                for system in systems:
                    found.append((row, ROWS[row](system, servers)))
                    print(found[-1][1].line(), flush=True)
    finally:
        servers.close()
    return found


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.whole_way", description=__doc__)
    parser.add_argument("rows", nargs="*", default=["ingress", "chats", "own"])
    parser.add_argument("--systems", default=f"{OURS},{DRAMATIQ},{CELERY}")
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    measure(asked.rows, asked.systems.split(","), asked.rounds)


if __name__ == "__main__":
    main()
