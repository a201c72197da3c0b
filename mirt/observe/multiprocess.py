"""Adds up the metrics of a supervisor and its worker processes.

Each process stores its values in files of one folder, and any of them can add up all files.
prometheus_client does that, but it names the files by process id. A supervisor that recycles its
workers for weeks would gather thousands of files, and the removal of old ones would let counters
fall. So each process has a *process number* instead, unique among the living. A worker that gets
the number of a dead one goes on counting in its files: sums never fall, and there are never more
files than there were processes at once. Only the gauges of a dead process are removed.
"""

import os
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Final

from prometheus_client import values
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector
from typing_extensions import override

from mirt.observe.instruments import Instrument
from mirt.observe.metrics import BUILD_INFO, PROCESS_STARTS, PROCESSES, REGISTER
from mirt.observe.version import VERSION

FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable with the folder; prometheus_client reads it at import and at each open."""
PARENT: Final = "parent"
"""The process number of the supervisor."""

_process_number = PARENT


def init_parent(folder: Path) -> None:
    """Store metrics in this folder, as the parent; call this before the first child and thread.

    Earlier values of this process are discarded.
    """
    global _process_number  # noqa: PLW0603 - a process has one
    os.environ[FOLDER] = str(folder)
    _process_number = PARENT
    # At import prometheus_client has chosen its class of values by the environment of that moment.
    # But each new value looks the class up here. The class asks for the process number before each
    # change, so a child with a number of its own never writes to the parent's files.
    values.ValueClass = values.MultiProcessValue(lambda: _process_number)
    for metric in REGISTER.values():
        if isinstance(metric, Instrument):
            metric.reopen()


def init_child(process_number: str) -> None:
    """Store metrics under this process number; call this in the child, before its first thread.

    All files are opened here, so a child still works after a dead parent's folder is gone.
    """
    global _process_number  # noqa: PLW0603
    if not _is_shared():
        # On other systems than Linux a child is a new program, which has only the environment.
        init_parent(Path(os.environ[FOLDER]))
    _process_number = process_number
    count_process()


def count_process() -> None:
    """Count this process. A process that has neither parent nor children calls it itself."""
    PROCESSES.set(1)
    BUILD_INFO.set(1, version=VERSION)
    PROCESS_STARTS.inc()


class ProcessNumbers:
    """Process numbers of the workers, assigned by their supervisor."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._taken: set[str] = set()

    def take(self) -> str:
        """Return the lowest free number, for a child that is about to start."""
        number = next(n for n in map(str, count()) if n not in self._taken)
        self._taken.add(number)
        return number

    def leave(self, number: str) -> None:
        """Free the number of a dead child, and remove its gauges."""
        mark_process_dead(number, path=str(self._folder))
        self._taken.discard(number)


class OneProcess(Collector):
    """Collects the metrics of a process without workers."""

    @override
    def collect(self) -> Iterable[Metric]:
        for metric in REGISTER.values():
            if isinstance(metric, Instrument):
                yield from metric.collect()


class FamilyCollector(Collector):
    """Collects the metrics of all processes of a folder, dead ones included."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @override
    def collect(self) -> Iterable[Metric]:
        files = [str(file) for file in self._folder.glob("*.db") if _has_begun(file)]
        yield from MultiProcessCollector.merge(files)


def measured_here() -> Collector:
    """Return the collector of this process, or of all processes of its supervisor."""
    return FamilyCollector(Path(os.environ[FOLDER])) if _is_shared() else OneProcess()


def _is_shared() -> bool:
    return bool(values.ValueClass._multiprocess)


def _has_begun(file: Path) -> bool:
    # A new file is empty until its first byte, and the files of dead processes disappear.
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:
        return False
