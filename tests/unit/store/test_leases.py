"""The lease: one worker at a time, and a worker that has lost it changes nothing."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, select

from mirt.errors import LeaseLostError
from mirt.store.engine.database import Database
from mirt.store.queue import outbox
from mirt.store.queue.leases import Lease, finish, renew, verify, was_finished
from mirt.store.queue.tasks import TaskMessage, TaskState
from mirt.store.tables import tasks
from tests.clock import NOON
from tests.unit.store.rows import (
    ENDINGS,
    LEASE,
    WRITES,
    Ending,
    add_row,
    after,
    claimed,
    held,
    row,
    write,
)


def test_a_claim_of_a_task_without_a_row_makes_the_row(database: Database) -> None:
    expected = Lease("t1", "one", fence=1, trace_id="trace", starts=1, created_at=NOON)
    assert claimed(database) == expected
    found = row(database)
    assert (found.actor, found.kwargs, found.state) == ("ping", {"a": 1}, "running")
    assert (found.owner, found.due_at, found.started_at) == ("one", NOON + LEASE, NOON)


def test_of_two_who_claim_at_once_one_has_it(database: Database) -> None:
    with ThreadPoolExecutor(4) as callers:
        taken = list(callers.map(lambda n: claimed(database, f"worker {n}"), range(8)))
    [winner] = [lease for lease in taken if lease is not None]
    assert row(database).owner == winner.owner
    assert winner.fence == 1


def test_a_task_is_not_claimed_again_while_its_lease_lasts(database: Database) -> None:
    held(database)
    assert claimed(database, "two", at=9.9) is None
    assert claimed(database, "one", at=9.9) is None


def test_a_lease_that_ran_out_is_taken_by_another_with_a_higher_fence(database: Database) -> None:
    held(database)
    later = claimed(database, "two", at=10)
    assert later is not None
    assert (later.owner, later.fence, later.starts) == ("two", 2, 2)


@pytest.mark.parametrize("state", [TaskState.DONE, TaskState.DEAD])
def test_a_task_that_is_over_is_never_claimed_again(database: Database, state: TaskState) -> None:
    add_row(database, state)
    assert claimed(database, at=1_000_000) is None


def test_a_delayed_task_is_claimed_when_its_delay_is_over(database: Database) -> None:
    add_row(database, TaskState.DELAYED, due_at=after(60))
    assert claimed(database, at=59) is None
    assert claimed(database, at=60) is not None


def test_a_queued_task_is_claimed_before_its_next_publication(database: Database) -> None:
    add_row(database, TaskState.QUEUED, due_at=after(60))
    assert claimed(database) is not None


@pytest.mark.parametrize("what", WRITES.values(), ids=WRITES)
def test_a_late_writer_is_told_and_changes_nothing(database: Database, what: Ending) -> None:
    late = held(database, "one")
    held(database, "two", at=10)
    before = row(database)
    with pytest.raises(LeaseLostError, match="t1"):
        write(database, what, late)
    assert row(database) == before


@pytest.mark.parametrize("what", WRITES.values(), ids=WRITES)
def test_a_late_writer_of_the_same_name_is_told_by_its_fence(
    database: Database, what: Ending
) -> None:
    late = held(database, "one")
    held(database, "one", at=10)
    before = row(database)
    with pytest.raises(LeaseLostError):
        write(database, what, late)
    assert row(database) == before


@pytest.mark.parametrize("second", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("first", ENDINGS.values(), ids=ENDINGS)
def test_a_claim_ends_once(database: Database, first: Ending, second: Ending) -> None:
    mine = held(database)
    write(database, first, mine)
    with pytest.raises(LeaseLostError):
        write(database, second, mine)


def test_the_other_writes_of_a_late_writer_are_undone_too(database: Database) -> None:
    late = held(database, "one")
    held(database, "two", at=10)

    def write_both(tx: Connection, lease: Lease) -> None:
        outbox.add(tx, TaskMessage("beside", "ping"), now=after(11))
        finish(tx, lease, now=after(11))

    with pytest.raises(LeaseLostError):
        write(database, write_both, late)
    with database.transaction() as tx:
        assert tx.execute(select(tasks.c.id)).scalars().all() == ["t1"]


def test_a_lease_that_ran_out_is_still_held_until_another_worker_claims(
    database: Database,
) -> None:
    mine = held(database)
    with database.transaction() as tx:
        outbox.take_due(tx, now=after(60), limit=10)
        verify(tx, mine)
        finish(tx, mine, now=after(61))
    assert row(database).state == "done"


def test_a_renewed_lease_lasts_longer(database: Database) -> None:
    mine = held(database)
    with database.transaction() as tx:
        assert renew(tx, [mine], until=after(30)).held == {mine}
    assert claimed(database, "two", at=29) is None
    assert claimed(database, "two", at=30) is not None


def test_renewing_takes_back_a_task_that_was_queued_when_its_lease_ran_out(
    database: Database,
) -> None:
    mine = held(database)
    with database.transaction() as tx:
        outbox.take_due(tx, now=after(10), limit=10)
        assert renew(tx, [mine], until=after(30)).held == {mine}
    assert row(database).state == "running"
    assert claimed(database, "two", at=11) is None


def test_only_what_is_still_held_is_renewed(database: Database) -> None:
    lost, over, mine = (held(database, "one", task_id=f"t{n}") for n in (1, 2, 3))
    held(database, "two", at=10, task_id="t1")
    write(database, ENDINGS["finish"], over)
    with database.transaction() as tx:
        assert renew(tx, [lost, over, mine], until=after(100)).held == {mine}
    assert row(database, "t1").due_at == after(20)
    assert row(database, "t2").state == "done"


def test_of_two_runs_of_a_task_in_one_process_only_the_later_is_renewed(database: Database) -> None:
    lost, mine = held(database, "one"), held(database, "one", at=10)
    with database.transaction() as tx:
        assert renew(tx, [lost], until=after(90)).held == set()
    assert row(database).due_at == after(20)
    with database.transaction() as tx:
        assert renew(tx, [lost, mine], until=after(100)).held == {mine}


def test_only_the_run_that_has_finished_a_task_takes_its_end_for_its_own(
    database: Database,
) -> None:
    lost, mine = held(database, "one"), held(database, "two", at=10)
    with database.transaction() as tx:
        assert not was_finished(tx, mine)
        finish(tx, mine, now=after(11))
    with database.transaction() as tx:
        assert was_finished(tx, mine)
        assert not was_finished(tx, lost)
