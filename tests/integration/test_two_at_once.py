"""Two workers at the same moment on PostgreSQL: each lock that a promise needs is really taken.

SQLite serialises all writers and knows no row locks, so it could not show any of this.
"""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Connection, delete, select, update

from mirt.errors import LeaseLostError
from mirt.store.engine.database import Database
from mirt.store.engine.statements import fetch_all
from mirt.store.queue import dead_letters, holds, outbox, ticks
from mirt.store.queue.dead_letters import DeadLetterFilter
from mirt.store.queue.holds import Outage
from mirt.store.queue.leases import finish, give_back, hold, renew, verify
from mirt.store.queue.tasks import TaskMessage, TaskState
from mirt.store.shop import (
    followups,
    mailbox,
    orders,
    retention,
    summaries,
    turn_steps,
    webhooks,
)
from mirt.store.shop.orders import NewOrder
from mirt.store.tables import conversations, history, inbox, tasks
from tests.clock import NOON
from tests.integration.two_at_once import meanwhile
from tests.unit.business import mail
from tests.unit.store.rows import add_row, after, claimed, held, row

DAY = timedelta(days=1)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


def silent(database: Database, *session_ids: str) -> None:
    """Add conversations whose customers wrote at noon, and were answered."""
    with database.transaction() as tx:
        for session_id in session_ids:
            one = mail(f"of {session_id}", session_id=session_id)
            mailbox.add(tx, one, now=NOON)
            mailbox.record_activity_and_lock(tx, one, now=NOON)
        tx.execute(delete(inbox))


# Leases


def test_nobody_claims_a_task_while_a_transaction_relies_on_its_lease(database: Database) -> None:
    lease = held(database)
    with database.transaction() as tx:
        verify(tx, lease)
        with meanwhile(database, lambda: claimed(database, "two", at=20)) as other:
            assert other.waits()
            tx.commit()
            later = other.result()
    assert later is not None
    assert (later.owner, later.fence) == ("two", 2)


def test_a_worker_that_writes_while_its_task_is_claimed_finds_its_lease_lost(
    database: Database,
) -> None:
    lease = held(database)

    def write() -> str:
        try:
            with database.transaction() as tx:
                verify(tx, lease)
        except LeaseLostError:
            return "lost"
        return "held"

    with database.transaction() as tx:
        tx.execute(update(tasks).values(owner="two", fence=2))
        with meanwhile(database, write) as other:
            assert other.waits()
            tx.commit()
            assert other.result() == "lost"


def test_of_two_claims_of_a_free_task_one_waits_and_gets_nothing(database: Database) -> None:
    add_row(database, TaskState.QUEUED, due_at=NOON)
    with database.transaction() as tx:
        tx.execute(update(tasks).values(state=TaskState.RUNNING, owner="one", due_at=after(10)))
        with meanwhile(database, lambda: claimed(database, "two", at=1)) as other:
            assert other.waits()
            tx.commit()
            assert other.result() is None


def test_a_renewal_that_comes_after_the_claim_of_another_takes_nothing_back(
    database: Database,
) -> None:
    lease = held(database)

    def renewed() -> bool:
        with database.transaction() as tx:
            return bool(renew(tx, [lease], until=after(60)).held)

    with database.transaction() as tx:
        tx.execute(update(tasks).values(owner="two", fence=2, due_at=after(30)))
        with meanwhile(database, renewed) as other:
            assert other.waits()
            tx.commit()
            assert not other.result()
    assert (row(database).owner, row(database).due_at) == ("two", after(30))


@pytest.mark.parametrize("ends", ["finish", "give_back"])
def test_an_end_that_comes_after_the_claim_of_another_ends_nothing(
    database: Database, ends: str
) -> None:
    lease = held(database)

    def ended() -> bool:
        try:
            with database.transaction() as tx:
                (finish if ends == "finish" else give_back)(tx, lease, now=after(30))
        except LeaseLostError:
            return False
        return True

    with database.transaction() as tx:
        tx.execute(update(tasks).values(owner="two", fence=2))
        with meanwhile(database, ended) as other:
            assert other.waits()
            tx.commit()
            assert not other.result()
    assert row(database).state == TaskState.RUNNING


# The outbox, dead letters, ticks


def test_two_pumps_take_different_tasks_and_neither_waits(database: Database) -> None:
    for number in range(20):
        add_row(database, TaskState.QUEUED, task_id=f"t{number:02}", due_at=after(number))
    with database.transaction() as one, database.transaction(lock_timeout_s=1) as two:
        first = outbox.take_due(one, now=after(60), limit=10)
        second = outbox.take_due(two, now=after(60), limit=10)
    taken = [[task.task_id for task in some] for some in (first, second)]
    assert sorted(taken[0]) == [f"t{number:02}" for number in range(10)]
    assert sorted(taken[1]) == [f"t{number:02}" for number in range(10, 20)]


