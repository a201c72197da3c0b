"""Claims and ends of many tasks share a transaction, and none shares another's fate (G1, G7)."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, select, text

from mirt.errors import DatabaseError, LeaseLostError
from mirt.store.engine import group_commit
from mirt.store.engine.database import Database
from mirt.store.engine.group_commit import GroupCommit
from mirt.store.engine.statement_errors import StatementError
from mirt.store.engine.statements import Statement
from mirt.store.queue import leases, outbox
from mirt.store.queue.leases import Lease
from mirt.store.queue.tasks import TaskMessage
from mirt.store.tables import tasks
from tests.polling import wait_until

LEASE = timedelta(seconds=10)
NAMES = [f"task-{n}" for n in range(8)]
MIDDLE = NAMES[4]


class Doors:
    """Transactions of a database; each waits at its beginning until the doors are open."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.opened = threading.Event()
        self.begun = 0
        self.lose_after_commit = False

    @contextmanager
    def transaction(self, **limits: Any) -> Iterator[Connection]:
        self.begun += 1
        self.opened.wait(60)
        with self._database.transaction(**limits) as tx:
            yield tx
        if self.lose_after_commit:
            raise DatabaseError("the connection is lost")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def doors(database: Database) -> Iterator[Doors]:
    made = Doors(database)
    yield made
    made.opened.set()


@pytest.fixture
def commits(doors: Doors) -> GroupCommit:
    return GroupCommit(doors.transaction)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2 * len(NAMES) + 2) as pool:
        yield pool


def claim(commits: GroupCommit, task_id: str) -> Lease | None:
    return leases.claim_first_and_commit(
        commits,
        TaskMessage(task_id, "ping", options={"trace_id": "t"}),
        owner="here",
        now=datetime.now(UTC),
        duration=LEASE,
    )


def finish(commits: GroupCommit, lease: Lease | None) -> None:
    assert lease is not None
    leases.finish_and_commit(commits, lease, now=datetime.now(UTC))


def together(
    doors: Doors, commits: GroupCommit, threads: ThreadPoolExecutor, *acts: Callable[[], Any]
) -> list[Future[Any]]:
    """Begin all of these while a first one is under way, so that they form one batch."""
    first = threads.submit(claim, commits, "first")
    wait_until(lambda: doors.begun == 1)
    begun = [threads.submit(act) for act in acts]
    wait_until(lambda: len(commits._waiting) == len(acts))
    doors.opened.set()
    first.result(60)
    return begun


def states(database: Database) -> dict[str, str]:
    with database.transaction() as tx:
        return {row.id: row.state for row in tx.execute(select(tasks.c.id, tasks.c.state))}


def test_the_claims_that_come_while_one_is_under_way_are_one_transaction(
    doors: Doors, commits: GroupCommit, threads: ThreadPoolExecutor, database: Database
) -> None:
    acts = [partial(claim, commits, name) for name in NAMES]
    claimed = [one.result(60) for one in together(doors, commits, threads, *acts)]
    assert [one.task_id for one in claimed] == NAMES
    assert {one.fence for one in claimed} == {1}
    assert doors.begun == 2
    assert states(database) == dict.fromkeys(["first", *NAMES], "running")


def test_claims_and_ends_share_a_batch(
    doors: Doors, commits: GroupCommit, threads: ThreadPoolExecutor, database: Database
) -> None:
    held = claim(database.commits, "old")
    acts = (lambda: claim(commits, "new"), lambda: finish(commits, held))
    for one in together(doors, commits, threads, *acts):
        one.result(60)
    assert doors.begun == 2
    assert states(database) == {"first": "running", "old": "done", "new": "running"}


def test_the_end_of_a_lost_lease_takes_no_neighbour_along(
    doors: Doors, commits: GroupCommit, threads: ThreadPoolExecutor, database: Database
) -> None:
    lost = Lease("elsewhere", "another owner", fence=7)
    held = claim(database.commits, "mine")
    acts = (lambda: finish(commits, lost), lambda: finish(commits, held))
    refused, done = together(doors, commits, threads, *acts)
    done.result(60)
    with pytest.raises(LeaseLostError):
        refused.result(60)
    assert states(database) == {"first": "running", "mine": "done"}


@pytest.mark.parametrize("at", range(3))
def test_a_statement_that_the_database_refuses_takes_no_neighbour_along(
    doors: Doors, commits: GroupCommit, threads: ThreadPoolExecutor, database: Database, at: int
) -> None:
    broken = Statement(lambda _: text("SELECT 1 / 0"))
    acts: list[Callable[[], Any]] = [partial(claim, commits, name) for name in NAMES[:2]]
    acts.insert(at, lambda: commits.run(broken, {}, row=f"task-{at}"))
    begun = together(doors, commits, threads, *acts)
    refused = begun.pop(at)
    assert [one.result(60).task_id for one in begun] == NAMES[:2]
    with pytest.raises(StatementError):
        refused.result(60)
    assert states(database) == dict.fromkeys(["first", *NAMES[:2]], "running")


