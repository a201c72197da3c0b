"""The kinds of fault, and their register.

A kind is a block: what stands before its ``yield`` breaks, what stands after it mends, and what it
yields says when the deployment has recovered, which it must do by itself.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final

from tests.chaos.stage import Stage

Recovered = Callable[[], bool] | None
"""``None`` for what is outside: when that behaves again, the next reply tells."""
Suffer = Callable[[Stage, random.Random], Iterator[Recovered]]


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault; ``lasts`` are the least and the most seconds.

    Faults of one ``target`` never overlap.
    """

    name: str
    target: str
    lasts: tuple[float, float]
    suffer: Callable[[Stage, random.Random], AbstractContextManager[Recovered]]


KINDS: Final[dict[str, Fault]] = {}
"""By name, in the order of their definition."""
AT_ONCE: Final = (0.0, 0.0)


def kind(name: str, target: str, lasts: tuple[float, float]) -> Callable[[Suffer], Suffer]:
    """Register a kind of fault."""

    def register(suffer: Suffer) -> Suffer:
        KINDS[name] = Fault(name, target, lasts, contextmanager(suffer))
        return suffer

    return register
