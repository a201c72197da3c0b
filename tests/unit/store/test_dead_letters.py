"""A dead letter is one row with all that is known; its replay begins as if nothing had been."""

from datetime import timedelta
from typing import Any

import pytest

from mirt.store.engine.database import Database
from mirt.store.queue.dead_letters import (
    LONGEST_TRACEBACK,
    DeadLetterFilter,
    find_dead,
    list_dead,
    revive,
    write_failure,
)
from mirt.store.queue.tasks import TaskMessage, TaskState
from tests.unit.store.rows import TASK, add_row, after, claimed, held, row


def fails(database: Database, error: Exception, *, at: float = 5, code: str = "X") -> None:
    """Claim the task and let it fail for good."""
    lease = held(database, at=at)
    with database.transaction() as tx:
        write_failure(tx, lease, TASK, error, code, queue="default", now=after(at))


def revived(database: Database, *, at: float) -> bool:
    with database.transaction() as tx:
        return revive(tx, TASK, now=after(at))


def test_a_replayed_task_begins_as_if_it_had_never_started(database: Database) -> None:
    spent: dict[str, Any] = {"attempt": 3, "starts": 2, "waited_s": 900, "held_since": after(-900)}
    add_row(database, TaskState.DEAD, error_code="X", finished_at=after(0), **spent)
    assert revived(database, at=10)
    lease = claimed(database, at=11)
    assert lease is not None
    assert (lease.attempt, lease.starts, lease.waited_s) == (0, 1, 0)
    assert (lease.held_since, lease.error_code) == (None, None)
    assert row(database).waits_since == after(10)


@pytest.mark.parametrize("state", [state for state in TaskState if state is not TaskState.DEAD])
def test_a_task_that_is_not_dead_is_not_replayed(database: Database, state: TaskState) -> None:
    add_row(database, state, attempt=2, owner="one", due_at=after(60))
    before = row(database)
    assert not revived(database, at=10)
    assert row(database) == before


def test_a_long_traceback_is_kept_from_its_end(database: Database) -> None:
    fails(database, OSError("x" * LONGEST_TRACEBACK + "the end"))
    with database.transaction() as tx:
        found = find_dead(tx, TASK.task_id)
    assert found is not None
    assert len(found.traceback) == LONGEST_TRACEBACK
    assert found.traceback.rstrip().endswith("the end")


def test_a_task_that_dies_again_is_one_dead_letter_with_the_later_error(
    database: Database,
) -> None:
    fails(database, OSError("first"), code="ONE")
    assert revived(database, at=10)
    fails(database, OSError("second"), at=11, code="TWO")
    with database.transaction() as tx:
        [only] = list_dead(tx, DeadLetterFilter())
    assert (only.error_code, only.exception) == ("TWO", "OSError: second")
    assert (only.died_at, only.attempts) == (after(11), 1)


def test_the_latest_dead_letters_come_first(database: Database) -> None:
    for number in range(3):
        lease = held(database, task_id=f"t{number}")
        with database.transaction() as tx:
            task = TaskMessage(f"t{number}", "ping")
            write_failure(tx, lease, task, OSError(), "X", queue="q", now=after(number))
    with database.transaction() as tx:
        found = list_dead(tx, DeadLetterFilter(), limit=2)
    assert [one.task.task_id for one in found] == ["t2", "t1"]


def test_a_filter_by_time_has_both_ends(database: Database) -> None:
    fails(database, OSError(), at=5)
    second = timedelta(seconds=1)

    def count(**criteria: Any) -> int:
        with database.transaction() as tx:
            return len(list_dead(tx, DeadLetterFilter(**criteria)))

    died = after(5)
    assert (count(since=died), count(until=died)) == (1, 1)
    assert (count(since=died + second), count(until=died - second)) == (0, 0)
