"""Heartbeat files of worker processes, and the check that reads them.

A worker process touches the file of its slot once a second while it is ready. A process that has
lost its broker or one of its threads stops touching it, and writes the reason. ``check`` answers a
container's health check. It reads these files only: it needs no server, and this module imports
nothing but Python's own library, because the health check runs every few seconds.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from service.processes.folders import folders, owner_lives, private_folder

log = logging.getLogger(__name__)

EVERY_S: Final = 1.0
OLD_AFTER_S: Final = 10.0
PREFIX: Final = "mirt-worker-"


class Heartbeat:
    """A thread that touches ``path`` once a second while ``faults`` returns none.

    Otherwise it writes the faults into the file, and leaves its time as it was.
    """

    def __init__(self, path: Path, faults: Callable[[], Sequence[str]]) -> None:
        self._path = path
        self._faults = faults
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start the thread; its first touch is a second later."""
        self._thread.start()

    def stop(self) -> None:
        """Stop touching the file; the thread may touch it one last time."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(EVERY_S):
            try:
                self._beat()
            except Exception:
                # The thread must go on after any error, of a full disk for example: a process
                # without heartbeats counts as broken.
                log.exception("heartbeat_failed")

    def _beat(self) -> None:
        faults = self._faults()
        beat_at = self._path.stat().st_mtime if faults else time.time()
        self._path.write_text("; ".join(faults))
        os.utime(self._path, (beat_at, beat_at))


def new_folder() -> Path:
    """Create the folder for the files of a supervisor; remove the folders of dead supervisors."""
    return private_folder(PREFIX)


def expect(path: Path) -> None:
    """Create the heartbeat file of a slot, in which no worker process has been ready yet."""
    path.touch()
    os.utime(path, (0, 0))


def check() -> list[str]:
    """Return a line for each problem of the workers on this machine; none when all are ready."""
    alive = [folder for folder in folders(PREFIX) if owner_lives(folder, PREFIX)]
    if not alive:
        return ["no worker is running here"]
    return [line for folder in alive for line in _problems_in(folder)]


def report() -> int:
    """Print the result of ``check``; return the exit code: 0 if all are ready, else 1."""
    problems = check()
    print(*problems or ["all workers here are ready"], sep="\n")
    return 1 if problems else 0


def _problems_in(folder: Path) -> list[str]:
    beats = [file for file in folder.iterdir() if not file.name.startswith(".")]
    if not beats:
        return [f"{folder.name}: no worker process has been ready yet"]
    lines = {beat.name: _problem_of(beat) for beat in beats}
    return [f"{folder.name}: worker slot {name} {line}" for name, line in lines.items() if line]


def _problem_of(beat: Path) -> str | None:
    beat_at, why = beat.stat().st_mtime, beat.read_text()
    because = f": {why}" if why else ""
    if not beat_at:
        return f"has not been ready yet{because}"
    silent_s = time.time() - beat_at
    return f"has not been ready for {silent_s:.0f} s{because}" if silent_s > OLD_AFTER_S else None
