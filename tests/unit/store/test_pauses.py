"""Paused work waits in its rows at no cost, and goes on in its order."""

from datetime import timedelta

from mirt.store.engine.database import Database
from mirt.store.queue import holds, leases, outbox, pauses
from mirt.store.queue.holds import Outage
from mirt.store.queue.pauses import PauseKind, Subject
from mirt.store.queue.tasks import TaskMessage, TaskState
from tests.clock import NOON
from tests.unit.store.rows import LEASE, TASK, add_row, after, held, row

LLM = Subject(PauseKind.QUEUE, "llm")
KEYS = ("queue llm", "conversation 7")


def paused(database: Database, subject: Subject = LLM, *, at: float = 0) -> bool:
    with database.transaction() as tx:
        return pauses.pause(tx, subject, operator="olena", now=after(at))


def resumed(database: Database, subject: Subject = LLM, *, at: float = 0) -> int | None:
    with database.transaction() as tx:
        return pauses.resume(tx, subject, now=after(at))


def hold(database: Database, task: TaskMessage = TASK, *, at: float = 0) -> str | None:
    with database.transaction() as tx:
        return pauses.hold_paused(tx, task, KEYS, now=after(at))


def due(database: Database, at: float) -> list[str]:
    with database.transaction() as tx:
        return [task.task_id for task in outbox.take_due(tx, now=after(at), limit=100)]


def test_a_subject_is_paused_and_resumed_once(database: Database) -> None:
    assert paused(database) is True
    assert paused(database, at=1) is False
    with database.transaction() as tx:
        [found] = pauses.all_pauses(tx)
    assert (found.subject, found.since, found.operator) == (LLM, NOON, "olena")
    assert (found.tasks, found.conversations) == (0, 0)
    assert resumed(database) == 0
    assert resumed(database) is None


def test_a_paused_task_is_never_due_and_is_released_in_its_order(database: Database) -> None:
    paused(database)
    for n in range(50):
        add_row(
            database,
            TaskState.QUEUED,
            task_id=f"t{n:02}",
            session_id=str(n // 2),
            created_at=after(n),
            due_at=after(0),
        )
        assert hold(database, TaskMessage(f"t{n:02}", "ping")) == "queue llm"
    assert due(database, at=10 * 365 * 86400) == []
    with database.transaction() as tx:
        [found] = pauses.all_pauses(tx)
    assert (found.tasks, found.conversations) == (50, 25)
    assert resumed(database, at=60) == 50
    assert due(database, at=60) == [f"t{n:02}" for n in range(20)]
    assert due(database, at=61) == [f"t{n:02}" for n in range(20, 40)]
    assert due(database, at=62) == [f"t{n:02}" for n in range(40, 50)]


def test_a_held_task_keeps_its_attempts_and_gets_no_event(database: Database) -> None:
    paused(database)
    lease = held(database)
    with database.transaction() as tx:
        leases.postpone(tx, lease, due_at=after(30), attempt=2)
    assert hold(database, at=30) == "queue llm"
    resumed(database, at=60)
    assert (row(database).attempt, row(database).starts, row(database).held_by) == (2, 0, None)


def test_a_task_that_runs_or_is_done_or_is_not_due_is_not_held(database: Database) -> None:
    paused(database)
    lease = held(database)
    hold(database)
    assert row(database).state == "running"
    with database.transaction() as tx:
        leases.postpone(tx, lease, due_at=after(30), attempt=1)
    hold(database, at=29)
    assert row(database).due_at == after(30)
    add_row(database, TaskState.DONE, task_id="t2")
    hold(database, TaskMessage("t2", "ping"))
    assert row(database, "t2").state == "done"


def test_no_task_is_held_after_the_end_of_its_pause(database: Database) -> None:
    paused(database)
    resumed(database)
    add_row(database, TaskState.QUEUED, due_at=NOON)
    assert hold(database) is None
    assert row(database).state == "queued"


def test_a_task_without_a_row_is_kept_by_its_pause(database: Database) -> None:
    paused(database)
    assert hold(database) == "queue llm"
    assert resumed(database, at=5) == 1
    assert due(database, at=5) == ["t1"]


def test_the_row_of_a_paused_task_is_not_claimed(database: Database) -> None:
    add_row(database, TaskState.QUEUED, due_at=NOON)

    def claim(*subjects: str) -> bool:
        with database.transaction() as tx:
            lease, _ = leases.claim_and_read(
                tx, TASK, (), owner="one", now=NOON, duration=LEASE, subjects=subjects
            )
        return lease is not None

    paused(database, Subject(PauseKind.CONVERSATION, "7"))
    assert claim("queue llm", "task ping", "channel telegram", "conversation 7") is False
    assert claim("queue llm", "task ping", "channel telegram", "conversation 8") is True


def test_a_pause_and_an_outage_hold_the_same_task_one_after_the_other(database: Database) -> None:
    with database.transaction() as tx:
        holds.open_hold(tx, Outage("llm", "503", ""), failed_at=NOON, now=NOON)
        holds.lock_hold(tx, "llm")
    lease = held(database)
    with database.transaction() as tx:
        leases.hold(tx, lease, "llm", now=NOON, until=NOON + timedelta(hours=6), attempt=1)
    paused(database)
    with database.transaction() as tx:
        probe = holds.take_probe(tx, "llm", now=after(60))
    assert probe is not None
    assert hold(database, probe, at=60) == "queue llm"
    assert resumed(database, at=90) == 1
    assert due(database, at=90) == ["t1"]
