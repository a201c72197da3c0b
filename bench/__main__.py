"""Compare this service with the same job on stock Dramatiq and on Celery: ``make bench``.

Each round runs every system on every row, in turn and on the same servers, so that a machine that
is slow for a while is slow for all. The table shows medians, and each figure of ours as a ratio to
the best of the others. With ``--goals`` the exit code is 1 if a ratio is below its goal.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from bench.setups import CELERY, CELERY_THREADS, DRAMATIQ, OURS
from bench.whole_way import Measured, measure

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


def main() -> int:
    """Measure, print the table and the ratios; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, fewer systems")
    parser.add_argument("--goals", action="store_true", help="exit with 1 below the goals")
    asked = parser.parse_args()
    systems = [OURS, DRAMATIQ] if asked.quick else [OURS, DRAMATIQ, CELERY, CELERY_THREADS]
    found = figures(measure(ROWS, systems, 1 if asked.quick else 5))
    print(table(found))
    missed = []
    for row in ROWS:
        reached = ratio(row, found)
        print(f"{row}: {reached:.2f} of the best of the others (goal {GOALS[row]:g})")
        if reached < GOALS[row]:
            missed.append(row)
    return 1 if asked.goals and missed else 0


if __name__ == "__main__":
    sys.exit(main())