def test_two_replays_take_different_dead_letters_and_neither_waits(database: Database) -> None:
    for number in range(4):
        lease = held(database, task_id=f"t{number}")
        with database.transaction() as tx:
            dead_letters.write_failure(
                tx, lease, TaskMessage(lease.task_id, "ping"), OSError(), "X", queue="q", now=NOON
            )

    def taken(tx: Connection) -> list[str]:
        found = dead_letters.take_dead(tx, DeadLetterFilter(), actors=["ping"], limit=2)
        return [one.task.task_id for one in found]

    with database.transaction() as one, database.transaction(lock_timeout_s=1) as two:
        assert sorted([*taken(one), *taken(two)]) == ["t0", "t1", "t2", "t3"]


def test_of_two_schedulers_the_second_waits_and_finds_the_tick_taken(database: Database) -> None:
    def ticked() -> bool:
        with database.transaction() as tx:
            return ticks.advance(tx, "ping", NOON)

    with database.transaction() as tx:
        assert ticks.advance(tx, "ping", NOON)
        with meanwhile(database, ticked) as other:
            assert other.waits()
            tx.commit()
            assert not other.result()


def test_two_workers_that_meet_an_unknown_task_decide_about_it_one_after_the_other(
    database: Database,
) -> None:
    task = TaskMessage("t1", "of another version")
    add_row(database, TaskState.QUEUED, actor=task.actor, waits_since=NOON)

    def waits() -> bool:
        with database.transaction() as tx:
            return dead_letters.wait_for_newer_version(
                tx, task, patience=timedelta(minutes=1), now=after(90), due_at=after(120)
            )

    with database.transaction() as tx:
        tx.execute(update(tasks).values(state=TaskState.RUNNING))
        with meanwhile(database, waits) as other:
            assert other.waits()
            tx.commit()
            assert not other.result()
    assert row(database).due_at is None


# Holds

DOWN = Outage("llm", "503", "is down")


def test_a_hold_does_not_end_while_a_task_joins_it(database: Database) -> None:
    lease = held(database)
    with database.transaction() as tx:
        holds.open_hold(tx, DOWN, failed_at=NOON, now=NOON)

    def released() -> int:
        with database.transaction() as tx:
            found = holds.release(tx, "llm", now=after(5))
        assert found is not None
        return found[0]

    with database.transaction() as tx:
        assert holds.lock_hold(tx, "llm")
        with meanwhile(database, released) as other:
            assert other.waits()
            hold(tx, lease, "llm", now=NOON, until=after(3600), attempt=0)
            tx.commit()
            assert other.result() == 1
    assert row(database).due_at == after(5)


def test_of_two_pumps_one_takes_the_probe_and_the_other_does_not_wait(database: Database) -> None:
    with database.transaction() as tx:
        holds.open_hold(tx, DOWN, failed_at=NOON, now=NOON)
    for number in range(2):
        add_row(
            database,
            TaskState.DELAYED,
            task_id=f"t{number}",
            held_by="llm",
            due_at=after(3600),
            started_at=after(number),
        )
    with database.transaction() as one, database.transaction(lock_timeout_s=1) as two:
        probe = holds.take_probe(one, "llm", now=after(10))
        assert probe is not None
        assert holds.take_probe(two, "llm", now=after(10)) is None


# Conversations


def test_a_message_that_comes_while_a_turn_opens_waits_for_it(database: Database) -> None:
    silent(database, "s")

    def heard() -> None:
        with database.transaction() as tx:
            mailbox.record_activity_and_lock(tx, mail("later"), now=after(1))

    reads = turn_steps.opening_reads("t", "s", mails=20, lines=20, cost_since=NOON)
    with database.transaction() as tx:
        fetch_all(tx, reads)
        with meanwhile(database, heard) as other:
            assert other.waits()
            tx.commit()
            other.result()


def test_a_message_that_comes_while_a_turn_closes_is_not_left_without_a_head(
    database: Database,
) -> None:
    silent(database, "s")

    def heard() -> None:
        with database.transaction() as tx:
            mailbox.record_activity_and_lock(tx, mail("later"), now=after(1))

    with database.transaction() as tx:
        fetch_all(tx, turn_steps.closing_reads("s", mails=1))
        with meanwhile(database, heard) as other:
            assert other.waits()
            tx.commit()
            other.result()


def test_a_mailbox_that_is_looked_at_for_its_head_is_locked(database: Database) -> None:
    silent(database, "s")

    def looked() -> str | None:
        with database.transaction() as tx:
            return mailbox.lock_head(tx, "s")

    with database.transaction() as tx:
        mailbox.lock_head(tx, "s")
        with meanwhile(database, looked) as other:
            assert other.waits()
            mailbox.set_head(tx, "s", "t1")
            tx.commit()
            assert other.result() == "t1"


def test_two_searches_for_due_followups_find_different_customers_and_neither_waits(
    database: Database,
) -> None:
    silent(database, "a", "b")

    def found(tx: Connection) -> list[str]:
        due = followups.lock_silent(tx, ["telegram"], fewer_than=1, until=after(60), limit=1)
        return [one.session_id for one in due]

    with database.transaction() as one, database.transaction(lock_timeout_s=1) as two:
        assert sorted([*found(one), *found(two)]) == ["a", "b"]


