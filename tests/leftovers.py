"""A plugin of pytest: all that a test starts has ended when the tests of its folder have ended.

A thread of the product that lives on changes things under later tests; a process that lives on
takes their processor. Both are named with the test that started them.
"""

import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest
from dramatiq.worker import ConsumerThread, WorkerThread

END_WITHIN_S: Final = 10.0
"""A thread that was told to stop may need a moment, more on a busy machine."""
NAMES: Final = frozenset(
    (
        *("heartbeat", "late", "leases", "outbox", "polling", "presence", "publisher"),
        *("republish", "schedule", "soft-limits"),
    )
)
"""The names of the product's threads that work until they are stopped."""
OF_THE_TESTS: Final = "tests.servers", "tests/servers", "/postgres", "redis-server", "/beam"
"""Parts of the commands of servers, which serve all tests of a run."""


LEFTOVERS = pytest.StashKey["Leftovers"]()
BEFORE = pytest.StashKey[tuple[set[threading.Thread], dict[int, str]]]()
"""The threads and child processes before a test."""


class Leftovers:
    """Keeps the threads and processes that each test of a folder has left."""

    def __init__(self) -> None:
        self._left: dict[threading.Thread | int, str] = {}

    def note(self, test: str, before: set[threading.Thread], children: Mapping[int, str]) -> None:
        """Note what was not there before this test and is there now."""
        for thread in set(threading.enumerate()) - before:
            if thread.name in NAMES or isinstance(thread, ConsumerThread | WorkerThread):
                self._left[thread] = f"{test}: thread {thread.name!r}"
        for pid, command in children_of(os.getpid()).items():
            if pid not in children and not any(part in command for part in OF_THE_TESTS):
                self._left[pid] = f"{test}: process {command}"

    def take(self) -> list[str]:
        """Return what does not end within ``END_WITHIN_S``; forget all."""
        deadline = time.monotonic() + END_WITHIN_S
        left, self._left = self._left, {}
        while left := {one: what for one, what in left.items() if _lives(one)}:
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        return list(left.values())


def _lives(one: threading.Thread | int) -> bool:
    return one.is_alive() if isinstance(one, threading.Thread) else one in children_of(os.getpid())


def children_of(pid: int) -> dict[int, str]:
    """Return the commands of the child processes that run, by their ids."""
    found: dict[int, str] = {}
    for thread in _listed(Path(f"/proc/{pid}/task")):
        for child in _read(Path(f"/proc/{pid}/task/{thread}/children")).split():
            if command := _read(Path(f"/proc/{child}/cmdline")):
                found[int(child)] = command.replace("\0", " ").strip()
    return found


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LEFTOVERS] = Leftovers()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """See what is there before the fixtures of the test."""
    item.stash[BEFORE] = set(threading.enumerate()), children_of(os.getpid())
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """After the fixtures of the test, and perhaps of its package: fail if something is left."""
    result = yield
    leftovers = item.config.stash[LEFTOVERS]
    leftovers.note(item.nodeid, *item.stash[BEFORE])
    if nextitem is None or nextitem.path.parent != item.path.parent:
        lasting = leftovers.take()
        if lasting:
            pytest.fail("still there after the tests of a folder:\n" + "\n".join(lasting), False)
    return result


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _read(file: Path) -> str:
    """Return the text of a file of /proc; nothing if its process has ended."""
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
