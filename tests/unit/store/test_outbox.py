"""The outbox: no task that has to be published is lost, and none is published too often."""

from datetime import timedelta

import pytest

from mirt.store.engine.database import Database
from mirt.store.queue.dead_letters import revive
from mirt.store.queue.outbox import (
    REPUBLISH_AFTER,
    REPUBLISH_DOUBLINGS,
    add,
    count_queued,
    delay_unstarted,
    make_all_due,
    make_due,
    make_lost_due,
    take_due,
    take_due_and_read,
    take_retry,
)
from mirt.store.queue.tasks import TaskMessage, TaskState
from tests.clock import NOON
from tests.unit.store.rows import ENDINGS, add_row, after, claimed, held, row, write

FIRST_S = REPUBLISH_AFTER.total_seconds()


def taken(database: Database, at: float, limit: int = 100) -> list[str]:
    with database.transaction() as tx:
        return [one.task_id for one in take_due(tx, now=after(at), limit=limit)]


def added(database: Database, task_id: str = "t1", *, delay_s: float | None = None) -> bool:
    task = TaskMessage(task_id, "ping", kwargs={"a": 1}, options={"trace_id": "trace"})
    due_at = None if delay_s is None else after(delay_s)
    with database.transaction() as tx:
        return add(tx, task, now=NOON, due_at=due_at)


def test_a_task_is_added_once(database: Database) -> None:
    assert added(database)
    before = row(database)
    assert not added(database, delay_s=60)
    assert row(database) == before


@pytest.mark.parametrize("state", [TaskState.DONE, TaskState.DEAD, TaskState.RUNNING])
def test_a_task_that_is_known_is_not_added_again(database: Database, state: TaskState) -> None:
    add_row(database, state)
    assert not added(database)
    assert row(database).state == state


def test_a_new_task_is_left_to_its_publisher_for_a_while(database: Database) -> None:
    added(database)
    assert taken(database, FIRST_S - 0.1) == []
    assert taken(database, FIRST_S) == ["t1"]


def test_a_delayed_task_is_published_when_its_delay_is_over(database: Database) -> None:
    added(database, delay_s=3600)
    assert row(database).state == "delayed"
    assert taken(database, 3599) == []
    assert taken(database, 3600) == ["t1"]
    assert row(database).state == "queued"


def test_a_taken_message_has_all_that_was_added(database: Database) -> None:
    with database.transaction() as tx:
        add(tx, TaskMessage("t1", "ping", [1], {"ключ": None}, {"trace_id": "t"}), now=NOON)
        [found] = take_due(tx, now=after(60), limit=1)
    assert found == TaskMessage("t1", "ping", [1], {"ключ": None}, {"trace_id": "t"})


def test_an_unclaimed_task_is_published_again_after_ever_longer_pauses(
    database: Database,
) -> None:
    added(database)
    pauses, at = [], 0.0
    for _ in range(REPUBLISH_DOUBLINGS + 3):
        due_at = row(database).due_at
        pauses.append((due_at - after(at)).total_seconds() / FIRST_S)
        at += pauses[-1] * FIRST_S
        assert taken(database, at) == ["t1"]
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 512, 512]


def test_the_longest_due_are_taken_first_and_no_more_than_asked_for(database: Database) -> None:
    for delay_s in (3, 1, 2):
        added(database, f"after {delay_s}", delay_s=delay_s)
    assert sorted(taken(database, 60, limit=2)) == ["after 1", "after 2"]
    assert taken(database, 60, limit=2) == ["after 3"]


def test_the_next_due_time_is_known(database: Database) -> None:
    for delay_s in (3, 1, 2):
        added(database, f"after {delay_s}", delay_s=delay_s)
    with database.transaction() as tx:
        next_due = take_due_and_read(tx, (), now=after(1), limit=9).next_due
    assert next_due == after(2)


def test_a_task_whose_lease_ran_out_is_published_again(database: Database) -> None:
    held(database)
    assert taken(database, 9.9) == []
    assert taken(database, 10) == ["t1"]


@pytest.mark.parametrize("ending", ["finish", "mark_dead"])
def test_a_task_that_is_over_is_never_published_again(database: Database, ending: str) -> None:
    write(database, ENDINGS[ending], held(database))
    assert taken(database, 1_000_000) == []


def test_a_task_whose_publication_failed_is_due_at_once(database: Database) -> None:
    added(database, "failed")
    added(database, "published")
    with database.transaction() as tx:
        make_due(tx, ["failed"], now=after(1))
    assert taken(database, 1) == ["failed"]


def test_a_task_waits_for_a_worker_since_it_was_sent_however_often_it_is_published(
    database: Database,
) -> None:
    added(database)
    assert row(database).waits_since == NOON
    for at in (60, 600):
        assert taken(database, at) == ["t1"]
        assert row(database).waits_since == NOON


