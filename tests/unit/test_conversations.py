"""A message enters the mailbox once, and of each conversation one message is published."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from mirt.conversations import Conversations, as_task
from mirt.errors import DatabaseError
from mirt.idempotency import message_task_id
from mirt.store.engine.database import Database
from mirt.store.queue.tasks import TaskMessage
from mirt.store.shop import mailbox
from mirt.store.shop.mailbox import MailState
from mirt.store.tables import conversations as conversations_table
from mirt.store.tables import inbox, tasks
from mirt.task_names import TaskName
from tests.clock import NOON, FakeClock
from tests.unit.business import SeenIds, conversations_of, mail, note_locks, rows


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def conversations(database: Database, clock: FakeClock) -> Conversations:
    return conversations_of(database, clock)


def head(database: Database, session_id: str = "s") -> str | None:
    with database.transaction() as tx:
        return mailbox.lock_head(tx, session_id)


def waiting(database: Database, session_id: str = "s") -> list[str]:
    with database.transaction() as tx:
        return [one.task_id for one in mailbox.waiting_mail(tx, session_id, limit=100)]


def promoted(
    database: Database, conversations: Conversations, after: str, clock: FakeClock
) -> TaskMessage | None:
    """Answer the head, and say who is next."""
    with database.transaction() as tx:
        state = MailState.ANSWERED
        mailbox.settle(tx, turn_id=after, task_id=after, state=state, now=clock())
        return conversations.promote_next(tx, "s", after=after, now=clock())


def test_the_first_message_is_the_head_and_is_published(
    database: Database, conversations: Conversations
) -> None:
    accepted = conversations.accept(mail("t1"))
    assert (accepted.task_id, accepted.duplicate) == ("t1", False)
    assert accepted.publication == as_task(mail("t1"))
    assert head(database) == "t1"
    assert [(row.id, row.state) for row in rows(database, tasks)] == [("t1", "queued")]


def test_the_task_carries_the_message_and_its_trace() -> None:
    task = as_task(mail("t1", "привіт", user_id="9", message_id="5", metadata={"k": "v"}))
    assert (task.task_id, task.actor, task.options) == (
        "t1",
        TaskName.PROCESS_AND_RESPOND,
        {"trace_id": "trace", "no_result": True},
    )
    assert task.kwargs == {
        "session_id": "s",
        "user_message": "привіт",
        "platform": "telegram",
        "chat_id": "7",
        "user_id": "9",
        "message_id": "5",
        "metadata": {"k": "v"},
    }


def test_later_messages_wait_in_the_order_in_which_they_came(
    database: Database, conversations: Conversations
) -> None:
    for task_id in ("t1", "t3", "t2"):
        accepted = conversations.accept(mail(task_id))
    assert accepted.publication is None
    assert waiting(database) == ["t1", "t3", "t2"]
    assert [row.id for row in rows(database, tasks)] == ["t1"]


def test_conversations_do_not_wait_for_each_other(conversations: Conversations) -> None:
    conversations.accept(mail("t1", session_id="one"))
    assert conversations.accept(mail("t2", session_id="two")).publication is not None


def test_the_same_message_is_kept_once(database: Database, conversations: Conversations) -> None:
    conversations.accept(mail("t1", "first"))
    again = conversations.accept(mail("t1", "second"))
    assert (again.duplicate, again.publication) == (True, None)
    assert [row.text for row in rows(database, inbox)] == ["first"]


def test_a_message_that_was_answered_is_not_kept_again(
    database: Database, conversations: Conversations, clock: FakeClock
) -> None:
    conversations.accept(mail("t1"))
    promoted(database, conversations, "t1", clock)
    again = conversations.accept(mail("t1"))
    assert (again.duplicate, again.publication) == (True, None)
    assert head(database) is None


def test_of_copies_at_the_same_moment_one_is_kept_and_published(
    database: Database, conversations: Conversations
) -> None:
    with ThreadPoolExecutor(4) as senders:
        accepted = list(senders.map(lambda _: conversations.accept(mail("t1")), range(8)))
    assert [one.duplicate for one in accepted].count(False) == 1
    assert [one.publication is None for one in accepted].count(False) == 1
    assert waiting(database) == ["t1"]


def test_of_messages_at_the_same_moment_one_is_the_head(
    database: Database, conversations: Conversations
) -> None:
    with ThreadPoolExecutor(4) as senders:
        accepted = senders.map(lambda n: conversations.accept(mail(f"t{n}")), range(8))
        [published] = [one.task_id for one in accepted if one.publication is not None]
    assert head(database) == published
    assert waiting(database)[0] == published
    assert len(waiting(database)) == 8


def test_the_same_telegram_message_id_in_two_chats_is_two_messages(
    database: Database, conversations: Conversations
) -> None:
    for chat in ("7", "8"):
        task_id = message_task_id("telegram", f"telegram_{chat}", "1", "100")
        kept = mail(task_id, session_id=f"telegram_{chat}", chat_id=chat, message_id="100")
        assert not conversations.accept(kept).duplicate
    assert [row.chat_id for row in rows(database, inbox)] == ["7", "8"]


def test_an_id_that_was_seen_lately_is_not_looked_up(database: Database, clock: FakeClock) -> None:
    recent = SeenIds({"t1"})
    conversations = conversations_of(database, clock, seen=recent)
    assert conversations.accept(mail("t1")).duplicate
    assert rows(database, inbox) == []
    assert not conversations.accept(mail("t2")).duplicate
    assert recent.has("t2")


def test_an_id_is_noted_as_seen_only_when_its_message_is_kept(
    database: Database, clock: FakeClock
) -> None:
    recent = SeenIds()
    conversations = conversations_of(database, clock, seen=recent)
    with database.transaction() as tx:
        conversations_table.drop(tx)
    with pytest.raises(DatabaseError):
        conversations.accept(mail("t1"))
    assert recent.ids == set()
    assert rows(database, inbox) == []


def test_the_end_of_a_turn_makes_the_next_who_waits_the_head(
    database: Database, conversations: Conversations, clock: FakeClock
) -> None:
    for task_id in ("t1", "t2", "t3"):
        conversations.accept(mail(task_id))
    following = promoted(database, conversations, "t1", clock)
    assert following == as_task(mail("t2"))
    assert head(database) == "t2"
    assert waiting(database) == ["t2", "t3"]


def test_the_end_of_the_last_turn_leaves_the_conversation_idle(
    database: Database, conversations: Conversations, clock: FakeClock
) -> None:
    conversations.accept(mail("t1"))
    assert promoted(database, conversations, "t1", clock) is None
    assert head(database) is None
    assert conversations.accept(mail("t2")).publication is not None


def test_a_task_that_is_not_the_head_any_more_promotes_no_other(
    database: Database, conversations: Conversations, clock: FakeClock
) -> None:
    for task_id in ("t1", "t2"):
        conversations.accept(mail(task_id))
    promoted(database, conversations, "t1", clock)
    with database.transaction() as tx:
        state = MailState.ANSWERED
        mailbox.settle(tx, turn_id="t2", task_id="t2", state=state, now=clock())
    conversations.accept(mail("t3"))
    assert promoted(database, conversations, "t1", clock) is None
    assert head(database) == "t2"


def test_a_stranded_mailbox_is_given_a_head_again(
    database: Database, conversations: Conversations
) -> None:
    for task_id in ("t1", "t2"):
        conversations.accept(mail(task_id))
    conversations.accept(mail("t9", session_id="healthy"))
    with database.transaction() as tx:
        tx.execute(tasks.delete().where(tasks.c.id == "t1"))
        mailbox.set_head(tx, "s", None)
    assert conversations.repair() == [as_task(mail("t1"))]
    assert head(database) == "t1"
    assert conversations.repair() == []


def test_several_stranded_mailboxes_are_locked_in_the_order_of_their_ids(
    database: Database, conversations: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    for session_id in ("b", "a", "Z", "c"):
        conversations.accept(mail(f"t-{session_id}", session_id=session_id))
    with database.transaction() as tx:
        tx.execute(update(conversations_table).values(head_task_id=None))
    locked = note_locks(monkeypatch)
    conversations.repair()
    assert locked == ["Z", "a", "b", "c"]


def test_mail_without_a_chat_or_a_user_hides_no_known_one(
    database: Database, conversations: Conversations
) -> None:
    conversations.accept(mail("t1", chat_id="42", user_id="u1"))
    conversations.accept(mail("t2", chat_id=None, user_id=None))
    [row] = rows(database, conversations_table)
    assert (row.chat_id, row.user_id) == ("42", "u1")
    conversations.accept(mail("t3", chat_id="43", user_id="u2"))
    [row] = rows(database, conversations_table)
    assert (row.chat_id, row.user_id) == ("43", "u2")


@pytest.mark.parametrize("end", ["dead", "done", "gone"])
def test_a_head_that_does_not_go_on_is_replaced(
    database: Database, conversations: Conversations, end: str
) -> None:
    for task_id in ("t1", "t2"):
        conversations.accept(mail(task_id))
    with database.transaction() as tx:
        if end == "gone":
            tx.execute(tasks.delete().where(tasks.c.id == "t1"))
        else:
            tx.execute(update(tasks).where(tasks.c.id == "t1").values(state=end, due_at=None))
        assert mailbox.count_dead_heads(tx) == 1
    # A dead turn has failed, and waits for its replay. Mail without a reply has to get one.
    next_head = "t2" if end == "dead" else "t1"
    assert [task.task_id for task in conversations.repair()] == [next_head]
    assert head(database) == next_head
    assert waiting(database) == (["t2"] if end == "dead" else ["t1", "t2"])
    assert conversations.repair() == []


def test_a_head_that_goes_on_is_not_replaced(
    database: Database, conversations: Conversations
) -> None:
    conversations.accept(mail("t1"))
    for state in ("running", "delayed", "queued"):
        with database.transaction() as tx:
            tx.execute(update(tasks).values(state=state))
            assert mailbox.count_dead_heads(tx) == 0
        assert conversations.repair() == []
    assert head(database) == "t1"


def test_an_idle_conversation_is_not_repaired(
    database: Database, conversations: Conversations, clock: FakeClock
) -> None:
    conversations.accept(mail("t1"))
    promoted(database, conversations, "t1", clock)
    assert conversations.repair() == []
    assert head(database) is None


def test_the_customers_next_message_ends_the_silence(
    database: Database, conversations: Conversations, clock: FakeClock
) -> None:
    conversations.accept(mail("t1"))
    with database.transaction() as tx:
        tx.execute(update(conversations_table).values(followups_taken=2, summary_awaited=False))
    clock.advance(seconds=60)
    conversations.accept(mail("t2", chat_id="8"))
    [row] = rows(database, conversations_table)
    assert (row.followups_taken, row.summary_awaited, row.chat_id) == (0, True, "8")
    assert row.last_customer_at == clock()
    assert row.created_at == NOON


def clicked(conversations: Conversations, task_id: str, message_id: str | None = None) -> bool:
    """Accept a message of the same content as the others; return whether it was a double click."""
    one = mail(task_id, "same", message_id=message_id, metadata={"content_key": "same"})
    return conversations.accept(one).duplicate


def test_the_same_message_again_a_moment_later_is_a_double_click(
    database: Database, clock: FakeClock
) -> None:
    conversations = conversations_of(database, clock, double_click_s=3)
    assert not clicked(conversations, "t1")
    clock.advance(seconds=2.9)
    assert clicked(conversations, "t2")
    clock.advance(seconds=3.1)
    assert not clicked(conversations, "t3")
    assert waiting(database) == ["t1", "t3"]


def test_messages_with_ids_of_their_own_are_no_double_click(
    database: Database, clock: FakeClock
) -> None:
    conversations = conversations_of(database, clock, double_click_s=3)
    assert not clicked(conversations, "t1", "m1")
    assert not clicked(conversations, "t2", "m2")


def test_without_a_time_for_them_there_are_no_double_clicks(conversations: Conversations) -> None:
    assert not clicked(conversations, "t1")
    assert not clicked(conversations, "t2")


def test_two_platforms_that_use_one_id_have_two_conversations(
    database: Database, clock: FakeClock
) -> None:
    conversations = conversations_of(database, clock, platforms=["telegram", "manychat"])
    conversations.accept(mail("t1"))
    theirs = conversations.accept(mail("t2", platform="manychat"))
    assert theirs.session_id == "manychat:s"
    assert theirs.publication is not None
    assert (head(database), head(database, "manychat:s")) == ("t1", "t2")
