"""The work of a service that is down waits in its rows; one task at a time probes the service."""

from datetime import timedelta

import pytest

from mirt.store.engine.database import Database
from mirt.store.queue import holds, leases, outbox
from mirt.store.queue.holds import Outage
from mirt.store.queue.tasks import TaskMessage
from tests.clock import NOON
from tests.unit.store.rows import after, held, row

DOWN = Outage("llm", "503", "")
NO_CREDITS = Outage("llm", "402", "Insufficient credits", "LLM_API_KEY")
PATIENCE = timedelta(hours=6)


def opened(database: Database, outage: Outage = DOWN, *, at: float = 0) -> bool | None:
    with database.transaction() as tx:
        return holds.open_hold(tx, outage, failed_at=after(at), now=after(at))


def wait_for_llm(database: Database, *task_ids: str, at: float = 0) -> None:
    """Run these tasks, a second each, and hold them."""
    for n, task_id in enumerate(task_ids):
        lease = held(database, at=at + n, task_id=task_id)
        now = after(at + n)
        with database.transaction() as tx:
            assert holds.lock_hold(tx, "llm")
            leases.hold(tx, lease, "llm", now=now, until=now + PATIENCE, attempt=1)


def probe(database: Database, at: float) -> str | None:
    with database.transaction() as tx:
        found = holds.take_probe(tx, "llm", now=after(at))
    return None if found is None else found.task_id


def released(database: Database, at: float) -> int | None:
    with database.transaction() as tx:
        ended = holds.release(tx, "llm", now=after(at))
    return None if ended is None else ended[0]


def test_a_hold_opens_once(database: Database) -> None:
    assert opened(database) is True
    assert opened(database, NO_CREDITS, at=1) is False
    with database.transaction() as tx:
        [hold] = holds.open_holds(tx)
    assert (hold.since, hold.code, hold.conversations) == (NOON, "503", 0)


def test_a_hold_that_has_ended_opens_again_for_a_later_failure_only(database: Database) -> None:
    opened(database)
    released(database, at=10)
    assert opened(database, at=9) is None
    assert opened(database, NO_CREDITS, at=11) is True
    with database.transaction() as tx:
        [hold] = holds.open_holds(tx)
    assert (hold.since, hold.setting) == (after(11), "LLM_API_KEY")


def test_a_held_task_is_left_alone_until_its_patience_is_over(database: Database) -> None:
    opened(database)
    wait_for_llm(database, "t1")
    assert row(database).state == "delayed"
    with database.transaction() as tx:
        assert outbox.take_due(tx, now=after(6 * 3600 - 1), limit=9) == []
        [found] = outbox.take_due(tx, now=after(6 * 3600), limit=9)
    assert found.task_id == "t1"
    assert row(database).held_by is None
    assert row(database).held_since == NOON


def test_the_patience_of_a_task_does_not_begin_anew(database: Database) -> None:
    opened(database)
    wait_for_llm(database, "t1")
    assert probe(database, at=60) == "t1"
    lease = held(database, at=61)
    assert (lease.held_by, lease.held_since, lease.attempt) == ("llm", NOON, 1)
    with database.transaction() as tx:
        leases.hold(tx, lease, "llm", now=after(62), until=NOON + PATIENCE, attempt=1)
    assert row(database).held_since == NOON


def test_one_task_is_the_probe_and_the_next_one_is_another(database: Database) -> None:
    opened(database)
    wait_for_llm(database, "t1", "t2")
    assert probe(database, at=60) == "t1"
    assert probe(database, at=120) is None, "the probe has not ended"
    wait_for_llm(database, "t1", at=121)
    assert probe(database, at=180) == "t2"


def test_the_pauses_between_two_probes_grow_to_half_a_minute(database: Database) -> None:
    opened(database)
    wait_for_llm(database, "t1")
    at, found = 0.0, []
    for _ in range(7):
        pause = next(s for s in range(1, 60) if probe(database, at + s) is not None)
        found.append(pause)
        at += pause
        with database.transaction() as tx:
            lease = leases.claim(
                tx, TaskMessage("t1", "ping"), owner="w", now=after(at), duration=PATIENCE
            )
            assert lease is not None
            leases.hold(tx, lease, "llm", now=after(at), until=NOON + PATIENCE, attempt=0)
    assert found == [1, 2, 4, 8, 16, 30, 30]


def test_a_probe_that_is_lost_runs_as_any_other_task(database: Database) -> None:
    opened(database)
    wait_for_llm(database, "t1")
    probe(database, at=60)
    with database.transaction() as tx:
        [found] = outbox.take_due(tx, now=after(70), limit=9)
    assert found.task_id == "t1"
    assert held(database, at=70).held_by is None


def test_the_end_of_a_hold_lets_all_go_in_their_order_and_not_at_once(database: Database) -> None:
    opened(database)
    names = [f"t{n:02}" for n in range(45)]
    wait_for_llm(database, *names)
    assert released(database, at=100) == 45
    due = [row(database, name).due_at for name in names]
    assert due == sorted(due)
    assert [due.count(after(100 + second)) for second in range(3)] == [20, 20, 5]
    assert all(row(database, name).held_by is None for name in names)
    assert released(database, at=101) is None


def test_many_are_let_go_within_half_a_minute(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirt.store.queue.holds.SPREAD_PER_S", 1)
    opened(database)
    names = [f"t{n:02}" for n in range(45)]
    wait_for_llm(database, *names)
    released(database, at=100)
    assert max(row(database, name).due_at for name in names) < after(130)


def test_a_probe_that_runs_is_not_let_go_a_second_time(database: Database) -> None:
    opened(database)
    wait_for_llm(database, "t1", "t2")
    probe(database, at=60)
    held(database, at=61)
    assert released(database, at=62) == 1
    assert row(database, "t1").state == "running"
    assert row(database, "t2").due_at == after(62)


def test_the_waiting_conversations_are_counted(database: Database) -> None:
    opened(database)
    for task_id, session_id in [("t1", "s"), ("t2", "s"), ("t3", None)]:
        options = {"session_id": session_id} if session_id else {}
        with database.transaction() as tx:
            outbox.add(tx, TaskMessage(task_id, "ping", options=options), now=NOON)
    wait_for_llm(database, "t1", "t2", "t3")
    with database.transaction() as tx:
        [hold] = holds.open_holds(tx)
    assert hold.conversations == 2