def test_a_customer_who_writes_while_a_followup_is_decided_about_waits_for_the_decision(
    database: Database,
) -> None:
    silent(database, "s")

    def heard() -> None:
        with database.transaction() as tx:
            mailbox.record_activity_and_lock(tx, mail("later"), now=after(1))

    with database.transaction() as tx:
        assert followups.lock_silence(tx, "s") is not None
        with meanwhile(database, heard) as other:
            assert other.waits()
            tx.commit()
            other.result()


def test_two_searches_for_due_summaries_find_different_conversations_and_neither_waits(
    database: Database,
) -> None:
    silent(database, "a", "b")
    with database.transaction() as one, database.transaction(lock_timeout_s=1) as two:
        found = [summaries.take_silent(tx, until=after(60), limit=1) for tx in (one, two)]
    assert sorted(session_id for [(session_id, _)] in found) == ["a", "b"]


def test_of_two_summaries_at_the_same_moment_the_second_comes_late(database: Database) -> None:
    silent(database, "s")
    with database.transaction() as tx:
        tx.execute(
            history.insert().values(
                session_id="s", role="user", content="hello", turn_id="t", created_at=NOON
            )
        )
        known = summaries.read_unsummarised(tx, "s", until_id=9, characters=99)
    assert known is not None

    def replaced() -> bool:
        with database.transaction() as tx:
            return summaries.replace_with_summary(tx, "s", known, "second", now=after(2))

    with database.transaction() as tx:
        assert summaries.replace_with_summary(tx, "s", known, "first", now=after(1))
        with meanwhile(database, replaced) as other:
            assert other.waits()
            tx.commit()
            assert not other.result()
    with database.transaction() as tx:
        assert tx.execute(select(conversations.c.summary)).scalar_one() == "first"


# Orders


def new_order(task_id: str) -> NewOrder:
    return NewOrder("order-1", task_id, "s", "telegram", {}, "trace")


def test_of_two_tasks_that_begin_an_order_the_second_waits_and_finds_it_taken(
    database: Database,
) -> None:
    add_row(database, TaskState.RUNNING, task_id="one", due_at=after(60))
    with database.transaction() as tx:
        orders.begin(tx, new_order("one"), now=NOON)

    def begun() -> str:
        with database.transaction() as tx:
            return orders.begin(tx, new_order("two"), now=after(1)).task_id

    with database.transaction() as tx:
        kept = orders.begin(tx, new_order("one"), now=after(1))
        with meanwhile(database, begun) as other:
            assert other.waits()
            orders.ask(tx, kept, now=after(1))
            tx.commit()
            assert other.result() == "one"


def test_an_older_status_of_an_order_waits_for_the_later_one_and_changes_nothing(
    database: Database,
) -> None:
    silent(database, "s")
    with database.transaction() as tx:
        kept = orders.ask(tx, orders.begin(tx, new_order("one"), now=NOON), now=NOON)
        orders.created(tx, kept, crm_order_id="7", status="new", now=NOON)

    def noted(at: float, status: str) -> bool:
        with database.transaction() as tx:
            return orders.note_status(
                tx, crm_order_id="7", session_id="s", status=status, asked_at=after(at)
            )

    with database.transaction() as tx:
        orders.note_status(tx, crm_order_id="7", session_id="s", status="sent", asked_at=after(20))
        with meanwhile(database, lambda: noted(10, "packed")) as other:
            assert other.waits()
            tx.commit()
            assert not other.result()
    with database.transaction() as tx:
        assert tx.execute(select(conversations.c.order_status)).scalar_one() == "sent"


# Rows that are removed, and the state of webhooks


def test_two_nightly_removals_look_at_different_rows_and_neither_waits(
    database: Database,
) -> None:
    [old] = [rows for rows in retention.OLD if rows.table is tasks]
    for number in range(4):
        add_row(database, TaskState.DONE, task_id=f"t{number}", finished_at=after(number))
    before, none = after(60), None
    with database.transaction() as one, database.transaction(lock_timeout_s=1) as two:
        first = retention.remove_batch(one, old, before=before, cursor=none, limit=2)
        second = retention.remove_batch(two, old, before=before, cursor=none, limit=2)
    assert (first.removed, second.removed) == (2, 2)


def test_of_two_that_note_the_state_of_a_webhook_the_second_knows_the_first(
    database: Database,
) -> None:
    def noted() -> webhooks.WebhookState | None:
        with database.transaction() as tx:
            return webhooks.lock(tx, "telegram")

    with database.transaction() as tx:
        webhooks.write(tx, webhooks.WebhookState("telegram"))
    with database.transaction() as tx:
        webhooks.lock(tx, "telegram")
        with meanwhile(database, noted) as other:
            assert other.waits()
            webhooks.write(tx, webhooks.WebhookState("telegram", polling_failure="refused"))
            tx.commit()
            found = other.result()
    assert found is not None
    assert found.polling_failure == "refused"
