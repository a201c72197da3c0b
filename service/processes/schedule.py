"""The schedule inside the embedded process: what periodiq does for the distributed mode."""

import threading
from datetime import timedelta

from broker.task import declared
from mirt.clock import Clock


class Schedule:
    """Says what time it is, every minute, on a thread of its own."""

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
            declared.bound.tick(tick)
