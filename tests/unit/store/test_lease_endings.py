"""How a run ends, what it leaves in the task's row, and how runs that did not end are counted."""

from typing import Any

import pytest

from mirt.store.engine.database import Database
from mirt.store.queue import outbox
from mirt.store.queue.leases import forget, mark_timed_out, postpone, release_owner
from mirt.store.queue.tasks import TaskMessage
from tests.clock import NOON
from tests.unit.store.rows import ENDINGS, TASK, after, claimed, held, row, write


def test_a_finished_task_is_done_and_due_no_more(database: Database) -> None:
    write(database, ENDINGS["finish"], held(database))
    found = row(database)
    assert (found.state, found.due_at, found.owner) == ("done", None, None)
    assert found.finished_at == after(5)


def test_a_buried_task_is_dead_and_says_why(database: Database) -> None:
    write(database, ENDINGS["mark_dead"], held(database))
    found = row(database)
    assert (found.state, found.due_at, found.error_code) == ("dead", None, "UNEXPECTED")
    assert found.finished_at == after(5)


def test_a_postponed_task_runs_again_when_it_is_due_as_the_attempt_it_was_given(
    database: Database,
) -> None:
    mine = held(database)
    with database.transaction() as tx:
        postpone(tx, mine, due_at=after(60), attempt=2, waited_s=30)
    assert claimed(database, "two", at=59) is None
    again = held(database, "two", at=60)
    assert (again.attempt, again.waited_s, again.fence) == (2, 30, 2)


def test_a_task_that_is_given_back_is_claimed_at_once_and_was_no_start(database: Database) -> None:
    held(database)
    mine = held(database, at=10)
    write(database, ENDINGS["give_back"], mine)
    found = row(database)
    assert (found.state, found.owner, found.due_at, found.starts) == ("queued", None, after(5), 1)
    assert held(database, "two", at=11).starts == 2


def test_a_task_that_was_forgotten_can_be_sent_anew(database: Database) -> None:
    write(database, forget, held(database))
    with database.transaction() as tx:
        assert outbox.add(tx, TASK, now=NOON)


def test_starts_that_do_not_end_are_counted(database: Database) -> None:
    found = [held(database, f"worker {n}", at=10 * n).starts for n in range(3)]
    assert found == [1, 2, 3]


@pytest.mark.parametrize("ending", ["finish", "mark_dead", "postpone"])
def test_a_run_that_ends_clears_the_count_of_starts(database: Database, ending: str) -> None:
    held(database)
    write(database, ENDINGS[ending], held(database, "two", at=10))
    assert row(database).starts == 0


@pytest.mark.parametrize(("count_as_crash", "starts"), [(False, 1), (True, 2)])
def test_the_tasks_of_a_dead_process_go_to_another_at_once(
    database: Database, count_as_crash: bool, starts: int
) -> None:
    held(database)
    with database.transaction() as tx:
        assert release_owner(tx, "one", count_as_crash=count_as_crash, now=after(1)) == 1
    assert held(database, "two", at=1).starts == starts


def test_the_tasks_of_other_processes_are_not_released(database: Database) -> None:
    held(database, "one", task_id="t1")
    held(database, "two", task_id="t2")
    write(database, ENDINGS["finish"], held(database, "one", task_id="t3"))
    with database.transaction() as tx:
        assert release_owner(tx, "one", count_as_crash=True, now=after(1)) == 1
    assert claimed(database, "three", at=1, task=TaskMessage("t2", "ping")) is None
    assert row(database, "t3").state == "done"


def test_a_claim_of_a_timed_out_task_returns_its_error(database: Database) -> None:
    mine = held(database)
    with database.transaction() as tx:
        assert mark_timed_out(tx, "one", "t1", mine.fence, error_code="TIME_LIMIT")
    assert held(database, "two", at=10).error_code == "TIME_LIMIT"


@pytest.mark.parametrize("change", [{"owner": "two"}, {"task_id": "t9"}, {"fence": 2}])
def test_only_the_run_that_is_meant_is_condemned(
    database: Database, change: dict[str, Any]
) -> None:
    held(database)
    run = {"owner": "one", "task_id": "t1", "fence": 1, **change}
    with database.transaction() as tx:
        assert not mark_timed_out(tx, **run, error_code="TIME_LIMIT")
    assert row(database).error_code is None


def test_a_run_that_has_ended_is_not_condemned(database: Database) -> None:
    mine = held(database)
    write(database, ENDINGS["finish"], mine)
    with database.transaction() as tx:
        assert not mark_timed_out(tx, "one", "t1", mine.fence, error_code="TIME_LIMIT")