def test_a_statement_without_one_of_its_values_takes_no_neighbour_along(
    doors: Doors, commits: GroupCommit, threads: ThreadPoolExecutor
) -> None:
    acts = (
        lambda: commits.run(leases._FINISH, {"task_id": "x"}, row="x"),
        lambda: claim(commits, "y"),
    )
    wrong, right = together(doors, commits, threads, *acts)
    assert right.result(60).task_id == "y"
    with pytest.raises(KeyError):
        wrong.result(60)


def test_a_row_that_is_locked_delays_its_own_task_only(
    doors: Doors, commits: GroupCommit, threads: ThreadPoolExecutor, database: Database
) -> None:
    with database.transaction() as tx:
        outbox.add(tx, TaskMessage("locked", "ping"), now=datetime.now(UTC))
    with database.transaction() as other:
        other.execute(select(tasks.c.id).where(tasks.c.id == "locked").with_for_update())
        acts = (lambda: claim(commits, "locked"), lambda: claim(commits, "free"))
        waits, free = together(doors, commits, threads, *acts)
        assert free.result(60).task_id == "free"
        assert not waits.done()
    assert waits.result(60).task_id == "locked"


def test_a_lost_connection_is_an_error_for_each_of_its_batch(
    doors: Doors, commits: GroupCommit, threads: ThreadPoolExecutor
) -> None:
    first = threads.submit(claim, commits, "first")
    wait_until(lambda: doors.begun == 1)
    begun = [threads.submit(claim, commits, name) for name in NAMES]
    wait_until(lambda: len(commits._waiting) == len(NAMES))
    doors.lose_after_commit = True
    doors.opened.set()
    errors = [one.exception(60) for one in (first, *begun)]
    assert {type(error) for error in errors} == {DatabaseError}
    assert len({id(error) for error in errors}) == len(errors)


def test_the_next_batch_goes_on_after_a_thread_that_was_interrupted(
    database: Database, threads: ThreadPoolExecutor
) -> None:
    doors, interrupted = Doors(database), threading.Event()

    @contextmanager
    def transaction(**limits: Any) -> Iterator[Connection]:
        with doors.transaction(**limits) as tx:
            if not interrupted.is_set():
                interrupted.set()
                raise KeyboardInterrupt
            yield tx

    commits = GroupCommit(transaction)
    first = threads.submit(claim, commits, "first")
    wait_until(lambda: doors.begun == 1)
    others = [threads.submit(claim, commits, name) for name in NAMES]
    wait_until(lambda: len(commits._waiting) == len(NAMES))
    doors.opened.set()
    with pytest.raises(KeyboardInterrupt):
        first.result(60)
    claimed = [lease.task_id for one in others if (lease := one.result(60)) is not None]
    assert claimed == NAMES


def test_two_batches_of_the_same_rows_do_not_block_each_other(
    database: Database, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "LOCK_TIMEOUT_S", 60)
    with database.transaction() as tx:
        before = _deadlocks(tx)
        outbox.add(tx, TaskMessage(MIDDLE, "ping"), now=datetime.now(UTC))
    both = [Doors(database), Doors(database)]
    begun: list[Future[Lease | None]] = []
    for doors, names in zip(both, (NAMES, NAMES[::-1]), strict=True):
        commits = GroupCommit(doors.transaction)
        begun += [threads.submit(claim, commits, "first")]
        wait_until(partial(_has_begun, doors))
        begun += [threads.submit(claim, commits, name) for name in names]
        wait_until(partial(_all_wait, commits))
    with database.transaction() as other:
        other.execute(select(tasks.c.id).where(tasks.c.id == MIDDLE).with_for_update())
        for doors in both:
            doors.opened.set()
        # Each has locked what comes before the row in the middle, if it keeps to its own order.
        wait_until(partial(_wait_for_locks, database, len(both)))
    claimed = [lease.task_id for one in begun if (lease := one.result(60)) is not None]
    assert sorted(claimed) == ["first", *NAMES]
    with database.transaction() as tx:
        assert _deadlocks(tx) == before


def _has_begun(doors: Doors) -> bool:
    return doors.begun == 1


def _all_wait(commits: GroupCommit) -> bool:
    return len(commits._waiting) == len(NAMES)


def _wait_for_locks(database: Database, count: int) -> bool:
    query = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with database.transaction() as tx:
        return int(tx.execute(text(query)).scalar_one()) == count


def _deadlocks(tx: Connection) -> int:
    query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    return int(tx.execute(text(query)).scalar_one())
