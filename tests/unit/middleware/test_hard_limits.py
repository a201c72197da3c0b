"""A supervisor can read what each worker process runs, and until when."""

import time
from pathlib import Path
from typing import Any

import pytest
from dramatiq import Message
from dramatiq.brokers.stub import StubBroker

from middleware import hard_limits, time_limits
from middleware.hard_limits import DeadlineTable, HardLimits, RunningTask
from middleware.interruption import Interrupter
from middleware.policy import LONGEST_TASK_ID, TASKS
from middleware.time_limits import TimeLimits
from mirt.clock import time_left
from mirt.errors import SoftTimeLimitExceeded, TaskCancelledError
from mirt.store.queue.leases import Lease


def test_the_longest_id_of_a_task_is_read_whole(tmp_path: Path) -> None:
    longest = "🧸" * LONGEST_TASK_ID
    DeadlineTable(tmp_path / "deadlines", rows=2).set(1, longest, 7, until=1.0)
    assert list(DeadlineTable(tmp_path / "deadlines", rows=2).overdue(2.0)) == [
        RunningTask(longest, 7)
    ]


@pytest.mark.parametrize("end", ["after_process_message", "after_skip_message"])
def test_a_thread_gives_its_row_back_after_every_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(hard_limits, "current_lease", lambda: Lease("ping-1", "w", 7))
    deadlines = DeadlineTable(tmp_path / "deadlines", rows=1)
    limits, broker = HardLimits(deadlines), StubBroker()
    for _ in range(3):
        message: Message[Any] = Message("default", "ping", (), {}, {})
        limits.before_process_message(broker, message)
        assert deadlines.running() == [RunningTask("ping-1", 7)]
        getattr(limits, end)(broker, message)
        assert deadlines.running() == []


@pytest.mark.parametrize(("wanted", "limit"), [(1000, TASKS["ping"].hard_s), (2, 2)])
def test_a_message_tightens_its_hard_limit_and_never_widens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: float, limit: float
) -> None:
    monkeypatch.setattr(hard_limits, "current_lease", lambda: Lease("ping-1", "w", 7))
    deadlines = DeadlineTable(tmp_path / "deadlines", rows=1)
    began = time.monotonic()
    message: Message[Any] = Message("default", "ping", (), {}, {"hard_limit_s": wanted})
    HardLimits(deadlines).before_process_message(StubBroker(), message)
    ended = time.monotonic()
    assert list(deadlines.overdue(began + limit)) == []
    assert list(deadlines.overdue(ended + limit + 0.001)) == [RunningTask("ping-1", 7)]


@pytest.mark.parametrize(("wanted", "limit"), [(1000, TASKS["ping"].soft_s), (2, 2)])
def test_a_message_tightens_its_soft_limit_and_never_widens_it(
    monkeypatch: pytest.MonkeyPatch, wanted: float, limit: float
) -> None:
    monkeypatch.setattr(time_limits, "current_lease", lambda: Lease("ping-1", "w", 7))
    limits, broker = TimeLimits(Interrupter()), StubBroker()
    message: Message[Any] = Message("default", "ping", (), {}, {"soft_limit_s": wanted})
    limits.before_process_message(broker, message)
    assert limit - 1.5 < time_left(10_000) <= limit
    limits.after_process_message(broker, message)
    assert time_left(10_000) == 10_000
    limits.close()


@pytest.mark.parametrize("error", [SoftTimeLimitExceeded, TaskCancelledError])
def test_a_deadline_is_lifted_even_if_the_interruption_comes_while_it_is_cancelled(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    monkeypatch.setattr(time_limits, "current_lease", lambda: Lease("ping-1", "w", 7))
    interrupter, broker = Interrupter(), StubBroker()
    limits = TimeLimits(interrupter)
    message: Message[Any] = Message("default", "ping", (), {}, {})
    limits.before_process_message(broker, message)
    assert time_left(1000) < 1000
    disarm, errors = interrupter.disarm, [error]

    def interrupted(run: tuple[str, int]) -> None:
        if errors:
            raise errors.pop()
        disarm(run)

    monkeypatch.setattr(interrupter, "disarm", interrupted)
    limits.after_process_message(broker, message)
    assert time_left(1000) == 1000
    limits.close()
