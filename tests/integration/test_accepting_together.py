"""Messages that arrive together share a transaction, and none shares another's fate (G1-G3)."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import text

from mirt.conversations import Accepted, Conversations, as_task
from mirt.errors import DatabaseError
from mirt.store.engine.database import Database
from mirt.store.engine.statements import fetch_all
from mirt.store.queue import leases, outbox
from mirt.store.queue.leases import Lease
from mirt.store.shared.seen_ids import NoSeenIds
from mirt.store.shop import accepting, mailbox
from mirt.store.tables import conversations as conversations_table
from mirt.store.tables import inbox, tasks
from tests.polling import wait_until
from tests.servers import Postgres
from tests.unit.business import mail, rows


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def mailboxes(database: Database) -> Conversations:
    return Conversations(database, now, NoSeenIds(), platforms=["telegram", "manychat"])


def outcomes(accepted: list[Accepted | None]) -> list[str]:
    """Say of each message whether it is the head, waits, was there before or must come alone."""
    return [
        "alone"
        if one is None
        else "duplicate"
        if one.duplicate
        else "head"
        if one.publication
        else "waits"
        for one in accepted
    ]


def test_the_first_message_of_each_conversation_in_a_batch_is_its_head(
    mailboxes: Conversations, database: Database
) -> None:
    batch = [mail("a1"), mail("b1", session_id="b"), mail("a2"), mail("a3")]
    assert outcomes(mailboxes.accept_together(batch)) == ["head", "head", "waits", "waits"]
    ordered = [row.task_id for row in rows(database, inbox) if row.session_id == "s"]
    assert ordered == ["a1", "a2", "a3"]
    assert {row.id for row in rows(database, tasks)} == {"a1", "b1"}


def test_a_batch_leaves_the_same_rows_as_messages_that_come_alone(
    mailboxes: Conversations, database: Database
) -> None:
    named: dict[str, Any] = {"metadata": {"first_name": "Оля"}, "message_id": "5", "user_id": "9"}
    [together] = mailboxes.accept_together([mail("x", session_id="one", **named)])
    alone = mailboxes.accept(mail("y", session_id="two", **named))
    assert together is not None
    assert together.publication is not None
    assert alone.publication is not None
    differ = {"id", "task_id", "session_id", "head_task_id", "kwargs", "text"}
    for table in (inbox, conversations_table, tasks):
        first, second = (
            {
                name: value
                for name, value in row._mapping.items()
                if name not in differ and not isinstance(value, datetime)
            }
            for row in rows(database, table)
        )
        assert first == second


@pytest.mark.parametrize("at", [0, 1, 2])
def test_two_copies_in_one_batch_are_one_message(mailboxes: Conversations, at: int) -> None:
    batch = [mail("a"), mail("b", session_id="other")]
    batch.insert(at, mail("a"))
    found = outcomes(mailboxes.accept_together(batch))
    assert sorted(found) == ["duplicate", "head", "head"]


def test_a_copy_of_an_earlier_batch_is_a_duplicate(mailboxes: Conversations) -> None:
    mailboxes.accept_together([mail("a")])
    assert outcomes(mailboxes.accept_together([mail("a"), mail("b")])) == ["duplicate", "waits"]


def test_a_message_that_cannot_be_stored_leaves_its_neighbours_to_be_stored_alone(
    mailboxes: Conversations, database: Database
) -> None:
    with database.transaction() as tx:
        tx.execute(text("ALTER TABLE inbox ADD CHECK (text <> 'refused')"))
    spoiled = mail("bad", "refused", session_id="bad")
    assert outcomes(mailboxes.accept_together([mail("good"), spoiled])) == ["alone", "alone"]
    assert rows(database, inbox) == []
    assert mailboxes.accept(mail("good")).publication is not None


def test_a_locked_conversation_holds_up_its_own_message_only(
    mailboxes: Conversations, database: Database
) -> None:
    mailboxes.accept(mail("first", session_id="locked"))
    with database.transaction() as tx:
        mailbox.lock_head(tx, "locked")
        batch = [mail("next", session_id="locked"), mail("other", session_id="free")]
        assert outcomes(mailboxes.accept_together(batch)) == ["alone", "alone"]
        assert mailboxes.accept(batch[1]).publication is not None
    assert not mailboxes.accept(batch[0]).duplicate


def test_a_conversation_of_another_platform_is_left_to_be_stored_alone(
    mailboxes: Conversations,
) -> None:
    mailboxes.accept(mail("a"))
    other = mail("b", platform="manychat")
    assert outcomes(mailboxes.accept_together([other, mail("c")])) == ["alone", "waits"]
    assert mailboxes.accept(other).session_id == "manychat:s"


def test_a_missing_chat_erases_no_known_one(mailboxes: Conversations, database: Database) -> None:
    mailboxes.accept_together([mail("a", chat_id="7", user_id="9")])
    mailboxes.accept_together([mail("b", chat_id=None, user_id=None)])
    [row] = rows(database, conversations_table)
    assert (row.chat_id, row.user_id) == ("7", "9")


def test_no_server_means_an_error_for_the_batch(
    mailboxes: Conversations, postgres: Postgres
) -> None:
    with postgres.frozen(), pytest.raises(DatabaseError):
        mailboxes.accept_together([mail("a"), mail("b")])


def claimed(database: Database, task_id: str) -> Lease:
    with database.transaction() as tx:
        lease = leases.claim(
            tx, as_task(mail(task_id)), owner="w", now=now(), duration=timedelta(minutes=1)
        )
    assert lease is not None
    return lease


def test_a_message_that_arrives_while_a_turn_ends_is_the_next_head(
    mailboxes: Conversations, database: Database
) -> None:
    mailboxes.accept(mail("t1"))
    lease = claimed(database, "t1")
    with database.transaction() as tx:
        mailbox.settle(tx, turn_id="t1", task_id="t1", state=mailbox.MailState.ANSWERED, now=now())
    promoted: list[str | None] = []

    def end_the_turn() -> None:
        with database.transaction() as tx:
            reads = [leases.finishing(lease, now=now()), *mailboxes.closing_reads("s")]
            _, *found = fetch_all(tx, reads)
            head = mailboxes.promote(tx, "s", found, after="t1", now=now())
            promoted.append(head.task_id if head else None)

    # The accept has written and holds the conversation; the end of the turn waits for its lock.
    with database.transaction() as accepting:
        arrived = mail("t2")
        mailbox.add(accepting, arrived, now=now())
        mailbox.record_activity_and_lock(accepting, arrived, now=now())
        ending = Thread(target=end_the_turn)
        ending.start()
        wait_until(lambda: waits_for_a_lock(database))
    ending.join(30)
    assert promoted == ["t2"]
    with database.transaction() as tx:
        assert mailbox.head_of(tx, "s") == "t2"


def waits_for_a_lock(database: Database) -> bool:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with database.transaction() as tx:
        return bool(tx.execute(text(waiting)).scalar_one())


def test_two_platforms_that_begin_one_conversation_at_the_same_moment_have_two(
    mailboxes: Conversations, database: Database
) -> None:
    found: list[list[Accepted | None]] = []
    batch = [mail("theirs", platform="manychat"), mail("neighbour", session_id="other")]

    # The first platform has written and not committed, so the second sees no conversation yet.
    with database.transaction() as first:
        mailbox.record_activity_and_lock(first, mail("ours"), now=now())
        second = Thread(target=lambda: found.append(mailboxes.accept_together(batch)))
        second.start()
        wait_until(lambda: found or waits_for_a_lock(database))
    second.join(30)
    assert outcomes(found[0]) == ["alone", "alone"]
    assert [row.task_id for row in rows(database, inbox)] == []
    assert mailboxes.accept(batch[0]).session_id == "manychat:s"


def test_a_batch_ends_the_silence_of_its_customers(
    mailboxes: Conversations, database: Database
) -> None:
    mailboxes.accept(mail("a"))
    with database.transaction() as tx:
        silent = {"followups_taken": 2, "summary_awaited": False, "unreachable_since": now()}
        tx.execute(conversations_table.update().values(**silent))
    mailboxes.accept_together([mail("b")])
    [row] = rows(database, conversations_table)
    found = (row.followups_taken, row.summary_awaited, row.unreachable_since)
    assert found == (0, True, None)


def test_the_heads_of_a_batch_are_left_to_their_publisher_for_a_while(
    mailboxes: Conversations, database: Database
) -> None:
    mailboxes.accept_together([mail("a"), mail("b", session_id="other")])
    for task in rows(database, tasks):
        assert task.due_at - task.published_at == outbox.REPUBLISH_AFTER


def test_batches_take_conversations_in_one_order_so_that_they_cannot_block_each_other(
    mailboxes: Conversations, database: Database
) -> None:
    sessions = ["b", "Б", "a", "B", "я", "10", "9"]
    mailboxes.accept_together([mail(f"of {s}", session_id=s) for s in sessions])
    with database.transaction() as tx:
        written = tx.execute(text("SELECT session_id FROM conversations ORDER BY ctid")).scalars()
        assert list(written) == sorted(sessions)


def test_a_batch_waits_a_fifth_of_a_second_for_a_lock(
    mailboxes: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[str] = []
    accept_all = accepting.accept_all

    def note(tx: Any, *args: Any, **values: Any) -> Any:
        waits.append(tx.execute(text("SHOW lock_timeout")).scalar_one())
        return accept_all(tx, *args, **values)

    monkeypatch.setattr(accepting, "accept_all", note)
    mailboxes.accept_together([mail("a")])
    assert waits == ["200ms"]
