"""A family of processes that is measured as one: a parent, and the children it forks.

Each process keeps its values in files of a folder, which any of them can add up. prometheus_client
does that, but it names the files by process id: a parent that recycles its children for weeks would
gather thousands of files, and removing those of the dead would let counters fall. So here a process
has a *seat*, and of two processes that live at the same moment no two have the same. A child that
takes a dead one's seat goes on counting in its files: the sums never fall, and there are never more
files than there were processes at once. Only what a dead one said of the moment is removed.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from prometheus_client import values
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from mirt.observe.instruments import Instrument
from mirt.observe.metrics import PROCESS_STARTS, PROCESSES, REGISTER

FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Where prometheus_client looks for the folder, when it is imported and when it opens a file."""
PARENT: Final = "parent"

_seat = PARENT


def init_parent(folder: Path) -> None:
    """Found a family in this folder, as its parent: before its first child, with one thread.

    What this process has measured before is forgotten.
    """
    global _seat  # noqa: PLW0603 - a process has one
    os.environ[FOLDER] = str(folder)
    _seat = PARENT
    # prometheus_client has chosen its class of values when it was imported, by the environment of
    # that moment; but each value that is made looks the class up here. It asks for the seat before
    # each change, so a child that has taken its own leaves the parent's files alone.
    values.ValueClass = values.MultiProcessValue(lambda: _seat)
    for metric in REGISTER.values():
        if isinstance(metric, Instrument):
            metric.reopen()


def init_child(seat: str) -> None:
    """Take a seat, in a child of the founder, before its first thread.

    Every file is opened here: when the folder goes, because the parent is dead, what this child
    still does is not disturbed.
    """
    global _seat  # noqa: PLW0603
    if not _is_shared():
        # Elsewhere than on Linux a child is a new program, which knows the environment only.
        init_parent(Path(os.environ[FOLDER]))
    _seat = seat
    PROCESSES.set(1)
    PROCESS_STARTS.inc()


class ProcessNumbers:
    """The seats of a family, given out by its parent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._taken: set[str] = set()

    def take(self) -> str:
        """A seat that is free, for a child that is about to begin."""
        number = 0
        while (seat := str(number)) in self._taken:
            number += 1
        self._taken.add(seat)
        return seat

    def leave(self, seat: str) -> None:
        """Free the seat of a child that is dead; what it said of the moment is no longer so."""
        mark_process_dead(seat, path=str(self._folder))
        self._taken.discard(seat)


class OneProcess(Collector):
    """What this process has measured, which is of no family."""

    def collect(self) -> Iterable[Metric]:
        """Look at each metric of the register."""
        for metric in REGISTER.values():
            if isinstance(metric, Instrument):
                yield from metric.collect()


class FamilyCollector(Collector):
    """What all processes of a folder have measured, the dead ones too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """Add up what is in their files."""
        files = [str(file) for file in self._folder.glob("*.db") if _has_begun(file)]
        yield from MultiProcessCollector.merge(files)


def measured_here() -> Collector:
    """What is to be shown of this process, and of its family if it has one."""
    return FamilyCollector(Path(os.environ[FOLDER])) if _is_shared() else OneProcess()


def _is_shared() -> bool:
    return bool(values.ValueClass._multiprocess)


def _has_begun(file: Path) -> bool:
    # It is empty between its making and its first byte; and those of the dead are removed.
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:
        return False
