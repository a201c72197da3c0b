"""The heartbeat of worker processes: a file each, touched while the child is able to work.

A child that has lost its broker, or one of its threads, lets its file grow old. ``check`` is what a
container's health check asks; it reads the files only, so it is quick and needs no server.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from dramatiq import Worker

from broker.rabbitmq.consumer import RabbitConsumer
from service.processes.folders import folders, owner_lives, private_folder

EVERY_S: Final = 1.0
OLD_AFTER_S: Final = 10.0
PREFIX: Final = "mirt-worker-"


class Heartbeat:
    """Touches ``path`` once a second for as long as ``able`` says so."""

    def __init__(self, path: Path, ready: Callable[[], bool]) -> None:
        self._path = path
        self._able = ready
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self) -> None:
        """Beat no more."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(EVERY_S):
            if self._able():
                self._path.touch()


def is_able(worker: Worker) -> bool:
    """Whether every thread of the worker lives and every consumer has its connection."""
    threads = [*worker.workers, *worker.consumers.values()]
    return all(thread.is_alive() for thread in threads) and all(
        isinstance(thread.consumer, RabbitConsumer) and thread.consumer.connected
        for thread in worker.consumers.values()
    )


def new_folder() -> Path:
    """Where the children of this parent keep their files; what dead parents have left goes."""
    return private_folder(PREFIX)


def expect(path: Path) -> None:
    """Say that a child is to beat here, which none has done yet."""
    path.touch()
    os.utime(path, (0, 0))


def check() -> list[str]:
    """What is wrong with the workers of this machine, a line each; none when all are able."""
    alive = [folder for folder in folders(PREFIX) if owner_lives(folder, PREFIX)]
    if not alive:
        return ["no worker is running here"]
    return [line for folder in alive for line in _problems_in(folder)]


def _problems_in(folder: Path) -> list[str]:
    beats = [file for file in folder.iterdir() if not file.name.startswith(".")]
    if not beats:
        return [f"{folder.name}: no child has worked yet"]
    lines = {beat.name: _problem_of(beat.stat().st_mtime) for beat in beats}
    return [f"{folder.name}: child {name} {line}" for name, line in lines.items() if line]


def _problem_of(beat_at: float) -> str | None:
    if not beat_at:
        return "has not worked yet"
    silent_s = time.time() - beat_at
    return f"has not been able to work for {silent_s:.0f} s" if silent_s > OLD_AFTER_S else None
