"""The plan of faults: which, when and for how long. It follows from the seed and nothing else."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

CALM_S: Final = 3.0
"""Nothing breaks in the first seconds, so that there is something to break."""
OVERLAPPING: Final = 0.25
"""The share of faults that begin while the one before them lasts."""


class Kind(Protocol):
    """A kind of fault as the plan needs it."""

    @property
    def name(self) -> str: ...

    @property
    def target(self) -> str:
        """The part that it breaks: two faults of one target never overlap."""

    @property
    def lasts(self) -> tuple[float, float]:
        """Seconds, the least and the most."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault; seconds from the beginning of the run. ``luck`` is what it may choose with."""

    kind: str
    at_s: float
    lasts_s: float
    luck: int


def plan(kinds: Sequence[Kind], *, seed: int, faults: int, seconds: float) -> list[Planned]:
    """So many faults, spread over so many seconds, in the order in which they begin.

    Each kind comes once before any comes again.
    """
    chance = random.Random(f"faults {seed}")
    slot_s = (seconds - CALM_S) / max(1, faults)
    planned: list[Planned] = []
    before: Kind | None = None
    for number, kind in enumerate(_endlessly(kinds, chance, faults)):
        at_s = CALM_S + slot_s * (number + 0.5 * chance.random())
        overlaps = chance.random() < OVERLAPPING
        if before is not None and overlaps and before.target != kind.target:
            at_s = planned[-1].at_s + planned[-1].lasts_s * chance.random()
        lasts_s = chance.uniform(*kind.lasts)
        planned.append(
            Planned(kind.name, round(at_s, 2), round(lasts_s, 2), chance.getrandbits(32))
        )
        before = kind
    return sorted(planned, key=lambda one: one.at_s)


def _endlessly(kinds: Sequence[Kind], chance: random.Random, count: int) -> Iterator[Kind]:
    """Rounds of all kinds, each round in an order of its own."""
    left: list[Kind] = []
    for _ in range(count):
        if not left:
            left = chance.sample(kinds, len(kinds))
        yield left.pop()
