"""A task that no worker has begun can be purged; a claimed one, or one that is over, cannot."""

import pytest

from mirt.store.engine.database import Database
from mirt.store.queue.dead_letters import (
    DeadLetter,
    DeadLetterFilter,
    bury_unbegun,
    list_dead,
    revive,
)
from mirt.store.queue.outbox import take_due
from mirt.store.queue.tasks import TaskMessage, TaskState
from tests.clock import NOON
from tests.unit.store.rows import add_row, after, held, row

LETTER = DeadLetter(
    task=TaskMessage("t1", "nobody_knows", ["first"], {"a": 1}),
    queue="unknown",
    error_code="UNKNOWN_ACTOR",
    exception="no task nobody_knows",
    traceback="",
    attempts=0,
    trace_id=None,
    sent_at=after(30),
)


def buried(database: Database, at: float = 60) -> bool:
    with database.transaction() as tx:
        return bury_unbegun(tx, LETTER, now=after(at))


def letters(database: Database) -> list[DeadLetter]:
    with database.transaction() as tx:
        return list_dead(tx, DeadLetterFilter())


def test_a_task_that_waits_is_buried_with_its_age_and_attempts(database: Database) -> None:
    add_row(database, TaskState.QUEUED, due_at=after(10), attempt=2)
    assert buried(database)
    [letter] = letters(database)
    assert (letter.sent_at, letter.attempts, letter.died_at) == (NOON, 2, after(60))
    assert letter.task == LETTER.task
    assert row(database).state == "dead"
    with database.transaction() as tx:
        assert take_due(tx, now=after(1_000_000), limit=10) == []
        assert revive(tx, letter.task, now=after(70))
    assert row(database).state == "queued"


def test_a_task_without_a_row_gets_one_that_is_dead(database: Database) -> None:
    assert buried(database)
    assert (row(database).state, row(database).created_at) == ("dead", after(30))
    assert [letter.sent_at for letter in letters(database)] == [after(30)]


@pytest.mark.parametrize("state", [s for s in TaskState if s is not TaskState.QUEUED])
def test_a_task_that_is_claimed_or_over_is_left_alone(database: Database, state: TaskState) -> None:
    add_row(database, state, due_at=after(90))
    before = row(database)
    assert not buried(database)
    assert (row(database), letters(database)) == (before, [])


def test_a_worker_that_lost_its_lease_to_a_purge_changes_nothing(database: Database) -> None:
    held(database)
    with database.transaction() as tx:
        take_due(tx, now=after(10), limit=1)
    assert buried(database)
    assert row(database).owner is None