def test_a_delayed_task_waits_for_a_worker_since_its_delay_was_found_over(
    database: Database,
) -> None:
    added(database, delay_s=3600)
    assert row(database).waits_since is None
    assert taken(database, 3601) == ["t1"]
    assert taken(database, 4000) == ["t1"]
    assert row(database).waits_since == after(3601)


def test_a_retry_waits_for_a_worker_since_its_pause_was_found_over(database: Database) -> None:
    added(database)
    write(database, ENDINGS["postpone"], held(database))
    assert taken(database, 61) == ["t1"]
    assert row(database).waits_since == after(61)


def test_a_task_that_is_replayed_waits_for_a_worker_since_then(database: Database) -> None:
    for task_id in ("dead", "gone"):
        if task_id == "dead":
            add_row(database, TaskState.DEAD, task_id=task_id, waits_since=NOON)
        with database.transaction() as tx:
            assert revive(tx, TaskMessage(task_id, "ping"), now=after(600))
        assert row(database, task_id).waits_since == after(600)


@pytest.mark.parametrize("state", [TaskState.RUNNING, TaskState.DELAYED, TaskState.DONE])
def test_a_task_that_is_not_queued_is_not_made_due(database: Database, state: TaskState) -> None:
    add_row(database, state, due_at=after(60))
    with database.transaction() as tx:
        make_due(tx, ["t1"], now=NOON)
        assert make_lost_due(tx, ["ping"], published_before=after(60), now=NOON) == 0
    assert row(database).due_at == after(60)


def test_a_task_that_a_broker_lost_is_due_at_once_if_it_was_published_before(
    database: Database,
) -> None:
    for task_id, actor, published_s in (
        ("lost", "ping", 0),
        ("another's", "pong", 0),
        ("later", "ping", 5),
    ):
        add_row(
            database,
            TaskState.QUEUED,
            task_id=task_id,
            actor=actor,
            published_at=after(published_s),
            due_at=after(3600),
        )
    with database.transaction() as tx:
        assert make_lost_due(tx, ["ping"], published_before=after(5), now=after(6)) == 1
    assert taken(database, 6) == ["lost"]


def test_only_what_should_be_in_the_broker_is_counted(database: Database) -> None:
    for state in TaskState:
        due_at = None if state in {TaskState.DONE, TaskState.DEAD} else after(60)
        add_row(database, state, task_id=state, due_at=due_at)
    add_row(database, TaskState.QUEUED, task_id="another's", actor="pong", due_at=after(60))
    with database.transaction() as tx:
        assert count_queued(tx, ["ping"]) == 1
        assert count_queued(tx, ["ping", "pong"]) == 2
        assert count_queued(tx, []) == 0


def test_a_delay_is_extended_up_to_its_longest(database: Database) -> None:
    added(database, delay_s=5)
    at_most = timedelta(seconds=20)
    with database.transaction() as tx:
        delay_unstarted(tx, "t1", until=after(12), at_most=at_most)
    assert row(database).due_at == after(12)
    with database.transaction() as tx:
        delay_unstarted(tx, "t1", until=after(21), at_most=at_most)
    assert row(database).due_at == after(20)


def test_a_task_that_was_started_or_is_on_its_way_is_not_put_off(database: Database) -> None:
    add_row(database, TaskState.DELAYED, task_id="a retry", fence=1, due_at=after(5))
    add_row(database, TaskState.QUEUED, task_id="on its way", due_at=after(5))
    for task_id in ("a retry", "on its way"):
        with database.transaction() as tx:
            delay_unstarted(tx, task_id, until=after(60), at_most=timedelta(hours=1))
        assert row(database, task_id).due_at == after(5)


def test_a_retry_is_taken_before_it_is_due_and_once(database: Database) -> None:
    write(database, ENDINGS["postpone"], held(database))
    with database.transaction() as tx:
        found = take_retry(tx, "t1", now=after(6))
        assert found is not None
        assert found.task.task_id == "t1"
        assert take_retry(tx, "t1", now=after(6)) is None
    assert row(database).waits_since == after(6)
    assert claimed(database, "two", at=6) is not None


def test_a_task_that_was_never_started_is_no_retry(database: Database) -> None:
    added(database, delay_s=60)
    with database.transaction() as tx:
        assert take_retry(tx, "t1", now=after(1)) is None


def test_after_a_restart_all_that_is_not_over_is_published_but_delays_are_kept(
    database: Database,
) -> None:
    added(database, "queued")
    added(database, "delayed", delay_s=60)
    held(database, task_id="running")
    write(database, ENDINGS["finish"], held(database, task_id="done"))
    with database.transaction() as tx:
        assert make_all_due(tx, now=after(1)) == 2
    assert sorted(taken(database, 1)) == ["queued", "running"]
    assert claimed(database, "two", at=1, task=TaskMessage("running", "ping")) is not None
