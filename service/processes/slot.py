"""A place where one child of the worker runs, and another after it.

A child that is due is succeeded, not replaced: the next one is started beside it, and only when
that is able to work the old one is told to stop. Both are watched as any other.
"""

import random
import signal
import time
from typing import Final

import structlog

from mirt.observe import metrics
from mirt.store.engine.database import Database
from service.processes import heartbeat
from service.processes.recycling import Limits
from service.processes.worker_process import STOP_MARGIN_S, WorkerConfig, WorkerProcess

log = structlog.get_logger(__name__)

SHORT_LIFE_S: Final = 10.0
LONGEST_PAUSE_S: Final = 30.0
ABLE_WITHIN_S: Final = 60.0
"""A successor that cannot work by then gives up; the old child works on."""


class WorkerSlot:
    """Keeps one child working here, until it is told to stop.

    A child that dies is replaced, after a growing pause if it has died young.
    """

    def __init__(
        self, number: int, config: WorkerConfig, database: Database, limits: Limits
    ) -> None:
        self._config = config
        self._database = database
        self._limits = limits
        self._beat = config.folder / str(number)
        heartbeat.expect(self._beat)
        self._current: WorkerProcess | None = None
        self._successor: WorkerProcess | None = None
        self._leaving: WorkerProcess | None = None
        self._why = ""
        self._short_lives = 0
        self._start_at = 0.0
        self._succeed_at = 0.0

    @property
    def children(self) -> list[WorkerProcess]:
        """Those that live, or whose end has not been noticed."""
        here = (self._current, self._successor, self._leaving)
        return [child for child in here if child is not None]

    @property
    def is_changing(self) -> bool:
        """Whether one child is giving way to another."""
        return self._successor is not None or self._leaving is not None

    @property
    def due_since(self) -> float | None:
        """When the child that is due was started, as a reading of the clock; None: none is due."""
        child = self._current
        if child is None or child.told_to_stop or time.monotonic() < self._succeed_at:
            return None
        self._why = child.limits.exceeded_by(child.usage) or ""
        return child.started_at if self._why else None

    def succeed(self) -> None:
        """Start the next child beside the one that is due."""
        if not self.is_changing:
            self._successor = self._start()

    def look_after(self) -> None:
        """See who has died, who is able, who is late; called several times a second."""
        for child in self.children:
            if child.code is None:
                child.watch()
        self._see_leaving()
        self._see_current()
        self._see_successor()

    def _start(self) -> WorkerProcess:
        return WorkerProcess(
            self._config, self._database, self._limits.of_one(random.uniform), self._beat
        )

    def _see_current(self) -> None:
        child = self._current
        if child is not None and child.code is not None:
            self._died(child)
            self._start_at = time.monotonic() + _pause(self._short_lives)
            # Whoever was to come later comes now.
            self._current, self._successor = self._successor, None
        if self._current is None and time.monotonic() >= self._start_at:
            self._current = self._start()

    def _see_successor(self) -> None:
        child = self._successor
        if child is None:
            return
        if child.code is not None:
            self._died(child)
            self._successor = None
            self._succeed_at = time.monotonic() + _pause(self._short_lives)
        elif child.ready and not child.told_to_stop:
            old, self._current, self._successor = self._current, child, None
            self._short_lives = 0
            if old is not None:
                self._retire(old)
        elif child.lived_s > ABLE_WITHIN_S:
            child.stop(within_s=STOP_MARGIN_S)

    def _retire(self, old: WorkerProcess) -> None:
        used = old.usage
        metrics.WORKER_RECYCLES.inc(why=self._why)
        log.info(
            "worker_recycled",
            pid=old.pid,
            why=self._why,
            finished=used.finished,
            memory_mb=round(used.memory_mb),
            lived_s=round(old.lived_s, 1),
        )
        old.stop(within_s=self._config.grace_s + STOP_MARGIN_S)
        self._leaving = old

    def _see_leaving(self) -> None:
        child = self._leaving
        if child is not None and child.code is not None:
            self._leaving = None
            # Also after an end in order: what ran past the grace was left where it was.
            child.clear()
            child.forget()

    def _died(self, child: WorkerProcess) -> None:
        lived_s = child.lived_s
        metrics.WORKER_DEATHS.inc(why=_end(child.code))
        log.error("worker_died", pid=child.pid, code=child.code, lived_s=round(lived_s, 1))
        child.clear()
        child.forget()
        self._short_lives = self._short_lives + 1 if lived_s < SHORT_LIFE_S else 0


def _end(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else "exit"


def _pause(short_lives: int) -> float:
    # The first replacement is immediate: most deaths are not contagious.
    longest = min(LONGEST_PAUSE_S, 2.0 ** (short_lives - 1))
    return random.uniform(longest / 2, longest) if short_lives > 1 else 0.0
