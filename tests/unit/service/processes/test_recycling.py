"""When a child is due, and how that is known."""

import os
from pathlib import Path

import pytest

from middleware.worker_stats import WorkerStats
from mirt.observe.memory import resident_mb
from service.processes.recycling import Limits, Usage


@pytest.mark.parametrize(
    ("used", "why"),
    [
        (Usage(9, 50), None),
        (Usage(10, 50), "tasks"),
        (Usage(11, 200), "tasks"),
        (Usage(1, 100), None),
        (Usage(1, 100.1), "memory"),
    ],
)
def test_a_child_is_due_after_its_messages_or_above_its_memory(used: Usage, why: str) -> None:
    assert Limits(10, memory_mb=100).exceeded_by(used) == why


def test_a_limit_below_what_every_child_needs_leaves_idle_children_alone() -> None:
    assert Limits(10, memory_mb=1).exceeded_by(Usage(0, 80)) is None


def test_without_a_limit_of_memory_there_is_none() -> None:
    assert Limits(10).exceeded_by(Usage(9, 1e6)) is None


def test_children_that_started_together_come_due_in_turn() -> None:
    least, most = (Limits(100).with_jitter(which) for which in (lambda a, _: a, lambda _, b: b))
    assert (least.tasks, most.tasks) == (100, 120)


def test_the_limit_of_messages_grows_with_the_threads_unless_it_is_set() -> None:
    assert Limits.by_default(None, None, threads=8).tasks == 800
    assert Limits.by_default(10, None, threads=8).tasks == 10


def test_the_parent_reads_what_the_child_has_counted(tmp_path: Path) -> None:
    parent, child = WorkerStats(tmp_path / "tally"), WorkerStats(tmp_path / "tally")
    assert (parent.finished, parent.ready) == (0, False)
    child.count()
    child.mark_ready()
    child.count()
    assert (parent.finished, parent.ready) == (2, True)


def test_the_memory_of_a_process_is_read_from_the_kernel() -> None:
    before = resident_mb(os.getpid())
    ballast = bytearray(os.urandom(1) * (64 << 20))
    assert resident_mb(os.getpid()) - before > 50
    del ballast


def test_the_memory_of_a_process_that_is_gone_is_none() -> None:
    assert resident_mb(2**30) == 0
