"""The faults of a run, each when its time has come."""

import random
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from tests.chaos.faults import KINDS
from tests.chaos.schedule import Planned
from tests.chaos.stage import Stage

RECOVERY_S: Final = 60.0
LOOK_S: Final = 0.25


@dataclass(slots=True)
class Suffered:
    """One fault as it was; times in seconds since the epoch."""

    planned: Planned
    began_at: float = 0.0
    ended_at: float = 0.0
    recovered_s: float | None = None
    """From its end until the deployment was as it should be, if that can be told."""
    error: str = ""
    """Why it could not be carried out, or that the deployment did not recover."""

    @property
    def has_happened(self) -> bool:
        """Whether it was carried out as planned, and the deployment has recovered."""
        return bool(self.ended_at) and not self.error


@dataclass
class Storm:
    """The faults of one run, each in a thread of its own, when its time has come."""

    stage: Stage
    announce: Callable[[str], None]
    suffered: list[Suffered] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._targets = {kind.target: threading.Lock() for kind in KINDS.values()}

    def rage(self, planned: Iterable[Planned], *, began: float) -> None:
        """Carry out the plan; ``began`` is the monotonic time that it counts from."""
        self.suffered = [Suffered(one) for one in planned]
        with ThreadPoolExecutor(max(1, len(self.suffered))) as threads:
            list(threads.map(lambda one: self._suffer(one, began), self.suffered))

    def close(self) -> None:
        """Begin nothing more, and end at once what has begun."""
        self._over.set()

    def _suffer(self, one: Suffered, began: float) -> None:
        kind = KINDS[one.planned.kind]
        if self._over.wait(max(0.0, began + one.planned.at_s - time.monotonic())):
            return
        with self._targets[kind.target]:
            try:
                one.began_at = time.time()
                self.announce(f"{kind.name} …")
                with kind.suffer(self.stage, random.Random(one.planned.luck)) as recovered:
                    self._over.wait(one.planned.lasts_s)
                one.ended_at = time.time()
            except Exception as failed:  # noqa: BLE001 - the others go on, and the report tells
                one.ended_at, one.error = time.time(), repr(failed)
                self.announce(f"{kind.name}: {failed!r}")
                return
        self.announce(f"{kind.name}: over after {one.ended_at - one.began_at:.1f} s")
        if recovered is not None:
            self._watch(one, recovered)

    def _watch(self, one: Suffered, recovered: Callable[[], bool]) -> None:
        while not self._over.is_set() and not recovered():
            if time.time() - one.ended_at > RECOVERY_S:
                one.error = f"not recovered within {RECOVERY_S:g} s"
                self.announce(f"{one.planned.kind}: {one.error}")
                return
            self._over.wait(LOOK_S)
        one.recovered_s = time.time() - one.ended_at
        self.announce(f"{one.planned.kind}: recovered after {one.recovered_s:.1f} s")
