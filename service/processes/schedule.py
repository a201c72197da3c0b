"""The schedule inside the embedded process: what periodiq does for the distributed mode."""

import threading
from datetime import datetime, timedelta
from typing import Any

import structlog

from broker.task import declared
from mirt.clock import Clock
from mirt.errors import RetryableError

log = structlog.get_logger(__name__)


class Schedule:
    """Sends each task at its times, on a thread of its own."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="schedule", daemon=True)

    def start(self) -> None:
        """Begin with the next full minute."""
        self._thread.start()

    def stop(self) -> None:
        """Send nothing more."""
        self._stopping.set()

    def _run(self) -> None:
        while True:
            now = self._clock()
            tick = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
            if self._stopping.wait((tick - now).total_seconds()):
                return
            self._send(tick)

    def _send(self, tick: datetime) -> None:
        for actor in self._due(tick):
            try:
                actor.send_with_options(scheduled_at=tick.isoformat())
            except RetryableError as failed:
                log.warning("tick_missed", task=actor.actor_name, why=failed.message)

    def _due(self, tick: datetime) -> list[Any]:
        scheduled = (a for a in declared.actors.values() if "periodic" in a.options)
        return [actor for actor in scheduled if actor.options["periodic"].validate(tick)]
