"""Compare this service with the same job on stock Dramatiq and on Celery: ``make bench``.

Each round runs every system on every row, in turn and on the same servers, so that a machine that
is slow for a while is slow for all. The table shows medians, and each figure of ours as a ratio to
the best of the others. Then come figures with goals of their own. With ``--goals`` the exit code is
1 if a goal is missed.

    python -m bench own noop --rounds 3
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from bench import burst, idle, low_load, noop, publishing
from bench.reached import Reached
from bench.setups import CELERY, CELERY_THREADS, DRAMATIQ, OURS
from bench.whole_way import ROWS as WHOLE_WAYS
from bench.whole_way import Measured, measure
from tests.servers import Servers, start_servers

ROWS: Final = ("ingress", "ingress200", "chats", "own", "slow")
GOALS: Final = {"ingress": 1.0, "ingress200": 1.0, "chats": 1.2, "own": 0.7, "slow": 1.5}
"""The least ratio of messages a second to the best of the others, by row."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One system on one row: medians over the rounds, and the spread of the rate."""

    row: str
    system: str
    per_second: float
    lowest: float
    highest: float
    turns: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    broken: int
    """Messages lost, doubled, out of order or refused, over all rounds."""


def figures(measured: Sequence[tuple[str, Measured]]) -> list[Figure]:
    """Return the medians of each system on each row."""
    found = []
    for row in dict.fromkeys(row for row, _ in measured):
        for system in dict.fromkeys(one.system for _, one in measured):
            runs = [one for name, one in measured if name == row and one.system == system]
            rates = [one.per_second for one in runs]
            found.append(
                Figure(
                    row,
                    system,
                    median(rates),
                    min(rates),
                    max(rates),
                    median(one.turns_per_second for one in runs),
                    median(one.p50_ms for one in runs),
                    median(one.p99_ms for one in runs),
                    median(one.cpu_all_ms for one in runs),
                    sum(one.lost + one.doubled + one.out_of_order + one.refused for one in runs),
                )
            )
    return found


def ratio(row: str, found: Sequence[Figure]) -> float:
    """Return our messages a second as a ratio to the best of the others."""
    ours = next(one for one in found if one.row == row and one.system == OURS)
    best = max(one.per_second for one in found if one.row == row and one.system != OURS)
    return ours.per_second / best


def table(found: Sequence[Figure]) -> str:
    """Return the figures as a table in Markdown."""
    lines = [
        "| row | system | messages/s (spread) | turns/s | p50 ms | p99 ms | CPU ms a message "
        "| lost, doubled, out of order, 503 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.row} | {one.system} | {one.per_second:,.0f} ({one.lowest:,.0f}-{one.highest:,.0f})"
        f" | {one.turns:,.0f} | {one.p50_ms:,.0f} | {one.p99_ms:,.0f} | {one.cpu_ms:.1f}"
        f" | {one.broken} |"
        for one in found
    ]
    return "\n".join(lines)


def far(servers: Servers, rounds: int) -> list[Reached]:
    """Compare the whole way with a database that is 5 ms away with that of a local one."""
    runs = [[WHOLE_WAYS[row](OURS, servers) for row in ("chats", "far")] for _ in range(rounds)]
    near, away = (median(one.per_second for one in row) for row in zip(*runs, strict=True))
    about = f"of the local database: {away:,.0f} and {near:,.0f} messages/s"
    return [Reached("database 5 ms away", away / near, 0.7, about)]


OWN: Final[Mapping[str, Callable[[Servers, int], list[Reached]]]] = {
    "low": low_load.measure,
    "noop": noop.measure,
    "far": far,
    "publishing": lambda servers, _: publishing.measure(servers),
    "waiting": lambda servers, _: idle.measure_waiting(servers),
    "burst": lambda servers, _: burst.measure(servers),
    "idle": lambda servers, _: idle.measure_idle(servers),
}
"""Figures with goals of their own."""


def _compare(rows: Sequence[str], systems: Sequence[str], rounds: int) -> list[Reached]:
    """Print the table of the whole ways; return the ratios."""
    found = figures(measure(rows, systems, rounds))
    print(table(found))
    return [
        Reached(row, ratio(row, found), GOALS[row], "of the best of the others") for row in rows
    ]


def _measure_own(rows: Sequence[str], rounds: int) -> Iterator[Reached]:
    servers = start_servers(print)
    try:
        for row in rows:
            for one in OWN[row](servers, rounds):
                print(one.line(), flush=True)
                yield one
    finally:
        servers.close()


def main() -> int:
    """Measure, print the table and the ratios; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("rows", nargs="*", help=f"of {', '.join((*ROWS, *OWN))}; all by default")
    parser.add_argument("--quick", action="store_true", help="one round, fewer systems and rows")
    parser.add_argument("--rounds", type=int, help="5, or 1 with --quick")
    parser.add_argument("--goals", action="store_true", help="exit with 1 below the goals")
    asked = parser.parse_args()
    systems = [OURS, DRAMATIQ] if asked.quick else [OURS, DRAMATIQ, CELERY, CELERY_THREADS]
    rounds = asked.rounds or (1 if asked.quick else 5)
    rows = asked.rows or ([*ROWS, "noop"] if asked.quick else [*ROWS, *OWN])
    if unknown := set(rows) - {*GOALS, *OWN}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    compared = [row for row in rows if row in GOALS]
    reached = _compare(compared, systems, rounds) if compared else []
    for one in reached:
        print(one.line())
    reached += _measure_own([row for row in rows if row in OWN], rounds)
    return 1 if asked.goals and not all(one.is_met for one in reached) else 0


if __name__ == "__main__":
    sys.exit(main())
